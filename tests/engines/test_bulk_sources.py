"""Rows in every form: tuples, objects, frames and Arrow data are written as the same dicts would be."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest

from holdfast import Database
from holdfast.errors import ColumnNotFound, Error, InvalidQuery, UniqueViolation, ValueRefused

COUNT = 50
NAMES = ("id", "name", "x", "at")
WHEN = datetime(2024, 5, 17, 12, 30, 0, 250, tzinfo=UTC)


@pytest.fixture
def t(db: Database) -> Database:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "name": "TEXT", "x": "REAL", "at": "TIMESTAMPTZ"})
    return db


def expected() -> list[dict[str, Any]]:
    rows = [{"id": i, "name": f"é{i}", "x": i / 2 + 1, "at": WHEN} for i in range(1, COUNT + 1)]
    rows[7]["name"] = rows[8]["x"] = rows[9]["at"] = None
    return rows


@dataclasses.dataclass
class Record:
    id: int
    name: str | None
    x: float | None
    at: datetime | None


class Model(pydantic.BaseModel):
    id: int
    name: str | None
    x: float | None
    at: datetime | None


Named = namedtuple("Named", NAMES)


Rows = list[dict[str, Any]]


def arrow(rows: Rows) -> pa.Table:
    types = (pa.int64(), pa.string(), pa.float64(), pa.timestamp("us", "UTC"))
    schema = pa.schema(list(zip(NAMES, types, strict=True)))
    return pa.Table.from_pylist(rows, schema=schema)


def stream(rows: Rows) -> pa.RecordBatchReader:
    table = arrow(rows)
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=7))


class Exporter:
    """Whatever hands out Arrow data by its protocol."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __arrow_c_stream__(self, schema: Any = None) -> Any:
        return arrow(self._rows).__arrow_c_stream__(schema)


SOURCES: dict[str, Callable[[Rows], Any]] = {
    "dicts": list,
    "generator": iter,
    "other mappings": lambda rows: [OrderedDict(row) for row in rows],
    "tuples": lambda rows: [tuple(row.values()) for row in rows],
    "lists": lambda rows: [list(row.values()) for row in rows],
    "named tuples": lambda rows: [Named(**row) for row in rows],
    "dataclasses": lambda rows: [Record(**row) for row in rows],
    "pydantic": lambda rows: [Model(**row) for row in rows],
    "mixed": lambda rows: [dict(r) if i % 2 else Record(**r) for i, r in enumerate(rows)],
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "arrow": arrow,
    "arrow batch": lambda rows: arrow(rows).combine_chunks().to_batches()[0],
    "arrow stream": stream,
    "arrow protocol": Exporter,
}


@pytest.mark.parametrize("form", SOURCES)
def test_every_form_is_written_as_dicts_are(t: Database, form: str) -> None:
    assert t.insert_many("t", SOURCES[form](expected()), batch_size=30) == COUNT
    assert t.select("t", order_by="id") == expected()
    assert t.upsert_many("t", SOURCES[form](expected())) == COUNT
    assert t.update_many("t", SOURCES[form](expected())) == COUNT
    assert t.select("t", order_by="id") == expected()
    with pytest.raises(UniqueViolation) as caught:
        t.insert_many("t", SOURCES[form](expected()))
    assert caught.value.row_number == 1


@pytest.mark.parametrize("form", SOURCES)
def test_the_row_at_fault_is_named_in_every_form(t: Database, form: str) -> None:
    t.insert_many("t", [{"id": 5_000}])
    faults: list[tuple[int, dict[str, Any], type[Error]]] = [
        (3, {"name": "a\0b"}, ValueRefused),
        (1_999, {"name": "a\0b"}, ValueRefused),
        (2_345, {"id": 1}, UniqueViolation),
        (3_000, {"id": 5_000}, UniqueViolation),
    ]
    for place, change, error in faults:
        given = [{"id": i, "name": f"n{i}", "x": 0.5, "at": WHEN} for i in range(1, 3_001)]
        given[place - 1].update(change)
        with pytest.raises(error, match=f"row {place}: ") as caught:
            t.insert_many("t", SOURCES[form](given))
        assert caught.value.row_number == place
        assert t.count("t") == 1


@pytest.mark.parametrize("form", SOURCES)
def test_columns_picks_or_names(t: Database, form: str) -> None:
    source = SOURCES[form](expected())
    if form in ("tuples", "lists"):
        source = [row[1::-1] for row in source]
    assert t.table("t").insert_many(source, columns=["name", "id"]) == COUNT
    wanted = [{"id": row["id"], "name": row["name"], "x": None, "at": None} for row in expected()]
    assert t.select("t", order_by="id") == wanted


