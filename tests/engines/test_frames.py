"""DataFrames in and out: declared types decide, values and order stay."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from holdfast import Database, errors
from holdfast.io import frames

TYPES = {
    "id": "INTEGER PRIMARY KEY",
    "i": "INTEGER",
    "f": "REAL",
    "t": "TEXT",
    "b": "BOOLEAN",
    "n": "NUMERIC",
    "d": "DATE",
    "h": "TIME",
    "s": "TIMESTAMP",
    "z": "TIMESTAMPTZ",
    "j": "JSON",
    "x": "BLOB",
    "u": "UUID",
}
ROW = {
    "id": 1,
    "i": 2**53 + 1,
    "f": 0.5,
    "t": "ü",
    "b": True,
    "n": Decimal("1.5"),
    "d": date(2024, 1, 2),
    "h": time(1, 2, 3),
    "s": datetime(2024, 1, 2, 3, 4, 5, 6),
    "z": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
    "j": {"a": [1]},
    "x": b"\x00",
    "u": UUID(int=5),
}
FULL = dict.fromkeys("ndhjxu", "object") | {
    "id": "int64",
    "i": "int64",
    "f": "float64",
    "t": "str",
    "b": "bool",
    "s": "datetime64[us]",
    "z": "datetime64[us, UTC]",
}


def dtypes(df):
    return {name: str(dtype) for name, dtype in df.dtypes.items()}


@pytest.fixture
def typed(db):
    db.create_table("t", TYPES)
    return db


def test_declared_types_decide(typed):
    assert dtypes(typed.to_dataframe("t")) == FULL
    typed.insert("t", ROW)
    df = typed.to_dataframe("t")
    assert dtypes(df) == FULL
    assert list(df.columns) == list(TYPES)
    assert {name: df[name][0] for name in TYPES} == ROW
    typed.insert("t", {"id": 2})
    mixed = typed.to_dataframe("t", order_by="id")
    assert dtypes(mixed) == {**FULL, "i": "Int64", "b": "boolean"}
    assert mixed["i"][0] == 2**53 + 1
    assert mixed.iloc[1, 1:].isna().all()


def test_a_column_of_nulls_keeps_its_type(typed):
    typed.insert("t", {"id": 1})
    assert dtypes(typed.to_dataframe("t")) == {**FULL, "i": "Int64", "b": "boolean"}


def test_a_query_keeps_types_too(typed):
    sql = "SELECT * FROM t WHERE id < :most"
    assert dtypes(typed.to_dataframe(sql, {"most": 5})) == FULL
    typed.insert_many("t", [ROW, {"id": 2}])
    assert dtypes(typed.to_dataframe(sql, {"most": 2})) == FULL
    assert dtypes(typed.to_dataframe(sql, {"most": 3})) == {**FULL, "i": "Int64", "b": "boolean"}
    counted = typed.to_dataframe("SELECT count(*) AS n, max(t) AS t, avg(f) AS a FROM t")
    assert dtypes(counted) == {"n": "int64", "t": "str", "a": "float64"}
    assert counted["n"][0] == 2


def test_arguments_are_those_of_select(typed):
    typed.insert_many("t", [{"id": i, "i": i * i} for i in range(10)])
    df = typed.to_dataframe("t", ["i", "id"], where="id > ?", params=[5], order_by="id DESC", limit=2)
    assert_frame_equal(df, pd.DataFrame({"i": [81, 64], "id": [9, 8]}))
    with pytest.raises(errors.TableNotFound):
        typed.to_dataframe("tt")
    with pytest.raises(errors.ColumnNotFound):
        typed.to_dataframe("t", ["nope"])


EVERY_DTYPE = pd.DataFrame(
    {
        "int": np.array([1, -(2**63), 2**63 - 1], dtype="int64"),
        "float": [0.1, -1e300, 5e-324],
        "bool": [True, False, True],
        "text": ["a", "", "NA"],
        "day": pd.to_datetime(
            ["2024-01-01", "1700-01-01", "2024-02-29 01:02:03.000004"], format="ISO8601"
        ).as_unit("us"),
        "moment": pd.to_datetime(["2024-01-01", "2024-07-01", "2024-12-31"], utc=True).as_unit("us"),
        "Int64": pd.array([1, None, 2**53 + 1], dtype="Int64"),
        "boolean": pd.array([True, None, False], dtype="boolean"),
        "gaps": [1.5, None, 2.5],
        "text gaps": ["a", None, "b"],
        "NaT": pd.to_datetime(["2024-01-01", None, "2024-01-02"]).as_unit("us"),
        "date": [date(2024, 1, 1), None, date(1, 1, 1)],
        "decimal": [Decimal("1.5"), Decimal("2.25"), None],
        "json": [{"a": 1}, [1, "x"], None],
        "bytes": [b"\x00", b"", None],
        "uuid": [UUID(int=1), None, UUID(int=2)],
    }
)


def test_every_dtype_comes_back(db):
    assert db.from_dataframe(EVERY_DTYPE, "t") == 3
    assert_frame_equal(db.to_dataframe("t"), EVERY_DTYPE)


def test_an_empty_frame_makes_its_table(db):
    kept = [name for name in EVERY_DTYPE if EVERY_DTYPE[name].dtype != object]
    assert db.from_dataframe(EVERY_DTYPE[kept].iloc[:0], "t") == 0
    found = dtypes(db.to_dataframe("t"))
    assert found == {**dtypes(EVERY_DTYPE[kept]), "Int64": "int64", "boolean": "bool"}


def test_other_dtypes_by_value(db):
    df = pd.DataFrame(
        {
            "int8": np.array([1, -2], dtype="int8"),
            "uint64": np.array([0, 2**63 - 1], dtype="uint64"),
            "float32": np.array([0.1, 2], dtype="float32"),
            "Float64": pd.array([1.5, None], dtype="Float64"),
            "labels": pd.Categorical(["x", None], categories=["y", "x"]),
            "numbers": pd.Categorical([3, 1]),
            "nanoseconds": pd.to_datetime(["2024-01-01 00:00:00.000001", None]).as_unit("ns"),
            "seconds": pd.to_datetime(["2024-01-01", None]).as_unit("s"),
            "zone": pd.to_datetime(["2024-01-01", "2024-07-01"]).tz_localize("Europe/Zurich"),
            "arrow": pd.array([1, None], dtype="int64[pyarrow]"),
            "objects": pd.Series([np.int64(1), np.nan], dtype=object),
            "mixed numbers": pd.Series([1, 2.5], dtype=object),
            "none": pd.Series([None, None], dtype=object),
        }
    )
    db.from_dataframe(df, "t")
    assert db.select("t") == [
        {
            "int8": 1,
            "uint64": 0,
            "float32": float(np.float32(0.1)),
            "Float64": 1.5,
            "labels": "x",
            "numbers": 3,
            "nanoseconds": datetime(2024, 1, 1, 0, 0, 0, 1),
            "seconds": datetime(2024, 1, 1),
            "zone": datetime(2023, 12, 31, 23, tzinfo=UTC),
            "arrow": 1,
            "objects": 1,
            "mixed numbers": 1.0,
            "none": None,
        },
        {
            "int8": -2,
            "uint64": 2**63 - 1,
            "float32": 2.0,
            "Float64": None,
            "labels": None,
            "numbers": 1,
            "nanoseconds": None,
            "seconds": None,
            "zone": datetime(2024, 6, 30, 22, tzinfo=UTC),
            "arrow": None,
            "objects": None,
            "mixed numbers": 2.5,
            "none": None,
        },
    ]


@pytest.mark.parametrize(
    "values",
    [
        np.array([2**63], dtype="uint64"),
        pd.to_datetime(["2024-01-01 00:00:00.000000001"]).as_unit("ns"),
        pd.to_timedelta([1], unit="s"),
        np.array([1j]),
        pd.Series(["a", 1], dtype=object),
        pd.Series([object()]),
        pd.Series([(1, 2)]),
        pd.period_range("2024-01", periods=1, freq="M"),
    ],
    ids=lambda values: str(getattr(values, "dtype", "")),
)
def test_what_no_column_holds_is_refused(db, values):
    with pytest.raises((errors.ImportFailed, errors.ValueRefused), match=r"x|64 bits|out of the range"):
        db.from_dataframe(pd.DataFrame({"x": values}), "t")
    assert not db.table_exists("t")


def test_if_exists(db):
    df = pd.DataFrame({"a": [1, 2]})
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": "INTEGER UNIQUE", "b": "TEXT DEFAULT 'x'"})
    with pytest.raises(errors.TableExists):
        db.from_dataframe(df, "t")
    assert db.from_dataframe(df, "t", "append") == 2
    with pytest.raises(errors.UniqueViolation):
        db.from_dataframe(df, "t", "append")
    assert db.from_dataframe(df.iloc[:1], "t", if_exists="replace") == 1
    assert [(row["a"], row["b"]) for row in db.select("t")] == [(1, "x")]
    with pytest.raises(errors.InvalidQuery):
        db.from_dataframe(df, "t", "overwrite")


def test_a_failed_replace_keeps_the_rows(db):
    db.create_table("t", {"a": "INTEGER"})
    db.insert("t", {"a": 1})
    with pytest.raises(errors.ValueRefused, match=r"row 15000: t\.a"):
        db.from_dataframe(pd.DataFrame({"a": [1.0] * 14_999 + [1.5]}), "t", "replace")
    with pytest.raises(errors.ColumnNotFound):
        db.from_dataframe(pd.DataFrame({"a": [1], "b": [2]}), "t", "replace")
    assert db.select("t") == [{"a": 1}]


def test_what_existing_columns_make_of_it(db):
    db.create_table("t", {"a": "INTEGER", "j": "JSON", "d": "DATE"})
    df = pd.DataFrame({"a": [1.0, np.nan], "j": [{"x": 1}, np.nan], "d": ["2024-01-01", None]})
    db.from_dataframe(df, "t", "append")
    assert db.select("t", order_by="a") == [
        {"a": 1, "j": {"x": 1}, "d": date(2024, 1, 1)},
        {"a": None, "j": None, "d": None},
    ]


def test_indexes(db):
    df = pd.DataFrame({"a": [3, 1, 2]})
    described = df.describe()
    db.from_dataframe(described, "summary")
    assert_frame_equal(db.to_dataframe("summary").set_index("index").rename_axis(None), described)
    db.from_dataframe(df[df.a > 1].sort_values("a"), "filtered")
    assert_frame_equal(db.to_dataframe("filtered"), pd.DataFrame({"a": [2, 3]}))
    db.from_dataframe(df.rename_axis("key"), "named")
    assert_frame_equal(db.to_dataframe("named"), df.rename_axis("key").reset_index())
    several = pd.DataFrame({"x": [1, 1, 2], "y": ["a", "b", "a"], "v": [1.0, 2.0, 3.0]})
    db.from_dataframe(several.set_index(["x", "y"]), "several")
    assert_frame_equal(db.to_dataframe("several"), several)
    db.from_dataframe(several.groupby("y").sum(), "grouped")
    assert_frame_equal(db.to_dataframe("grouped"), several.groupby("y").sum().reset_index())


def test_names(db):
    df = pd.DataFrame([[1, 2]], columns=[0, 'a "b", c'])
    db.from_dataframe(df, "t")
    assert_frame_equal(db.to_dataframe("t"), df.rename(columns={0: "0"}))
    for wrong in (
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame([[1, 2]], columns=[1, "1"]),
        pd.DataFrame([[1, 2]], columns=["a", ""]),
        pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")])),
        pd.DataFrame({"a": [1]}).set_index("a", drop=False),
        pd.DataFrame(index=[0, 1]),
        pd.Series([1]),
    ):
        with pytest.raises(errors.ImportFailed):
            db.from_dataframe(wrong, "u")
        assert not db.table_exists("u")
    with pytest.raises(errors.InvalidIdentifier):
        db.from_dataframe(pd.DataFrame({"ü" * 40: [1]}), "u")


def test_an_array_in_each_row(db):
    df = pd.DataFrame({"a": [np.arange(3), np.arange(3.0)]})
    db.from_dataframe(df, "t")
    first, second = db.to_dataframe("t")["a"]
    assert (first.dtype, second.dtype) == ("int64", "float64")
    np.testing.assert_array_equal(first, np.arange(3))


def test_inside_a_transaction(db):
    df = pd.DataFrame({"a": [1, 2]})
    with db.transaction():
        db.from_dataframe(df, "t")
        assert_frame_equal(db.to_dataframe("t"), df)
        with pytest.raises(errors.ColumnNotFound):
            db.from_dataframe(df.rename(columns={"a": "b"}), "t", "append")
        db.from_dataframe(df, "t", "replace")
    assert db.count("t") == 2


def test_a_large_frame_is_not_copied_as_a_whole(db):
    df = pd.DataFrame({"i": np.arange(60_000), "t": [f"{i}{'x' * 200}" for i in range(60_000)]})
    tracemalloc.start()
    assert db.from_dataframe(df, "t") == 60_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25_000_000
    assert_frame_equal(db.to_dataframe("t", order_by="i"), df)


def test_text_in_a_date_column_of_another_program(db, engine_name):
    if engine_name != "sqlite":
        pytest.skip("only SQLite lets another type into a column")
    db.create_table("t", {"i": "INTEGER", "s": "DATETIME"})
    db.execute("INSERT INTO t VALUES ('many', 'yesterday'), (1, '2024-01-01')")
    df = db.to_dataframe("t")
    assert df["i"].tolist() == ["many", 1]
    assert df["s"].tolist() == ["yesterday", datetime(2024, 1, 1)]


def test_a_result_is_typed_like_its_query(typed):
    sql = "SELECT * FROM t WHERE id <= ? ORDER BY id"
    for most in (0, 2, 3):
        expected = typed.to_dataframe(sql, [most])
        assert_frame_equal(typed.execute(sql, [most]).to_dataframe(), expected)
    big = typed.execute("SELECT 9007199254740993 AS n UNION ALL SELECT NULL ORDER BY n").to_dataframe()
    assert big["n"].dropna().tolist() == [9007199254740993]


def test_columns_of_one_name_are_refused(db):
    for sql in ("SELECT 1 AS a, 2 AS a", "SELECT 1 AS a, 2 AS a, 3 AS a ORDER BY 1"):
        for read in (db.to_dataframe, db.query, lambda text: list(db.stream(text))):
            with pytest.raises(errors.InvalidQuery, match="'a'"):
                read(sql)
    assert db.query('SELECT 1 AS "a:1"') == [{"a:1": 1}]
    assert list(db.stream('SELECT 1 AS "a:1"')) == [{"a:1": 1}]


@pytest.mark.parametrize("late", [0, 499, 500, 1700])
def test_a_value_that_comes_late_changes_no_other(db: Database, engine_name: str, late: int) -> None:
    if engine_name != "sqlite":
        pytest.skip("PostgreSQL keeps to the declared types")
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "i": "BIGINT", "f": "REAL", "b": bool, "s": "TEXT"})
    rows: list[dict[str, Any]] = [
        {
            "id": number,
            "i": None if number % 7 == 3 else number,
            "f": None if number % 7 == 4 else number / 4,
            "b": None if number % 7 == 5 else number % 2 == 0,
            "s": None if number % 7 == 6 else str(number),
        }
        for number in range(1800)
    ]
    db.insert_many("t", rows)
    plain = db.to_dataframe("t", order_by="id")
    assert [str(plain[name].dtype) for name in plain] == ["int64", "Int64", "float64", "boolean", "str"]
    for name in ("i", "b", "s"):
        assert [None if pd.isna(value) else value for value in plain[name]] == [row[name] for row in rows]
    assert plain["f"].isna().sum() == sum(row["f"] is None for row in rows)
    with db.engine.begin() as bare:
        bare.exec_driver_sql("UPDATE t SET i = 'x', f = 'y', b = 'z', s = x'00' WHERE id = ?", (late,))
    rows[late].update(i="x", f="y", b="z", s=b"\0")
    mixed = db.to_dataframe("t", order_by="id")
    for name in ("i", "f", "b", "s"):
        assert mixed[name].dtype == object
        assert [(type(value), value) for value in mixed[name]] == [
            (type(row[name]), row[name]) for row in rows
        ]


def test_from_dataframe_takes_polars_too(db):
    import polars as pl

    frame = pl.DataFrame({"a": [1, None], "b": ["x", "y"]})
    assert db.from_dataframe(frame, "t") == 2
    assert db.from_dataframe(frame, "t", if_exists="append") == 2
    assert db.select("t") == frame.to_dicts() * 2
    with pytest.raises(errors.ImportFailed, match=r"not pandas's Series"):
        db.from_dataframe(pd.Series([1]), "s")


def test_a_column_named_nan_by_pandas_has_no_name(db):
    with pytest.raises(errors.ImportFailed, match="has no name"):
        db.from_dataframe(pd.DataFrame([[1, 2]], columns=[None, "a"]), "t")
    assert db.list_tables() == []


def test_moments_with_and_without_a_zone_in_one_column_are_told_apart(db):
    mixed = pd.DataFrame(
        {"c": [pd.Timestamp("2020-01-01", tz="UTC"), pd.Timestamp("2020-01-01")]}, dtype=object
    )
    with pytest.raises(errors.ImportFailed, match=r"TIMESTAMP\) and .*TIMESTAMPTZ\)"):
        db.from_dataframe(mixed, "t")


ARRAYS = {
    "id": "INTEGER PRIMARY KEY",
    "i": "INTEGER",
    "k": "SMALLINT",
    "f": "REAL",
    "t": "TEXT",
    "c": "CHAR(5)",
    "b": "BOOLEAN",
    "s": "TIMESTAMP",
    "z": "TIMESTAMPTZ",
}
MANY = [
    {
        "id": number,
        "i": (number - 30_000) * 2**47,
        "k": number % 100 - 50,
        "f": number / 7,
        "t": f"ü{number}\n" * (number % 5),
        "c": "ab   ",
        "b": number % 3 == 0,
        "s": datetime(1, 1, 1) + timedelta(days=number, microseconds=1),
        "z": datetime(1900, 1, 1, tzinfo=UTC) + timedelta(hours=number),
    }
    for number in range(30_000)
]


@pytest.mark.parametrize(
    "nulls", [[], [29_999], [0, 15_000], range(30_000)], ids=["no", "last", "some", "all"]
)
def test_whole_columns_make_the_same_frame(
    db: Database, nulls: Iterable[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an engine hands over columns, they are what values one by one would have made."""
    db.create_table("t", ARRAYS)
    db.insert_many("t", MANY)
    db.execute("CREATE TABLE void AS SELECT * FROM t WHERE 1 = 0")
    without = [{"id": number} | dict.fromkeys(list(ARRAYS)[1:]) for number in nulls]
    if without:
        db.upsert_many("t", without)
    found = {sql: db.to_dataframe(sql) for sql in ("t", "SELECT * FROM t WHERE id < 2", "void")}
    monkeypatch.setattr(frames, "_arrays", lambda *_: None)
    for sql, frame in found.items():
        assert_frame_equal(frame, db.to_dataframe(sql))
    # A frame is its owner's: nothing of it may be read-only.
    found["t"].loc[0, ["f", "t"]] = 0.25, "new"
    found["t"].loc[0, "s"] = datetime(2024, 1, 1)
    assert found["t"].loc[0, "f"] == 0.25


def test_a_frame_that_is_read_is_recorded_with_its_rows(db: Database) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "x": "REAL"})
    db.insert_many("t", ({"id": number, "x": 0.5} for number in range(1_234)))
    for _ in range(40):
        db.to_dataframe("t")
    (found,) = [
        query
        for query in db.slow_queries(limit=None, source="process")
        if query.process is not None and query.process.rows == 40 * 1_234
    ]
    assert found.calls == 40
