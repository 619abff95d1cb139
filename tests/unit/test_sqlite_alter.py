from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.engines.sqlite import alter
from holdfast.engines.sqlite.tabletext import read_table, with_item, without_items
from holdfast.errors import (
    ColumnNotFound,
    Error,
    ForeignKeyViolation,
    InvalidQuery,
    KeyNotUnique,
    NotNullViolation,
    NotSupported,
    SchemaError,
    TableNotFound,
    ValueRefused,
)

PARTS = """CREATE TABLE "the ""parts"" (é)" ( -- the table, with ; and )
  id INTEGER PRIMARY KEY AUTOINCREMENT, -- the key
  "order" TEXT COLLATE NOCASE NOT NULL DEFAULT 'x, y);' /* of the ( order */,
  [a b] REAL CHECK ([a b] >= 0) , -- 'a b'
  `code` TEXT UNIQUE ON CONFLICT REPLACE,
  n INT DEFAULT (1 + 2),
  parent INTEGER REFERENCES "the ""parts"" (é)"(id) ON DELETE RESTRICT,
  owner INTEGER REFERENCES owners ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
  twice GENERATED ALWAYS AS (n * 2) VIRTUAL,
  spare NUMERIC -- 'spare',
  , CONSTRAINT "n, order" UNIQUE (n, "order") CONSTRAINT small CHECK (n < 1000),
  CHECK ("order" <> 'n') -- the end
)"""
OTHERS = """
CREATE TABLE owners (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE kids (id INTEGER PRIMARY KEY, part INTEGER NOT NULL
  REFERENCES "the ""parts"" (é)" (id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE kids2 (part INTEGER REFERENCES "the ""parts"" (é)" ON DELETE SET NULL) WITHOUT ROWID_;
CREATE TABLE log (what TEXT);
CREATE INDEX "by n" ON "the ""parts"" (é)" (n DESC, "order" COLLATE BINARY) WHERE n > 0;
CREATE INDEX by_lower ON "the ""parts"" (é)" (lower("order"));
CREATE UNIQUE INDEX by_ab ON "the ""parts"" (é)" ([a b], n);
CREATE TRIGGER tell AFTER UPDATE OF n ON "the ""parts"" (é)" WHEN new.n > 10 BEGIN
  INSERT INTO log VALUES ('n;' || CASE WHEN old.n > 1 THEN 'big' ELSE 'small' END);
END;
CREATE TRIGGER gone AFTER DELETE ON "the ""parts"" (é)" BEGIN INSERT INTO log VALUES ('deleted'); END;
CREATE TRIGGER kid AFTER INSERT ON kids BEGIN
  UPDATE "the ""parts"" (é)" SET n = n + 1 WHERE id = new.part; END;
CREATE VIEW big AS SELECT id, n, "order" FROM "the ""parts"" (é)" WHERE n >= 3;
CREATE VIEW everything AS SELECT * FROM "the ""parts"" (é)";
""".replace(" WITHOUT ROWID_", "")
PART = 'the "parts" (é)'
Q = '"the ""parts"" (é)"'
ROWS = f"""
INSERT INTO owners VALUES (1, 'one'), (2, 'two');
INSERT INTO {Q} (id, "order", [a b], code, n, parent, owner, spare) VALUES
  (1, 'first', 1.5, 'a', 3, NULL, 1, 7), (5, 'fifth', 0.1, 'b', 4, 1, 2, 'seven'),
  (9, 'ninth', NULL, NULL, 5, 5, NULL, x'00ff'), (50, 'gone', NULL, NULL, 6, NULL, NULL, NULL);
DELETE FROM {Q} WHERE id = 50;
DELETE FROM log;
INSERT INTO kids VALUES (1, 1), (2, 5), (3, 9);
INSERT INTO kids2 VALUES (1), (9);
DELETE FROM log;
"""

Step = Callable[..., Any]
Alter = Callable[..., None]


