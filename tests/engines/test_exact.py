"""Any schema and any values, out and in again in every form: the same, or refused before a row is written."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import errors
from holdfast.core import frames
from holdfast.errors import Error, ImportFailed, NotSupported, ValueRefused

NAMES = [
    "a",
    "B",
    "select",
    "a b",
    'q"q',
    "é",
    "x.y",
    "n%s",
    "who?",
    "c:d",
    "$1",
    "back\\",
    "a,b",
    "tab\tname",
    "line\nname",
    "'",
    " ",
    "índex",
    "%",
    "{}",
    "NULL",
    "1",
]
OPTIONS: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}
FORMS = ("csv", "tsv", "jsonl", "json", "parquet", "feather")

texts = st.sampled_from(
    [
        "",
        "NULL",
        "null",
        "NA",
        "nan",
        "None",
        "007",
        "+1",
        "1e5",
        "a\r\nb",
        "\n",
        "\r",
        '"',
        '""',
        "'",
        ",",
        "\t",
        "\\",
        "\\N",
        "\\x",
        "\\x00",
        "\ufeff",
        "\u2028",
        "🌊👩‍👩‍👧",
        "e\u0301",
        " a ",
        "=1+1",
        "{}",
        "[]",
        "\x1a",
        "\x7f",
        "9223372036854775808",
        "%s",
        "?",
        "x\n🌊," * 150_000,
    ]
) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
integers = st.sampled_from([0, 1, -1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63)]) | st.integers(
    -(2**63), 2**63 - 1
)
small = st.sampled_from([0, -1, 2**15 - 1, -(2**15)])
floats = (
    st.sampled_from(
        [
            0.0,
            -0.0,
            1.0,
            0.1 + 0.2,
            5e-324,
            1.7976931348623157e308,
            1e22,
            math.inf,
            -math.inf,
            math.nan,
            2.0**53 + 2,
        ]
    )
    | st.floats()
)
decimals = st.sampled_from(
    [
        Decimal(text)
        for text in (
            "0",
            "-1.500",
            "1E+3",
            "0.001",
            "99999.999",
            "12345678901234567890123456789012345.12345",
            "0.12345678901234567890123456789",
            "1" * 60,
            "-0",
            "1E-20",
        )
    ]
) | st.decimals(-99_999, 99_999, places=3, allow_nan=False)
dates = st.sampled_from([date(1, 1, 1), date(9999, 12, 31), date(1970, 1, 1)]) | st.dates()
times = st.sampled_from([time(0), time(23, 59, 59, 999999), time(12, 0, 0, 1)]) | st.times()
moments = st.sampled_from(
    [
        datetime(1, 1, 1),
        datetime(9999, 12, 31, 23, 59, 59, 999999),
        datetime(1969, 12, 31, 23, 59, 59, 999999),
    ]
) | st.datetimes().flatmap(lambda at: st.sampled_from([at, at.replace(microsecond=0)]))
aware = moments.map(lambda at: at.replace(tzinfo=UTC))
leaves = (
    st.none()
    | st.booleans()
    | integers
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.just(10**40)
)
documents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
arrays = st.sampled_from(
    [
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.array([], "f8"),
        np.array([1.5, np.nan]),
        np.array(["2024-01-02"], "M8[ns]"),
    ]
)
blobs = st.sampled_from([b"", b"\0\xff", b"\\x00", b"\x93HF"]) | st.binary(max_size=9)

# The types that Holdfast makes on every engine.
TYPES: dict[str, st.SearchStrategy[Any]] = {
    "INTEGER": integers,
    "SMALLINT": small,
    "TINYINT": integers,
    "REAL": floats,
    "FLOAT4": floats,
    "DOUBLE PRECISION": floats,
    "NUMERIC": decimals,
    "NUMERIC(12,3)": decimals,
    "NUMERIC(40,5)": decimals,
    "DECIMAL(5)": decimals,
    "BOOLEAN": st.booleans(),
    "TEXT": texts,
    "VARCHAR(20)": texts,
    "CHAR(3)": st.sampled_from(["abc", "   ", "a  ", "é🌊\n", "007", '"""']),
    "CHAR": st.sampled_from(["a", " ", "\n"]),
    "DATE": dates,
    "TIME": times,
    "TIMESTAMP": moments,
    "TIMESTAMP(3)": moments.map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)),
    "DATETIME": moments,
    "TIMESTAMPTZ": aware,
    "TIMESTAMPTZ(0)": aware.map(lambda at: at.replace(microsecond=0)),
    "JSON": documents,
    "JSONB": documents,
    "BLOB": blobs | arrays,
    "UUID": st.uuids() | st.sampled_from([UUID(int=0), UUID(int=2**128 - 1)]),
}
# Others that tables of other programs have, with literals for what goes in.
anything = integers.map(str) | st.sampled_from(
    [
        "0.5",
        "1e999",
        "-0.0",
        "9e18",
        "'a'",
        "''",
        "'1'",
        "'1.0'",
        "x''",
        "x'00ff'",
        "x'5c783030'",
        "CAST(x'610062' AS TEXT)",
        "'2024-01-02'",
        "'2024-01-02 03:04:05'",
        "'no date'",
        "'{\"a\": 1}'",
        "'{'",
        "'\\x00'",
        "1",
        "0",
        "'true'",
        "'NaN'",
        "'Infinity'",
        "CAST(x'ff' AS TEXT)",
        "'2024-01-02T03:04:05Z'",
    ]
)
THEIRS: dict[str, dict[str, st.SearchStrategy[str]]] = {
    "sqlite": dict.fromkeys(
        [
            "",
            "ANY",
            "STRING",
            "INTERVAL",
            "INTEGER",
            "REAL",
            "NUMERIC",
            "NUMERIC(9,2)",
            "TEXT",
            "BOOLEAN",
            "DATE",
            "TIME",
            "TIMESTAMP",
            "TIMESTAMPTZ",
            "JSON",
            "BLOB",
            "UUID",
        ],
        anything,
    ),
    "postgres": {
        "real": st.sampled_from(["0.1", "-0.0", "'NaN'", "'-Infinity'", "1e-45", "3.4028235e38", "16777217"]),
        "integer": st.sampled_from(["2147483647", "-2147483648", "0"]),
        "smallint": st.sampled_from(["32767", "-32768"]),
        "numeric": st.sampled_from(["1.50", "0", "'NaN'", "'Infinity'", "1e60", "0.000"]),
        "numeric(4,6)": st.sampled_from(["0.001234", "0"]),
        "numeric(3,-2)": st.sampled_from(["12300", "0"]),
        "json": st.sampled_from(
            ['\'{"b": 1.0, "a": [1e2]}\'', "'null'", "' \"x\"'", '\'{"a":1,"a":2}\'', "'1'"]
        ),
        "jsonb": st.sampled_from(["'null'", "'1.50'", "'1e400'", "'\"\"'", "'[0.1234567890123456789]'"]),
        "text[]": st.sampled_from(["'{}'", "'{a,NULL}'"]),
        "interval": st.sampled_from(["'1 day'", "'1 month'"]),
        "inet": st.sampled_from(["'127.0.0.1'", "'10.0.0.0/8'"]),
        "int4range": st.just("'[1,4)'"),
        "bpchar": st.sampled_from(["'a '", "''"]),
        "char(5)": st.sampled_from(["'a'", "'abcde'"]),
        "date": st.sampled_from(["'2024-01-02'", "'infinity'", "'0044-03-15 BC'", "'20000-01-01'"]),
        "timestamp": st.sampled_from(["'2024-01-02 03:04:05.5'", "'-infinity'", "'20000-01-01'"]),
        "timestamptz": st.sampled_from(["'2024-01-02 03:04:05+02'", "'infinity'"]),
        "time": st.sampled_from(["'24:00:00'", "'00:00:00.000001'"]),
        "timetz": st.just("'03:04:05+02'"),
        "bytea": st.sampled_from(["''", "'\\x00ff'"]),
        "uuid": st.just("'00000000-0000-0000-0000-000000000000'"),
        "bit(3)": st.just("'101'"),
        "money": st.just("'1.50'"),
        "oid": st.just("4294967295"),
        "name": st.just("'abc'"),
        "xml": st.just("'<a/>'"),
        "point": st.just("'(1,2)'"),
    },
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, str], list[dict[str, Any]]]:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique_by=str.lower))
    types = {name: draw(st.sampled_from(sorted(TYPES))) for name in names}
    row = st.fixed_dictionaries({name: st.none() | TYPES[types[name]] for name in names})
    return types, draw(st.lists(row, max_size=5))


