from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import (
    ConfigurationError,
    MissingDependency,
    TableNotFound,
    TransactionAborted,
    TransactionError,
)
from holdfast.inspection import Inspector, Summary
from holdfast.inspection.report import human_size


@pytest.fixture
def shop(db):
    """Tables with every kind of key, a view, and indexes."""
    db.create_table("users", {"id": "INTEGER PRIMARY KEY AUTOINCREMENT", "email": "VARCHAR(80) UNIQUE"})
    db.create_table(
        "orders",
        {
            "id": "INTEGER PRIMARY KEY",
            "user_id": "INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE ON UPDATE SET NULL",
            "parent": "INTEGER REFERENCES orders(id)",
            "total": "NUMERIC(10,2) DEFAULT 0 CHECK (total >= 0)",
            "placed": "TIMESTAMP DEFAULT CURRENT_TIMESTAMP",
        },
    )
    db.create_table(
        "items",
        {"order_id": int, "line": int, "name": "TEXT NOT NULL DEFAULT 'it''s; ok'", "data": dict},
        primary_key=["order_id", "line"],
        foreign_keys={"order_id": "orders(id)"},
        unique=[["name", "order_id"]],
    )
    db.create_table(
        "parts",
        {"item_line": int, "item_order": int, "of": str},
        foreign_keys=[
            {"columns": ["item_order", "item_line"], "table": "items", "references": ["order_id", "line"]}
        ],
    )
    db.execute("CREATE VIEW spending AS SELECT user_id, sum(total) AS total FROM orders GROUP BY user_id")
    db.create_index("orders", ["user_id"])
    db.create_index("orders", ["placed", "total"], name="by_date", where="total > 10")
    db.insert_many("users", [{"email": f"u{n}@x.org"} for n in range(3)])
    db.insert("orders", {"id": 1, "user_id": 1, "total": 12})
    return db


with contextlib.closing(sqlite3.connect(":memory:")) as asked:
    SQLITE_TELLS_SIZES = ("dbstat",) in asked.execute("SELECT name FROM pragma_module_list").fetchall()


@pytest.fixture
def inspector(shop):
    return holdfast.inspect(shop)


def test_tables_with_exact_rows_then_views(inspector, engine_name):
    assert isinstance(inspector, Inspector)
    found = inspector.get_tables()
    sizes = [one.pop("size") for one in found]
    assert found == [
        {"name": "items", "type": "table", "rows": 0, "exact": True, "columns": 4},
        {"name": "orders", "type": "table", "rows": 1, "exact": True, "columns": 5},
        {"name": "parts", "type": "table", "rows": 0, "exact": True, "columns": 3},
        {"name": "users", "type": "table", "rows": 3, "exact": True, "columns": 2},
        {"name": "spending", "type": "view", "rows": None, "exact": False, "columns": 2},
    ]
    assert sizes[-1] is None
    if engine_name == "sqlite" and not SQLITE_TELLS_SIZES:
        assert sizes == [None] * 5
    else:
        assert all(size > 0 for size in sizes[:-1])


def test_keys(inspector):
    assert inspector.get_primary_keys("users") == ["id"]
    assert inspector.get_primary_keys("items") == ["order_id", "line"]
    assert inspector.get_primary_key("parts") == []
    assert inspector.get_primary_keys("spending") == []
    assert inspector.get_foreign_keys("users") == inspector.get_foreign_keys("spending") == []
    by_column = {key["columns"][0]: key for key in inspector.get_foreign_keys("orders")}
    assert by_column["user_id"] == {
        "columns": ["user_id"],
        "references": "users",
        "keys": ["id"],
        "on_delete": "CASCADE",
        "on_update": "SET NULL",
    }
    assert by_column["parent"]["references"] == "orders"
    (composite,) = inspector.get_foreign_keys("parts")
    assert composite["columns"] == ["item_order", "item_line"]
    assert composite["keys"] == ["order_id", "line"]
    assert composite["on_delete"] == composite["on_update"] == "NO ACTION"


