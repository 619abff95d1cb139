"""Free SQL: execute, executemany, query, stream."""

from __future__ import annotations

import time
import tracemalloc
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

import holdfast
from holdfast import Database
from holdfast.errors import (
    ColumnNotFound,
    Error,
    InvalidQuery,
    TableNotFound,
    UniqueViolation,
    ValueRefused,
)


@pytest.fixture
def t(db: Database) -> Database:
    db.create_table(
        "t",
        {
            "id": "INTEGER PRIMARY KEY",
            "v": "TEXT UNIQUE",
            "done": bool,
            "config": "JSON",
            "day": date,
            "at": "TIMESTAMP",
            "price": "NUMERIC(10,2)",
            "data": "BLOB",
        },
    )
    db.insert("t", ROW)
    db.insert("t", {"v": "b"})
    return db


ROW: dict[str, Any] = {
    "id": 1,
    "v": "a",
    "done": True,
    "config": {"a": [1, None]},
    "day": date(2024, 1, 2),
    "at": datetime(2024, 1, 2, 3, 4, 5),
    "price": Decimal("1.50"),
    "data": b"\0\1",
}

REST = {**dict.fromkeys(ROW), "id": 2, "v": "b"}


# execute and its result


def test_a_result_has_rows_columns_and_counts(t: Database) -> None:
    result = t.execute("SELECT id, v FROM t ORDER BY id")
    assert result.columns == ["id", "v"]
    assert result.rows == [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}]
    assert list(result) == result.rows
    assert [row["v"] for row in result] == ["a", "b"], "a second time too"
    assert len(result) == 2
    assert result[1] == {"id": 2, "v": "b"}
    assert result[-1] == result[1]
    assert result.tuples == [(1, "a"), (2, "b")]
    assert result.rowcount == 2
    assert result.scalar() == 1
    assert repr(result) == "<Result of 2 rows, 2 columns>"
    assert list(result.to_dataframe()["v"]) == ["a", "b"]


def test_an_empty_result_keeps_its_columns(t: Database) -> None:
    result = t.execute("SELECT id, v FROM t WHERE id = 99")
    assert (result.columns, result.rows, result.rowcount, result.scalar()) == (["id", "v"], [], 0, None)
    assert not result.rows
    assert list(result.to_dataframe().columns) == ["id", "v"]


def test_a_writing_statement_counts_rows(t: Database) -> None:
    assert t.execute("UPDATE t SET v = v || '!'").rowcount == 2
    assert t.execute("DELETE FROM t WHERE id = ?", [99]).rowcount == 0
    created = t.execute("CREATE TABLE u (a INTEGER)")
    assert (created.rows, created.columns, created.rowcount) == ([], [], 0)
    assert t.execute("INSERT INTO u SELECT id FROM t").rowcount == 2
    assert t.list_tables() == ["t", "u"]


def test_returning_gives_rows(t: Database) -> None:
    result = t.execute("INSERT INTO t (v, done) VALUES (?, ?) RETURNING id, done", ["c", True])
    assert result.rows == [{"id": 3, "done": True}]
    assert t.query("DELETE FROM t WHERE id = 1 RETURNING *") == [ROW]
    assert t.count("t") == 2


def test_columns_come_back_by_their_declared_types(t: Database) -> None:
    assert t.query("SELECT * FROM t WHERE id = 1") == [ROW]
    assert t.query("SELECT config AS c, done AS d FROM t AS x WHERE x.id = :id", {"id": 1}) == [
        {"c": {"a": [1, None]}, "d": True}
    ]
    joined = "SELECT a.day, b.v FROM t AS a JOIN t AS b ON b.id = a.id + 1 ORDER BY a.id"
    assert t.query(joined) == [{"day": date(2024, 1, 2), "v": "b"}]
    assert t.query("WITH x AS (SELECT done, price FROM t) SELECT * FROM x WHERE done") == [
        {"done": True, "price": Decimal("1.50")}
    ]
    t.execute("CREATE VIEW seen AS SELECT id, done, at FROM t")
    assert t.query("SELECT done, at FROM seen WHERE id = 1") == [{"done": True, "at": ROW["at"]}]
    assert t.select("seen", where={"done": True}) == [{"id": 1, "done": True, "at": ROW["at"]}]
    assert t.list_views() == ["seen"]


