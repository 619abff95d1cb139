"""Arrow and polars in and out: declared types decide, and what does not fit is refused by its name."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import UUID

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast import errors
from holdfast.engines.postgres import columnar, packing
from holdfast.io import arrow
from holdfast.types.array import MARK

TYPES = {
    "id": "INTEGER PRIMARY KEY",
    "i": "SMALLINT",
    "f": "REAL",
    "t": "TEXT",
    "v": "VARCHAR(5)",
    "b": "BOOLEAN",
    "n": "NUMERIC(12,3)",
    "w": "NUMERIC(60,4)",
    "d": "DATE",
    "h": "TIME",
    "s": "TIMESTAMP",
    "p": "TIMESTAMP(3)",
    "z": "TIMESTAMPTZ",
    "j": "JSON",
    "x": "BLOB",
    "u": "UUID",
}
ARROW = {
    "id": pa.int64(),
    "i": pa.int64(),
    "f": pa.float64(),
    "t": pa.string(),
    "v": pa.string(),
    "b": pa.bool_(),
    "n": pa.decimal128(12, 3),
    "w": pa.decimal256(60, 4),
    "d": pa.date32(),
    "h": pa.time64("us"),
    "s": pa.timestamp("us"),
    "p": pa.timestamp("us"),
    "z": pa.timestamp("us", "UTC"),
    "j": pa.string(),
    "x": pa.binary(),
    "u": pa.string(),
}
FULL = {
    "id": 1,
    "i": -32768,
    "f": 0.1,
    "t": "ü",
    "v": "12345",
    "b": False,
    "n": Decimal("1.500"),
    "w": Decimal("123456.7890"),
    "d": date(2024, 2, 29),
    "h": time(23, 59, 59, 999999),
    "s": datetime(1, 1, 1),
    "p": datetime(2024, 1, 2, 3, 4, 5, 678000),
    "z": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
    "j": [{"a": None}],
    "x": b"\x00",
    "u": UUID(int=7),
}


@pytest.fixture
def every(db):
    db.create_table("t", TYPES)
    return db


def types_of(db, table):
    return [column["type"] for column in db.get_columns(table)]


@pytest.mark.parametrize("held", ["nothing", "nulls", "values"])
def test_declared_types_decide(every, monkeypatch, held):
    monkeypatch.setattr(arrow, "BATCH", 10)
    if held != "nothing":
        every.insert_many("t", [{"id": number} for number in range(25, 60)])
    if held == "values":
        every.insert("t", {**FULL, "id": 99})
    table = every.to_arrow("t", order_by="id")
    assert {field.name: field.type for field in table.schema} == ARROW
    assert table.num_rows == every.count("t")


def test_types_come_back(every, tmp_path):
    every.insert_many("t", [FULL, {"id": 2}])
    every.from_arrow(every.to_arrow("t"), "copy")
    assert types_of(every, "copy") == types_of(every, "t")
    assert every.select("copy", order_by="id") == every.select("t", order_by="id")
    for extension in ("parquet", "feather"):
        every.export("t", tmp_path / f"t.{extension}")
        every.load(extension, tmp_path / f"t.{extension}")
        assert types_of(every, extension) == types_of(every, "t")
        assert every.select(extension, order_by="id") == every.select("t", order_by="id")


def test_a_crafted_type_is_not_sql(db):
    field = pa.field("a", pa.string(), metadata={arrow.TYPE_KEY: b"TEXT); DROP TABLE victim; --"})
    number = pa.field("n", pa.int64(), metadata={arrow.TYPE_KEY: b"NUMERIC(3,1) DEFAULT 7"})
    db.create_table("victim", {"a": "TEXT"})
    db.from_arrow(pa.table([["x"], [1]], schema=pa.schema([field, number])), "t")
    assert db.select("t") == [{"a": "x", "n": 1}]
    assert [column["default"] for column in db.get_columns("t")] == [None, None]
    assert db.table_exists("victim")


def test_a_numeric_without_digits_takes_those_of_its_values(db, engine_name, monkeypatch):
    monkeypatch.setattr(arrow, "BATCH", 2)
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "n": "NUMERIC"})
    values = [Decimal(1), None, Decimal("1E+2"), Decimal("-0.125"), Decimal("12345678.5")]
    db.insert_many("t", [{"id": number, "n": value} for number, value in enumerate(values)])
    found = db.to_arrow("t", order_by="id")["n"]
    assert found.type == pa.decimal128(38, 3)
    assert found.to_pylist() == values
    if engine_name == "sqlite":
        return
    db.insert("t", {"id": 9, "n": Decimal("1" * 40 + ".5")})
    assert db.to_arrow("t")["n"].type == pa.decimal256(76, 3)
    with pytest.raises(errors.NotSupported, match="'n' has more digits"):
        db.to_polars("t")
    db.insert("t", {"id": 10, "n": Decimal("1" * 80)})
    with pytest.raises(errors.NotSupported, match="column 'n' holds a number of more than 76 digits"):
        db.to_arrow("t")
    db.update("t", {"n": 1}, "id > 8")
    db.execute("UPDATE t SET n = 'NaN' WHERE id = 1")
    with pytest.raises(errors.NotSupported, match="column 'n'"):
        db.to_arrow("t")


def test_expressions_have_the_type_of_all_their_values(db, monkeypatch):
    monkeypatch.setattr(arrow, "BATCH", 2)
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "f": "REAL"})
    db.insert_many("t", [{"id": number, "f": None if number < 7 else 0.5} for number in range(9)])
    found = db.to_arrow("SELECT f * 2 AS g, id + 1 AS one, 'x' AS word FROM t ORDER BY id")
    assert found["g"].to_pylist() == [None] * 7 + [1.0, 1.0]
    assert [str(field.type) for field in found.schema][::2] == ["double", "string"]
    assert found["one"].to_pylist() == list(range(1, 10))
    assert db.to_arrow("SELECT count(*) AS n FROM t")["n"].to_pylist() == [9]


def test_arguments_are_those_of_select(every):
    every.insert_many("t", [{"id": number, "t": str(number)} for number in range(5)])
    found = every.to_arrow("t", ["id", "t"], where="id > ?", params=[1], order_by="id DESC", limit=2)
    assert found.to_pylist() == [{"id": 4, "t": "4"}, {"id": 3, "t": "3"}]
    assert every.to_arrow("SELECT id FROM t WHERE id = :x", {"x": 3}).to_pylist() == [{"id": 3}]
    with pytest.raises(errors.TableNotFound, match="did you mean 't'"):
        every.to_arrow("tt")
    with pytest.raises(errors.InvalidQuery, match="two columns"):
        every.to_arrow("SELECT id, id FROM t")


def test_what_an_arrow_type_cannot_hold_is_refused(db, engine_name):
    if engine_name == "sqlite":
        db.execute("CREATE TABLE t (i INTEGER, d TIMESTAMP, m, n NUMERIC(4,1))")
        values = {"i": ["abc"], "d": ["no date"], "m": ["text", 5], "n": [12345.678]}
        for name, held in values.items():
            db.delete("t", all_rows=True)
            for value in held:
                db.execute(f"INSERT INTO t ({name}) VALUES (?)", [value])
            with pytest.raises(errors.NotSupported, match=f"column '{name}' holds"):
                db.to_arrow("t")
        return
    for type_, value in (("INTEGER[]", "'{1,2}'"), ("INTERVAL", "'1 day'"), ("INET", "'10.0.0.1'")):
        db.execute(f"CREATE TABLE x (a {type_})")
        db.execute(f"INSERT INTO x VALUES ({value})")
        with pytest.raises(errors.NotSupported, match=r"column 'a' holds .*as TEXT; .*CAST"):
            db.to_arrow("x")
        assert db.to_arrow("SELECT CAST(a AS TEXT) AS a FROM x").num_rows == 1
        db.drop_table("x")


def test_polars(every):
    every.insert_many("t", [{**FULL, "w": None}, {"id": 2}])
    asked = ["id", "i", "f", "t", "b", "n", "d", "h", "s", "z", "j", "x", "u"]
    frame = every.to_polars("t", asked, order_by="id")
    assert frame.schema["n"] == pl.Decimal(12, 3)
    assert frame.schema["z"] == pl.Datetime("us", "UTC")
    assert frame.row(0, named=True)["s"] == FULL["s"]
    every.create_table("copy", TYPES)
    assert every.from_arrow(frame, "copy", if_exists="append") == 2
    assert every.select("copy", asked, order_by="id") == every.select("t", asked, order_by="id")
    assert every.to_polars("t", columns=["id", "t"], where="id < 0").schema == {
        "id": pl.Int64,
        "t": pl.String,
    }


def test_arrow_data_of_others(db):
    moment = datetime(2024, 1, 2, 3, 4, 5)
    table = pa.table(
        {
            "u8": pa.array([255, None], pa.uint8()),
            "u64": pa.array([2**63 - 1, None], pa.uint64()),
            "f16": pa.array(np.array([0.5, 1.5], dtype="float16")),
            "f32": pa.array([0.1, None], pa.float32()),
            "words": pa.array(["a", "a"]).dictionary_encode(),
            "large": pa.array(["x", None], pa.large_string()),
            "view": pa.array(["y", None], pa.string_view()),
            "fixed": pa.array([b"12", None], pa.binary(2)),
            "ms": pa.array([moment, None], pa.timestamp("ms")),
            "ns": pa.array([moment, None], pa.timestamp("ns")),
            "tokyo": pa.array([moment.replace(tzinfo=UTC), None], pa.timestamp("s", "Asia/Tokyo")),
            "clock": pa.array([time(1, 2), None], pa.time32("s")),
            "day": pa.array([date(2024, 1, 2), None], pa.date64()),
            "none": pa.nulls(2),
            "money": pa.array([Decimal("1.5"), None], pa.decimal128(5, 2)),
        }
    )
    data = {"a": table, "b": table.to_batches()[0], "c": table.to_reader()}
    for name, offered in data.items():
        assert db.from_arrow(offered, name) == 2
    assert db.select("a") == db.select("b") == db.select("c")
    (first, second) = db.select("a", order_by="u8")
    assert first == {
        "u8": 255,
        "u64": 2**63 - 1,
        "f16": 0.5,
        "f32": float(np.float32(0.1)),
        "words": "a",
        "large": "x",
        "view": "y",
        "fixed": b"12",
        "ms": moment,
        "ns": moment,
        "tokyo": moment.replace(tzinfo=UTC),
        "clock": time(1, 2),
        "day": date(2024, 1, 2),
        "none": None,
        "money": Decimal("1.5"),
    }
    assert {name for name, value in second.items() if value is not None} == {"f16", "words"}


def test_uuid_and_json_as_arrow_spells_them(db):
    ids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([UUID(int=3).bytes], pa.binary(16)))
    words = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}']))
    db.from_arrow(pa.table({"u": ids, "j": words}), "t")
    assert db.select("t") == [{"u": UUID(int=3), "j": {"a": 1}}]


BAD = {
    "struct": pa.table({"a": [{"b": 1}]}),
    "list": pa.table({"a": [[1]]}),
    "map": pa.table({"a": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8()))}),
    "duration": pa.table({"a": pa.array([1], pa.duration("s"))}),
    "uint64": pa.table({"a": pa.array([1, 2**64 - 1], pa.uint64())}),
    "nanoseconds": pa.table({"a": pa.array([1], pa.timestamp("ns"))}),
    "clock": pa.table({"a": pa.array([1], pa.time64("ns"))}),
    "far": pa.table({"a": pa.array([2**62], pa.timestamp("us"))}),
    "nul": pa.table({"a": ["x\0y"]}),
    "noname": pa.table([[1]], names=[""]),
    "twice": pa.table([[1], [2]], names=["a", "a"]),
    "nothing": pa.table({}),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arrow_data_writes_nothing(db, name):
    with pytest.raises(errors.ImportFailed, match=r"'a'|a |\.a|no name|no columns"):
        db.from_arrow(BAD[name], "t")
    assert db.list_tables() == []


def test_what_is_no_arrow_data(db):
    for wrong in ([{"a": 1}], None, "t"):
        with pytest.raises(errors.InvalidQuery, match="Arrow data is needed"):
            db.from_arrow(wrong, "t")
    db.from_arrow(pa.table({"a": [1]}), "t")
    with pytest.raises(errors.TableExists):
        db.from_arrow(pa.table({"a": [1]}), "t")
    assert db.from_arrow(pa.table({"a": [2]}), "t", if_exists="replace") == 1
    assert db.select("t") == [{"a": 2}]


def test_a_reader_that_fails_writes_nothing(db):
    schema = pa.schema({"a": pa.int64()})

    def batches():
        yield pa.record_batch({"a": [1]}, schema)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        db.from_arrow(pa.RecordBatchReader.from_batches(schema, batches()), "t")
    assert db.list_tables() == []


def by_values(db, monkeypatch, *args, **kwargs):
    """The same made of Python's values, one by one."""
    with monkeypatch.context() as patch:
        patch.setattr(columnar, "reads", lambda raw, kinds: False)
        return db.to_arrow(*args, **kwargs)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
