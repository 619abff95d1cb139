"""How seconds and memory grow with the number of rows, each measured in a process of its own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from experiments import COLUMNS, NAMES, POSTGRES_TYPES, as_dict, as_dicts, row
from measure import US
from rich.console import Console

SIZES = [10_000, 100_000, 1_000_000]
TURNS = {10_000: 3, 100_000: 3}
"""The small sizes are measured so often, and the median counts; the large ones once."""
HELD = 1_000_000
"""select holds what it returns, so it is not asked for more rows than this."""
VERBS = ("insert_many", "select", "stream")
ENGINES = {"SQLite": "sqlite3", "PostgreSQL": "psycopg"}
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.svg"
HEADINGS = ("", "rows", "seconds per million", "MiB", "x limit", "")


@dataclass(frozen=True)
class Point:
    """What one process needed: seconds, and the most memory above what it had before it began."""

    engine: str
    who: str
    verb: str
    rows: int
    seconds: float
    mebibytes: float

    @property
    def per_million(self) -> float:
        return self.seconds / self.rows * 1e6


def measure(sizes: Iterable[int], console: Console) -> list[Point]:
    """Every verb at every size on both engines, ours beside the driver."""
    points = []
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name, ExitStack() as stack:
        for engine, where in _places(Path(name), stack):
            for rows in sizes:
                points += _measured(engine, where, rows)
                show(console, [point for point in points if (point.engine, point.rows) == (engine, rows)])
    return points


def _places(folder: Path, stack: ExitStack) -> Iterator[tuple[str, str]]:
    from postgres_server import Server

    yield "SQLite", str(folder / "growth.db")
    yield "PostgreSQL", Server(folder, stack).uri


def _measured(engine: str, where: str, rows: int) -> Iterator[Point]:
    """The driver and we in turn; the rows that one inserts are those it reads."""
    found: dict[tuple[str, str], list[Point]] = {}
    for turn, who, verb in product(range(TURNS.get(rows, 1)), (ENGINES[engine], US), VERBS):
        if verb == "select" and rows > HELD:
            continue
        given = json.dumps({"engine": engine, "who": who, "verb": verb, "rows": rows})
        child = [
            sys.executable,
            str(Path(__file__)),
            where,
            f"{'ours' if who == US else 'raw'}_{rows}_{turn}",
        ]
        answer = subprocess.run([*child, given], check=True, capture_output=True, text=True).stdout
        found.setdefault((who, verb), []).append(Point(**json.loads(answer)))
    for points in found.values():
        seconds = median(point.seconds for point in points)
        yield replace(points[0], seconds=seconds, mebibytes=median(point.mebibytes for point in points))


def _table(points: list[Point]) -> list[tuple[str, ...]]:
    limits = {
        (point.engine, point.verb, point.rows): point
        for point in points
        if point.who == ENGINES[point.engine]
    }
    lines = []
    for point in sorted(points, key=lambda p: (VERBS.index(p.verb), p.rows)):
        limit = limits[point.engine, point.verb, point.rows]
        cells = (f"{point.per_million:.2f}", f"{point.mebibytes:.1f}", f"{point.seconds / limit.seconds:.2f}")
        lines.append((point.verb, f"{point.rows:,}", *cells, point.who))
    return lines


def show(console: Console, points: list[Point]) -> None:
    from report import print_table

    print_table(console, f"{points[0].engine}, {points[0].rows:,} rows", HEADINGS, _table(points))


def markdown(points: list[Point], footnote: str) -> str:
    from report import markdown_rows

    parts = []
    for engine in dict.fromkeys(point.engine for point in points):
        lines = _table([point for point in points if point.engine == engine])
        rows = [HEADINGS, ("---", "--:", "--:", "--:", "--:", "---"), *lines]
        parts += [f"**{engine}**", markdown_rows(rows)]
    return "\n\n".join([*parts, footnote])


def draw(points: list[Point], path: Path = PICTURE) -> None:
    """Seconds per million rows and peak memory against size, for both engines."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Text stays text and ids come from the drawing, so that the same figures make the same small file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "holdfast", "font.size": 9})
    figure = Figure(figsize=(8, 5.6), facecolor="#fbfbfb", layout="constrained")
    engines = list(dict.fromkeys(point.engine for point in points))
    panels = figure.subplots(2, len(engines), sharex=True, sharey="row", squeeze=False)
    for column, engine in enumerate(engines):
        own = [point for point in points if point.engine == engine]
        _panel(panels[0][column], own, "per_million")
        _panel(panels[1][column], own, "mebibytes")
        panels[0][column].set_title(engine)
        panels[1][column].set_xlabel("rows")
        panels[1][column].set_yscale("log")
    # They share it, so it is said when all of them have their points.
    panels[0][0].set_ylim(bottom=0)
    panels[0][0].set_ylabel("seconds per million rows")
    panels[1][0].set_ylabel("most memory, MiB above the start")
    lines, names = panels[0][0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _panel(panel: Any, points: list[Point], what: str) -> None:
    colours = dict(zip(VERBS, ("#0a6ebd", "#c2410c", "#15803d"), strict=True))
    for who, verb in product((US, *ENGINES.values()), VERBS):
        own = sorted((p for p in points if (p.who, p.verb) == (who, verb)), key=lambda p: p.rows)
        if own:
            label = f"{verb}, {who if who == US else 'driver alone'}"
            style = {"ls": "-", "marker": "o", "lw": 1.8} if who == US else {"ls": ":", "marker": "."}
            # A tenth of a MiB is as little as a process of its own can tell.
            values = [max(getattr(point, what), 0.1) for point in own]
            panel.plot([point.rows for point in own], values, color=colours[verb], label=label, **style)
    panel.set_xscale("log")
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)