def test_every_way_of_reading_gives_the_same_rows(t: Database) -> None:
    t.insert_many("t", ({**ROW, "id": i, "v": str(i)} for i in range(3, 1203)))
    wanted = [ROW, REST, *({**ROW, "id": i, "v": str(i)} for i in range(3, 1203))]
    asked = "SELECT * FROM t ORDER BY id"
    for _ in range(3):
        assert t.select("t", order_by="id") == wanted
        assert t.query(asked) == wanted
        result = t.execute(asked)
        assert result.rows == wanted
        assert [result[0], result[-1]] == [wanted[0], wanted[-1]]
        assert result.tuples == [tuple(row.values()) for row in wanted]
        assert list(t.stream("t", order_by="id")) == list(t.stream(asked)) == wanted
        assert t.paginate("t", limit=2000).rows == wanted
        assert [t.get("t", 1), t.find_one("t", where={"id": 2})] == wanted[:2]


_LITERALS = [
    "numeric '1.50'", "numeric 'NaN'", "numeric 'Infinity'", "numeric '-0.00'", "1e30::numeric",
    "float8 '-0'", "float8 'NaN'", "float8 '-Infinity'", "0.1::float8", "1.1::float4", "3::int2", "3::int4",
    "9007199254740993::int8", "'a'::text", "'ab'::char(5)", "'ab'::varchar(5)", "'ab'::name", "true",
    "'\\xdeadbeef'::bytea", "date '2024-02-29'", "time '23:59:59.999999'",
    "timestamp '2024-01-01 00:00:00.5'",
    "timestamptz '2024-01-01 12:00:00+05:30'", "timestamptz '0001-01-01 00:00:00+00'",
    "'{\"a\": [1, 1.0, null]}'::jsonb", "'{\"a\":  1}'::json", "'null'::jsonb", "NULL::int4",
    "'6e8bc430-9c3a-11d9-9669-0800200c9a66'::uuid", "ARRAY[1, NULL]::int4[]",
    "inet '10.0.0.1'", "'a b'::tsvector",
    "interval '1 day'", "point '(1,2)'", "int4range(1, 5)", "ROW(1, 'a')",
]  # fmt: skip


def test_a_value_is_the_same_whatever_form_the_driver_reads_it_in(db: Database, engine_name: str) -> None:
    if engine_name == "sqlite":
        pytest.skip("SQLite has one form of its values")
    for literal in _LITERALS:
        asked = f"SELECT {literal} AS v"
        first, second = db.query(asked), db.query(asked)
        assert repr(first) == repr(second) == repr(list(db.stream(asked))) == repr(db.execute(asked).rows)
        with db.engine.connect() as bare:
            rows = bare.exec_driver_sql(asked)
            assert repr(first) == repr([{"v": value} for (value,) in rows])


def test_the_types_follow_the_schema(t: Database) -> None:
    assert t.query("SELECT v FROM t WHERE id = 1") == [{"v": "a"}]
    t.update("t", {"v": "1"}, {"id": 1})
    t.update("t", {"v": "2"}, {"id": 2})
    t.alter_column("t", "v", type="INTEGER")
    assert t.query("SELECT v FROM t WHERE id = 1") == [{"v": 1}]
    assert t.get("t", 1)["v"] == 1