@pytest.fixture
def con(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as con:
        con.execute("PRAGMA journal_mode=WAL")
        con.execute("PRAGMA foreign_keys=ON")
        con.execute("PRAGMA trusted_schema=OFF")
        yield con
        assert con.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert con.execute("PRAGMA foreign_keys").fetchone() == (1,)
        assert con.execute("PRAGMA legacy_alter_table").fetchone() == (0,)
        assert con.execute("PRAGMA writable_schema").fetchone() == (0,)


@pytest.fixture(params=["around", "inside"])
def change(request: pytest.FixtureRequest, con: sqlite3.Connection) -> Alter:
    """One alteration: with foreign keys switched off around it, or inside a transaction that has them on."""

    @contextmanager
    def transaction() -> Iterator[None]:
        con.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            con.execute("ROLLBACK")
            raise
        con.execute("COMMIT")

    def outside(step: Step, *args: Any, **options: Any) -> None:
        with alter.around(con.execute), transaction():
            step(con.execute, *args, **options)

    def inside(step: Step, *args: Any, **options: Any) -> None:
        with transaction():
            con.execute("CREATE TABLE IF NOT EXISTS scratch (a)")
            con.execute("INSERT INTO scratch VALUES (1)")
            step(con.execute, *args, **options)
            assert con.execute("PRAGMA foreign_keys").fetchone() == (1,)
            con.execute("DROP TABLE scratch")

    return outside if request.param == "around" else inside


@pytest.fixture
def parts(con: sqlite3.Connection) -> sqlite3.Connection:
    con.executescript(PARTS + ";" + OTHERS + ROWS)
    return con


def schema(con: sqlite3.Connection) -> dict[str, str]:
    return dict(con.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"))


def content(con: sqlite3.Connection, table: str, columns: str = "*") -> list[Any]:
    order = "rowid" if table != "kids2" else "part"
    return con.execute(f"SELECT rowid, {columns} FROM {table} ORDER BY {order}").fetchall()


def everything(con: sqlite3.Connection) -> Any:
    tables = [Q, "owners", "kids", "kids2", "log"]
    sequence = con.execute("SELECT * FROM sqlite_sequence").fetchall()
    return schema(con), [content(con, table) for table in tables], sequence


def assert_alive(con: sqlite3.Connection) -> None:
    """The key goes on counting, triggers fire, views work, foreign keys act."""
    assert con.execute("SELECT count(*) FROM big").fetchone() == (3,)
    assert con.execute("SELECT count(*) FROM everything").fetchone() == (3,)
    con.execute(f"INSERT INTO {Q} (\"order\", n) VALUES ('next', 20)")
    assert con.execute(f"SELECT max(id) FROM {Q}").fetchone() == (51,)
    con.execute(f"UPDATE {Q} SET n = 30 WHERE id = 51")
    assert con.execute("SELECT * FROM log").fetchall() == [("n;big",)]
    con.execute("INSERT INTO kids VALUES (9, 51)")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        con.execute("INSERT INTO kids VALUES (10, 777)")
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        con.execute(f"UPDATE {Q} SET n = 2000")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        con.execute(f"DELETE FROM {Q} WHERE id = 1")
    con.execute("DELETE FROM owners WHERE id = 2")
    assert con.execute(f"SELECT owner FROM {Q} WHERE id = 5").fetchone() == (None,)
    con.execute(f"DELETE FROM {Q} WHERE id = 51")
    assert con.execute("SELECT count(*) FROM kids").fetchone() == (3,)
    assert con.execute("SELECT * FROM pragma_foreign_key_check").fetchall() == []


@pytest.mark.parametrize(
    ("column", "options", "old", "new"),
    [
        ("n", {"type": "BIGINT"}, "n INT DEFAULT", "n BIGINT DEFAULT"),
        ("n", {"nullable": False}, "n INT DEFAULT", "n INT NOT NULL DEFAULT"),
        ("n", {"default": None}, "n INT DEFAULT (1 + 2),", "n INT,"),
        ("n", {"default": "7"}, "n INT DEFAULT (1 + 2),", "n INT DEFAULT 7,"),
        ("spare", {"default": "lower('A')"}, "spare NUMERIC -- ", "spare NUMERIC DEFAULT (lower('A')) -- "),
        ("order", {"nullable": True}, "NOCASE NOT NULL DEFAULT", "NOCASE DEFAULT"),
        ("a b", {"type": "DOUBLE PRECISION"}, "[a b] REAL", "[a b] DOUBLE PRECISION"),
        (
            "n",
            {"type": "REAL", "nullable": False, "default": "1.5"},
            "n INT DEFAULT (1 + 2)",
            "n REAL DEFAULT 1.5 NOT NULL",
        ),
    ],
)
def test_alter_column_changes_that_and_nothing_else(
    parts: sqlite3.Connection, change: Alter, column: str, options: dict[str, Any], old: str, new: str
) -> None:
    before = everything(parts)
    change(alter.alter_column, PART, column, **options)
    after = everything(parts)
    assert old in PARTS
    assert after[0].pop(PART) == PARTS.replace(old, new)
    assert before[0].pop(PART) == PARTS
    assert after == before
    if options.get("type") == "REAL":
        assert parts.execute(f"SELECT typeof(n) FROM {Q} LIMIT 1").fetchone() == ("real",)
    assert_alive(parts)


def test_add_foreign_key(parts: sqlite3.Connection, change: Alter) -> None:
    before = everything(parts)
    with pytest.raises(ForeignKeyViolation, match="3 rows"):
        change(alter.add_foreign_key, PART, ["n"], "owners", ["id"])
    assert everything(parts) == before
    change(alter.add_foreign_key, "kids", ["id"], "kids", ["id"], on_delete="CASCADE")
    keys = parts.execute("SELECT [table], [from], [to], on_delete FROM pragma_foreign_key_list('kids')")
    assert set(keys) == {("kids", "id", "id", "CASCADE"), (PART, "part", "id", "CASCADE")}
    parts.execute("INSERT INTO owners VALUES (4, 'four'), (5, 'five'), (6, 'six')")
    change(alter.add_foreign_key, PART, ["n"], "owners", [], on_update="CASCADE")
    after = everything(parts)
    assert after[0][PART] == PARTS.replace(
        "<> 'n') -- the", '<> \'n\'), FOREIGN KEY ("n") REFERENCES "owners" ON UPDATE CASCADE -- the'
    )
    assert after[1][0] == before[1][0]
    with pytest.raises(sqlite3.IntegrityError):
        parts.execute(f"UPDATE {Q} SET n = 99 WHERE id = 1")
    parts.execute("UPDATE owners SET id = 44 WHERE id = 4")
    assert parts.execute(f"SELECT n FROM {Q} WHERE id = 1").fetchone() == (44,)


def test_a_foreign_key_needs_a_unique_key(parts: sqlite3.Connection, change: Alter) -> None:
    before = everything(parts)
    for columns, keys in ((["n"], ["name"]), (["n", "id"], []), (["n"], ["id", "name"])):
        with pytest.raises(KeyNotUnique):
            change(alter.add_foreign_key, PART, columns, "owners", keys)
    with pytest.raises(ColumnNotFound):
        change(alter.add_foreign_key, PART, ["n"], "owners", ["idd"])
    with pytest.raises(TableNotFound):
        change(alter.add_foreign_key, PART, ["n"], "nobody", ["id"])
    assert everything(parts) == before


@pytest.mark.parametrize(
    ("definition", "values"),
    [
        ('"new" TEXT', [None] * 3),
        ("\"new\" TEXT NOT NULL DEFAULT 'd'", ["d"] * 3),
        ('"new" TEXT DEFAULT CURRENT_DATE', "today"),
        ('"new" INT DEFAULT (1 + 1)', [2] * 3),
        ('"new" INT DEFAULT -1 CHECK ("new" < n)', [-1] * 3),
        ('"new" TEXT UNIQUE', [None] * 3),
        ('"new" INT DEFAULT 1 REFERENCES owners (id)', [1] * 3),
        ('"new" INT REFERENCES owners (id) ON DELETE CASCADE', [None] * 3),
        ('"new" INT GENERATED ALWAYS AS (n + 1) STORED', [5, 6, 7]),
        ('"new" INT NOT NULL GENERATED ALWAYS AS (n + 1) VIRTUAL', [5, 6, 7]),
    ],
)
def test_add_column(parts: sqlite3.Connection, change: Alter, definition: str, values: Any) -> None:
    before = everything(parts)
    change(alter.add_column, PART, definition)
    after = everything(parts)
    new = [row[-1] for row in after[1][0]]
    today = [parts.execute("SELECT CURRENT_DATE").fetchone()[0]] * 3
    assert new == (today if values == "today" else values)
    assert [row[:-1] for row in after[1][0]] == before[1][0]
    assert after[1][1:] == before[1][1:]
    assert after[2] == before[2]
    assert definition in after[0].pop(PART)
    before[0].pop(PART)
    assert after[0] == before[0]
    assert_alive(parts)


@pytest.mark.parametrize(
    ("definition", "error"),
    [
        ('"new" TEXT NOT NULL', NotNullViolation),
        ('"new" TEXT NOT NULL DEFAULT NULL', NotNullViolation),
        ('"new" INTEGER PRIMARY KEY', SchemaError),
        ('"new" INT UNIQUE DEFAULT 5', sqlite3.IntegrityError),
        ('"new" INT DEFAULT 77 REFERENCES owners (id)', (ForeignKeyViolation, sqlite3.IntegrityError)),
        ('"new" INT DEFAULT 5 CHECK ("new" > 6)', sqlite3.IntegrityError),
        ('"new" INT NOT NULL GENERATED ALWAYS AS ("a b" + 1) VIRTUAL', sqlite3.IntegrityError),
        ('"n" INT', sqlite3.OperationalError),
    ],
)
def test_a_column_that_cannot_be_added(
    parts: sqlite3.Connection, change: Alter, definition: str, error: Any
) -> None:
    before = everything(parts)
    with pytest.raises(error):
        change(alter.add_column, PART, definition)
    assert everything(parts) == before


def test_a_key_can_be_added_to_a_table_without_one(con: sqlite3.Connection, change: Alter) -> None:
    con.executescript("CREATE TABLE t (a); INSERT INTO t (rowid, a) VALUES (3, 'x'), (8, 'y')")
    change(alter.add_column, "t", '"id" INTEGER PRIMARY KEY AUTOINCREMENT')
    assert con.execute("SELECT id, a FROM t").fetchall() == [(3, "x"), (8, "y")]
    change(alter.add_column, "t", "\"b\" TEXT NOT NULL DEFAULT (upper('b'))")
    assert con.execute("INSERT INTO t (a) VALUES ('z') RETURNING id, b").fetchall() == [(9, "B")]


def test_drop_column_takes_its_indexes_and_the_constraints_that_name_it(
    parts: sqlite3.Connection, change: Alter
) -> None:
    before = everything(parts)
    change(alter.drop_column, PART, "a b")
    after = everything(parts)
    assert before[0].keys() - after[0].keys() == {"by_ab"}
    assert [row[:3] + row[4:] for row in before[1][0]] == after[1][0]
    change(alter.drop_column, PART, "code")
    change(alter.drop_column, PART, "parent")
    change(alter.drop_column, PART, "spare")
    last = everything(parts)
    for name in ("code", "a b", "parent", "spare"):
        assert name not in [row[1] for row in parts.execute(f"PRAGMA table_xinfo({Q})")]
    assert last[1][1:] == before[1][1:]
    assert last[2] == before[2]
    for kept in ("-- the key", "/* of the ( order */", "-- the end", "CONSTRAINT small CHECK (n < 1000)"):
        assert kept in last[0][PART]
    before[0].pop("by_ab")
    before[0].pop(PART)
    last[0].pop(PART)
    assert last[0] == before[0]
    parts.execute("DELETE FROM owners WHERE id = 2")
    parts.execute(f"DELETE FROM {Q} WHERE id = 5")
    assert parts.execute("SELECT part FROM kids").fetchall() == [(1,), (9,)]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("n", "'big'"),
        ("order", "'big'"),
        ("id", "needs it"),
        ("nn", "no column"),
    ],
)
def test_a_column_that_others_need_stays(
    parts: sqlite3.Connection, change: Alter, column: str, said: str
) -> None:
    before = everything(parts)
    with pytest.raises(SchemaError, match=said):
        change(alter.drop_column, PART, column)
    assert everything(parts) == before