@st.composite
def foreign_tables(draw: st.DrawFn, kind: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    known = THEIRS[kind]
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique_by=str.lower))
    types = {name: draw(st.sampled_from(sorted(known))) for name in names}
    row = st.fixed_dictionaries({name: st.just("NULL") | known[types[name]] for name in names})
    return types, draw(st.lists(row, max_size=4))


def make(db: holdfast.Database, name: str, types: dict[str, str], *, theirs: bool) -> None:
    db.drop_table(name, if_exists=True)
    if not theirs:
        db.create_table(name, {"id": "INTEGER PRIMARY KEY", **types})
        return
    columns = ", ".join(f"{quoted(column)} {type_}" for column, type_ in types.items())
    db.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, {columns})")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""').replace("?", "??") + '"'


def fill(db: holdfast.Database, types: dict[str, str], rows: list[dict[str, Any]], *, theirs: bool) -> None:
    """What one engine does not take is none of this test's business."""
    make(db, "t", types, theirs=theirs)
    for number, row in enumerate(rows):
        for name, value in row.items():
            if value is None or (theirs and value == "NULL"):
                continue
            try:
                if theirs:
                    literal = value.replace("?", "??")
                    column = quoted(name)
                    db.execute(
                        f"INSERT INTO t (id, {column}) VALUES ({number}, {literal}) "
                        f"ON CONFLICT (id) DO UPDATE SET {column} = excluded.{column}"
                    )
                else:
                    db.upsert("t", {"id": number, name: value})
            except Error as exc:
                assert theirs or isinstance(exc, ValueRefused), exc  # noqa: PT017


