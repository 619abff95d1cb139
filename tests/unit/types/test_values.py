"""Every (value, type, storage) comes back equal or is refused; SQLite is asked itself."""

from __future__ import annotations

import datetime as dt
import enum
import sqlite3
import traceback
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from holdfast.errors import ValueRefused
from holdfast.types import Codec, Storage, TypeMap

NAN, INF = float("nan"), float("inf")
UTC = dt.UTC
CET = dt.timezone(dt.timedelta(hours=1))
U = UUID("12345678-1234-5678-1234-567812345678")
NOON = dt.datetime(2024, 5, 6, 12, 0, 0)
FINE = dt.datetime(2024, 5, 6, 12, 0, 0, 120)
DAY = dt.date(2024, 5, 6)
HOUR = dt.time(12, 30)
REFUSED = "refused"

PORTABLE, NATIVE = TypeMap(Storage.PORTABLE), TypeMap(Storage.NATIVE)


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Plain(str, enum.Enum):  # noqa: UP042 - str() of it differs from StrEnum's
    RED = "red"


# (type, value, what comes back on both | REFUSED)
BOTH: list[tuple[str, Any, Any]] = [
    ("BIGINT", 5, 5),
    ("BIGINT", True, 1),
    ("BIGINT", 2**63 - 1, 2**63 - 1),
    ("BIGINT", -(2**63), -(2**63)),
    ("BIGINT", 3.0, 3),
    ("BIGINT", 2.0**53, 2**53),
    ("BIGINT", 2.0**54, REFUSED),
    ("BIGINT", 1.5, REFUSED),
    ("BIGINT", NAN, REFUSED),
    ("BIGINT", INF, REFUSED),
    ("BIGINT", "abc", REFUSED),
    ("BIGINT", "5", REFUSED),
    ("BIGINT", Decimal("7"), 7),
    ("BIGINT", Decimal("7.5"), REFUSED),
    ("BIGINT", Decimal("1E+999999"), REFUSED),
    ("BIGINT", Decimal("sNaN"), REFUSED),
    ("BIGINT", np.int32(4), 4),
    ("BIGINT", np.uint64(2**64 - 1), REFUSED),
    ("BIGINT", np.float32(2.0), 2),
    ("BIGINT", np.timedelta64(5, "ns"), REFUSED),
    ("BIGINT", Level.HIGH, 3),
    ("BIGINT", pd.NA, None),
    ("BIGINT", [1], REFUSED),
    ("SMALLINT", 32767, 32767),
    ("SMALLINT", 32768, REFUSED),
    ("DOUBLE PRECISION", 0.1, 0.1),
    ("DOUBLE PRECISION", 0.0, 0.0),
    ("DOUBLE PRECISION", 1, 1.0),
    ("DOUBLE PRECISION", 2**53 + 1, REFUSED),
    ("DOUBLE PRECISION", 10**400, REFUSED),
    ("DOUBLE PRECISION", INF, INF),
    ("DOUBLE PRECISION", -INF, -INF),
    ("DOUBLE PRECISION", 5e-324, 5e-324),
    ("DOUBLE PRECISION", np.float32(0.1), float(np.float32(0.1))),
    ("DOUBLE PRECISION", np.float16(0.5), 0.5),
    ("DOUBLE PRECISION", np.longdouble("0.5"), 0.5),
    ("DOUBLE PRECISION", np.longdouble(1) / 3, REFUSED),
    ("DOUBLE PRECISION", Decimal("0.5"), 0.5),
    ("DOUBLE PRECISION", Decimal("0.1"), REFUSED),
    ("DOUBLE PRECISION", "0.5", REFUSED),
    ("DOUBLE PRECISION", 1j, REFUSED),
    ("FLOATING POINT", 4.0, 4.0),
    ("TEXT", "", ""),
    ("TEXT", "007", "007"),
    ("TEXT", "größe 🎈", "größe 🎈"),
    ("TEXT", "a\0b", REFUSED),
    ("TEXT", "é\0", REFUSED),
    ("TEXT", "\ud800", REFUSED),
    ("TEXT", 5, REFUSED),
    ("TEXT", NOON, REFUSED),
    ("TEXT", {"a": 1}, REFUSED),
    ("TEXT", b"x", REFUSED),
    ("TEXT", np.str_("x"), "x"),
    ("TEXT", Colour.RED, "red"),
    ("TEXT", Plain.RED, "red"),
    ("TEXT", np.zeros(2), REFUSED),
    ("VARCHAR(3)", "äbc", "äbc"),
    ("VARCHAR(3)", "ab  ", REFUSED),
    ("CHAR(3)", "abc", "abc"),
    ("CHAR(3)", "ab", REFUSED),
    ("CHAR(3)", "abcd", REFUSED),
    ("BOOLEAN", True, True),
    ("BOOLEAN", 0, False),
    ("BOOLEAN", np.bool_(True), True),
    ("BOOLEAN", 2, REFUSED),
    ("BOOLEAN", "true", REFUSED),
    ("BOOLEAN", 1.0, REFUSED),
    ("NUMERIC(10,2)", Decimal("1.50"), Decimal("1.50")),
    ("NUMERIC(10,2)", Decimal("3"), Decimal("3.00")),
    ("NUMERIC(10,2)", 2, Decimal("2.00")),
    ("NUMERIC(10,2)", 0.1, Decimal("0.10")),
    ("NUMERIC(10,2)", np.float64(0.1), Decimal("0.10")),
    ("NUMERIC(10,2)", Decimal("1.505"), REFUSED),
    ("NUMERIC(10,2)", Decimal("123456789"), REFUSED),
    ("NUMERIC(10,2)", Decimal("99999999.99"), Decimal("99999999.99")),
    ("NUMERIC(10,2)", Decimal("NaN"), REFUSED),
    ("NUMERIC(10,2)", Decimal("sNaN"), REFUSED),
    ("NUMERIC(10,2)", INF, REFUSED),
    ("NUMERIC(10,2)", "1.5", REFUSED),
    ("NUMERIC(3,-2)", Decimal("12300"), Decimal("12300")),
    ("NUMERIC(3,-2)", Decimal("12310"), REFUSED),
    ("NUMERIC(2,4)", Decimal("0.0012"), Decimal("0.0012")),
    ("NUMERIC(2,4)", Decimal("0.0123"), REFUSED),
    ("NUMERIC", Decimal("0"), Decimal("0")),
    ("NUMERIC", 2**63 - 1, Decimal(2**63 - 1)),
    ("NUMERIC", Decimal("1E+21"), Decimal("1E+21")),
    ("NUMERIC", Decimal("1E+200000"), REFUSED),
    ("DATE", DAY, DAY),
    ("DATE", "2024-05-06", DAY),
    ("DATE", "20240506", REFUSED),
    ("DATE", "2024-13-01", REFUSED),
    ("DATE", "soon", REFUSED),
    ("DATE", NOON, REFUSED),
    ("DATE", np.datetime64("2024-05-06"), DAY),
    ("DATE", pd.NaT, None),
    ("DATE", dt.date.min, dt.date.min),
    ("TIME", HOUR, HOUR),
    ("TIME", dt.time(1, 2, 3, 4), dt.time(1, 2, 3, 4)),
    ("TIME", "12:30", HOUR),
    ("TIME", "noon", REFUSED),
    ("TIME", HOUR.replace(tzinfo=UTC), REFUSED),
    ("TIME(3)", dt.time(1, 2, 3, 4), REFUSED),
    ("TIMESTAMP", NOON, NOON),
    ("TIMESTAMP", FINE, FINE),
    ("TIMESTAMP", dt.datetime.min, dt.datetime.min),
    ("TIMESTAMP", dt.datetime.max, dt.datetime.max),
    ("TIMESTAMP", "2024-05-06T12:00:00", NOON),
    ("TIMESTAMP", "2024-05-06 12:00", NOON),
    ("TIMESTAMP", "2024-05-06", dt.datetime(2024, 5, 6)),
    ("TIMESTAMP", "2024-05-06T12:00:00Z", REFUSED),
    ("TIMESTAMP", NOON.replace(tzinfo=UTC), REFUSED),
    ("TIMESTAMP", DAY, REFUSED),
    ("TIMESTAMP", 5, REFUSED),
    ("TIMESTAMP", "2024", REFUSED),
    ("TIMESTAMP", "a\0", REFUSED),
    ("TIMESTAMP", pd.Timestamp("2024-05-06 12:00"), NOON),
    ("TIMESTAMP", pd.Timestamp("2024-05-06 12:00", tz="UTC"), REFUSED),
    ("TIMESTAMP", pd.Timestamp("2024-05-06 12:00:00.000000001"), REFUSED),
    ("TIMESTAMP", pd.NaT, None),
    ("TIMESTAMP", np.datetime64("2024-05-06T12:00:00", "ns"), NOON),
    ("TIMESTAMP", np.datetime64("2024-05-06T12:00:00", "s"), NOON),
    ("TIMESTAMP", np.datetime64(1, "ns"), REFUSED),
    ("TIMESTAMP", np.datetime64(30000, "Y"), REFUSED),
    ("TIMESTAMP", np.datetime64("2024-05-06", "D"), REFUSED),
    ("TIMESTAMP", np.datetime64("NaT"), None),
    ("TIMESTAMP(3)", FINE, REFUSED),
    ("TIMESTAMP(3)", NOON.replace(microsecond=5000), NOON.replace(microsecond=5000)),
    ("TIMESTAMPTZ", NOON.replace(tzinfo=CET), NOON.replace(tzinfo=CET)),
    ("TIMESTAMPTZ", FINE.replace(tzinfo=UTC), FINE.replace(tzinfo=UTC)),
    ("TIMESTAMPTZ", "2024-05-06T12:00:00Z", NOON.replace(tzinfo=UTC)),
    ("TIMESTAMPTZ", "2024-05-06T12:00:00", REFUSED),
    ("TIMESTAMPTZ", "soon", REFUSED),
    ("TIMESTAMPTZ", NOON, REFUSED),
    ("TIMESTAMPTZ", dt.datetime.min.replace(tzinfo=CET), REFUSED),
    ("TIMESTAMPTZ", dt.datetime.max.replace(tzinfo=dt.timezone(-dt.timedelta(hours=1))), REFUSED),
    ("TIMESTAMPTZ", pd.Timestamp("2024-05-06 12:00", tz="UTC"), NOON.replace(tzinfo=UTC)),
    ("BYTEA", b"\x00\xff", b"\x00\xff"),
    ("BYTEA", b"", b""),
    ("BYTEA", bytearray(b"ab"), b"ab"),
    ("BYTEA", memoryview(b"abc")[::2], b"ac"),
    ("BYTEA", memoryview(np.zeros(2)), REFUSED),
    ("BYTEA", "text", REFUSED),
    ("BYTEA", [1, 2], REFUSED),
    ("UUID", U, U),
    ("UUID", str(U), U),
    ("UUID", U.hex.upper(), U),
    ("UUID", "{" + str(U) + "}", U),
    ("UUID", "no", REFUSED),
    ("UUID", 5, REFUSED),
]  # fmt: skip