def test_indexes(inspector):
    found = {index["name"]: index for index in inspector.get_indexes("orders")}
    assert found["idx_orders_user_id"]["columns"] == ["user_id"]
    assert found["by_date"]["partial"] is True
    assert {index["table"] for index in inspector.get_indexes()} >= {"orders", "users", "items"}


@pytest.mark.parametrize(
    "ask", ["get_primary_keys", "get_foreign_keys", "get_indexes", "get_create_table_sql"]
)
def test_an_unknown_table_is_named_with_a_suggestion(inspector, ask):
    with pytest.raises(TableNotFound, match="no table 'ordres'; did you mean 'orders'"):
        getattr(inspector, ask)("ordres")


def shape(db, table):
    """All that the catalogue says of a table."""
    inspector = holdfast.inspect(db)
    info = db._executor.describe(table)
    columns = [
        (c.name, c.type, c.nullable, c.default, c.primary_key, c.generated, c.identity) for c in info.columns
    ]
    keys = [tuple(index["columns"]) for index in inspector.get_indexes(table) if index["constraint"]]
    foreign = sorted(map(str, inspector.get_foreign_keys(table)))
    return columns, inspector.get_primary_keys(table), sorted(keys), foreign


def test_the_create_text_makes_the_same_table(shop, new_url):
    inspector = holdfast.inspect(shop)
    with holdfast.connect(new_url()) as other:
        for table in ("users", "orders", "items", "parts", "spending"):
            sql = inspector.get_create_table_sql(table)
            other.execute(sql)
            assert shape(other, table) == shape(shop, table)
            assert holdfast.inspect(other).get_create_table_sql(table) == sql
        assert other.insert("users", {"email": "x"}) == 1
        with pytest.raises(holdfast.errors.CheckViolation):
            other.insert("orders", {"user_id": 1, "total": -1})
        order = other.insert("orders", {"user_id": 1})
        assert other.get("orders", order)["total"] == 0
        other.insert("items", {"order_id": order, "line": 1})
        assert other.get("items", (order, 1))["name"] == "it's; ok"


def test_the_create_text_of_foreign_hands(db, new_url, engine_name):
    if engine_name == "sqlite":
        made = [
            "CREATE TABLE a (id INTEGER PRIMARY KEY, b TEXT COLLATE NOCASE, c AS (b) STORED, d AS (b))",
            'CREATE TABLE "b c" (k TEXT PRIMARY KEY, v ANY) WITHOUT ROWID, STRICT',
            "CREATE VIRTUAL TABLE f USING fts5(title, body)",
        ]
        names = ["a", "b c", "f"]
    else:
        made = [
            "CREATE TABLE a (id serial PRIMARY KEY, n bigserial, s smallserial, b varchar(5) NOT NULL, "
            "c text GENERATED ALWAYS AS (b || 'x') STORED, ids integer[] DEFAULT '{1,2}', "
            "EXCLUDE USING btree (b WITH =))",
            'CREATE TABLE "b c" (k int GENERATED ALWAYS AS IDENTITY (START 5), "T" timestamptz(3)) '
            "PARTITION BY RANGE (k)",
            "CREATE UNLOGGED TABLE f (x real)",
            "CREATE MATERIALIZED VIEW m AS SELECT x FROM f",
        ]
        names = ["a", "b c", "f", "m"]
        if db._executor.scalar("SELECT current_setting('server_version_num')::int") >= 180000:
            made.append("CREATE TABLE v (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL)")
            names.append("v")
    for sql in made:
        db.execute(sql)
    with holdfast.connect(new_url()) as other:
        for name in names:
            sql = holdfast.inspect(db).get_create_table_sql(name)
            other.execute(sql)
            assert shape(other, name) == shape(db, name)
            assert holdfast.inspect(other).get_create_table_sql(name) == sql