def test_two_columns_of_one_name_are_not_lost_silently(t: Database) -> None:
    result = t.execute("SELECT a.id, b.id FROM t AS a JOIN t AS b ON a.id = b.id ORDER BY 1")
    assert result.tuples == [(1, 1), (2, 2)]
    assert result.columns == ["id", "id"]
    for read in (
        lambda: result.rows,
        lambda: list(result),
        lambda: result[0],
        lambda: t.query("SELECT 1 AS a, 2 AS a"),
    ):
        with pytest.raises(InvalidQuery, match="two columns") as caught:
            read()
        assert "AS other" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("SELECT v FROM t WHERE id = ?", [1]),
        ("SELECT v FROM t WHERE id = ?", (1,)),
        ("SELECT v FROM t WHERE id = :id", {"id": 1}),
        ("SELECT v FROM t WHERE id = :id AND :id = id", {"id": 1}),
        ("SELECT v FROM t WHERE v <> '?' AND v <> ':x' AND v NOT LIKE '%?' AND id = ?", [1]),
        ("SELECT v /* ? :x */ FROM t -- what? :y\nWHERE id = ?", [1]),
        ("SELECT v FROM t WHERE id = 1", None),
        ("SELECT v FROM t WHERE id = 1;", None),
        ("  SELECT v FROM t WHERE id = 1 -- the end", None),
        ("SELECT v FROM t WHERE v = 'a' AND id % 2 = ?", [1]),
    ],
)
def test_marks(t: Database, sql: str, params: Any) -> None:
    assert t.query(sql, params) == [{"v": "a"}]
    assert t.execute(sql, params).scalar() == "a"
    assert list(t.stream(sql, params)) == [{"v": "a"}]


BAD: list[tuple[Any, Any, type[Error]]] = [
    ("SELECT ?", [], InvalidQuery),
    ("SELECT ?", None, InvalidQuery),
    ("SELECT ?", [1, 2], InvalidQuery),
    ("SELECT :a", {"b": 1}, InvalidQuery),
    ("SELECT 1", [1], InvalidQuery),
    ("SELECT ?", "a", InvalidQuery),
    ("SELECT ?", 1, InvalidQuery),
    ("", None, InvalidQuery),
    ("  -- nothing", None, InvalidQuery),
    (";", None, InvalidQuery),
    ("SELEC 1", None, InvalidQuery),
    ("SELECT 'x", None, InvalidQuery),
    ("SELECT 1; SELECT 2", None, InvalidQuery),
    ("SELECT 1; DROP TABLE t", None, InvalidQuery),
    ("INSERT INTO t (v) VALUES ('z'); DELETE FROM t", None, InvalidQuery),
    ("SELECT * FROM nowhere", None, TableNotFound),
    ("SELECT nope FROM t", None, ColumnNotFound),
    ("INSERT INTO t (nope) VALUES (1)", None, ColumnNotFound),
    ("INSERT INTO t (v) VALUES (?)", ["a"], UniqueViolation),
    (None, None, InvalidQuery),
    (5, None, InvalidQuery),
    (b"SELECT 1", None, InvalidQuery),
]


def test_what_cannot_run_is_a_typed_error_and_changes_nothing(t: Database) -> None:
    for sql, params, error in BAD:
        for call in (t.execute, t.query):
            with pytest.raises(error) as caught:
                call(sql, params)
            assert caught.type is error, (sql, params)
            assert caught.value.message
    assert t.count("t") == 2


# executemany


def test_executemany_is_all_or_none(t: Database) -> None:
    assert t.executemany("INSERT INTO t (v) VALUES (?)", [["c"], ("d",)]) == 2
    assert t.executemany("INSERT INTO t (v) VALUES (:v)", ({"v": v} for v in "ef")) == 2
    assert t.executemany("UPDATE t SET done = ? WHERE v = ?", [[True, "c"], [True, "none"]]) == 1
    assert t.executemany("INSERT INTO t (v) VALUES (?)", []) == 0
    before = t.count("t")
    with pytest.raises(UniqueViolation) as caught:
        t.executemany("INSERT INTO t (v) VALUES (?)", [["x"], ["y"], ["a"]])
    assert caught.value.row_number == 3
    with pytest.raises(InvalidQuery) as wrong:
        t.executemany("INSERT INTO t (v) VALUES (?)", [["x"], []])
    assert wrong.value.row_number == 2
    assert t.count("t") == before