JSON_BOTH: list[tuple[Any, Any]] = [
    (value, value)
    for value in (
        {"a": [1, 2.5, None, True, {"b": "ü"}]},
        {},
        [],
        "",
        "5",
        '{"not": "parsed"}',
        "null",
        5,
        1.5,
        0.1,
        1.7976931348623157e308,
        True,
        False,
        2**63 - 1,
        [2**70],
        {"x": "back\\u0000slash"},
        {"big": [1e22, 1e23, 1.5e300, -1e16], "text": "1e+22"},
        {"small": [5e-324, 1e-7]},
        np.float64(0.5),
        np.int64(3),
        {"f": np.float64(0.5)},
    )
] + [
    (value, REFUSED)
    for value in (
        (1, 2),
        {"a": (1, 2)},
        {1: "a"},
        {"a": {None: 1}},
        {"a": NAN},
        [INF],
        NAN,
        {"a": "x\0"},
        {"x\0": 1},
        "\ud800",
        {"a": np.zeros(2)},
        {"a": np.int64(1)},
        {"a": NOON},
        {"a": Decimal(1)},
        {"a": {1, 2}},
        {"a": b"x"},
        NOON,
        b"{}",
        np.zeros(2),
    )
]

# (type, value, on SQLite, encoded for PostgreSQL)
APART: list[tuple[str, Any, Any, Any]] = [
    ("DOUBLE PRECISION", NAN, REFUSED, NAN),
    ("DOUBLE PRECISION", -0.0, REFUSED, -0.0),
    ("NUMERIC", Decimal("0.12345678901234567890"), REFUSED, Decimal("0.12345678901234567890")),
    ("NUMERIC", 2**63, REFUSED, Decimal(2**63)),
    ("TIMESTAMP", "soon", "soon", REFUSED),
    ("TIMESTAMP", "2025-0530-1234", "2025-0530-1234", REFUSED),
    ("TIMESTAMP", "2024-05-06 12:00:00.123456789", "2024-05-06 12:00:00.123456789", REFUSED),
    ("STRING", "007", REFUSED, "007"),
    ("STRING", "x7", "x7", "x7"),
    ("JSON", {"a": -0.0}, {"a": -0.0}, REFUSED),
    ("JSON", -0.0, REFUSED, REFUSED),
    ("JSON", 2**63, REFUSED, str(2**63)),
    ("", "007", "007", "007"),
    ("", 5, 5, 5),
    ("", 1.5, 1.5, 1.5),
    ("", NAN, REFUSED, NAN),
    ("", -0.0, REFUSED, -0.0),
    ("", b"x", b"x", b"x"),
    ("", True, 1, True),
    ("", NOON, REFUSED, NOON),
    ("", 2**63, REFUSED, 2**63),
    ("", "a\0", REFUSED, REFUSED),
    ("INTERVAL", " 1e3 ", REFUSED, " 1e3 "),
    ("INTERVAL", "1 day", "1 day", "1 day"),
    ("integer[]", [1, 2], REFUSED, [1, 2]),
    ("hstore", {"a": "b"}, REFUSED, '{"a":"b"}'),
]


