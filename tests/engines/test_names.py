"""Names of tables, columns and indexes: any text that both engines can keep, in every call that takes one."""

# ruff: noqa: E501 - the list of names is read across

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from holdfast import Database
from holdfast.errors import ColumnNotFound, Error, InvalidIdentifier, TableNotFound

NAMES = [
    *("a b", " leading", "trailing ", 'quo"te', '""', "it's", "'", "a.b", "main.t", "a;b", "--", "/* x */", "`x`", "[x]"),
    *("select", "ORDER", "group", "table", "user", "rowid", "oid", "desc", "null", "values", "limit", "CamelCase"),
    *("%", "%s", "%(x)s", "?", "??", ":a", ":", "$1", "@x", "#", "\\", "back\\", "{}", "{0}", "a\nb", "\t", "~", "1", "1a"),
    *("é", "名前", "\U0001f600", "ẞ", "i̇", "a\u0301", "\u200b", "x" * 63, "é" * 31, "名" * 21, "-", "a DESC", "a, b"),
    *("count(*)", "*", "a = 1", "a >", "a in", "hf_1", "excluded", "id2", "v'); DROP TABLE t; --", '"; DROP TABLE t; --'),
]  # fmt: skip
TOO_LONG = ["x" * 64, "é" * 32, "名" * 22, "x" * 1000]
IMPOSSIBLE: list[Any] = ["", "nul\0", "\0", "\ud800", *TOO_LONG]
NO_TEXT: list[Any] = [None, 1, b"t", ("t",), 1.5, True]


def test_every_name_in_every_call(db: Database) -> None:
    """[8] One table for each name, with a column and an index of that name."""
    for name in NAMES:
        db.create_table(name, {"id": "INTEGER PRIMARY KEY", name: "TEXT", "n": int}, unique=[[name]])
        assert db.insert(name, {name: "a", "n": 1}) == 1
        assert db.insert_many(name, [{name: "b"}, {"n": 3, name: "c"}]) == 2
        assert db.upsert(name, {"id": 3, name: "d"}) == 3
        assert db.upsert(name, {name: "a", "n": 9}, key=name) == 1
        assert db.update(name, {name: "e"}, {name: "a"}) == 1
        assert db.update_many(name, [{name: "b", "n": 5}], key=name) == 1
        assert db.get(name, 1) == {"id": 1, name: "e", "n": 9}
        assert db.select(name, [name], {name: ["b", "d"]}, order_by=[name]) == [{name: "b"}, {name: "d"}]
        assert db.find_one(name, name, order_by=f'"{name.replace(chr(34), chr(34) * 2)}" DESC') == {name: "e"}
        assert db.count(name, {f"{name} >": "b"}) == 2
        assert db.exists(name, {name: "e"})
        assert [row[name] for row in db.stream(name, order_by=[name])] == ["b", "d", "e"]
        page = db.paginate(name, [name], limit=2)
        assert [row[name] for row in page.rows] == ["b", "d"]
        assert [row[name] for row in db.paginate(name, [name], limit=2, after=page.next).rows] == ["e"]
        assert db.delete(name, {name: "e"}) == 1
        assert db[name].count() == 2
        _schema_of(db, name)
        db.drop_table(name)
    assert db.list_tables() == []


def _schema_of(db: Database, name: str) -> None:
    assert name in db.list_tables()
    assert db.table_exists(name)
    assert [column["name"] for column in db.get_columns(name)] == ["id", name, "n"]
    index = db.create_index(name, [name, "n"], name=f"i{name}"[:63] if len(name) < 20 else None)
    assert index in [found["name"] for found in db.list_indexes(name)]
    assert next(found for found in db.list_indexes(name) if found["name"] == index)["columns"] == [name, "n"]
    db.drop_index(name, index)
    assert sa.inspect(db.engine).has_table(name)