float_32 = st.floats(width=32).map(lambda number: float(str(np.float32(number))))
NARROW = {
    "SMALLINT": st.integers(-(2**15), 2**15 - 1),
    "INT4": st.integers(-(2**31), 2**31 - 1),
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "REAL": float_32,
    "DOUBLE PRECISION": st.floats(),
    "TEXT": texts,
    "VARCHAR(9)": texts,
    "CHAR(3)": st.text("ab ü", min_size=3, max_size=3),
    "BOOLEAN": st.booleans(),
    "NUMERIC(12,3)": st.decimals(-999_999_999, 999_999_999, places=3, allow_nan=False),
    "NUMERIC(60,4)": st.decimals(-(10**55), 10**55, places=4, allow_nan=False),
    "DATE": st.dates(),
    "TIME": st.times(),
    "TIMESTAMP": st.datetimes(),
    "TIMESTAMP(3)": st.datetimes().map(lambda moment: moment.replace(microsecond=5000)),
    "TIMESTAMPTZ": st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC)),
    # Of -0.0, which is refused, comes 0.0.
    "JSON": st.none()
    | st.dictionaries(texts, st.integers() | st.floats(-1e9, 1e9).map(lambda x: x + 0.0) | texts, max_size=2),
    "JSONB": st.lists(st.none() | st.integers(-(2**60), 2**60) | texts, max_size=2),
    "BYTEA": st.binary(max_size=20).filter(lambda data: MARK not in data) | st.just(np.arange(3)),
    "UUID": st.uuids(),
}


