"""What is killed and refused: each operation is a few steps, each of which happens whole or not at all.

Every step goes from one known state to the next, so a test compares what is there after a fault with the
state before the step and the one after it. The worker process and the tests both import this file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

import holdfast
from holdfast import Database
from holdfast.backup.apart import end_of
from holdfast.backup.formats import opened
from holdfast.backup.trailer import checked

ROWS = 300


@dataclass(frozen=True)
class Place:
    """The folder and the databases that an operation works on; ``other`` is a second one, maybe empty."""

    folder: Path
    url: str
    other: str

    @property
    def extensions(self) -> tuple[str, ...]:
        """Those of the kinds of backup that this engine writes."""
        return (".sql", ".db") if self.url.startswith("sqlite") else (".sql", ".dump")


Step = Callable[[Database, Place], object]


def prepare(place: Place) -> None:
    """Everything that the operations need, in the folder and in both databases."""
    with holdfast.connect(place.url) as db:
        db.create_table(
            "runs",
            {"id": "INTEGER PRIMARY KEY", "name": "TEXT NOT NULL", "score": "REAL", "batch": "INTEGER"},
        )
        db.create_table(
            "notes", {"id": "INTEGER PRIMARY KEY", "run": "INTEGER REFERENCES runs(id)", "text": "TEXT"}
        )
        db.insert_many("runs", [_run(n, 0) for n in range(ROWS)])
        db.insert_many("notes", [{"id": n, "run": n, "text": f"note {n}"} for n in range(ROWS)])
        db.create_index("notes", "run")
        lines = "".join(f"{n},imported {n},{n / 7!r}\n" for n in range(2_000))
        (place.folder / "rows.csv").write_text("id,name,score\n" + lines)
        (place.folder / "old.csv").write_text("the old file\n")
        backups = place.folder / "backups"
        backups.mkdir()
        for number in range(4):
            db.insert("runs", _run(900 + number, 9))
            db.backup_database(backups / f"{number}.sql")
        for extension in (*place.extensions, ".hfz"):
            db.backup_database(place.folder / f"kept{extension}")
        # What is restored differs from what is there.
        db.insert_many("runs", [_run(n, 8) for n in range(2_000, 2_100)])


def _run(number: int, batch: int) -> dict[str, Any]:
    return {"id": number, "name": f"run {number}", "score": number / 3, "batch": batch}


def _insert(batch: int) -> Step:
    return lambda db, _: db.insert_many("runs", [_run(batch * 10_000 + n, batch) for n in range(200)])


def _transaction(number: int) -> Step:
    def step(db: Database, _: Place) -> None:
        with db.transaction():
            db.insert("runs", _run(5_000 + number, 5))
            first = 5_000 + number * 50
            db.insert_many("notes", [{"id": first + n, "run": 5_000 + number} for n in range(50)])
            db.update("runs", {"score": -1.0 * number}, {"id": number})
            db.delete("notes", {"id": number})
            with db.transaction():
                db.upsert("runs", _run(6_000, number), key="id")

    return step


def _backup(extension: str) -> Step:
    return lambda db, place: db.backup_database(place.folder / f"kept{extension}")


def _restore(extension: str, **options: Any) -> Step:
    return lambda db, place: db.restore_database(place.folder / f"kept{extension}", progress=False, **options)


def _restore_into(extension: str) -> Step:
    return lambda db, place: db.restore_database(place.folder / f"kept{extension}", into=place.other)


def _prune(keep: int) -> Step:
    return lambda db, place: db.prune_backups(place.folder / "backups", keep_last=keep)


def _copy(db: Database, place: Place) -> None:
    with holdfast.connect(place.other) as target:
        holdfast.copy_database(db, target)


def _arrays(number: int) -> Step:
    many = {f"{number} {n}": np.arange(3_000, dtype="float64") * n for n in range(4)}
    return lambda db, _: db.save_arrays("arrays", many)


OPERATIONS: dict[str, tuple[Step, ...]] = {
    "insert_many": (_insert(1), _insert(2), _insert(3)),
    "transaction": (_transaction(1), _transaction(2), _transaction(3)),
    "import": (
        lambda db, place: db.import_from_csv("imported", place.folder / "rows.csv"),
        lambda db, place: db.import_from_csv("imported", place.folder / "rows.csv", "replace"),
    ),
    "export": (
        lambda db, place: db.export_to_csv("runs", place.folder / "old.csv", progress=False),
        lambda db, place: db.export_to_csv("notes", place.folder / "new.csv", progress=False),
    ),
    "backup text": (_backup(".sql"),),
    "backup own": (_backup("own"),),
    "backup portable": (_backup(".hfz"),),
    "restore portable": (_restore(".hfz", keep_old=False),),
    "restore portable into": (_restore_into(".hfz"),),
    "verify": (lambda db, place: db.verify_backup(place.folder / "kept.sql"),),
    "restore text": (_restore(".sql"),),
    "restore own": (_restore("own", keep_old=False),),
    "restore into": (_restore_into(".sql"),),
    "restore own into": (_restore_into("own"),),
    # One backup each time: a prune of many is cut off between two of them.
    "prune": (_prune(3), _prune(2), _prune(1)),
    "alter": (
        lambda db, _: db.alter_column("runs", "score", nullable=False, default="1.5"),
        lambda db, _: db.alter_column("runs", "batch", type="TEXT"),
    ),
    "columns": (
        lambda db, _: db.add_column("runs", "extra", "INTEGER DEFAULT 7"),
        lambda db, _: db.drop_column("runs", "score"),
        lambda db, _: db.rename_column("notes", "text", "words"),
    ),
    "copy": (_copy,),
    "save_arrays": (_arrays(1), _arrays(2)),
    "enable_search": (
        lambda db, _: db.enable_search("notes", "text"),
        lambda db, _: db.enable_search("runs", ["name"]),
    ),
}


def run_step(db: Database, place: Place, operation: str, number: int) -> None:
    _steps(operation, place)[number](db, place)


def _steps(operation: str, place: Place) -> tuple[Step, ...]:
    own = place.extensions[1]
    known: dict[str, tuple[Step, ...]] = {
        "backup own": (_backup(own),),
        "restore own": (_restore(own, keep_old=False),),
        "restore own into": (_restore_into(own),),
    }
    return known.get(operation, OPERATIONS[operation])


# What is there


def state(place: Place) -> dict[str, Any]:
    """All that can be seen: the tables of both databases, and the files with what is in them."""
    found: dict[str, Any] = {"other": {}}
    for name, url in (("url", place.url), ("other", place.other)):
        if url.startswith("sqlite") and not Path(place_of(url)).exists():
            continue
        with holdfast.connect(url) as db:
            found[name] = {table: _table(db, table) for table in db.list_tables()}
    for path in sorted(place.folder.rglob("*")):
        is_database = str(path).startswith((place_of(place.url), place_of(place.other)))
        where = str(path.relative_to(place.folder))
        if path.is_file() and not where.startswith(".") and not is_database:
            found[re.sub(r"\d{8}T\d+Z", "MOMENT", where)] = _file(path)
    return found


def place_of(url: str) -> str:
    """The path of a SQLite database."""
    return url.removeprefix("sqlite:///")


def _table(db: Database, table: str) -> Any:
    columns = list(map(repr, db.get_columns(table)))
    rows = sorted(repr(row) for row in db.select(table))
    indexes = sorted(repr(sorted(each["columns"])) for each in db.list_indexes(table))
    return columns, sha256("\n".join(rows).encode()).hexdigest(), len(rows), indexes


def _file(path: Path) -> Any:
    if path.suffix == ".hfz":
        with opened(path) as source:
            assert source.manifest is not None
            return {name: content.rows for name, content in source.manifest.tables.items()}
    if path.suffix in (".sql", ".db", ".dump"):
        with path.open("rb") as file:
            end = end_of(file)
        assert end is not None
        return {name: content.rows for name, content in checked(path, end).manifest.tables.items()}
    return sha256(path.read_bytes()).hexdigest()


def litter(folder: Path) -> list[str]:
    """What nobody will remove."""
    return sorted(name for name in os.listdir(folder) if name.startswith((".", "holdfast-")))