def test_a_generated_column_has_no_place_in_a_tuple(db: Database) -> None:
    db.execute("CREATE TABLE g (a INTEGER, b INTEGER GENERATED ALWAYS AS (a + 1) STORED, c INTEGER)")
    db.insert_many("g", [(1, 2)] * 30)
    assert db.select("g", distinct=True) == [{"a": 1, "b": 2, "c": 2}]


def test_a_tuple_of_another_length_is_refused_with_its_row(t: Database) -> None:
    for bad in ((1, 2, 3), (1, 2, 3, 4, 5), []):
        with pytest.raises(InvalidQuery, match=r"row 3: the row has \d values for 4 columns") as caught:
            t.insert_many("t", [(1, "a", 1.0, None), (2, "b", 1.0, None), bad])
        assert caught.value.row_number == 3
    assert t.count("t") == 0


@pytest.mark.parametrize("bad", [None, 5, "text", b"x", object(), [None], [5], ["ab"], [object()], [{1}]])
def test_what_is_no_source_is_refused(t: Database, bad: Any) -> None:
    for verb in (t.insert_many, t.upsert_many, t.update_many):
        with pytest.raises(InvalidQuery):
            verb("t", bad)
    assert t.count("t") == 0


def test_bad_columns_are_refused(t: Database) -> None:
    rows = [(1, "a")]
    for columns in ("id", [], ["id", "id"], [1, 2]):
        with pytest.raises(InvalidQuery):
            t.insert_many("t", rows, columns=columns)  # type: ignore[arg-type]
    with pytest.raises(ColumnNotFound, match="'nmae'"):
        t.insert_many("t", rows, columns=["id", "nmae"])
    for lacking in ([{"id": 1}], pd.DataFrame({"id": [1]})):
        with pytest.raises(InvalidQuery, match="'name'"):
            t.insert_many("t", lacking, columns=["id", "name"])


def test_frames_whose_columns_have_no_names_are_refused(t: Database) -> None:
    twice = pd.DataFrame([[1, 2]], columns=["id", "id"])
    for frame in (pd.DataFrame([[1, 2]]), twice, pd.DataFrame(), pl.DataFrame(), pl.LazyFrame({"id": [1]})):
        with pytest.raises(InvalidQuery):
            t.insert_many("t", frame)


def test_times_finer_than_a_microsecond_are_refused_not_cut(t: Database) -> None:
    fine = pd.DataFrame({"id": [1], "at": pd.to_datetime(["2024-01-01T00:00:00.000000001"]).as_unit("ns")})
    fine["at"] = fine["at"].dt.tz_localize("UTC")
    for source in (fine, pl.from_pandas(fine), pa.Table.from_pandas(fine)):
        with pytest.raises(ValueRefused, match="microsecond"):
            t.insert_many("t", source)
    assert t.count("t") == 0


def test_numbers_beyond_the_column_are_refused(t: Database) -> None:
    big = pa.table({"id": pa.array([1, 2**64 - 1], pa.uint64())})
    for source in (big, pl.from_arrow(big), big.to_pandas()):
        with pytest.raises(ValueRefused, match="row 2: ") as caught:
            t.insert_many("t", source)
        assert caught.value.row_number == 2


def test_decimals_and_nested_values_of_arrow(db: Database) -> None:
    db.create_table("d", {"n": "NUMERIC(12,2)", "j": "JSON", "b": "BLOB", "ok": "BOOLEAN"})
    rows = [{"n": Decimal("1.25"), "j": {"a": [1, None]}, "b": b"\x00\xff", "ok": True}] * 40
    db.insert_many("d", pa.Table.from_pylist(rows))
    assert db.select("d") == rows


def test_a_frame_without_rows_does_nothing(t: Database) -> None:
    for frame in (pd.DataFrame({"id": []}), pl.DataFrame({"id": []}), arrow(expected()).slice(0, 0)):
        assert t.insert_many("t", frame) == 0


def test_objects_that_are_read_may_use_the_database(t: Database) -> None:
    class Asking(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            return t.count("t") * 0 + super().__getitem__(name) if name == "id" else super().__getitem__(name)

        def values(self) -> Any:
            return [self[name] for name in self]

    def given() -> Iterator[dict[str, Any]]:
        for i in range(1, COUNT):
            yield Asking(id=i, name=str(t.count("t")))

    assert t.insert_many("t", list(given())) == COUNT - 1
    t.delete("t", all_rows=True)
    assert t.insert_many("t", given()) == COUNT - 1