def test_columns_hold_what_the_values_are(db, engine_name, monkeypatch):
    if engine_name == "sqlite":
        pytest.skip("it has no columns to hand over")
    names = {f"c{place}": type_ for place, type_ in enumerate(NARROW)}
    columns = ", ".join(f"{name} {type_}" for name, type_ in names.items())
    db.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {columns})")
    rows = st.fixed_dictionaries({name: st.none() | NARROW[type_] for name, type_ in names.items()})
    monkeypatch.setattr(columnar, "PART_BYTES", 900)

    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(rows, max_size=9))
    def check(given_rows):
        with db.transaction():
            db.delete("t", all_rows=True)
            db.insert_many("t", [{**row, "id": number} for number, row in enumerate(given_rows)])
            found = db.to_arrow("t", order_by="id")
            wanted = by_values(db, monkeypatch, "t", order_by="id")
        found.validate(full=True)
        assert found.schema.equals(wanted.schema, check_metadata=True)
        assert repr(found.to_pylist()) == repr(wanted.to_pylist())

    check()


@pytest.mark.parametrize(
    "value", ["date 'infinity'", "date '10000-01-01'", "timestamptz '-infinity'", "time '24:00'"]
)
def test_moments_that_python_has_not_are_refused(db, engine_name, monkeypatch, value):
    if engine_name == "sqlite":
        pytest.skip("it has no such values")
    for read in (db.to_arrow, lambda sql: by_values(db, monkeypatch, sql)):
        with pytest.raises(errors.ValueRefused):
            read(f"SELECT {value} AS a UNION ALL SELECT NULL")
    assert db.to_arrow("SELECT date '9999-12-31' AS a, timestamp '0001-01-01' AS b").num_rows == 1