def plain(value: Any) -> Any:
    """What tells apart whatever is not the same."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, Decimal):
        return Decimal, value if value.is_finite() else repr(value)
    return type(value), repr(value)


def read(db: holdfast.Database, table: str) -> list[list[tuple[str, Any]]]:
    rows = db.select(table, order_by="id")
    return [[(name, plain(value)) for name, value in row.items()] for row in rows]


def as_numbers(rows: list[list[tuple[str, Any]]]) -> list[list[tuple[str, Any]]]:
    """Whole and other numbers in a column without a type are equal floats where a column has one type."""
    return [
        [(name, (float, repr(float(value[1]))) if value[0] is int else value) for name, value in row]
        for row in rows
    ]


def wanted_of(db: holdfast.Database) -> list[list[tuple[str, Any]]] | None:
    """The rows of ``t``; ``None`` if Python has no values for them, as for a date of infinity."""
    try:
        return read(db, "t")
    except Error:
        return None


def through_a_file(db: holdfast.Database, path: Path, types: dict[str, str], *, theirs: bool) -> bool:
    wanted = wanted_of(db)
    path.write_bytes(b"before")
    try:
        db.export("t", path, order_by="id")
    except Error as exc:
        event(f"{path.suffixes[0]}: {exc}"[:60])
        assert path.read_bytes() == b"before"
        assert [found for found in path.parent.iterdir() if found.name.endswith(".tmp")] == []
        assert wanted is None or isinstance(exc, NotSupported), exc  # noqa: PT017
        return False
    assert wanted is not None
    make(db, "copy", types, theirs=theirs)
    try:
        db.load("copy", path)
    except ImportFailed:
        # Values that are none of their column's type are in the file, which any other table may read.
        assert theirs
        assert db.count("copy") == 0
        return False
    found = read(db, "copy")
    if theirs and path.suffix in (".parquet", ".feather"):
        found, wanted = as_numbers(found), as_numbers(wanted)
    assert found == wanted
    return True


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("examples", [8, pytest.param(150, marks=pytest.mark.long)])
def test_any_table_comes_back_from_any_file(
    db: holdfast.Database, tmp_path: Path, form: str, examples: int
) -> None:
    packed = st.sampled_from(["", "", ".gz", ".zst"]) if form not in ("parquet", "feather") else st.just("")

    @settings(max_examples=examples, derandomize=examples < 100, **OPTIONS)
    @given(tables(), packed)
    def check(table: tuple[dict[str, str], list[dict[str, Any]]], packing: str) -> None:
        types, rows = table
        fill(db, types, rows, theirs=False)
        path = tmp_path / f"t.{form}{packing}"
        if through_a_file(db, path, types, theirs=False):
            through_a_new_table(db, path, types, theirs=False)

    check()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("examples", [8, pytest.param(150, marks=pytest.mark.long)])
def test_tables_of_other_programs_come_back_from_any_file(
    db: holdfast.Database, engine_name: str, tmp_path: Path, form: str, examples: int
) -> None:
    kind = "sqlite" if engine_name == "sqlite" else "postgres"

    @settings(max_examples=examples, derandomize=examples < 100, **OPTIONS)
    @given(foreign_tables(kind))
    def check(table: tuple[dict[str, str], list[dict[str, str]]]) -> None:
        types, rows = table
        fill(db, types, rows, theirs=True)
        through_a_file(db, tmp_path / f"t.{form}", types, theirs=True)

    check()


def through_a_new_table(db: holdfast.Database, path: Path, types: dict[str, str], *, theirs: bool) -> None:
    """Parquet and Feather say the types; the others are the same again once the types are told."""
    wanted = read(db, "t")
    db.drop_table("made", if_exists=True)
    try:
        db.load("made", path)
    except (ImportFailed, ValueRefused) as exc:
        event(f"new table, {path.suffixes[0]}: {str(exc).partition('column')[2]}"[:60])
        assert not db.table_exists("made")
        return
    if path.suffix in (".parquet", ".feather"):
        assert read(db, "made") == wanted
        return
    db.export("made", path, order_by="id")
    db.delete("copy", all_rows=True)
    db.load("copy", path)
    assert read(db, "copy") == wanted


def without_nan(rows: list[list[tuple[str, Any]]]) -> list[list[tuple[str, Any]]]:
    """A frame of pandas has one mark for NaN and for what is missing."""
    null = plain(None)
    return [[(name, null if value == (float, "nan") else value) for name, value in row] for row in rows]


def through_pandas(db: holdfast.Database, table: str) -> None:
    db.from_dataframe(db.to_dataframe("t", order_by="id"), table, if_exists="append")


def through_arrow(db: holdfast.Database, table: str) -> None:
    db.from_arrow(db.to_arrow("t", order_by="id"), table, if_exists="append")


def through_rows_of_arrow(db: holdfast.Database, table: str) -> None:
    db.insert_many(table, db.to_arrow("t", order_by="id"))


def through_polars(db: holdfast.Database, table: str) -> None:
    db.insert_many(table, db.to_polars("t", order_by="id"))


@pytest.mark.parametrize("through", [through_pandas, through_arrow, through_polars, through_rows_of_arrow])
@pytest.mark.parametrize("examples", [8, pytest.param(150, marks=pytest.mark.long)])
def test_any_table_comes_back_from_any_frame(db: holdfast.Database, through: Any, examples: int) -> None:
    @settings(max_examples=examples, derandomize=examples < 100, **OPTIONS)
    @given(tables())
    def check(table: tuple[dict[str, str], list[dict[str, Any]]]) -> None:
        types, rows = table
        fill(db, types, rows, theirs=False)
        wanted = read(db, "t")
        if through is through_pandas:
            wanted = without_nan(wanted)
        make(db, "copy", types, theirs=False)
        try:
            through(db, "copy")
        except NotSupported as exc:
            event(str(exc)[:60])
            assert db.count("copy") == 0
            return
        assert without_nan(read(db, "copy")) == without_nan(wanted)

    check()


MILLION = 1_000_000
LATE = {
    "INTEGER": (2**63 - 1, "int64", "Int64"),
    "BOOLEAN": (True, "bool", "boolean"),
    "REAL": (0.5, "double", "float64"),
    "NUMERIC(12,3)": (Decimal("1.500"), "decimal128(12, 3)", "object"),
    "TIMESTAMP": (datetime(9999, 12, 31), "timestamp[us]", "datetime64[us]"),
    "DATE": (date(1, 1, 1), "date32[day]", "object"),
    "BLOB": (b"\0", "binary", "object"),
    "TEXT": ("007", "string", "str"),
}


@pytest.mark.long
def test_a_million_nulls_first_change_no_type(
    db: holdfast.Database, engine_name: str, tmp_path: Path
) -> None:
    """Declared types rule: what a column holds in its first rows says nothing."""
    columns = {f"c{place}": type_ for place, type_ in enumerate(LATE)}
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", **columns})
    if engine_name == "sqlite":
        numbers = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i FROM n"
        )
    else:
        numbers = "SELECT generate_series(1, ?::bigint)"
    db.execute(f"INSERT INTO t (id) {numbers}", [MILLION])
    last = {"id": MILLION + 1, **dict(zip(columns, (value for value, _, _ in LATE.values()), strict=True))}
    db.insert("t", last)

    table = db.to_arrow("t", order_by="id")
    assert [str(table.schema.field(name).type) for name in columns] == [
        arrow for _, arrow, _ in LATE.values()
    ]
    assert table.slice(MILLION).to_pylist() == [last]
    assert db.to_polars("t", order_by="id").row(MILLION, named=True) == last
    del table
    assert db.export("t", tmp_path / "t.parquet", order_by="id") == MILLION + 1
    assert db.load("copy", tmp_path / "t.parquet") == MILLION + 1
    assert db.get_columns("copy")[1:] == db.get_columns("t")[1:]
    assert [db.find_one("copy", where={"id": MILLION + 1}), db.count("copy", where={"c0": None})] == [
        last,
        MILLION,
    ]

    frame = db.to_dataframe("t", order_by="id")
    assert [str(frame.dtypes[name]) for name in columns] == [pandas for _, _, pandas in LATE.values()]
    assert frame["c0"].iloc[-1] == 2**63 - 1
    del frame
    streamed = db.stream("t", order_by="id")
    assert next(streamed) == {"id": 1, **dict.fromkeys(columns)}
    for row in streamed:
        found = row
    assert found == last


def test_text_that_is_no_text_locks_nothing_and_is_not_told(db: holdfast.Database, engine_name: str) -> None:
    if engine_name != "sqlite":
        pytest.skip("PostgreSQL takes no such text")
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "a b": "TEXT"})
    db.execute("INSERT INTO t VALUES (1, CAST(? AS TEXT))", [b"\xffsecret"])
    held = []
    for read in (
        lambda: db.select("t"),
        lambda: db.get("t", 1),
        lambda: db.query("SELECT * FROM t"),
        lambda: db.execute("SELECT * FROM t"),
        lambda: db.paginate("t", order_by="id"),
    ):
        with pytest.raises(
            errors.DatabaseError, match=r"column 'a b' holds text that is not UTF-8"
        ) as caught:
            read()
        assert "secret" not in str(caught.value)
        held.append(caught)
    db.drop_table("t")


def test_text_of_arrow_data_in_a_json_column_is_json(db: holdfast.Database) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "j": "JSON"})
    texts = pa.table({"id": list(range(30)), "j": ['{"a": [1]}'] * 29 + ["no JSON"]})
    with pytest.raises(ValueRefused, match=r"row 30: column 'j': the text is no JSON"):
        db.insert_many("t", texts)
    assert db.count("t") == 0
    db.insert_many("t", texts.slice(0, 29))
    assert db.get("t", 28) == {"id": 28, "j": {"a": [1]}}


def test_a_frame_goes_into_a_table_as_columns(db: holdfast.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "x": "REAL", "a b": "TEXT"})
    frame = pd.DataFrame({"x": np.arange(5_000) / 7, "a b": "ü"})
    frame.index.name = "id"
    monkeypatch.setattr(frames, "pandas_values", None if db.engine.name != "sqlite" else frames.pandas_values)
    assert db.from_dataframe(frame, "t", if_exists="append") == 5_000
    assert db.get("t", 4_999) == {"id": 4_999, "x": 4_999 / 7, "a b": "ü"}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("type_", "literal"),
    [
        ("TEXT", "x'00'"),
        ("STRING", "1e999"),
        ("BLOB", "'\\x00'"),
        ("REAL", "'Infinity'"),
        ("BOOLEAN", "'true'"),
        ("TIMESTAMP", "x'00'"),
        ("NUMERIC", "'NaN'"),
        ("JSON", "x'00'"),
        ("JSON", "1e999"),
    ],
)
def test_what_a_file_would_change_is_refused(
    db: holdfast.Database, engine_name: str, tmp_path: Path, form: str, type_: str, literal: str
) -> None:
    if engine_name != "sqlite":
        pytest.skip("columns of PostgreSQL hold what their types say")
    make(db, "t", {"a": type_}, theirs=True)
    db.execute(f"INSERT INTO t VALUES (1, {literal})")
    path = tmp_path / f"t.{form}"
    with pytest.raises(NotSupported, match="column 'a' holds a"):
        db.export("t", path)
    assert not path.exists()


@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_digits_beyond_a_float_make_a_numeric_column(
    db: holdfast.Database, engine_name: str, tmp_path: Path, form: str
) -> None:
    path = tmp_path / f"t.{form}"
    rows = '{"f": 0.10000000000000001, "n": 0.12345678901234567890123}', '{"f": 1.5, "n": 0.5}'
    path.write_text("\n".join(rows) if form == "jsonl" else f"[{','.join(rows)}]")
    if engine_name == "sqlite":
        with pytest.raises(ImportFailed, match="more digits than SQLite keeps"):
            db.load("t", path)
        assert not db.table_exists("t")
        return
    db.load("t", path)
    wanted = [(0.1, Decimal("0.12345678901234567890123")), (1.5, Decimal("0.5"))]
    assert sorted(tuple(row.values()) for row in db.select("t")) == wanted


def test_a_number_beyond_all_decimals_is_named(db: holdfast.Database, tmp_path: Path) -> None:
    db.create_table("t", {"n": "NUMERIC"})
    (tmp_path / "t.jsonl").write_text('{"n": 1e99999999999999999999}')
    with pytest.raises(ImportFailed, match="line 1"):
        db.load("t", tmp_path / "t.jsonl")