@pytest.fixture(scope="module")
def sqlite() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    yield connection
    connection.close()


def encoded(codec: Codec, value: Any) -> Any:
    return value if value is None or type(value) in codec.passes else codec.encode(value)


def through_sqlite(connection: sqlite3.Connection, type_text: str, value: Any) -> Any:
    codec = PORTABLE.codec(type_text)
    bound = encoded(codec, value)
    connection.execute("DROP TABLE IF EXISTS t")
    connection.execute(f"CREATE TABLE t (v {type_text})")
    connection.execute("INSERT INTO t VALUES (?)", (bound,))
    (stored,) = connection.execute("SELECT v FROM t").fetchone()
    return codec.decode(stored) if codec.decode else stored


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, float) and expected != expected:
        return isinstance(found, float) and found != found
    return type(found) is type(expected) and found == expected and repr(found) == repr(expected)


def named(cases: list[Any]) -> list[Any]:
    return [pytest.param(*case, id=f"{i}-{case[0]!s:.20}") for i, case in enumerate(cases)]


@pytest.mark.parametrize(("type_text", "value", "expected"), named(BOTH))
def test_sqlite_brings_it_back_or_it_is_refused(
    sqlite: sqlite3.Connection, type_text: str, value: Any, expected: Any
) -> None:
    if expected is REFUSED:
        with pytest.raises(ValueRefused) as refusal:
            through_sqlite(sqlite, type_text, value)
        assert refusal.value.hint
        return
    if type_text == "TIMESTAMPTZ" and expected is not None:
        expected = expected.astimezone(UTC)
    found = through_sqlite(sqlite, type_text, value)
    assert type(found) is type(expected)
    assert found == expected
    if not type_text.startswith("NUMERIC(3,-2)") and expected != Decimal("1E+21"):
        assert str(found) == str(expected)