def test_a_transaction_reads_its_own_rows(db):
    with db.transaction():
        db.create_table("t", {"id": "INTEGER PRIMARY KEY", "t": "TEXT"})
        db.insert_many("t", [{"id": number, "t": "x" * 1000} for number in range(9_000)])
        _, batches = arrow.record_batches(db._executor, "t")
        next(batches)
        batches.close()
        assert db.to_arrow("t").num_rows == 9_000
        db.insert("t", {"id": 9_000})
    assert db.count("t") == 9_001


def test_an_error_among_the_rows(db, engine_name):
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "t": "TEXT"})
    db.insert_many("t", [{"id": number, "t": "x" * 1000} for number in range(9_000)])
    if engine_name == "sqlite":
        db.execute("CREATE VIEW v AS SELECT id, abs(-9223372036854775807 - (id > 8990)) AS n FROM t")
    else:
        db.execute("CREATE VIEW v AS SELECT id, 1 / (id - 8990) AS n, t FROM t")
    for _ in range(2):
        with pytest.raises(errors.Error):
            db.to_arrow("v")
        assert db.to_arrow("t").num_rows == 9_000
    with db.transaction():
        with pytest.raises(errors.Error), db.transaction():
            db.to_arrow("v")
        assert db.to_arrow("t").num_rows == 9_000