@pytest.mark.parametrize(
    ("setup", "column"),
    [
        ("CREATE TABLE t (a, b); CREATE VIEW v AS SELECT x.a FROM t AS x", "a"),
        ("CREATE TABLE t (a, b); CREATE VIEW v AS SELECT \"a\" FROM t", "a"),
        ("CREATE TABLE t (a, b); CREATE TRIGGER r AFTER UPDATE ON t BEGIN SELECT new.a; END", "a"),
        ("CREATE TABLE t (a, b); CREATE TABLE u (x); CREATE TRIGGER r AFTER DELETE ON u BEGIN "
         "UPDATE t SET a = 1; END", "a"),
        ("CREATE TABLE t (a, b AS (a + 1))", "a"),
        ("CREATE TABLE t (a, b CHECK (b > a))", "a"),
        ("CREATE TABLE t (a UNIQUE, b); CREATE TABLE u (x REFERENCES t (a))", "a"),
        ("CREATE TABLE t (a PRIMARY KEY, b); CREATE TABLE u (x REFERENCES t)", "a"),
        ("CREATE TABLE t (a PRIMARY KEY, b REFERENCES t)", "a"),
        ("CREATE TABLE t (a UNIQUE, b, FOREIGN KEY (b) REFERENCES t (a))", "a"),
        ("CREATE TABLE t (a)", "a"),
        ("CREATE TABLE t (a, b); CREATE VIEW broken AS SELECT * FROM missing", "a"),
        ("CREATE TABLE t (a PRIMARY KEY, b) WITHOUT ROWID", "a"),
    ],
)  # fmt: skip
def test_dependents_refuse_a_drop(con: sqlite3.Connection, change: Alter, setup: str, column: str) -> None:
    con.executescript(setup)
    before = schema(con)
    with pytest.raises((SchemaError, NotSupported)) as caught:
        change(alter.drop_column, "t", column)
    assert caught.value.hint or "WITHOUT ROWID" in setup
    assert schema(con) == before


