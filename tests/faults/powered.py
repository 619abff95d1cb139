"""What goes on while the power is cut: ``python powered.py commits|backups FOLDER [durability] [unsynced]``.

Each line on its standard output is an acknowledgement.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import holdfast

TRANSACTIONS = 120
ROUNDS = 3
KINDS = ("sql", "db", "hfz", "csv")


def tell(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def sync(folder: Path) -> None:
    """As a careful user does who makes a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def payload(number: int) -> str:
    return f"{number} " * (20 + 97 * number % 700)


def commits(folder: Path, durability: str) -> None:
    """Transactions of three rows and a number that says how many there were, with many checkpoints."""
    with holdfast.connect(folder / "lab.db", durability=durability) as db:
        db.execute("PRAGMA wal_autocheckpoint = 60")
        with db.transaction():
            db.create_table("t", {"id": "INTEGER PRIMARY KEY", "tx": int, "n": int, "text": "TEXT"})
            db.create_table("last", {"id": "INTEGER PRIMARY KEY", "tx": int})
            db.insert("last", {"id": 1, "tx": -1})
        for number in range(TRANSACTIONS):
            with db.transaction():
                rows = [{"tx": number, "n": n, "text": payload(number)} for n in range(3)]
                if number % 2:
                    db.insert_many("t", rows)
                else:
                    for row in rows:
                        db.insert("t", row)
                db.update("last", {"tx": number}, {"id": 1})
                db.delete("t", {"tx": number - 40})
            tell(f"commit {number}")


def backups(folder: Path) -> None:
    """Backups of each kind over older ones, a restore into a new file, and pruning."""
    (folder / "many").mkdir()
    sync(folder)
    with holdfast.connect(folder / "lab.db") as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY", "text": "TEXT"})
        db.backup_if_due(folder / "nightly" / "lab", "1d")
        tell("nightly 0")
        for number in range(1, ROUNDS + 1):
            db.insert_many("t", [{"text": payload(n)} for n in range(100)])
            for kind in KINDS[:3]:
                db.backup_database(folder / f"kept.{kind}", progress=False)
                tell(f"{kind} {number}")
            db.export_to_csv("t", folder / "kept.csv", progress=False)
            tell(f"csv {number}")
            db.backup_database(folder / "many" / f"{number}.sql", progress=False)
            tell(f"many {number}")
            db.prune_backups(folder / "many", keep_last=1)
            db.restore_database(folder / "kept.sql", into=folder / f"new{number}.db", progress=False)
            tell(f"new {number}")


if __name__ == "__main__":
    if "unsynced" in sys.argv:
        os.fsync = lambda _: None
    if sys.argv[1] == "commits":
        commits(Path(sys.argv[2]), sys.argv[3])
    else:
        backups(Path(sys.argv[2]))