def test_one_statement_is_all_that_a_query_is(db):
    db.create_table("victim", {"a": "TEXT"})
    for crafted in (
        "SELECT 1 AS a) AS q (c0)) TO STDOUT; DROP TABLE victim; --",
        "SELECT 1 AS a; DROP TABLE victim",
        "SELECT 1 AS a -- ; DROP TABLE victim",
    ):
        with contextlib.suppress(errors.Error):
            db.to_arrow(crafted)
        assert db.table_exists("victim")


LOOKED_AT = {"REAL", "CHAR(3)", "NUMERIC(60,4)", "TIMESTAMP(3)", "JSON", "JSONB", "UUID"}
"""Types whose values are not packed as they are."""


def test_packed_columns_go_in_as_their_values_do(db, engine_name, monkeypatch):
    if engine_name == "sqlite":
        pytest.skip("it takes values")
    for place, type_ in enumerate(NARROW):
        for name in ("t", "packed", "plain"):
            db.execute(f"CREATE TABLE {name}{place} (id INTEGER, a {type_})")
    asked = []
    pack = packing.Packer.pack
    values = st.sampled_from(list(NARROW)).flatmap(
        lambda type_: st.tuples(st.just(type_), st.lists(st.none() | NARROW[type_], min_size=21, max_size=23))
    )

    def counted(self, arrays):
        asked.append(pack(self, arrays))
        return asked[-1]

    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(values)
    def check(drawn):
        type_, held = drawn
        place = list(NARROW).index(type_)
        for name in ("t", "packed", "plain"):
            db.delete(f"{name}{place}", all_rows=True)
        db.insert_many(f"t{place}", [{"id": number, "a": value} for number, value in enumerate(held)])
        table = db.to_arrow(f"t{place}", order_by="id")
        asked.clear()
        with monkeypatch.context() as patch:
            patch.setattr(packing.Packer, "pack", counted)
            assert db.from_arrow(table, f"packed{place}", "append") == len(held)
        is_packed = type_ not in LOOKED_AT and not any(isinstance(value, np.ndarray) for value in held)
        assert [data is not None for data in asked] == [is_packed]
        with monkeypatch.context() as patch:
            patch.setattr(packing.Packer, "pack", lambda self, arrays: None)
            db.from_arrow(table, f"plain{place}", "append")
        found = repr(db.select(f"packed{place}", order_by="id"))
        assert found == repr(db.select(f"t{place}", order_by="id"))
        assert found == repr(db.select(f"plain{place}", order_by="id"))

    check()


def rows_of(**columns):
    """A frame of 60 rows that end with the given ones."""
    return pa.table({name: [*[first] * (60 - len(rest)), *rest] for name, (first, *rest) in columns.items()})


def test_a_row_that_does_not_go_in_is_named_whatever_way_it_took(db, engine_name):
    db.create_table(
        "t", {"id": "INTEGER PRIMARY KEY", "n": "TEXT NOT NULL", "v": "VARCHAR(3)", "m": "NUMERIC(4,1)"}
    )
    ids = {"id": (0, *range(1, 60))}
    bad = {
        "NUL": ({**ids, "n": ("a", "a\0")}, 60, "n"),
        "required": ({**ids, "n": ("a", None, "a")}, 59, "n"),
        "unique": ({"id": (0, *range(1, 59), 7), "n": ("a", "b")}, 60, "t"),
        "long": ({**ids, "n": ("a", "b"), "v": ("a", "abcd", "b")}, 59, "v"),
        "digits": ({**ids, "n": ("a", "b"), "m": (Decimal("1.00"), Decimal("1.25"))}, 60, "m"),
    }
    for data, row, column in bad.values():
        for write in (db.insert_many, lambda table, data: db.from_arrow(data, table, "append")):
            with pytest.raises(errors.Error, match=f"row {row}: .*{column}"):
                write("t", rows_of(**data))
            assert db.count("t") == 0
    assert db.insert_many("t", rows_of(**ids, n=("a", "b"), m=(Decimal("1.00"), Decimal("1.50")))) == 60
    assert db.insert("t", {"n": "next"}) == 60