@pytest.mark.parametrize(
    ("create", "column", "left"),
    [
        ("CREATE TABLE t (a UNIQUE, b)", "a", "CREATE TABLE t (b)"),
        ("CREATE TABLE t (b, a UNIQUE)", "a", "CREATE TABLE t (b)"),
        ("CREATE TABLE t (a INTEGER PRIMARY KEY AUTOINCREMENT, b)", "a", "CREATE TABLE t (b)"),
        ("CREATE TABLE t (a, b, UNIQUE (a, b))", "a", "CREATE TABLE t (b)"),
        ("CREATE TABLE t (a, b, PRIMARY KEY (a, b), CHECK (a > 0))", "a", "CREATE TABLE t (b)"),
        ("CREATE TABLE t (a, b, CHECK (a > 0) CHECK (b > 0))", "a", "CREATE TABLE t (b, CHECK (b > 0))"),
        ("CREATE TABLE t (a, b, CHECK (b > 0) UNIQUE (a))", "a", "CREATE TABLE t (b, CHECK (b > 0) )"),
        ("CREATE TABLE t (b, a REFERENCES t (b), UNIQUE (b))", "a", "CREATE TABLE t (b, UNIQUE (b))"),
        ("CREATE TABLE t (b UNIQUE, a, FOREIGN KEY (a) REFERENCES t (b))", "a", None),
        (
            "CREATE TABLE t (b -- the b\n, a UNIQUE -- the a\n)",
            "a",
            "CREATE TABLE t (b -- the b\n  -- the a\n)",
        ),
        ("CREATE TABLE t (b INT, a TEXT UNIQUE, c INT) STRICT", "a", "CREATE TABLE t (b INT, c INT) STRICT"),
        ("CREATE TABLE t ('a' UNIQUE, [b])", "a", "CREATE TABLE t ([b])"),
        ('CREATE TABLE t ("check" UNIQUE, b CHECK (b > 0))', "check", "CREATE TABLE t (b CHECK (b > 0))"),
    ],
)
def test_drop_column_by_rebuild(
    con: sqlite3.Connection, change: Alter, create: str, column: str, left: str | None
) -> None:
    con.execute(create)
    con.execute(f'INSERT INTO t (rowid, b, "{column}") VALUES (7, 2, NULL)')
    con.execute("UPDATE t SET rowid = 9")
    change(alter.drop_column, "t", column)
    assert con.execute("SELECT rowid, b FROM t").fetchall() == [(9, 2)]
    if left is not None:
        assert " ".join(schema(con)["t"].split()) == " ".join(left.split())