# In the process of its own


def _child(where: str, table: str, engine: str, who: str, verb: str, rows: int) -> Point:
    import time

    from ways import consume

    with ExitStack() as stack:
        ways = (_ours if who == US else _sqlite3 if engine == "SQLite" else _psycopg)(
            where, table, rows, stack
        )
        # On SQLite all of the work is done here, and processor time does not count the waiting for others.
        clock = time.process_time if engine == "SQLite" else time.perf_counter
        before, start = _most_memory(), clock()
        found = ways[verb]()
        if verb == "stream":
            consume(found)
        seconds = clock() - start
        return Point(engine, who, verb, rows, seconds, (_most_memory() - before) / 1024)


def _most_memory() -> int:
    """KiB. What getrusage says begins with the parent's on Linux."""
    status = Path("/proc/self/status")
    if status.exists():
        found = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(found[0].split()[1])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _rows(count: int) -> Iterator[dict[str, Any]]:
    return map(row, range(1, count + 1))


def _ours(where: str, table: str, rows: int, stack: ExitStack) -> dict[str, Any]:
    from ways import consume

    import holdfast

    db = stack.enter_context(holdfast.connect(where, durability="normal"))
    for name in (table, "warm"):
        if not db.table_exists(name):
            db.create_table(name, COLUMNS)
    # Once, so that what is loaded and looked up on first use is not counted at the small sizes.
    db.delete("warm", all_rows=True)
    db.insert_many("warm", _rows(100))
    db.select("warm")
    consume(db.stream("warm"))
    return {
        "insert_many": lambda: db.insert_many(table, _rows(rows)),
        "select": lambda: db.select(table),
        "stream": lambda: db.stream(table),
    }


def _sqlite3(where: str, table: str, rows: int, stack: ExitStack) -> dict[str, Any]:
    import sqlite3

    con = sqlite3.connect(where, isolation_level=None)
    stack.callback(con.close)
    con.execute("PRAGMA journal_mode = WAL")
    con.execute("PRAGMA synchronous = NORMAL")
    columns = ", ".join(map(" ".join, COLUMNS.items()))
    con.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
    return {
        "insert_many": lambda: _executemany(con, f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?)", rows),
        "select": lambda: as_dicts(con.execute(f"SELECT * FROM {table}")),
        "stream": lambda: map(as_dict, con.execute(f"SELECT * FROM {table}")),
    }


def _executemany(con: Any, sql: str, rows: int) -> None:
    con.execute("BEGIN IMMEDIATE")
    con.executemany(sql, (tuple(row.values()) for row in _rows(rows)))
    con.execute("COMMIT")


def _psycopg(where: str, table: str, rows: int, stack: ExitStack) -> dict[str, Any]:
    import psycopg

    con = stack.enter_context(psycopg.connect(where, autocommit=True))
    con.execute("SET synchronous_commit = off")
    columns = ", ".join(map(" ".join, zip(NAMES, POSTGRES_TYPES, strict=True)))
    con.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns}, PRIMARY KEY (id))")

    def insert() -> None:
        with con.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(POSTGRES_TYPES)
            for row in _rows(rows):
                copy.write_row(tuple(row.values()))

    cursor = con.cursor(binary=True, row_factory=lambda _: as_dict)
    return {
        "insert_many": insert,
        "select": lambda: cursor.execute(f"SELECT * FROM {table}").fetchall(),
        "stream": lambda: cursor.stream(f"SELECT * FROM {table}", size=1000),
    }


if __name__ == "__main__":
    sys.stdout, answer = io.StringIO(), sys.stdout
    answer.write(json.dumps(asdict(_child(*sys.argv[1:3], **json.loads(sys.argv[3])))))
