"""Values that must not change silently: each comes back as it went in, or is refused, by every verb.

One table for all engines. A value that one engine alone refuses is marked so, and docs/differences.md names it.
"""

# ruff: noqa: E501 - the table of values is read across

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from holdfast import Database
from holdfast.errors import Error, UniqueViolation, ValueRefused

SAME: Any = object()
REFUSED: Any = object()
CEST = timezone(timedelta(hours=2))
ANY_UUID = UUID("12345678-1234-5678-1234-567812345678")


@dataclass(frozen=True)
class Only:
    """Refused by one engine, kept by the other."""

    refused_by: str
    comes_back: Any = SAME


NOT_ON_SQLITE = Only("sqlite")
NOT_ON_POSTGRES = Only("postgres")


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


def refused(*values: Any) -> list[tuple[Any, Any]]:
    return [(value, REFUSED) for value in values]


def kept(*values: Any) -> list[tuple[Any, Any]]:
    return [(value, SAME) for value in values]


TABLE: dict[str, list[tuple[Any, Any]]] = {
    "INTEGER": [
        *kept(0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)),
        (True, 1),
        (1.0, 1),
        (-0.0, 0),
        (Decimal("7"), 7),
        (Decimal("7.00"), 7),
        (Level.HIGH, 3),
        (np.int8(-5), -5),
        (np.int64(2**62), 2**62),
        (np.uint64(5), 5),
        (np.bool_(True), 1),
        *refused(2**63, -(2**63) - 1, 1.5, 1e300, math.nan, math.inf, "1", "abc", "", b"1"),
        *refused(Decimal("1.5"), Decimal("NaN"), Decimal("1E+30"), np.uint64(2**63), [1], {}),
        (date(2024, 1, 1), REFUSED),
        (np.array([1]), REFUSED),
    ],
    "SMALLINT": [(32_767, SAME), (-32_768, SAME), (32_768, REFUSED), (1.5, REFUSED)],
    "REAL": [
        *kept(0.0, 1.5, 0.1, -1e308, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, 1e22),
        (math.nan, NOT_ON_SQLITE),
        (-0.0, NOT_ON_SQLITE),
        (3, 3.0),
        (2**53, float(2**53)),
        (True, 1.0),
        (Decimal("0.5"), 0.5),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.float16(0.5), 0.5),
        (np.int32(4), 4.0),
        *refused(2**53 + 1, 10**400, Decimal("0.1"), "1.5", "", b"", [1.5], 1j, UUID(int=1)),
    ],
    "TEXT": [
        *kept("", " ", "a", "007", "1e5", "1.50", "NULL", "NA", "é", "\U0001f600", "a\nb", "\r\n\t"),
        *kept("x" * 100_000, "'; DROP TABLE t; --", "%s %(x)s ? :a $1 \\", "  padded  ", "\x7f\x01"),
        (Colour.RED, "red"),
        (np.str_("numpy"), "numpy"),
        *refused("a\0b", "\0", "\ud800", 1, 1.5, True, b"a", date(2024, 1, 1), ["a"], {"a": 1}),
        (ANY_UUID, REFUSED),
    ],
    "VARCHAR(5)": [("abcde", SAME), ("ééééé", SAME), ("", SAME), ("abcdef", REFUSED), ("abcde ", REFUSED)],
    "CHAR(3)": [("abc", SAME), ("ab", REFUSED), ("abcd", REFUSED), ("ab ", SAME)],
    "BOOLEAN": [
        (True, SAME),
        (False, SAME),
        (1, True),
        (0, False),
        (np.bool_(False), False),
        *refused(2, -1, 0.5, "true", "", "1", b"\1", []),
    ],
    "NUMERIC": [
        *((Decimal(text), SAME) for text in ("0", "1", "-1.5", "0.1", "12345678.91", "1E+3", "1E-10", "922337203685")),
        (5, Decimal(5)),
        (0.1, Decimal("0.1")),
        (1e22, Decimal("1E+22")),
        (np.float64(0.25), Decimal("0.25")),
        (Decimal("0.1234567890123456789"), NOT_ON_SQLITE),
        (Decimal(2**70), NOT_ON_SQLITE),
        (2**63, Only("sqlite", Decimal(2**63))),
        *refused(math.nan, math.inf, Decimal("NaN"), Decimal("-Infinity"), "1.5", "", b"", []),
    ],
    "NUMERIC(10,2)": [
        (Decimal("1.50"), SAME),
        (Decimal("1.5"), Decimal("1.50")),
        (Decimal("-12345678.91"), SAME),
        (7, Decimal("7.00")),
        *refused(Decimal("1.005"), Decimal("123456789.00"), 0.001, "1.00"),
    ],
    "DATE": [
        *kept(date(2024, 2, 29), date(1, 1, 1), date(9999, 12, 31), date(1582, 10, 10)),
        ("2024-01-02", date(2024, 1, 2)),
        (np.datetime64("2024-01-02"), date(2024, 1, 2)),
        (datetime(2024, 1, 2), REFUSED),
        (pd.Timestamp("2024-01-02"), REFUSED),
        *refused("2024-13-01", "nonsense", "", "infinity", "2024-01-02 03:04", 20240102, 1.5),
    ],
    "TIME": [
        *kept(time(0), time(23, 59, 59, 999_999), time(1, 2, 3), time(1, 2, 3, 4)),
        ("01:02:03", time(1, 2, 3)),
        *refused(time(1, tzinfo=UTC), "25:00", "", datetime(2024, 1, 1), timedelta(hours=1), 3600),
    ],
    "TIMESTAMP": [
        *kept(datetime(2024, 1, 2), datetime(2024, 1, 2, 3, 4, 5, 678), datetime(1, 1, 1)),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999), SAME),
        (datetime(2024, 3, 31, 2, 30, fold=1), datetime(2024, 3, 31, 2, 30)),
        ("2024-01-02 03:04:05", datetime(2024, 1, 2, 3, 4, 5)),
        ("2024-01-02T03:04:05.5", datetime(2024, 1, 2, 3, 4, 5, 500_000)),
        (pd.Timestamp("2024-01-02 03:04:05"), datetime(2024, 1, 2, 3, 4, 5)),
        (np.datetime64("2024-01-02T03:04:05"), datetime(2024, 1, 2, 3, 4, 5)),
        ("not a date", NOT_ON_POSTGRES),
        ("soon", NOT_ON_POSTGRES),
        *refused(datetime(2024, 1, 2, tzinfo=UTC), date(2024, 1, 2), time(1), 0, 1.5, b""),
        (pd.Timestamp("2024-01-02 03:04:05.123456789"), REFUSED),
        (np.datetime64("2024-01-02T03:04:05.123456789"), REFUSED),
    ],
    "DATETIME": [(datetime(2024, 1, 2, 3, 4), SAME), ("2024-01-02", datetime(2024, 1, 2)), ("soon", NOT_ON_POSTGRES)],
    "TIMESTAMPTZ": [
        (datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC), SAME),
        (datetime(2024, 1, 2, 3, tzinfo=CEST), datetime(2024, 1, 2, 1, tzinfo=UTC)),
        (pd.Timestamp("2024-01-02", tz="Europe/Berlin"), datetime(2024, 1, 1, 23, tzinfo=UTC)),
        *refused(datetime(2024, 1, 2), date(2024, 1, 2), "2024-01-02", "soon", 0),
        (datetime(1, 1, 1, tzinfo=CEST), REFUSED),
    ],
    "JSON": [
        *kept({}, [], {"a": 1}, [1, None, True, 1.5, "x"], {"b": 1, "a": {"c": [{}]}}, {"": ""}),
        *kept({"é\U0001f600": "\n\"\\'"}, [1.5e300, 1e22, -1e-300], {"n": 2**70}, "text", "", "5", 5),
        *kept(True, False, 1.5, "null", "{}", '"quoted"', [[[]]], {"a b": 1, "?": ":x $1 %s"}),
        ([[1] * 50] * 50, SAME),
        (2**70, NOT_ON_SQLITE),
        ({"z": -0.0}, NOT_ON_POSTGRES),
        *refused([math.nan], {"a": math.inf}, {1: 2}, {"t": (1, 2)}, ["\0"], ["\ud800"], {1, 2}),
        *refused([date(2024, 1, 1)], {"u": ANY_UUID}, b"x", [np.int64(1)], object(), [Decimal(1)]),
    ],
    "JSONB": [({"k": [1, {"x": None}]}, SAME), ("a text", SAME), ([float("nan")], REFUSED)],
    "BLOB": [
        *kept(b"", b"\0", b"abc", bytes(range(256)) * 100),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        (np.arange(6, dtype="<i4").reshape(2, 3), SAME),
        (np.array([[1.5, math.nan], [-0.0, math.inf]], order="F"), SAME),
        (np.array(["2024-01-01", "NaT"], dtype="datetime64[ns]"), SAME),
        (np.array([(1, 2.5)], dtype=[("a", ">i2"), ("b", "<f8")]), SAME),
        (np.array(5), SAME),
        (np.zeros((0, 3), dtype=bool), SAME),
        (np.array([object()], dtype=object), REFUSED),
        *refused("abc", 1, 1.5, [1], {}, int),
    ],
    "BYTEA": [(b"\xff\0", SAME), ("x", REFUSED)],
    "UUID": [
        (ANY_UUID, SAME),
        (str(ANY_UUID), ANY_UUID),
        (ANY_UUID.hex.upper(), ANY_UUID),
        *refused("no uuid", "", 5, b"\0" * 16, ANY_UUID.int),
    ],
}  # fmt: skip