def test_children_with_cascade_keep_their_rows_inside_a_transaction(parts: sqlite3.Connection) -> None:
    kids, kids2 = content(parts, "kids"), content(parts, "kids2")
    parts.execute("BEGIN")
    parts.execute(f"UPDATE {Q} SET n = n + 1")
    alter.alter_column(parts.execute, PART, "n", type="REAL")
    alter.drop_column(parts.execute, PART, "code")
    assert (content(parts, "kids"), content(parts, "kids2")) == (kids, kids2)
    parts.execute(f"DELETE FROM {Q} WHERE id = 9")
    assert content(parts, "kids") == kids[:2]
    parts.execute("SAVEPOINT s")
    alter.alter_column(parts.execute, PART, "n", nullable=False)
    parts.execute("ROLLBACK TO s")
    with pytest.raises(sqlite3.IntegrityError):
        parts.execute("INSERT INTO kids VALUES (7, 777)")
    parts.execute("ROLLBACK")
    assert schema(parts)[PART] == PARTS
    assert (content(parts, "kids"), content(parts, "kids2")) == (kids, kids2)
    assert_alive(parts)


def test_references_that_are_not_settled_stop_an_alteration_inside(parts: sqlite3.Connection) -> None:
    parts.execute("BEGIN")
    parts.execute(f"UPDATE {Q} SET owner = 99 WHERE id = 1")
    with pytest.raises(ForeignKeyViolation):
        alter.alter_column(parts.execute, PART, "n", nullable=False)
    with pytest.raises(sqlite3.IntegrityError):
        parts.execute("COMMIT")
    parts.execute("ROLLBACK")


