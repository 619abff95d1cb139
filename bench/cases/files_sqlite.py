"""CSV and Parquet files into a SQLite file and out of it."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet
from experiments import NAMES
from files import GIVEN, ROWS, Given, schema, with_holdfast, with_pandas, with_polars
from measure import US, Case, Contender, ready
from sqlite_files import INSERT, TABLE, Files
from ways import Ways, repeated

TITLE = f"{ROWS:,} rows between files and SQLite"
IS_HERE = True
LIBRARIES = ("pyarrow", "pandas", "polars", "sqlite-utils", "scitex-db")
LIMIT, FULL = "sqlite3 by hand", "full"


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    with ExitStack() as stack:
        files = Files(folder, stack, GIVEN)
        contenders = ready(_makers(files, Given(folder)), needed=(US, LIMIT))
        yield [
            _case("import_from_csv", "import csv", contenders),
            _case("export_to_csv", "export csv", contenders),
            _case("load Parquet", "import parquet", contenders),
            _case("export Parquet", "export parquet", contenders),
        ]


def _case(name: str, what: str, contenders: dict[str, tuple[sqlite3.Connection, Ways]]) -> Case:
    chosen = tuple(
        Contender(who, repeated(ways[what], _emptied(con) if what.startswith("import") else None))
        for who, (con, ways) in contenders.items()
        if what in ways
    )
    return Case(name, chosen, 1, unit="ms")


def _emptied(con: sqlite3.Connection) -> Callable[[], object]:
    return lambda: con.execute(f"DELETE FROM {TABLE}")


def _makers(files: Files, given: Given) -> dict[str, Callable[[], tuple[sqlite3.Connection, Ways]]]:
    """Every contender with a file of its own: a full table to export, and one that is filled."""

    def made(name: str, ways: Callable[[str], Ways]) -> Callable[[], tuple[sqlite3.Connection, Ways]]:
        def make() -> tuple[sqlite3.Connection, Ways]:
            con = files.driver(name)
            con.execute(f"CREATE TABLE {FULL} AS SELECT * FROM {TABLE}")
            return con, ways(name)

        return make

    return {
        LIMIT: made("raw", lambda name: _raw(files.driver(name), given)),
        US: made("holdfast", lambda name: with_holdfast(files.ours(name), TABLE, FULL, given)),
        "pandas": made(
            "pandas", lambda name: with_pandas(files.driver(name, "DEFERRED"), TABLE, FULL, given)
        ),
        "polars": made("polars", lambda name: with_polars(files.engine(name), TABLE, FULL, given)),
        "sqlite-utils": made("utils", lambda name: _sqlite_utils(files.sqlite_utils(name), given)),
        "scitex-db": made("scitex", lambda name: _scitex(files.scitex(name), given)),
    }


def _raw(con: sqlite3.Connection, given: Given) -> Ways:
    def insert(rows: Any) -> None:
        con.execute("BEGIN IMMEDIATE")
        con.executemany(INSERT, rows)
        con.execute("COMMIT")

    def import_csv() -> None:
        with given.csv.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            next(reader)
            insert(reader)

    def export_csv() -> None:
        with given.out("raw", "csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(NAMES)
            writer.writerows(con.execute(f"SELECT * FROM {FULL}"))

    def import_parquet() -> None:
        for batch in pyarrow.parquet.ParquetFile(given.parquet).iter_batches():
            insert(zip(*(column.to_pylist() for column in batch.columns), strict=True))

    def export_parquet() -> None:
        cursor = con.execute(f"SELECT * FROM {FULL}")
        with pyarrow.parquet.ParquetWriter(given.out("raw", "parquet"), schema()) as writer:
            while found := cursor.fetchmany(10_000):
                columns = zip(*found, strict=True)
                arrays = [
                    pyarrow.array(values, field.type) for values, field in zip(columns, schema(), strict=True)
                ]
                writer.write_batch(pyarrow.record_batch(arrays, schema=schema()))

    return {
        "import csv": import_csv,
        "export csv": export_csv,
        "import parquet": import_parquet,
        "export parquet": export_parquet,
    }


def _sqlite_utils(table: Any, given: Given) -> Ways:
    def import_csv() -> None:
        with given.csv.open(newline="", encoding="utf-8") as file:
            table.insert_all(csv.DictReader(file), batch_size=1000)

    return {"import csv": import_csv}


def _scitex(db: Any, given: Given) -> Ways:
    return {
        "import csv": lambda: db.load_from_csv(TABLE, str(given.csv)),
        "export csv": lambda: db.save_to_csv(FULL, str(given.out("scitex", "csv")), batch_size=10**9),
    }
