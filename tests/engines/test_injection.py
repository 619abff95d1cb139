"""Hostile texts in every place that takes a text: nothing is executed, nothing is lost, errors are typed."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from holdfast import Database, Table
from holdfast.errors import Error, InvalidIdentifier

HOSTILE = [
    "x'; DROP TABLE canary; --",
    'x"; DROP TABLE canary; --',
    "x`; DROP TABLE canary; --",
    "x]; DROP TABLE canary; --",
    "'; DELETE FROM canary; --",
    "1); DELETE FROM canary; --",
    "1; UPDATE canary SET v = 'dead'",
    "' OR '1'='1",
    '" OR ""="',
    "v) VALUES ('x'); DROP TABLE canary; --",
    "v = 'dead' --",
    "id; DROP TABLE canary",
    "id DESC; DROP TABLE canary",
    "(SELECT v FROM canary)",
    "CASE WHEN (SELECT count(*) FROM canary) > 0 THEN 1 END",
    "' UNION SELECT v FROM canary --",
    "canary WHERE 1=1; --",
    "canary",
    "v, (SELECT v FROM canary) AS stolen",
    "$1; DROP TABLE canary",
    "?; DROP TABLE canary",
    ":v; DROP TABLE canary",
    "%s; DROP TABLE canary",
    "%(v)s",
    "\\'; DROP TABLE canary; --",
    "E'\\'; DROP TABLE canary; --",
    "$$; DROP TABLE canary; $$",
    "/* */ DROP TABLE canary",
    "--\nDROP TABLE canary",
    "x\n; DROP TABLE canary\n;",
    "\u02bc; DROP TABLE canary; --",
    "'||(SELECT load_extension('x'))||'",
    "';ATTACH DATABASE 'stolen.db' AS s; --",
    "'; COPY canary TO PROGRAM 'true'; --",
    "sqlite_master",
    "pg_catalog.pg_class",
]
CANARY = [{"id": 1, "v": "alive"}, {"id": 2, "v": "well"}]
COLUMNS = ["id", "v", "n"]

Call = Callable[[Database, str], Any]

AS_VALUES: dict[str, Call] = {
    "insert": lambda db, x: db.insert("t", {"v": x}),
    "insert_many": lambda db, x: db.insert_many("t", [{"v": x}]),
    "upsert": lambda db, x: db.upsert("t", {"id": 1, "v": x}),
    "update": lambda db, x: db.update("t", {"v": x}, {"id": 1}),
    "update_many": lambda db, x: db.update_many("t", [{"id": 1, "v": x}]),
    "execute": lambda db, x: db.execute("INSERT INTO t (v) VALUES (?)", [x]),
    "execute named": lambda db, x: db.execute("INSERT INTO t (v) VALUES (:v)", {"v": x}),
    "executemany": lambda db, x: db.executemany("INSERT INTO t (v) VALUES (?)", [[x]]),
    "store_blob": lambda db, x: db.store_blob("t", {"v": x}),
    "upsert_many": lambda db, x: db.upsert_many("t", [{"id": 1, "v": x}]),
    "from_dataframe": lambda db, x: db.from_dataframe(pd.DataFrame({"v": [x]}), "t", "append"),
    "from_arrow": lambda db, x: db.from_arrow(pa.table({"v": [x]}), "t", "append"),
    "idempotency key": lambda db, x: db.insert("t", {"v": x}, idempotency_key=x),
}
AS_FILTERS: dict[str, Call] = {
    "select": lambda db, x: db.select("t", where={"v": x}),
    "select params": lambda db, x: db.select("t", where="v = ?", params=[x]),
    "select named": lambda db, x: db.select("t", where="v = :v", params={"v": x}),
    "select in": lambda db, x: db.select("t", where={"v": [x, x + x]}),
    "find_one": lambda db, x: [db.find_one("t", where={"v": x})][: db.exists("t", {"v": x})],
    "stream": lambda db, x: list(db.stream("t", where={"v": x})),
    "stream query": lambda db, x: list(db.stream("SELECT * FROM t WHERE v = ?", [x])),
    "query": lambda db, x: db.query("SELECT * FROM t WHERE v = :v", {"v": x}),
    "paginate": lambda db, x: db.paginate("t", where={"v": x}).rows,
    "to_dataframe": lambda db, x: db.to_dataframe("t", where={"v": x}).to_dict("records"),
    "to_arrow": lambda db, x: db.to_arrow("t", where={"v": x}).to_pylist(),
    "to_polars": lambda db, x: db.to_polars("t", where={"v": x}).to_dicts(),
}
AS_NAMES: dict[str, Call] = {
    "table of insert": lambda db, x: db.insert(x, {"v": "x"}),
    "table of insert_many": lambda db, x: db.insert_many(x, [{"v": "x"}]),
    "table of upsert": lambda db, x: db.upsert(x, {"id": 1, "v": "x"}),
    "table of update": lambda db, x: db.update(x, {"v": "x"}, all_rows=True),
    "table of delete": lambda db, x: db.delete(x, all_rows=True),
    "table of select": lambda db, x: db.select(x),
    "table of get": lambda db, x: db.get(x, 1),
    "table of count": lambda db, x: db.count(x),
    "table of stream": lambda db, x: list(db.stream(x)),
    "table of paginate": lambda db, x: db.paginate(x),
    "table of drop_table": lambda db, x: db.drop_table(x),
    "table of create_index": lambda db, x: db.create_index(x, "v"),
    "table of add_column": lambda db, x: db.add_column(x, "c", int),
    "table of drop_column": lambda db, x: db.drop_column(x, "v"),
    "column of insert": lambda db, x: db.insert("t", {x: "x"}),
    "column of insert_many": lambda db, x: db.insert_many("t", [{"v": "a"}, {x: "x"}]),
    "column of update": lambda db, x: db.update("t", {x: "x"}, all_rows=True),
    "column of update_many": lambda db, x: db.update_many("t", [{"id": 1, x: "x"}]),
    "key of update_many": lambda db, x: db.update_many("t", [{"id": 1, "v": "x"}], key=x),
    "key of upsert": lambda db, x: db.upsert("t", {"id": 1, "v": "x"}, key=x),
    "key of insert_many": lambda db, x: db.insert_many("t", [{"id": 1}], on_conflict="update", key=[x]),
    "mode of insert_many": lambda db, x: db.insert_many("t", [{"id": 1}], on_conflict=x),
    "columns of select": lambda db, x: db.select("t", [x]),
    "one column of select": lambda db, x: db.select("t", x),
    "columns of stream": lambda db, x: list(db.stream("t", [x])),
    "filter of select": lambda db, x: db.select("t", where={x: 1}),
    "operator of select": lambda db, x: db.select("t", where={f"v {x}": "x"}),
    "filter of delete": lambda db, x: db.delete("t", {x: 1}),
    "filter of update": lambda db, x: db.update("t", {"v": "x"}, {x: 1}),
    "order of select": lambda db, x: db.select("t", order_by=x),
    "orders of select": lambda db, x: db.select("t", order_by=["id", x]),
    "order of paginate": lambda db, x: db.paginate("t", x),
    "order of stream": lambda db, x: list(db.stream("t", order_by=x)),
    "limit": lambda db, x: db.select("t", limit=x),  # type: ignore[arg-type]
    "offset": lambda db, x: db.select("t", offset=x),  # type: ignore[arg-type]
    "page token": lambda db, x: db.paginate("t", after=x),
    "columns of create_index": lambda db, x: db.create_index("t", [x]),
    "method of create_index": lambda db, x: db.create_index("t", "v", method=x),
    "name of drop_index": lambda db, x: db.drop_index(x),
    "column of drop_column": lambda db, x: db.drop_column("t", x),
    "column of rename_column": lambda db, x: db.rename_column("t", x, "w"),
    "column of alter_column": lambda db, x: db.alter_column("t", x, nullable=False),
    "column of add_foreign_key": lambda db, x: db.add_foreign_key("t", x, "canary"),
    "keys of add_foreign_key": lambda db, x: db.add_foreign_key("t", "n", "canary", x),
    "action of add_foreign_key": lambda db, x: db.add_foreign_key("t", "n", "canary", on_delete=x),
    "primary key": lambda db, x: db.create_table("new", {"a": int}, primary_key=x),
    "isolation": lambda db, x: db.transaction(isolation=x).__enter__(),
    "column of get_blob": lambda db, x: db.get_blob("t", x),
    "columns of delete_duplicates": lambda db, x: db.delete_duplicates("t", [x]),
    "table of upsert_many": lambda db, x: db.upsert_many(x, [{"id": 1, "v": "x"}]),
    "table of update_many": lambda db, x: db.update_many(x, [{"id": 1, "v": "x"}]),
    "table of find_one": lambda db, x: db.find_one(x),
    "table of exists": lambda db, x: db.exists(x),
    "table of get_columns": lambda db, x: db.get_columns(x),
    "table of list_indexes": lambda db, x: db.list_indexes(x),
    "table of rename_table": lambda db, x: db.rename_table(x, "new"),
    "table of rename_column": lambda db, x: db.rename_column(x, "v", "w"),
    "table of alter_column": lambda db, x: db.alter_column(x, "v", nullable=False),
    "table of add_foreign_key": lambda db, x: db.add_foreign_key(x, "n", "canary"),
    "table that add_foreign_key names": lambda db, x: db.add_foreign_key("t", "n", x),
    "table of enable_search": lambda db, x: db.enable_search(x, "v"),
    "columns of enable_search": lambda db, x: db.enable_search("t", [x]),
    "language of enable_search": lambda db, x: db.enable_search("t", "v", language=x),
    "table of search": lambda db, x: db.search(x, "a"),
    "table of disable_search": lambda db, x: db.disable_search(x),
    "table of get_blob": lambda db, x: db.get_blob(x, "v"),
    "table of load_array": lambda db, x: db.load_array(x, "k"),
    "table of load_arrays": lambda db, x: db.load_arrays(x),
    "table of verify_array": lambda db, x: db.verify_array(x, "k"),
    "column of load_array": lambda db, x: db.load_array("t", 1, column=x),
    "tables of diff": lambda db, x: db.diff(db, [x]),
    "tables that diff leaves out": lambda db, x: db.diff(db, exclude=[x]),
    "table of delete_duplicates": lambda db, x: db.delete_duplicates(x),
    "keep of delete_duplicates": lambda db, x: db.delete_duplicates("t", keep=x),
    "table of export_to_csv": lambda db, x: db.export_to_csv(x, Path(NOWHERE)),
    "table of to_dataframe": lambda db, x: db.to_dataframe(x),
    "table of to_arrow": lambda db, x: db.to_arrow(x),
    "table of to_polars": lambda db, x: db.to_polars(x),
    "table of export": lambda db, x: db.export(x, Path(NOWHERE)),
    "table of backup_table": lambda db, x: db.backup_table(x, Path(NOWHERE).with_suffix(".hfz")),
    "mode of from_dataframe": lambda db, x: db.from_dataframe(pd.DataFrame({"v": ["a"]}), "t", x),
    "mode of from_arrow": lambda db, x: db.from_arrow(pa.table({"v": ["a"]}), "t", x),
    "isolation of atomic": lambda db, x: db.atomic(isolation=x).__enter__(),
    "isolation of run_transaction": lambda db, x: db.run_transaction(lambda: None, isolation=x),
    "isolation of begin_transaction": lambda db, x: db.begin_transaction(isolation=x),
    "page size": lambda db, x: db.paginate("t", limit=x),  # type: ignore[arg-type]
}
NOWHERE = "/nonexistent/folder/file.csv"
"""Where nothing can be written: a name is refused before a file is thought of, or with it."""
QUERIES = ("stream", "to_dataframe", "to_arrow", "to_polars", "export")
"""Verbs that take a query in the place of a table."""
AS_NEW_NAMES: dict[str, tuple[Call, Call]] = {
    "create_table": (
        lambda db, x: db.create_table(x, {"id": "INTEGER PRIMARY KEY", x: "TEXT"}),
        lambda db, x: db.drop_table(x),
    ),
    "rename_table": (lambda db, x: db.rename_table("t", x), lambda db, x: db.rename_table(x, "t")),
    "add_column": (lambda db, x: db.add_column("t", x, "TEXT"), lambda db, x: db.drop_column("t", x)),
    "rename_column": (
        lambda db, x: db.rename_column("t", "v", x),
        lambda db, x: db.rename_column("t", x, "v"),
    ),
    "create_index": (lambda db, x: db.create_index("t", "v", name=x), lambda db, x: db.drop_index(x)),
    "from_dataframe": (
        lambda db, x: db.from_dataframe(pd.DataFrame({x: ["a"]}), x),
        lambda db, x: db.drop_table(x),
    ),
    "from_arrow": (lambda db, x: db.from_arrow(pa.table({x: ["a"]}), x), lambda db, x: db.drop_table(x)),
    "save_array": (
        lambda db, x: db.save_array(x, np.arange(3), "k", column="data", metadata={x: x}),
        lambda db, x: db.drop_table(x),
    ),
    "store_blob": (lambda db, x: db.store_blob(x, {x: "a"}), lambda db, x: db.drop_table(x)),
    "save_arrays": (
        lambda db, x: db.save_arrays(x, {x: np.arange(3)}),
        lambda db, x: db.drop_table(x),
    ),
}
AS_DEFINITIONS: dict[str, Call] = {
    "type": lambda db, x: db.create_table("new", {"a": f"TEXT {x}"}),
    "bare type": lambda db, x: db.create_table("new", {"a": x}),
    "default": lambda db, x: db.create_table("new", {"a": f"TEXT DEFAULT {x}"}),
    "check": lambda db, x: db.create_table("new", {"a": int}, checks=x),
    "foreign key": lambda db, x: db.create_table("new", {"a": int}, foreign_keys={"a": x}),
    "add_column": lambda db, x: db.add_column("t", "new", f"TEXT {x}"),
    "alter type": lambda db, x: db.alter_column("t", "v", type=x),
    "alter default": lambda db, x: db.alter_column("t", "v", default=x),
    "where of an index": lambda db, x: db.create_index("t", "v", name="new", where=x),
    "where": lambda db, x: db.select("t", where=x),
    "statement": lambda db, x: db.query(f"SELECT * FROM t WHERE v = {x}"),
    "explain": lambda db, x: db.explain(f"SELECT * FROM t WHERE v = {x}"),
    "explain a statement": lambda db, x: db.explain(x),
    "explain and analyze": lambda db, x: db.explain(x, analyze=True),
    "suggest for a statement": lambda db, x: db.suggest_indexes([x, "SELECT * FROM t WHERE v = ?"]),
    "suggest for a condition": lambda db, x: db.suggest_indexes([f"SELECT * FROM t WHERE v = {x}"]),
    "export_query_to_csv": lambda db, x: db.export_query_to_csv(x, Path(NOWHERE)),
}
"""In these places the caller writes SQL. It stays one expression or one statement."""


@pytest.fixture
def t(db: Database) -> Database:
    db.create_table("canary", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    db.insert_many("canary", [{"v": row["v"]} for row in CANARY])
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT", "n": int})
    db.insert_many("t", [{"v": "a"}, {"v": "b"}])
    return db


def check_canary(db: Database, *where: Any) -> None:
    assert db.select("canary", order_by="id") == CANARY, where
    assert db.list_tables() == ["canary", "t"], where
    assert [column["name"] for column in db.get_columns("t")] == COLUMNS, where


def is_refused(call: Call, db: Database, text: str) -> bool:
    try:
        call(db, text)
    except Error:
        return True
    return False


def test_a_hostile_value_is_a_value(t: Database) -> None:
    for text in HOSTILE:
        for verb, call in AS_VALUES.items():
            t.begin_transaction()
            call(t, text)
            assert t.count("t", {"v": text}) == 1, (verb, text)
            for other, read in AS_FILTERS.items():
                found = read(t, text)
                assert [row["v"] for row in found] == [text], (other, text)
            t.rollback()
        for verb, call in AS_FILTERS.items():
            assert call(t, text) == [], (verb, text)
        assert t.update("t", {"v": "dead"}, {"v": text}) == 0
        assert t.delete("t", "v = ?", [text]) == 0
    check_canary(t)
    assert [row["v"] for row in t.select("t", order_by="id")] == ["a", "b"]


def test_a_hostile_name_is_no_name(t: Database) -> None:
    for text in HOSTILE:
        for place, call in AS_NAMES.items():
            if text == "canary" and place.startswith("table"):
                continue
            if text == "(SELECT v FROM canary)" and place.rpartition(" ")[2] in QUERIES:
                continue  # a query of the caller's own, on the engine whose queries may be in parentheses
            assert is_refused(call, t, text), (place, text)
        check_canary(t, text)
    assert [row["v"] for row in t.select("t", order_by="id")] == ["a", "b"]


def test_a_hostile_new_name_is_a_name(t: Database) -> None:
    for text in HOSTILE:
        if text in ("canary", "sqlite_master"):
            continue
        for verb, (make, unmake) in AS_NEW_NAMES.items():
            make(t, text)
            assert t.select("canary", order_by="id") == CANARY, (verb, text)
            unmake(t, text)
            check_canary(t, verb, text)


def test_a_definition_stays_one_expression(t: Database) -> None:
    """What is refused leaves nothing; what is taken is SQL of one kind, and the canary lives."""
    for text in HOSTILE:
        for place, call in AS_DEFINITIONS.items():
            t.begin_transaction()
            try:
                call(t, text)
            except Error as exc:
                assert not isinstance(exc, InvalidIdentifier) or "foreign" in place, (place, text)  # noqa: PT017
            t.rollback()
            check_canary(t, place, text)


def test_a_hostile_search_finds_words_only(t: Database) -> None:
    t.enable_search("t", "v")
    for text in HOSTILE:
        t.search("t", text)
        assert t.select("canary", order_by="id") == CANARY, text
    t.disable_search("t")
    check_canary(t)


def test_a_hostile_name_of_a_file_is_one(t: Database, engine_name: str, tmp_path: Path) -> None:
    own = ".db" if engine_name == "sqlite" else ".dump"
    for text in [text.replace("/", "_") for text in HOSTILE[:4]]:
        for suffix in (".hfz", own):
            path = t.backup_database(tmp_path / f"{text}{suffix}")
            assert t.verify_backup(path).ok
            t.restore_database(path, keep_old=False)
        assert len(t.list_backups(tmp_path)) >= 2
        t.restore_table("t", t.backup_table("t", tmp_path / f"{text}.sql"))
        t.export("t", tmp_path / f"{text}.csv")
        t.import_from_csv("t", tmp_path / f"{text}.csv", "replace")
        t.load("t", tmp_path / f"{text}.csv", "replace")
        check_canary(t, text)
        assert t.count("t") == 2


def test_a_hostile_text_that_names_nothing(t: Database, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("v\nx\n")
    for text in HOSTILE:
        assert t.table_exists(text) == (text == "canary")
        if text != "canary":
            assert is_refused(lambda db, x: db.table(x).count(), t, text)
            assert is_refused(lambda db, x: db.restore_table(x, tmp_path / "none.sql"), t, text)
        assert is_refused(lambda db, x: db.load("t", tmp_path / "rows.csv", x), t, text)
        assert is_refused(lambda db, x: db.import_from_csv("t", tmp_path / "rows.csv", x), t, text)
        assert is_refused(lambda db, x: db.next_backup(tmp_path, x), t, text)
        assert is_refused(lambda db, x: db.backup_if_due(tmp_path, x), t, text)
        assert is_refused(lambda db, x: db.schedule_backups(tmp_path, x), t, text)
        assert is_refused(lambda db, x: db.prune_backups(tmp_path, keep_last=x), t, text)
        check_canary(t, text)
    assert t.count("t") == 2


WITHOUT_TEXT = {
    *("health", "wait_until_ready", "close", "commit", "rollback", "list_tables", "list_views"),
    *("vacuum", "analyze", "optimize", "get_stats", "record_queries", "trace_queries"),
    *("slow_queries", "doctor"),
}
"""What takes nothing that could become SQL."""


def test_every_public_verb_is_tried() -> None:
    """A verb that is new must be tried with hostile texts too, or be named above."""
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    tried = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("db", "t")
    }
    public = {**vars(Database), **vars(Table)}.items()
    verbs = {name for name, value in public if not name.startswith("_") and callable(value)}
    assert verbs - tried - WITHOUT_TEXT == set()


def test_two_statements_never_run(t: Database) -> None:
    for sql in (
        "SELECT 1; DROP TABLE canary",
        "SELECT 1;DROP TABLE canary;",
        "INSERT INTO t (v) VALUES ('x'); DELETE FROM canary",
        "SELECT ';' ; DROP TABLE canary",
        "SELECT 1 -- \n; DROP TABLE canary",
        "SELECT 1 /* ; */ ; DROP TABLE canary",
    ):
        for call in (
            t.execute,
            t.query,
            lambda sql: list(t.stream(sql)),
            lambda sql: t.executemany(sql, [[]]),
        ):
            with pytest.raises(Error):
                call(sql)
            check_canary(t, sql)


def test_comments_and_open_quotes_in_a_filter_cannot_reach_what_follows(t: Database) -> None:
    for where in ("v = 'a' --", "v = 'a' -- ", "v = 'a' /* c */"):
        assert [row["id"] for row in t.select("t", where=where, order_by="id", limit=5)] == [1]
        assert t.update("t", {"n": 1}, where) == 1
    for where in ("v = 'a' /*", "v = 'a", 'v = "a', "v = 'a' OR (", "v = 'a') OR (1 = 1", "1 = 1) --"):
        with pytest.raises(Error):
            t.delete("t", where)
    assert t.count("t") == 2
    check_canary(t)