@pytest.mark.parametrize(("type_text", "value", "expected"), named(BOTH))
def test_postgres_is_given_an_equal_value_or_it_is_refused(type_text: str, value: Any, expected: Any) -> None:
    codec = NATIVE.codec(type_text)
    if expected is REFUSED:
        with pytest.raises(ValueRefused):
            encoded(codec, value)
        return
    found = encoded(codec, value)
    assert type(found) is type(expected) or type(value) in codec.passes
    assert found == expected


@pytest.mark.parametrize(("value", "expected"), named(JSON_BOTH))
@pytest.mark.parametrize("type_text", ["JSON", "JSONB"])
def test_json(sqlite: sqlite3.Connection, type_text: str, value: Any, expected: Any) -> None:
    if expected is REFUSED:
        for types in (PORTABLE, NATIVE):
            with pytest.raises(ValueRefused):
                types.codec(type_text).encode(value)
        return
    found = through_sqlite(sqlite, type_text, value)
    assert found == expected
    assert type(found) is type(expected) or isinstance(expected, np.generic)
    assert "e+" not in NATIVE.codec(type_text).encode(value).replace('"1e+22"', "")


@pytest.mark.parametrize(("type_text", "value", "on_sqlite", "on_postgres"), named(APART))
def test_where_the_engines_differ(
    sqlite: sqlite3.Connection, type_text: str, value: Any, on_sqlite: Any, on_postgres: Any
) -> None:
    if on_sqlite is REFUSED:
        with pytest.raises(ValueRefused):
            through_sqlite(sqlite, type_text, value)
    else:
        assert same(through_sqlite(sqlite, type_text, value), on_sqlite)
    if on_postgres is REFUSED:
        with pytest.raises(ValueRefused):
            encoded(NATIVE.codec(type_text), value)
    else:
        assert same(encoded(NATIVE.codec(type_text), value), on_postgres)