def family(engine_name: str) -> str:
    return "sqlite" if engine_name == "sqlite" else "postgres"


def expected(value: Any, outcome: Any, engine_name: str) -> Any:
    """What comes back, or ``REFUSED``."""
    if isinstance(outcome, Only):
        outcome = REFUSED if outcome.refused_by == family(engine_name) else outcome.comes_back
    return value if outcome is SAME else outcome


def same(found: Any, wanted: Any) -> bool:
    """Equal, of the same type, down to the sign of zero, the zone, and the bytes of an array."""
    if isinstance(wanted, np.ndarray):
        return bool(
            isinstance(found, np.ndarray)
            and (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
            and found.tobytes() == wanted.tobytes()
        )
    if type(found) is not type(wanted):
        return False
    if isinstance(wanted, float):
        return (found != found and wanted != wanted) or (
            found == wanted and math.copysign(1, found) == math.copysign(1, wanted)
        )
    if isinstance(wanted, datetime):
        return found == wanted and found.utcoffset() == wanted.utcoffset()
    equal: bool = found == wanted
    return equal


WRITES: dict[str, Callable[[Database, Any], Any]] = {
    "insert": lambda db, v: db.insert("t", {"id": 1, "v": v}),
    "insert_many": lambda db, v: db.insert_many("t", [{"id": 1, "v": v}]),
    "insert_many update": lambda db, v: db.insert_many("t", [{"id": 1, "v": v}], on_conflict="update"),
    "insert_many replace": lambda db, v: db.insert_many("t", [{"v": v, "id": 1}], on_conflict="replace"),
    "upsert a new row": lambda db, v: db.upsert("t", {"id": 1, "v": v}),
    "upsert_many": lambda db, v: db.upsert_many("t", [{"id": 1, "v": v}]),
    "upsert": lambda db, v: (db.insert("t", {"id": 1}), db.upsert("t", {"id": 1, "v": v})),
    "update": lambda db, v: (db.insert("t", {"id": 1}), db.update("t", {"v": v}, {"id": 1})),
    "update_many": lambda db, v: (db.insert("t", {"id": 1}), db.update_many("t", [{"id": 1, "v": v}])),
}
READS: dict[str, Callable[[Database], Any]] = {
    "get": lambda db: db.get("t", 1)["v"],
    "select": lambda db: db.select("t", ["v"])[0]["v"],
    "find_one": lambda db: (db.find_one("t", "v") or {})["v"],
    "query": lambda db: db.query("SELECT v FROM t WHERE id = ?", [1])[0]["v"],
    "query *": lambda db: db.query("SELECT * FROM t")[0]["v"],
    "scalar": lambda db: db.execute("SELECT v FROM t").scalar(),
    "alias": lambda db: db.query("SELECT x.v AS y FROM t AS x")[0]["y"],
    "stream of a table": lambda db: next(iter(db.stream("t")))["v"],
    "stream of a query": lambda db: list(db.stream("SELECT v FROM t"))[0]["v"],  # noqa: RUF015 - reads it to its end
    "paginate": lambda db: db.paginate("t").rows[0]["v"],
}


@pytest.mark.parametrize("column", TABLE)
def test_a_value_comes_back_as_it_went_in_or_is_refused(db: Database, engine_name: str, column: str) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": column})
    wrong: list[str] = []
    for number, (value, outcome) in enumerate(TABLE[column]):
        wanted = expected(value, outcome, engine_name)
        # The verbs share their codecs: a few values through all of them show it, the others go through three.
        for verb in WRITES if number < 3 else ("insert", "insert_many", "update"):
            write = WRITES[verb]
            db.begin_transaction()
            try:
                write(db, value)
            except ValueRefused as refusal:
                wrong += (
                    _faults_of_refusal(refusal, value)
                    if wanted is REFUSED
                    else [f"{verb} refused {value!r:.80}: {refusal}"]
                )
            except Error as error:
                wrong.append(f"{verb} of {value!r:.80}: {type(error).__name__} {error}")
            else:
                if wanted is REFUSED:
                    wrong.append(f"{verb} took {value!r:.80} and gives {READS['get'](db)!r:.80}")
                else:
                    reads = READS if verb == "insert" else {"get": READS["get"]}
                    for name, read in reads.items():
                        found = read(db)
                        if not same(found, wanted):
                            wrong.append(f"{verb} of {value!r:.80}: {name} gives {found!r:.80}")
            db.rollback()
    assert wrong == []


def _faults_of_refusal(refusal: ValueRefused, value: Any) -> list[str]:
    text = str(refusal)
    faults = []
    if "t.v" not in text:
        faults.append(f"no column in {text!r}")
    if not refusal.hint:
        faults.append(f"no hint in {text!r}")
    if isinstance(value, str) and len(value) > 3 and value in text.partition(";")[0]:
        faults.append(f"the value in {text!r}")
    return faults


def test_no_value_of_the_table_is_silently_changed(db: Database, engine_name: str) -> None:
    """The whole table in figures: ``pytest -s -k silently_changed tests/engines/test_values.py``."""
    counts = {"exact": 0, "its equal in the type of the column": 0, "refused": 0, "silently changed": 0}
    for column, cases in TABLE.items():
        db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": column})
        for value, outcome in cases:
            db.begin_transaction()
            counts[_fate(db, value, expected(value, outcome, engine_name))] += 1
            db.rollback()
        db.drop_table("t")
    print(f"\n{engine_name}, {len(TABLE)} types: {counts}")
    assert counts["silently changed"] == 0
    assert sum(counts.values()) == sum(map(len, TABLE.values()))


def _fate(db: Database, value: Any, wanted: Any) -> str:
    try:
        db.insert("t", {"id": 1, "v": value})
    except ValueRefused:
        return "refused"
    found = db.get("t", 1)["v"]
    if same(found, value):
        return "exact"
    return "its equal in the type of the column" if same(found, wanted) else "silently changed"


@pytest.mark.parametrize("column", TABLE)
def test_null_is_null_everywhere(db: Database, column: str) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": column})
    for missing in (None, pd.NaT, pd.NA, np.datetime64("NaT")):
        for verb in WRITES if missing is None else ("insert", "update"):
            db.begin_transaction()
            WRITES[verb](db, missing)
            for name in READS if verb == "insert" else ("get",):
                assert READS[name](db) is None, (verb, name, missing)
            assert db.count("t", {"v": None}) == 1
            db.rollback()


NOT_COMPARED = {"JSON", "JSONB", "BLOB", "BYTEA"}


@pytest.mark.parametrize("column", [column for column in TABLE if column not in NOT_COMPARED])
def test_a_value_is_found_by_itself(db: Database, engine_name: str, column: str) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": column})
    for value, outcome in TABLE[column]:
        wanted = expected(value, outcome, engine_name)
        if wanted is REFUSED or wanted != wanted:
            continue
        db.begin_transaction()
        db.insert("t", {"id": 1, "v": value})
        db.insert("t", {"id": 2})
        for where in ({"v": wanted}, {"v": [wanted]}, {"v =": wanted}, {"v": value}):
            assert db.count("t", where) == 1, (value, where)
        assert db.count("t", {"v !=": wanted}) == 0
        db.rollback()


@pytest.mark.parametrize("column", TABLE)
def test_a_parameter_of_free_sql_comes_back_too(db: Database, engine_name: str, column: str) -> None:
    """Where no column says what a value is, its own type does. A text or a list for JSON is JSON's own text."""
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": column})
    for value, outcome in TABLE[column]:
        if outcome is not SAME or (column in NOT_COMPARED and not isinstance(value, dict | bytes)):
            continue
        db.begin_transaction()
        try:
            db.execute("INSERT INTO t (id, v) VALUES (1, ?)", [value])
        except Error:
            assert column == "SMALLINT", value
        else:
            assert same(db.get("t", 1)["v"], value), value
        db.rollback()


def test_python_types_declare_columns_that_hold_them(db: Database) -> None:
    given: dict[type, Any] = {
        int: 2**40,
        float: 0.1,
        str: "007",
        bool: True,
        bytes: b"\0",
        dict: {"a": [1]},
        list: [1, {"b": None}],
        datetime: datetime(2024, 1, 2, 3, 4, 5, 6),
        date: date(2024, 1, 2),
        time: time(1, 2, 3),
        Decimal: Decimal("1.25"),
        UUID: ANY_UUID,
        np.ndarray: np.arange(3),
    }
    names = {kind: f"c{i}" for i, kind in enumerate(given)}
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", **{names[kind]: kind for kind in given}})
    db.insert("t", {names[kind]: value for kind, value in given.items()})
    row = db.get("t", 1)
    for kind, value in given.items():
        assert same(row[names[kind]], value), kind


def test_a_type_that_no_column_holds_is_refused(db: Database) -> None:
    with pytest.raises(Error, match="complex"):
        db.create_table("t", {"v": complex})


# JSON and dates in the words of the contract [15] [16]


def test_json_comes_back_as_it_was_in_every_json_column(db: Database) -> None:
    config = {"model": "resnet", "betas": [0.9, 0.999], "deep": {"er": [{"x": None, "y": [True, []]}]}}
    for column in ("JSON", "JSONB", "jsonb", "Json"):
        db.create_table("t", {"id": "INTEGER PRIMARY KEY", "config": f"{column} NOT NULL"})
        db.insert("t", {"config": config})
        db.insert("t", {"config": [config, config]})
        assert db.get("t", 1)["config"] == config
        assert db.query("SELECT config FROM t ORDER BY id")[1]["config"] == [config, config]
        assert list(db.get("t", 1)["config"]["deep"]) == ["er"]
        db.drop_table("t")


def test_text_of_json_in_a_text_column_stays_text(db: Database) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "p": "TEXT"})
    db.insert("t", {"p": '{"lr": 0.001}'})
    assert db.get("t", 1)["p"] == '{"lr": 0.001}'
    with pytest.raises(ValueRefused, match="JSON") as caught:
        db.insert("t", {"p": {"lr": 0.001}})
    assert "json.dumps" in str(caught.value.hint)