def test_another_connection_sees_the_altered_table(
    parts: sqlite3.Connection, tmp_path: Path, change: Alter
) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as other:
        other.execute("PRAGMA foreign_keys=ON")
        assert len(other.execute(f"SELECT * FROM {Q}").fetchall()) == 3
        change(alter.drop_column, PART, "code")
        assert len(other.execute("SELECT * FROM kids").fetchall()) == 3
        other.execute(f"DELETE FROM {Q} WHERE id = 9")
        other.commit()
    assert content(parts, "kids") == [(1, 1, 1), (2, 2, 5)]


@pytest.mark.parametrize(
    ("value", "old", "new", "kept"),
    [
        ("'12'", "TEXT", "INTEGER", 12),
        ("'abc'", "TEXT", "INTEGER", None),
        ("'1.5'", "TEXT", "INTEGER", None),
        ("1.5", "REAL", "INTEGER", None),
        ("2.0", "REAL", "INTEGER", 2),
        ("x'31'", "BLOB", "INTEGER", None),
        ("9007199254740993", "INTEGER", "REAL", None),
        ("3", "INTEGER", "REAL", 3.0),
        ("12", "INTEGER", "TEXT", "12"),
        ("0.1", "REAL", "TEXT", "0.1"),
        ("0.1 + 0.2", "REAL", "TEXT", None),
        ("x'31'", "BLOB", "TEXT", None),
        ("'a'", "TEXT", "BLOB", None),
        ("1", "INTEGER", "BOOLEAN", 1),
        ("2", "INTEGER", "BOOLEAN", None),
        ("'2024'", "TEXT", "DATETIME", None),
        ("'2024-01-01'", "TEXT", "DATETIME", "2024-01-01"),
        ("'1.10'", "TEXT", "NUMERIC(10,2)", 1.1),
        ("'x'", "TEXT", "NUMERIC(10,2)", None),
        ("'[1]'", "TEXT", "JSON", "[1]"),
        ("NULL", "TEXT", "INTEGER", ...),
    ],
)
def test_a_new_type_takes_only_values_that_fit(
    con: sqlite3.Connection, change: Alter, value: str, old: str, new: str, kept: Any
) -> None:
    con.execute(f"CREATE TABLE t (a {old})")
    con.execute(f"INSERT INTO t VALUES ({value})")
    before = con.execute("SELECT a, typeof(a) FROM t").fetchall()
    if kept is None:
        with pytest.raises(ValueRefused, match=r"1 values of 't'.'a'"):
            change(alter.alter_column, "t", "a", type=new)
        assert con.execute("SELECT a, typeof(a) FROM t").fetchall() == before
        assert schema(con)["t"] == f"CREATE TABLE t (a {old})"
    else:
        change(alter.alter_column, "t", "a", type=new)
        found = con.execute("SELECT a FROM t").fetchone()[0]
        expected = None if kept is ... else kept
        assert (found, type(found)) == (expected, type(expected))
        assert schema(con)["t"] == f"CREATE TABLE t (a {new})"