@pytest.mark.parametrize("type_text", sorted({case[0] for case in BOTH} | {"JSON", ""}))
@pytest.mark.parametrize("missing", [pd.NaT, pd.NA, np.datetime64("NaT"), np.timedelta64("NaT")])
def test_missing_values_are_null(type_text: str, missing: Any) -> None:
    for types in (PORTABLE, NATIVE):
        assert types.codec(type_text).encode(missing) is None
        decode = types.codec(type_text).decode
        assert decode is None or decode(None) is None


def test_no_message_holds_the_value() -> None:
    secret = "s3cret-918273"
    for types in (PORTABLE, NATIVE):
        for type_text in ("BIGINT", "REAL", "VARCHAR(2)", "CHAR(2)", "BOOLEAN", "NUMERIC", "DATE", "TIME",
                          "TIMESTAMPTZ", "BLOB", "UUID"):  # fmt: skip
            with pytest.raises(ValueRefused) as refusal:
                types.codec(type_text).encode(secret)
            assert refusal.value.__cause__ is None
            shown = traceback.format_exception(refusal.value)
            assert "918273" not in "".join(shown)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"optimizer": {"betas": (0.9, 0.999)}}, "$.optimizer.betas"),
        ({"a": [1, {"b": NAN}]}, "$.a[1].b"),
        ({"a": {2: 1}}, "$.a"),
        ([np.zeros(3)], "$[0]"),
        ({"a": ["x\0"]}, "$.a[0]"),
    ],
)
def test_json_says_where(value: Any, path: str) -> None:
    for types in (PORTABLE, NATIVE):
        with pytest.raises(ValueRefused) as refusal:
            types.codec("JSON").encode(value)
        assert refusal.value.message.endswith(f"at {path}")


def test_json_without_end_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (circle, deep):
        with pytest.raises(ValueRefused, match="too deep"):
            PORTABLE.codec("JSON").encode(value)


def test_jsonb_gets_large_floats_with_all_digits() -> None:
    assert (
        NATIVE.codec("jsonb").encode({"e+": 1.5e16, "s": 'q"1e+20'})
        == '{"e+":15000000000000000.0,"s":"q\\"1e+20"}'
    )


@pytest.mark.parametrize(
    ("type_text", "stored", "expected"),
    [
        ("DATETIME", "2024-05-06T12:00:00", NOON),
        ("DATETIME", "2024-05-06", dt.datetime(2024, 5, 6)),
        ("DATETIME", "2024-05-06 12:00:00+01:00", NOON.replace(tzinfo=CET)),
        ("DATETIME", "20240506T120000", "20240506T120000"),
        ("DATETIME", "2024-05-06x12:00:00", "2024-05-06x12:00:00"),
        ("DATETIME", "٢٠٢٤-05-06", "٢٠٢٤-05-06"),
        ("DATETIME", 1714996800, 1714996800),
        ("DATETIME", 2460437.5, 2460437.5),
        ("TIMESTAMPTZ", "2024-05-06 12:00:00", NOON.replace(tzinfo=UTC)),
        ("TIMESTAMPTZ", "2024-05-06 13:00:00+01", NOON.replace(tzinfo=UTC)),
        ("TIMESTAMPTZ", "0001-01-01 00:00:00+01", "0001-01-01 00:00:00+01"),
        ("DATE", "soon", "soon"),
        ("TIME", "soon", "soon"),
        ("BOOLEAN", 7, 7),
        ("BOOLEAN", "yes", "yes"),
        ("JSON", "{broken", "{broken"),
        ("JSON", "NaN", "NaN"),
        ("JSON", "[" * 100_000, "[" * 100_000),
        ("UUID", "no", "no"),
        ("NUMERIC(10,2)", 1.555, Decimal("1.555")),
        ("NUMERIC(10,2)", "x", "x"),
        ("NUMERIC(10,2)", INF, Decimal("Infinity")),
        ("NUMERIC(10,2)", 1e300, None),
        ("BLOB", "text", "text"),
        ("FLOATING POINT", "x", "x"),
    ],
)
def test_what_other_programs_stored_comes_back(type_text: str, stored: Any, expected: Any) -> None:
    decode = PORTABLE.codec(type_text).decode
    assert decode is not None
    if expected is None:
        assert decode(stored) == Decimal(repr(stored))
    else:
        assert same(decode(stored), expected)