def test_everything_works_inside_a_transaction(shop):
    inspector = holdfast.inspect(shop)
    with shop.transaction():
        shop.insert("users", {"email": "new"})
        shop.create_table("late", {"id": "INTEGER PRIMARY KEY"})
        assert ("users", 4, True) in [
            (one["name"], one["rows"], one["exact"]) for one in inspector.get_tables()
        ]
        assert inspector.get_primary_keys("late") == ["id"]
        assert "late" in inspector.get_create_table_sql("late")
        assert shop.get_stats()["tables"]["late"] == 0
        assert "late" in str(shop.summary)
        shop.analyze()
    assert shop.count("users") == 4


def test_stats(shop, engine_name):
    stats = shop.get_stats()
    assert stats["table_count"] == 4
    assert stats["tables"] == {"items": 0, "orders": 1, "parts": 0, "users": 3}
    assert stats["rows"] == 4
    assert stats["view_count"] == 1
    assert stats["index_count"] == 2
    assert isinstance(stats["size"], int)
    assert stats["size"] > 8192
    assert stats["engine"].startswith("SQLite 3." if engine_name == "sqlite" else "PostgreSQL 1")


def test_summary_is_data_and_a_table(shop, capsys):
    summary = shop.summary
    assert isinstance(summary, Summary)
    assert [(table.name, table.rows) for table in summary.tables][1] == ("orders", 1)
    assert summary.rows == 4
    text = str(summary)
    lines = text.splitlines()
    assert lines[0].endswith(": 4 tables, 1 view, 4 rows")
    assert any(line.startswith("users ") and "   3  id* " in line for line in lines)
    assert any(line.startswith("spending ") and "view" in line for line in lines)
    assert "-> users" in text
    assert "* primary key, -> foreign key" in text
    assert max(map(len, lines)) <= 100
    assert text.isascii()
    shop()
    assert capsys.readouterr().out == text + "\n"


def test_summary_of_nothing(db):
    assert str(db.summary).endswith(": 0 tables, 0 rows")
    assert db.get_stats()["table_count"] == 0
    assert holdfast.inspect(db).get_tables() == []


def test_summary_of_awkward_and_wide_tables_keeps_its_width(db):
    db.create_table("wide", {f"column_{number}": float for number in range(200)})
    db.create_table("x" * 63, {"y" * 63: "INTEGER PRIMARY KEY", "new\nline": str, "日本": str})
    db.create_table("<b>&", {"<i>": int})
    text = str(db.summary)
    assert all(len(line) + sum(letter in "日本" for letter in line) <= 100 for line in text.splitlines())
    assert "... " in text
    assert " more" in text
    assert r"new\nline" in text
    html = ET.fromstring(f"<div>{db.summary._repr_html_()}</div>")
    assert "<b>&" in [cell.text for cell in html.iter("td")]


def test_many_tables_are_counted_in_few_statements(db):
    for number in range(12):
        db.create_table(f"t{number}", {"id": "INTEGER PRIMARY KEY"})
        db.insert_many(f"t{number}", [{"id": n} for n in range(number)])
    assert db.get_stats()["tables"] == {f"t{number}": number for number in range(12)}


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1,023 bytes"),
        (1024, "1.0 kB"),
        (12_345_678, "11.8 MB"),
        (1024**3 - 1, "1.0 GB"),
        (5 * 1024**4, "5.0 TB"),
        (10**18, "909,494.7 TB"),
    ],
)
def test_sizes_for_people(size, text):
    assert human_size(size) == text


def test_vacuum_and_optimize_refuse_a_transaction_and_commit_nothing(shop):
    shop.begin_transaction()
    shop.insert("users", {"email": "undone"})
    for verb in (shop.vacuum, shop.optimize):
        with pytest.raises(TransactionError, match="cannot be part of a transaction"):
            verb()
    assert shop.count("users") == 4
    shop.rollback()
    assert shop.count("users") == 3


def test_vacuum_gives_space_back(db, engine_name):
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "data": bytes})
    db.insert_many("t", [{"data": os.urandom(2000)} for _ in range(1000)])
    db.delete("t", all_rows=True)
    before = db.get_stats()["size"]
    db.vacuum()
    assert db.get_stats()["size"] < before - 1_000_000
    if engine_name == "sqlite":
        path = Path(db.url.removeprefix("sqlite:///"))
        assert path.stat().st_size == db.get_stats()["size"]