# stream


def test_a_stream_of_a_table_takes_what_a_select_takes(t: Database) -> None:
    assert list(t.stream("t", ["v"], "id > ?", [0], "id DESC")) == [{"v": "b"}, {"v": "a"}]
    assert list(t.stream("t", "v", where={"id": 1}, batch_size=1)) == [{"v": "a"}]
    assert list(t["t"].stream(order_by="id", batch_size=1)) == [ROW, REST]
    assert list(t.stream("t", where={"id": 99})) == []


def test_a_stream_of_a_query(t: Database) -> None:
    assert list(t.stream("SELECT * FROM t ORDER BY id", batch_size=1)) == [ROW, REST]
    assert list(t.stream("SELECT v FROM t WHERE id = :id", {"id": 2})) == [{"v": "b"}]
    assert list(t.stream("SELECT\n  v\nFROM\n  t\nWHERE id = 1;  ")) == [{"v": "a"}]
    assert list(t.stream("WITH x AS (SELECT 1 AS one) SELECT * FROM x")) == [{"one": 1}]
    long = "SELECT v FROM t WHERE id = 1 " + " ".join(f"AND {i} = {i}" for i in range(50))
    assert list(t.stream(long)) == [{"v": "a"}]


def test_what_is_neither_a_table_nor_a_query_says_so_at_once(t: Database) -> None:
    for given, error in (
        ("tt", TableNotFound),
        ("DELETE FROM t", TableNotFound),
        (None, InvalidQuery),
        (7, InvalidQuery),
    ):
        with pytest.raises(error):
            t.stream(given)  # type: ignore[arg-type]
    assert t.count("t") == 2
    for size in (0, -1, 1.5, "10"):
        with pytest.raises(InvalidQuery, match="batch_size"):
            t.stream("t", batch_size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize("inside", [False, True])
def test_writing_while_reading_does_not_change_what_is_read(db: Database, inside: bool) -> None:
    db.create_table("n", {"id": "INTEGER PRIMARY KEY", "v": int})
    db.insert_many("n", [{"v": i} for i in range(100)])
    if inside:
        db.begin_transaction()
    seen = []
    for row in db.stream("n", order_by="id", batch_size=10):
        seen.append(row["v"])
        db.update("n", {"v": -1}, {"id": 101 - row["id"]})
        db.insert("n", {"v": 1000})
    assert seen == list(range(100))
    if inside:
        db.commit()
    assert db.count("n") == 200


def test_several_streams_at_once_and_one_left_early(db: Database) -> None:
    db.create_table("n", {"id": "INTEGER PRIMARY KEY"})
    db.insert_many("n", [{} for _ in range(50)])
    first, second = db.stream("n", batch_size=7), db.stream("n", order_by="id DESC", batch_size=7)
    assert [(next(first)["id"], next(second)["id"]) for _ in range(10)][-1] == (10, 41)
    del first
    second.close()  # type: ignore[attr-defined]
    db.insert("n", {})
    with db.transaction():
        for row in db.stream("n", order_by="id", batch_size=5):
            if row["id"] == 12:
                break
        db.insert("n", {})
    assert db.count("n") == 52
    db.drop_table("n")


def test_a_large_stream_left_early_leaves_a_connection_that_works(db: Database) -> None:
    numbers = (
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT i FROM n"
    )
    for _ in range(3):
        rows = db.stream(numbers, batch_size=100)
        assert next(rows) == {"i": 1}
        rows.close()  # type: ignore[attr-defined]
        assert sum(1 for _ in db.stream("SELECT 1 AS one UNION ALL SELECT 2", batch_size=1)) == 2


def test_a_slow_reader_is_not_cut_off_by_the_time_a_statement_may_take(
    db: Database, url: str, engine_name: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("SQLite has no such limit")
    db.execute("ALTER ROLE CURRENT_USER SET statement_timeout = '1s'")
    try:
        with holdfast.connect(url) as limited:
            rows = limited.stream("SELECT repeat('x', 1000) AS x, i FROM generate_series(1, 50000) AS i")
            assert next(rows)["i"] == 1
            time.sleep(2)
            assert sum(1 for _ in rows) == 49_999
    finally:
        db.execute("ALTER ROLE CURRENT_USER RESET statement_timeout")


def test_an_error_in_the_middle_of_a_stream_is_typed(db: Database, engine_name: str) -> None:
    if engine_name == "sqlite":
        pytest.skip("SQLite divides by zero")
    rows = db.stream("SELECT 1 / (5000 - i) AS v FROM generate_series(1, 9000) AS i", batch_size=100)
    with pytest.raises(Error, match="refused by its type"):
        list(rows)
    assert db.execute("SELECT 1").scalar() == 1


def test_a_stream_keeps_memory_flat(db: Database) -> None:
    db.create_table("n", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    db.insert_many("n", ({"v": "x" * 200} for _ in range(20_000)))
    list(db.stream("n", where={"id <": 10}))
    tracemalloc.start()
    try:
        assert sum(1 for _ in db.stream("n", batch_size=500)) == 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000, "all rows at once would be about 8 MB"


def test_an_error_in_the_middle_of_a_query_is_typed(db: Database) -> None:
    with pytest.raises(Error):
        list(db.stream("SELECT nope FROM nowhere"))
    assert db.execute("SELECT 1").scalar() == 1


# The schema through free SQL


def test_ddl_by_hand_is_noticed(t: Database) -> None:
    t.select("t")
    t.execute("ALTER TABLE t ADD COLUMN extra INTEGER DEFAULT 5")
    assert t.get("t", 1)["extra"] == 5
    t.insert("t", {"v": "c", "extra": 6})
    t.execute("ALTER TABLE t RENAME COLUMN extra TO more")
    assert t.get("t", 1)["more"] == 5
    t.execute("DROP TABLE t")
    with pytest.raises(TableNotFound):
        t.get("t", 1)


def test_ddl_of_another_connection_is_noticed_by_its_error(t: Database, url: str) -> None:
    t.get("t", 1)
    with holdfast.connect(url) as other:
        other.rename_column("t", "v", "w")
    with pytest.raises(ColumnNotFound):
        t.insert("t", {"v": "c"})
    assert t.insert("t", {"w": "c"}) in (3, 4)
    assert t.get("t", 1)["w"] == "a"


@pytest.mark.parametrize("sql", ["SELECT DATE 'infinity'", "SELECT DATE '0044-03-15 BC'"])
def test_a_date_that_python_does_not_have_is_refused(db: Database, engine_name: str, sql: str) -> None:
    if engine_name == "sqlite":
        pytest.skip("SQLite has no such dates")
    with pytest.raises(ValueRefused):
        db.execute(sql)
    assert db.execute("SELECT 1").scalar() == 1


def test_an_error_while_rows_are_read_is_typed_too(db: Database, engine_name: str) -> None:
    if engine_name != "sqlite":
        pytest.skip("PostgreSQL answers whole")
    with pytest.raises(Error, match="malformed JSON"):
        db.execute("SELECT json(column1) FROM (VALUES ('1'), ('{'))")
    assert db.execute("SELECT 1").scalar() == 1


def test_sqlite_has_regexp(db: Database, engine_name: str) -> None:
    if engine_name != "sqlite":
        pytest.skip("PostgreSQL writes it ~")
    found = db.query("SELECT 'runs-12' REGEXP '[0-9]+$' AS a, 'runs' REGEXP '^x' AS b, NULL REGEXP 'x' AS c")
    assert found == [{"a": 1, "b": 0, "c": None}]