def test_alterations_take_every_name(db: Database) -> None:
    for name in NAMES:
        db.create_table("plain", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
        db.insert("plain", {"v": "x"})
        db.add_column("plain", name, "TEXT DEFAULT 'd'")
        assert db.get("plain", 1) == {"id": 1, "v": "x", name: "d"}
        db.alter_column("plain", name, nullable=False)
        db.rename_column("plain", name, "renamed")
        db.rename_column("plain", "renamed", name)
        db.rename_table("plain", name)
        assert db.get(name, 1) == {"id": 1, "v": "x", name: "d"}
        db.create_table("child", {"id": "INTEGER PRIMARY KEY", name: int}, foreign_keys={name: (name, "id")})
        db.insert("child", {name: 1})
        db.create_table("child2", {"id": "INTEGER PRIMARY KEY", name: int})
        db.add_foreign_key("child2", name, name)
        db.drop_table("child2")
        db.drop_table("child")
        db.drop_column(name, name)
        assert db.get(name, 1) == {"id": 1, "v": "x"}
        db.drop_table(name)


def test_names_are_quoted_in_text_filters(db: Database) -> None:
    for name in NAMES:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY", name: "TEXT"})
        db.insert("t", {name: "x"})
        quoted = '"' + name.replace('"', '""') + '"'
        assert db.count("t", f"{quoted} = ?", ["x"]) == 1
        assert db.count("t", f'{quoted} = :v AND "t".{quoted} = :v', {"v": "x"}) == 1
        assert db.query(f"SELECT {quoted} FROM t WHERE {quoted} = ?", ["x"]) == [{name: "x"}]
        assert list(db.stream(f"SELECT {quoted} FROM t")) == [{name: "x"}]
        db.drop_table("t")


def calls_with_a_table(db: Database) -> dict[str, Callable[[Any], Any]]:
    return {
        "create_table": lambda name: db.create_table(name, {"a": int}),
        "rename_table": lambda name: db.rename_table("t", name),
        "references": lambda name: db.create_table("c", {"a": int}, foreign_keys={"a": (name, "id")}),
        "insert": lambda name: db.insert(name, {"v": 1}),
        "insert_many": lambda name: db.insert_many(name, [{"v": 1}]),
        "upsert": lambda name: db.upsert(name, {"id": 1}),
        "select": lambda name: db.select(name),
        "get": lambda name: db.get(name, 1),
        "count": lambda name: db.count(name),
        "exists": lambda name: db.exists(name),
        "update": lambda name: db.update(name, {"v": "x"}, {"id": 1}),
        "delete": lambda name: db.delete(name, {"id": 1}),
        "stream": lambda name: list(db.stream(name)),
        "paginate": lambda name: db.paginate(name),
        "get_columns": lambda name: db.get_columns(name),
        "table_exists": lambda name: db.table_exists(name),
        "drop_table": lambda name: db.drop_table(name),
        "create_index": lambda name: db.create_index(name, "v"),
        "list_indexes": lambda name: db.list_indexes(name) if name is not None else _refuse(name),
        "add_column": lambda name: db.add_column(name, "c", int),
        "drop_column": lambda name: db.drop_column(name, "v"),
        "rename_column": lambda name: db.rename_column(name, "v", "w"),
        "alter_column": lambda name: db.alter_column(name, "v", nullable=True),
        "add_foreign_key": lambda name: db.add_foreign_key(name, "v", "t"),
        "add_foreign_key to": lambda name: db.add_foreign_key("t", "v", name),
    }


def _refuse(name: Any) -> None:
    raise InvalidIdentifier(f"{name!r} means all tables here")


def calls_that_make_a_column_or_an_index(db: Database) -> dict[str, Callable[[Any], Any]]:
    return {
        "create_table": lambda name: db.create_table("c", {name: int}),
        "primary_key": lambda name: db.create_table("c", {"a": int}, primary_key=[name]),
        "unique": lambda name: db.create_table("c", {"a": int}, unique=[[name]]),
        "foreign_keys": lambda name: db.create_table(
            "c", {"a": int}, foreign_keys=[{"columns": [name], "table": "t"}]
        ),
        "add_column": lambda name: db.add_column("t", name, int),
        "rename_column": lambda name: db.rename_column("t", "v", name),
        "create_index": lambda name: (
            db.create_index("t", "v", name=name) if name is not None else _refuse(name)
        ),
    }


def calls_with_a_column(db: Database) -> dict[str, Callable[[Any], Any]]:
    return {
        "insert": lambda name: db.insert("t", {name: 1}),
        "insert_many": lambda name: db.insert_many("t", [{name: 1}]),
        "update": lambda name: db.update("t", {name: 1}, {"id": 1}),
        "select": lambda name: db.select("t", [name]),
        "where": lambda name: db.select("t", where={name: 1}),
        "order_by": lambda name: db.select("t", order_by=[name]),
        "upsert key": lambda name: db.upsert("t", {"id": 1}, key=[name]),
        "update_many key": lambda name: db.update_many("t", [{"id": 1, "v": "x"}], key=[name]),
        "drop_column": lambda name: db.drop_column("t", name),
        "rename_column": lambda name: db.rename_column("t", name, "w"),
        "alter_column": lambda name: db.alter_column("t", name, nullable=True),
        "create_index": lambda name: db.create_index("t", [name]),
        "add_foreign_key": lambda name: db.add_foreign_key("t", [name], "t"),
    }


def outcome(call: Callable[[Any], Any], name: Any) -> str:
    try:
        call(name)
    except Error as exc:
        return type(exc).__name__
    except Exception as exc:  # the name of what must not come out
        return f"{type(exc).__name__}: {exc}"
    return "taken"


@pytest.fixture
def t(db: Database) -> Database:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    db.insert("t", {"v": "canary"})
    return db


def test_impossible_names_are_refused_never_cut(t: Database) -> None:
    """[9] Where a name is made it is an InvalidIdentifier; where it is looked up it may also be unknown."""
    wrong = []
    for name in IMPOSSIBLE + NO_TEXT:
        for verb, call in calls_with_a_table(t).items():
            # A text that is neither a name nor a query is an InvalidQuery there.
            known = {"InvalidIdentifier"} | ({"InvalidQuery"} if verb == "stream" else set())
            if (found := outcome(call, name)) not in known:
                wrong.append((verb, name, found))
        for verb, call in calls_that_make_a_column_or_an_index(t).items():
            if (found := outcome(call, name)) != "InvalidIdentifier":
                wrong.append((verb, name, found))
    for name in IMPOSSIBLE:
        for verb, call in calls_with_a_column(t).items():
            if (found := outcome(call, name)) not in ("InvalidIdentifier", "ColumnNotFound", "InvalidQuery"):
                wrong.append((verb, name, found))
    assert wrong == []
    assert t.list_tables() == ["t"]
    assert [column["name"] for column in t.get_columns("t")] == ["id", "v"]
    assert t.select("t") == [{"id": 1, "v": "canary"}]


def test_a_column_that_is_no_text_is_refused(t: Database) -> None:
    for name in (1, b"v", ("v",), 1.5, True):
        for verb, call in calls_with_a_column(t).items():
            assert outcome(call, name) in ("InvalidIdentifier", "ColumnNotFound", "InvalidQuery"), (
                verb,
                name,
            )


def test_sixty_three_bytes_are_kept_and_one_more_is_refused(db: Database) -> None:
    for name in ("x" * 63, "é" * 31 + "x", "名" * 21):
        assert len(name.encode()) == 63
        db.create_table(name, {name: int})
        db.create_index(name, name, name=f"{name[:-1]}i"[:63] if name.isascii() else None)
        assert db.list_tables() == [name]
        assert [column["name"] for column in db.get_columns(name)] == [name]
        db.drop_table(name)
        with pytest.raises(InvalidIdentifier, match=r"(64|66) bytes") as caught:
            db.create_table(name + name[-1], {"a": int})
        assert "63" in str(caught.value.hint)


def test_names_differ_by_every_sign(db: Database) -> None:
    names = ["a", "a ", " a", "a b", "ab", "a_b", "á", "a\u0301"]
    for i, name in enumerate(names):
        db.create_table(name, {"id": "INTEGER PRIMARY KEY", "n": int})
        db.insert(name, {"n": i})
    assert db.list_tables() == sorted(names)
    assert [db.get(name, 1)["n"] for name in names] == list(range(len(names)))


def test_the_case_of_a_name_counts(db: Database) -> None:
    db.create_table("Runs", {"Id": "INTEGER PRIMARY KEY", "Score": float})
    db.insert("Runs", {"Score": 1.5})
    assert db.select("Runs") == [{"Id": 1, "Score": 1.5}]
    with pytest.raises(TableNotFound, match="did you mean 'Runs'"):
        db.select("runs")
    for call in (
        lambda: db.insert("Runs", {"score": 1.0}),
        lambda: db.select("Runs", ["score"]),
        lambda: db.select("Runs", where={"score": 1.0}),
        lambda: db.select("Runs", order_by="score"),
        lambda: db.update("Runs", {"score": 1.0}, {"Id": 1}),
    ):
        with pytest.raises(ColumnNotFound, match="did you mean 'Score'"):
            call()


def test_a_name_like_a_sql_text_is_a_name(t: Database) -> None:
    t.create_table("SELECT * FROM t", {"a": int})
    t.insert("SELECT * FROM t", {"a": 5})
    assert list(t.stream("SELECT * FROM t")) == [{"a": 5}], "a table of that name comes first"
    t.drop_table("SELECT * FROM t")
    assert list(t.stream("SELECT * FROM t")) == [{"id": 1, "v": "canary"}]


SYSTEM_COLUMNS = ("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid")


def test_names_that_one_engine_keeps_for_itself_are_refused_there_with_a_typed_error(
    t: Database, engine_name: str
) -> None:
    for name in SYSTEM_COLUMNS:
        found = outcome(lambda name: t.create_table("own", {"a": int, name: int}), name)
        assert found == ("taken" if engine_name == "sqlite" else "ColumnExists"), name
        assert outcome(lambda name: t.add_column("t", name, int), name) == found
        if found == "taken":
            t.insert("own", {name: 1})
            assert t.select("own", [name]) == [{name: 1}]
            t.drop_table("own")
    found = outcome(lambda name: t.create_table(name, {"a": int}), "sqlite_mine")
    assert found == ("InvalidQuery" if engine_name == "sqlite" else "taken")


@pytest.mark.parametrize("name", [["t"], {"t": 1}, None, 5])
def test_a_table_name_that_is_no_text_is_refused(db: Database, name: object) -> None:
    with pytest.raises(InvalidIdentifier):
        db.select(name)