@pytest.mark.parametrize(
    ("column", "options", "error"),
    [
        ("a b", {"nullable": False}, NotNullViolation),
        ("id", {"type": "TEXT"}, NotSupported),
        ("id", {"nullable": True}, SchemaError),
        ("n", {"type": "INTEGER NOT NULL"}, InvalidQuery),
        ("n", {"type": "INTEGER); DROP TABLE log; --"}, InvalidQuery),
        ("n", {"default": "1 NOT NULL"}, InvalidQuery),
        ("n", {"default": "1); DROP TABLE log; --"}, InvalidQuery),
        ("n", {"default": 5}, InvalidQuery),
        ("twice", {"type": "TEXT"}, NotSupported),
        ("nn", {"type": "TEXT"}, ColumnNotFound),
        ("order", {"type": "INTEGER"}, ValueRefused),
        ("spare", {"type": "TEXT"}, ValueRefused),
    ],
)
def test_what_cannot_be_altered_changes_nothing(
    parts: sqlite3.Connection, change: Alter, column: str, options: dict[str, Any], error: type[Error]
) -> None:
    before = everything(parts)
    parts.execute("UPDATE owners SET name = 'changed' WHERE 0")
    with pytest.raises(error):
        change(alter.alter_column, PART, column, **options)
    assert everything(parts) == before


def test_an_on_conflict_clause_loses_no_row(con: sqlite3.Connection, change: Alter) -> None:
    con.executescript(
        "CREATE TABLE t (a TEXT UNIQUE ON CONFLICT IGNORE); INSERT INTO t VALUES ('1'), ('01'), ('2')"
    )
    with pytest.raises(sqlite3.IntegrityError):
        change(alter.alter_column, "t", "a", type="INTEGER")
    assert con.execute("SELECT a FROM t").fetchall() == [("1",), ("01",), ("2",)]


def test_rowids_and_temporary_triggers_stay(con: sqlite3.Connection, change: Alter) -> None:
    con.executescript(
        """CREATE TABLE t (rowid TEXT, a INT); CREATE TABLE u (a INT, PRIMARY KEY (a DESC)) WITHOUT ROWID;
        CREATE TABLE log (x); INSERT INTO t (oid, rowid, a) VALUES (5, 'five', 1), (3, 'three', 2);
        INSERT INTO u VALUES (1), (2);
        CREATE TEMP TRIGGER tt AFTER UPDATE ON t BEGIN INSERT INTO log VALUES (new.a); END"""
    )
    change(alter.alter_column, "t", "a", type="REAL")
    change(alter.alter_column, "u", "a", default="8")
    assert con.execute("SELECT oid, rowid, a FROM t ORDER BY oid").fetchall() == [
        (3, "three", 2.0),
        (5, "five", 1.0),
    ]
    assert con.execute("SELECT a FROM u").fetchall() == [(2,), (1,)]
    con.execute("UPDATE t SET a = 9 WHERE oid = 3")
    assert con.execute("SELECT x FROM log").fetchall() == [(9,)]