def test_aware_stays_aware_and_naive_stays_naive(db: Database) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "naive": "TIMESTAMP", "aware": "TIMESTAMPTZ"})
    naive, aware = datetime(2024, 7, 1, 12), datetime(2024, 7, 1, 12, tzinfo=CEST)
    db.insert("t", {"naive": naive, "aware": aware})
    row = db.get("t", 1)
    assert row["naive"] == naive
    assert row["naive"].tzinfo is None
    assert row["aware"] == aware
    assert row["aware"].utcoffset() == timedelta(0)
    assert db.count("t", {"aware": aware.astimezone(timezone(timedelta(hours=-7)))}) == 1
    assert db.count("t", {"aware <": aware + timedelta(microseconds=1), "naive >=": naive}) == 1


def test_defaults_of_the_clock_come_back_as_datetimes(db: Database) -> None:
    db.create_table(
        "t",
        {
            "id": "INTEGER PRIMARY KEY",
            "a": "DATETIME DEFAULT CURRENT_TIMESTAMP",
            "b": "TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP",
            "c": "DATE DEFAULT CURRENT_DATE",
        },
    )
    db.insert("t", {})
    row = db.get("t", 1)
    now = datetime.now(UTC)
    assert abs(row["b"] - now) < timedelta(minutes=1)
    assert abs(row["a"].replace(tzinfo=UTC) - now) < timedelta(minutes=1), "the clock is UTC on every engine"
    assert abs(row["c"] - now.date()) <= timedelta(days=1)


