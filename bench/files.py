"""Files in and out: the files that are loaded, and how those who know both engines do it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas
import polars
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import sqlalchemy as sa
from experiments import NAMES, Row, made
from measure import rows
from ways import Ways

import holdfast

ROWS = rows(50_000)
GIVEN: list[Row] = made(ROWS)


class Given:
    """The same rows as a CSV and as a Parquet file, and where the contenders write theirs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.csv, self.parquet = folder / "given.csv", folder / "given.parquet"
        table = pyarrow.Table.from_pylist(GIVEN)
        pyarrow.parquet.write_table(table, self.parquet)
        with self.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(NAMES)
            writer.writerows(row.values() for row in GIVEN)

    def out(self, who: str, extension: str) -> Path:
        return self.folder / f"{who}.{extension}"


def with_holdfast(db: holdfast.Database, table: str, full: str, given: Given) -> Ways:
    return {
        "import csv": lambda: db.import_from_csv(table, given.csv, progress=False),
        "export csv": lambda: db.export_to_csv(full, given.out("ours", "csv"), progress=False),
        "import parquet": lambda: db.load(table, given.parquet, progress=False),
        "export parquet": lambda: db.export(full, given.out("ours", "parquet"), progress=False),
    }


def with_pandas(con: Any, table: str, full: str, given: Given) -> Ways:
    def into(frame: pandas.DataFrame) -> None:
        frame.to_sql(table, con, if_exists="append", index=False)

    def out() -> pandas.DataFrame:
        return pandas.read_sql(f"SELECT * FROM {full}", con)

    return {
        "import csv": lambda: into(pandas.read_csv(given.csv)),
        "export csv": lambda: out().to_csv(given.out("pandas", "csv"), index=False),
        "import parquet": lambda: into(pandas.read_parquet(given.parquet)),
        "export parquet": lambda: out().to_parquet(given.out("pandas", "parquet")),
    }


def with_polars(engine: sa.Engine, table: str, full: str, given: Given) -> Ways:
    def into(frame: polars.DataFrame) -> None:
        frame.write_database(table, engine, if_table_exists="append")

    def out() -> polars.DataFrame:
        return polars.read_database(f"SELECT * FROM {full}", engine)

    return {
        "import csv": lambda: into(polars.read_csv(given.csv)),
        "export csv": lambda: out().write_csv(given.out("polars", "csv")),
        "import parquet": lambda: into(polars.read_parquet(given.parquet)),
        "export parquet": lambda: out().write_parquet(given.out("polars", "parquet")),
    }


def schema() -> pyarrow.Schema:
    return pyarrow.Table.from_pylist(GIVEN[:1]).schema