def test_an_empty_autoincrement_table_keeps_its_counter(con: sqlite3.Connection, change: Alter) -> None:
    con.executescript(
        "CREATE TABLE T (id INTEGER PRIMARY KEY AUTOINCREMENT, a INT);"
        "INSERT INTO t VALUES (40, 1); DELETE FROM t"
    )
    change(alter.alter_column, "t", "A", type="TEXT")
    assert con.execute("INSERT INTO t (a) VALUES (1) RETURNING id, a").fetchall() == [(41, "1")]
    assert con.execute("SELECT * FROM sqlite_sequence").fetchall() == [("T", 41)]


def test_virtual_tables_are_left_alone(con: sqlite3.Connection, change: Alter) -> None:
    con.execute("CREATE VIRTUAL TABLE f USING fts5(a)")
    with pytest.raises(NotSupported):
        change(alter.alter_column, "f", "a", type="TEXT")


def test_renaming_takes_everything_along(parts: sqlite3.Connection, change: Alter) -> None:
    parts.execute("PRAGMA legacy_alter_table=ON")
    change(alter.rename_column, PART, "n", 'no. "1"')
    change(alter.rename_table, PART, "new; name")
    parts.execute("PRAGMA legacy_alter_table=OFF")
    assert parts.execute('SELECT "no. ""1""" FROM "new; name" ORDER BY id').fetchall() == [(4,), (5,), (6,)]
    assert parts.execute("SELECT count(*) FROM big").fetchone() == (3,)
    parts.execute('DELETE FROM "new; name" WHERE id = 9')
    assert content(parts, "kids") == [(1, 1, 1), (2, 2, 5)]
    assert parts.execute("SELECT name FROM sqlite_sequence").fetchall() == [("new; name",)]


def test_drop_table_that_others_need(parts: sqlite3.Connection, change: Alter) -> None:
    before = everything(parts)
    for table in (PART, "owners"):
        with pytest.raises(SchemaError, match="refer to"):
            change(alter.drop_table, table)
    parts.execute("CREATE VIEW logs AS SELECT what AS log FROM log")
    with pytest.raises(SchemaError, match="'logs'"):
        change(alter.drop_table, "log")
    parts.execute("DROP VIEW logs")
    assert everything(parts) == before
    parts.executescript(
        "CREATE TABLE other (alone TEXT); CREATE VIEW o AS SELECT alone FROM other; CREATE TABLE alone (a)"
    )
    change(alter.drop_table, "alone")
    assert "alone" not in schema(parts)


@pytest.mark.parametrize(
    ("sql", "columns", "constraints"),
    [
        (PARTS, ["id", "order", "a b", "code", "n", "parent", "owner", "twice", "spare"], 3),
        ("CREATE TABLE t(a,b)", ["a", "b"], 0),
        ("CREATE TABLE t(a INT, CHECK(a>0) UNIQUE(a), CONSTRAINT x CHECK(1) CHECK(2))", ["a"], 4),
        ("CREATE TABLE t(\"unique\", 'primary' TEXT, `check`)", ["unique", "primary", "check"], 0),
        ("CREATE TABLE t(a DEFAULT (1, 2), b NUMERIC(10,2))", ["a", "b"], 0),
    ],
)
def test_parts_of_a_table(sql: str, columns: list[str], constraints: int) -> None:
    table = read_table(sql)
    assert [item.column for item in table.items if item.column is not None] == columns
    assert sum(item.column is None for item in table.items) == constraints
    assert with_item(table, "CHECK (1)", is_column=False).items[-1].column is None
    only = without_items(table, range(1, len(table.items)))
    assert [item.column for item in only.items] == columns[:1]