def test_dates_sort_and_compare_as_dates(db: Database) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "d": "DATE", "s": "TIMESTAMP"})
    days = [date(999, 1, 1), date(2024, 12, 31), date(2025, 1, 1)]
    stamps = [datetime(2024, 1, 1, 0, 0, 0, 1), datetime(2024, 1, 1), datetime(2024, 1, 1, 0, 0, 1)]
    db.insert_many("t", [{"d": day, "s": stamp} for day, stamp in zip(days, stamps, strict=True)])
    assert [row["d"] for row in db.select("t", order_by="d DESC")] == sorted(days, reverse=True)
    assert [row["s"] for row in db.select("t", order_by="s")] == sorted(stamps)
    assert db.count("t", {"d >=": date(2024, 12, 31)}) == 2
    assert db.count("t", {"s >": datetime(2024, 1, 1)}) == 2
    assert db.count("t", "d BETWEEN ? AND ?", [date(2024, 1, 1), date(2024, 12, 31)]) == 1


def test_decimals_sort_and_compare_as_numbers(db: Database) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "n": "NUMERIC(12,3)"})
    given = [Decimal(text) for text in ("10", "9.5", "-3", "100.125", "0")]
    db.insert_many("t", [{"n": number} for number in given])
    assert [row["n"] for row in db.select("t", order_by="n")] == sorted(given)
    assert db.count("t", {"n >": Decimal("9.5")}) == 2
    assert db.count("t", {"n": Decimal("100.125")}) == 1


def test_numpy_and_pandas_scalars_as_keys(db: Database) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    key = db.insert("t", {"id": np.int64(7), "v": np.str_("x")})
    assert (key, type(key)) == (7, int)
    assert db.get("t", np.int32(7)) == {"id": 7, "v": "x"}
    assert db.count("t", {"id": [np.int64(7), np.int64(8)]}) == 1
    assert db.count("t", "id = ?", [np.int64(7)]) == 1


def test_a_refused_value_is_not_taken_for_the_error_of_the_statement_before(db: Database) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    db.insert("t", {"id": 1})
    for row in ({"id": 2**63}, {"id": 2, "v": "\ud800"}):
        with pytest.raises(UniqueViolation):
            db.insert("t", {"id": 1})
        with pytest.raises(ValueRefused):
            db.insert("t", row)