def test_upkeep_leaves_the_rows_alone(shop):
    for verb in (shop.vacuum, shop.analyze, shop.optimize):
        verb()
    assert shop.count("users") == 3
    assert shop.list_tables() == ["items", "orders", "parts", "users"]


def test_an_aborted_transaction_says_so(shop):
    shop.begin_transaction()
    with pytest.raises(holdfast.errors.Error):
        shop.execute("SELECT nonsense FROM users")
    for ask in (shop.get_stats, shop.analyze, lambda: shop.summary, holdfast.inspect(shop).get_tables):
        with pytest.raises(TransactionAborted):
            ask()
    shop.rollback()


@pytest.mark.parametrize("extension", ["png", "svg", "mmd", "dot", "PNG"])
def test_a_diagram_of_each_kind(inspector, tmp_path, extension):
    path = tmp_path / f"schema.{extension}"
    assert inspector.generate_schema_diagram(str(path)) == path
    content = path.read_bytes()
    if extension.lower() == "png":
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(content) > 20_000
        return
    text = content.decode()
    for name in ("users", "orders", "items", "parts", "spending", "user_id", "item_line"):
        assert name in text
    if extension == "svg":
        names = [element.text for element in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]
        assert {"users", "orders", "items", "parts", "spending"} <= set(names)
    edges = {
        "mmd": [
            '"orders" }o--|| "users" : "user_id"',
            '"orders" }o--o| "orders" : "parent"',
            '"items" }o--|| "orders" : "order_id"',
            '"parts" }o--o| "items" : "item_order, item_line"',
        ],
        "dot": [
            '"orders":w1:w -> "users":e0:e;',
            '"orders":e2:e -> "orders":e0:e;',
            '"items":w0:w -> "orders":e0:e;',
            '"parts":w1:w -> "items":e0:e;',
            '"parts":w0:w -> "items":e1:e;',
        ],
    }
    assert all(edge in text for edge in edges.get(extension, []))


def test_a_diagram_around_a_table(inspector, tmp_path):
    def shown(**options):
        text = inspector.generate_schema_diagram(tmp_path / "x.mmd", **options).read_text()
        return set(re.findall(r'^    "(\w+)" \{', text, re.M))

    assert shown(around="users") == {"users", "orders"}
    assert shown(around="users", depth=2) == {"users", "orders", "items"}
    assert shown(around="users", depth=99) == {"users", "orders", "items", "parts"}
    assert shown(around=["parts", "spending"], depth=0) == {"parts", "spending"}
    assert shown() == {"users", "orders", "items", "parts", "spending"}


def test_a_diagram_has_keys_or_all_columns_or_none(inspector, tmp_path):
    def text(**options):
        return inspector.generate_schema_diagram(tmp_path / "x.svg", **options).read_text()

    assert "user_id" in text()
    assert "placed" not in text()
    assert "… 2 more" in text()
    assert "placed" in text(columns="all")
    assert "more" not in text(columns="all")
    assert "user_id" not in text(columns="none")
    assert "orders" in text(columns="none")
    assert "orders" in text(group="connected")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": "key"}, "unknown columns 'key'.*did you mean 'keys'"),
        ({"group": "prefixes"}, "unknown group 'prefixes'.*did you mean 'prefix'"),
        ({"depth": -1}, "depth must be"),
        ({"depth": "2"}, "depth must be"),
        ({"around": "orders", "tables": ["items"]}, "not both"),
    ],
)
def test_options_that_mean_nothing(inspector, tmp_path, options, message):
    with pytest.raises(ConfigurationError, match=message):
        inspector.generate_schema_diagram(tmp_path / "x.svg", **options)
    with pytest.raises(TableNotFound, match="did you mean 'orders'"):
        inspector.generate_schema_diagram(tmp_path / "x.svg", around="order")
    assert not (tmp_path / "x.svg").exists()