def test_parts_of_one_table_may_go_different_ways(db):
    db.create_table("t", {"id": "INTEGER", "x": "BLOB"})
    plain = pa.table({"id": list(range(50)), "x": [b"x"] * 50})
    marked = pa.table({"id": list(range(50, 100)), "x": [b"y" * 56 + b"\x89HFNPY\r\n"] * 50})
    last = pa.table({"id": list(range(100, 150)), "x": [b"z"] * 50})
    with pytest.raises(errors.ValueRefused, match="row 51: "):
        db.insert_many("t", pa.concat_tables([plain, marked, last]))
    assert db.count("t") == 0
    db.create_table("v", {"id": "INTEGER", "s": "TIMESTAMP"})
    whole = pa.table({"id": list(range(150)), "s": pa.array([0] * 150, pa.timestamp("us"))})
    refused = pa.table({"id": [150], "s": pa.array([2**61], pa.timestamp("us"))})
    with pytest.raises(errors.ValueRefused, match="row 151: column 's'"):
        db.insert_many("v", pa.concat_tables([whole, refused]))
    assert db.count("v") == 0
    assert db.insert_many("v", pa.concat_tables([whole, whole.slice(0, 3), whole])) == 303
    assert db.select("v")[150]["id"] == 0


FLAT = """
import random, sys
import holdfast
from holdfast.types.array import MARK
import pyarrow, pyarrow.compute, pyarrow.parquet

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

url, path, shape, step = sys.argv[1:]
chance = random.Random(1)
with holdfast.connect(url) as db:
    db.execute("SELECT 1")
    if shape == "wide":
        columns, count = {"id": "INTEGER PRIMARY KEY", "x": "BLOB", "t": "TEXT"}, 1_000
        blob, text = (lambda: chance.randbytes(100_000)), (lambda: chance.randbytes(50_000).hex())
        rows = ((number, blob(), text()) for number in range(count))
    else:
        columns, count = {"id": "INTEGER PRIMARY KEY", "t": "TEXT", "f": "REAL"}, 1_000_000
        rows = ((number, f"a text of some length, number {number}", number / 7) for number in range(count))
    if step == "make":
        for table in ("t", "copy"):
            db.create_table(table, columns)
        db.insert_many("t", rows)
        sys.exit()
    db.to_arrow("SELECT 1 AS one")
    before = peak()
    assert db.export("t", path) == count
    assert db.load("copy", path, progress=False) == count
    print(peak() - before)
    assert db.get("copy", count - 1) == db.get("t", count - 1)
"""