def test_stored_timestamps_sort_as_times_do() -> None:
    moments = [NOON + dt.timedelta(microseconds=us) for us in (0, 1, 10, 100_000, 999_999, 1_000_000)]
    for type_text, zone in (("TIMESTAMP", None), ("TIMESTAMPTZ", UTC)):
        texts = [PORTABLE.codec(type_text).encode(moment.replace(tzinfo=zone)) for moment in moments]
        assert texts == sorted(texts)
    assert PORTABLE.codec("TIMESTAMP").encode(NOON) == "2024-05-06 12:00:00"
    assert (
        PORTABLE.codec("TIMESTAMPTZ").encode(FINE.replace(tzinfo=CET)) == "2024-05-06 11:00:00.000120+00:00"
    )


def test_32_bit_columns_of_a_server_take_what_they_hold() -> None:
    real = NATIVE.codec("real")
    assert real.encode(0.5) == 0.5
    assert encoded(real, NAN) != encoded(real, NAN)
    assert real.encode(np.float32(0.1)) == encoded(real, 0.1) == 0.1
    for value in (0.123456789, float(np.float32(0.1)), 1e300):
        with pytest.raises(ValueRefused, match="32-bit"):
            encoded(real, value)
    with pytest.raises(ValueRefused, match="32 bits"):
        encoded(NATIVE.codec("integer"), 2**31)


def test_a_parameter_has_the_form_its_column_stores() -> None:
    same_form = [
        ("BIGINT", 5), ("REAL", 1.5), ("TEXT", "x"), ("NUMERIC", Decimal("1.5")), ("NUMERIC", Decimal("2")),
        ("DATE", DAY), ("TIME", HOUR), ("TIMESTAMP", FINE), ("TIMESTAMPTZ", FINE.replace(tzinfo=CET)),
        ("JSON", {"a": [1]}), ("BLOB", b"x"), ("BLOB", np.arange(3)), ("UUID", U),
        ("TIMESTAMP", pd.Timestamp(NOON)), ("TIMESTAMP", np.datetime64(NOON)), ("BIGINT", np.int8(1)),
        ("BOOLEAN", True), ("TEXT", None), ("REAL", pd.NA), ("TEXT", Plain.RED),
    ]  # fmt: skip
    for type_text, value in same_form:
        assert PORTABLE.param(value) == encoded(PORTABLE.codec(type_text), value)
    assert str(PORTABLE.param(-0.0)) == "0.0"


@pytest.mark.parametrize(
    "value",
    [NAN, "a\0", "\ud800", [1], (1, 2), {1}, 1j, object(), HOUR.replace(tzinfo=UTC), Decimal(1) / 3, {1: 2}],
)
def test_parameters_sqlite_cannot_hold_are_refused(value: Any) -> None:
    with pytest.raises(ValueRefused) as refusal:
        PORTABLE.param(value)
    assert refusal.value.hint


def test_postgres_parameters_are_the_drivers() -> None:
    for value in (5, 1.5, "x", b"x", NOON, DAY, U, Decimal("0.1"), [1, 2], (1, 2), NAN):
        assert NATIVE.param(value) is value
    assert NATIVE.param({"a": 1e22}) == '{"a":10000000000000000000000.0}'
    assert NATIVE.param([{"a": 1}]) == '[{"a":1}]'
    assert type(NATIVE.param(np.float64(1.5))) is float
    assert NATIVE.param(np.arange(3)) == PORTABLE.param(np.arange(3))
    with pytest.raises(ValueRefused):
        NATIVE.param("a\0")


def test_a_servers_own_type_gets_the_array_itself() -> None:
    array = np.arange(3.0)
    assert NATIVE.codec("vector(3)").encode(array) is array


def test_what_the_hot_path_hands_on_untouched() -> None:
    assert PORTABLE.codec("INTEGER").passes == NATIVE.codec("bigint").passes == {int}
    assert PORTABLE.codec("REAL").passes == frozenset()
    assert NATIVE.codec("double precision").passes == {float}
    assert NATIVE.codec("boolean").passes == PORTABLE.codec("BOOLEAN").passes == {bool}