def test_a_png_without_matplotlib_is_drawn_by_graphviz(inspector, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    if shutil.which("dot"):
        content = inspector.generate_schema_diagram(tmp_path / "x.png").read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match=r"Graphviz.*\.svg, \.mmd or \.dot, which need nothing"):
        inspector.generate_schema_diagram(tmp_path / "y.png")
    assert not (tmp_path / "y.png").exists()


def test_a_diagram_of_names_that_need_quoting(db, tmp_path):
    names = ['a"b', "x<y>&z", "new\nline", "日本 表", "erDiagram", "--", "}o--o{", "%%", "`;", "back\\slash"]
    for before, name in pairwise([None, *names]):
        db.create_table(
            name,
            {"id": "INTEGER PRIMARY KEY", 'to "it"': int},
            foreign_keys={'to "it"': (before, "id")} if before else None,
        )
    look = holdfast.inspect(db)
    svg = look.generate_schema_diagram(tmp_path / "x.svg", around="--", depth=2).read_text()
    texts = {element.text for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {"--", "erDiagram", "日本 表", "}o--o{", "%%"} <= texts
    assert not {"`;", "x<y>&z"} & texts
    look.generate_schema_diagram(tmp_path / "x.dot")
    if shutil.which("dot"):
        done = subprocess.run(["dot", "-Tplain", tmp_path / "x.dot"], capture_output=True, check=True)
        assert done.stdout.count(b"\nnode ") == len(names)
        assert done.stdout.count(b"\nedge ") == len(names) - 1


def test_a_diagram_of_some_tables(inspector, tmp_path):
    text = inspector.generate_schema_diagram(tmp_path / "x.mmd", tables=["items", "parts"]).read_text()
    assert '"parts" }o--o| "items"' in text
    assert '"orders" {\n    }' in text
    assert "users" not in text
    with pytest.raises(TableNotFound, match="did you mean 'items'"):
        inspector.generate_schema_diagram(tmp_path / "y.mmd", tables=["itmes"])
    assert not (tmp_path / "y.mmd").exists()


@pytest.mark.parametrize("name", ["schema.pdf", "schema", "schema.png.txt", ".svg"])
def test_an_extension_that_is_not_known(inspector, tmp_path, name):
    with pytest.raises(ConfigurationError, match=r"\.png, \.svg, \.mmd, \.dot"):
        inspector.generate_schema_diagram(tmp_path / name)
    assert list(tmp_path.glob("schema*")) == []


def test_a_place_that_cannot_be_written(inspector, tmp_path):
    with pytest.raises(ConfigurationError, match="does not exist"):
        inspector.generate_schema_diagram(tmp_path / "missing" / "x.svg")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(ConfigurationError, match="is a directory"):
        inspector.generate_schema_diagram(tmp_path / "folder.svg")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        inspector.generate_schema_diagram(f"/proc/{os.getpid()}/x.svg")


def test_a_diagram_replaces_the_old_one_whole(inspector, tmp_path):
    path = tmp_path / "schema.svg"
    path.write_text("old")
    inspector.generate_schema_diagram(path)
    assert path.read_text().startswith("<?xml")
    assert [item.name for item in tmp_path.iterdir() if item.name.endswith(".tmp")] == []
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_diagram_of_an_empty_database(db, tmp_path):
    for extension in ("png", "svg", "mmd", "dot"):
        assert holdfast.inspect(db).generate_schema_diagram(tmp_path / f"x.{extension}").stat().st_size > 0


def test_the_summary_names_schemas_that_it_does_not_show(db, url, engine_name):
    if engine_name == "sqlite":
        assert db.summary.elsewhere == ()
        return
    db.execute("CREATE SCHEMA audit")
    db.execute("CREATE TABLE audit.events (id int)")
    db.execute("CREATE SCHEMA nothing_in_it")
    try:
        assert db.summary.elsewhere == ("audit",)
        assert "audit; with options=-csearch_path%3DNAME in the URL" in str(db.summary)
        with holdfast.connect(f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3Daudit") as there:
            assert there.list_tables() == ["events"]
    finally:
        db.execute("DROP SCHEMA audit CASCADE")
        db.execute("DROP SCHEMA nothing_in_it")