@pytest.mark.long
@pytest.mark.parametrize("shape", ["wide", "narrow"])
@pytest.mark.parametrize("extension", ["parquet", "feather"])
def test_memory_stays_flat_in_and_out(url, engine_name, tmp_path, extension, shape):
    if engine_name == "debian":
        pytest.skip("the client is the same as on the embedded server")
    for step in ("make", "measure"):
        done = subprocess.run(
            [sys.executable, "-c", FLAT, url, str(tmp_path / f"t.{extension}"), shape, step],
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 * 1024


SHAPES = {
    "no columns": (pa.table({}), "no columns"),
    "no rows": (pa.table({"a": pa.array([], pa.int64())}), None),
    "half": (pa.table({"a": np.array([0.5], "float16")}), None),
    "words": (pa.table({"a": pa.array(["x", None, "x"]).dictionary_encode()}), None),
    "decimal256": (pa.table({"a": pa.array([Decimal("1" * 50)], pa.decimal256(60, 2))}), None),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("extension", ["parquet", "feather"])
def test_files_of_odd_shapes(db, engine_name, tmp_path, extension, name):
    table, refusal = SHAPES[name]
    path = tmp_path / f"t.{extension}"
    write_file(table, path)
    if name == "decimal256" and engine_name == "sqlite":
        refusal = "a"
    if refusal is not None:
        with pytest.raises(errors.ImportFailed, match=refusal):
            db.load("t", path)
        assert db.list_tables() == []
        return
    assert db.load("t", path) == table.num_rows
    assert [row["a"] for row in db.select("t")] == table["a"].to_pylist()


@pytest.mark.parametrize("extension", ["parquet", "feather"])
def test_a_file_cut_short_or_overwritten_changes_nothing(db, tmp_path, extension):
    path = tmp_path / f"t.{extension}"
    write_file(pa.table({"a": list(range(5_000)), "t": [f"text {number}" for number in range(5_000)]}), path)
    whole = path.read_bytes()
    db.create_table("t", {"a": "INTEGER", "t": "TEXT"})
    for length in range(1, len(whole), len(whole) // 7):
        path.write_bytes(whole[:length])
        with pytest.raises(errors.ImportFailed):
            db.load("t", path)
    path.write_bytes(whole[:200] + bytes(400) + whole[600:])
    try:
        assert db.load("t", path) == 5_000
    except errors.ImportFailed:
        assert db.count("t") == 0


def write_file(table, path):
    if path.suffix == ".parquet":
        pq.write_table(table, path)
        return
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)


CODED = {
    "categorical": pl.DataFrame({"a": pl.Series(["x", None, "x"], dtype=pl.Categorical)}),
    "enum": pl.DataFrame({"a": pl.Series(["x", None, "x"], dtype=pl.Enum(["x", "y"]))}),
    "views of bytes": pa.table(
        {"a": pa.DictionaryArray.from_arrays(pa.array([0, None]), pa.array([b"x"], pa.binary_view()))}
    ),
    "runs": pa.table({"a": pa.RunEndEncodedArray.from_arrays([2, 3], pa.array(["x", None]))}),
}


@pytest.mark.parametrize("name", CODED)
def test_values_that_stand_in_a_dictionary_or_in_runs_come_as_they_are(db, name):
    data = CODED[name]
    values = data["a"].to_list() if isinstance(data, pl.DataFrame) else data["a"].to_pylist()
    assert db.from_arrow(data, "t") == len(values)
    assert [row["a"] for row in db.select("t")] == values


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}), "'a' holds Python objects"),
        (pl.Series("a", [1]), "Series"),
        (pl.DataFrame({"a": pl.Series([1], dtype=pl.Int128)}), "types"),
    ],
    ids=["objects", "series", "int128"],
)
def test_what_arrow_has_no_form_for_is_refused_before_a_table_is_made(db, data, what):
    with pytest.raises(errors.InvalidQuery, match=what):
        db.from_arrow(data, "t")
    assert db.list_tables() == []


@pytest.mark.parametrize("rows", [2, 40])
def test_insert_many_takes_128_bit_integers_that_fit_and_refuses_a_series(db, rows):
    db.create_table("t", {"a": "INTEGER"})
    assert db.insert_many("t", pl.DataFrame({"a": pl.Series([5] * rows, dtype=pl.Int128)})) == rows
    with pytest.raises(errors.InvalidQuery, match="to_frame"):
        db.insert_many("t", pl.Series("a", [1] * rows))
    assert db.select("t") == [{"a": 5}] * rows


def test_the_digits_of_a_decimal_column_are_known_in_a_query_too(db):
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "n": "NUMERIC(10,2)"})
    for rows in ([], [{"n": None}], [{"n": Decimal("1.5")}]):
        db.insert_many("t", rows)
        table = db.to_arrow("SELECT n FROM t WHERE id > ?", [0])
        assert table.schema.field("n").type == pa.decimal128(10, 2)
        assert table.schema == db.to_arrow("SELECT n FROM t").schema
    assert table["n"].to_pylist() == [None, Decimal("1.50")]
    total = db.to_arrow("SELECT n * 2 AS n FROM t WHERE n IS NOT NULL")["n"].to_pylist()
    assert [float(value) for value in total] == [3.0]


def test_a_time_with_a_zone_is_refused_where_arrow_would_lose_the_zone(db, engine_name, tmp_path):
    if engine_name == "sqlite":
        pytest.skip("it has no such type")
    db.execute("CREATE TABLE z (t timetz)")
    db.execute("INSERT INTO z VALUES ('03:04:05+02')")
    for call in (db.to_arrow, lambda table: db.export(table, tmp_path / "z.parquet")):
        with pytest.raises(errors.NotSupported, match="time with a zone"):
            call("z")
