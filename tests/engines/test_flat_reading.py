"""What reads a million rows one by one or page by page holds few: seen from a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from holdfast import Database

ROWS = 1_000_000
MIB = 1024

READ = """
import sys
import holdfast

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

def pages(table):
    token = None
    while True:
        page = table.paginate("id", limit=5000, after=token)
        yield from page.rows
        token = page.next
        if token is None:
            return

way, rows, url = sys.stdin.read().split()
with holdfast.connect(url) as db:
    table = db.table("experiments")
    table.get(1)
    ways = {
        "stream": table.stream,
        "transaction": table.stream,
        "query": lambda: db.stream("SELECT * FROM experiments"),
        "paginate": lambda: pages(table),
    }
    before = peak()
    if way == "transaction":
        db.begin_transaction()
    count = sum(row["id"] > 0 for row in ways[way]())
    assert count == int(rows), count
    print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
def test_reading_a_million_rows_keeps_memory_flat(db: Database, url: str) -> None:
    db.create_table(
        "experiments",
        {"id": "INTEGER PRIMARY KEY", "name": "TEXT", "ts": "TEXT", "accuracy": "REAL", "parameters": "TEXT"},
    )
    made = ("2024-05-17T12:30:00", 0.25, '{"lr": 0.001, "layers": 4, "batch": 32}')
    rows = ((i, f"run {i % 1000}", *made) for i in range(1, ROWS + 1))
    db.insert_many("experiments", rows, columns=["id", "name", "ts", "accuracy", "parameters"])
    for way in ("stream", "transaction", "query", "paginate"):
        given = f"{way} {ROWS} {url}"
        child = subprocess.run(
            [sys.executable, "-c", READ], input=given, capture_output=True, text=True, check=False
        )
        assert child.returncode == 0, child.stderr
        assert int(child.stdout) < 64 * MIB, way
