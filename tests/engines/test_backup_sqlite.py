"""What only SQLite databases hold, in and out of a backup."""

from __future__ import annotations

import random
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import BackupError, SchemaError


@pytest.fixture
def engine_name() -> str:
    """These tests are of what no other engine has."""
    return "sqlite"


SCHEMA = """
PRAGMA user_version = 7;
PRAGMA application_id = 42;
CREATE TABLE plain (a, b TEXT -- the end
);
CREATE TABLE keyed (k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID;
CREATE TABLE strict_one (id INTEGER PRIMARY KEY, x ANY, r REAL) STRICT;
CREATE TABLE computed (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER AS (a * 2) STORED, c AS (a + 1));
CREATE TABLE "odd ""name" ("select" INTEGER PRIMARY KEY AUTOINCREMENT, [a b] TEXT COLLATE NOCASE,
    `ö` DEFAULT (1 + 1));
CREATE TABLE "Table: ""x""
second line" (a);
CREATE TABLE tree (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES tree(id) ON DELETE CASCADE);
CREATE INDEX by_expression ON plain (lower(b), a DESC) WHERE b IS NOT NULL; -- a comment
CREATE VIEW shown AS SELECT a, b FROM plain /* a view */ WHERE a > 0 -- of plain
;
CREATE TRIGGER insert_shown INSTEAD OF INSERT ON shown BEGIN
    INSERT INTO plain VALUES (NEW.a, CASE WHEN NEW.b THEN ';' ELSE 'END;' END); -- x
END;
CREATE TRIGGER no_change BEFORE UPDATE ON plain WHEN OLD.a = 1 BEGIN SELECT RAISE(ABORT, 'it''s; kept'); END;
CREATE VIRTUAL TABLE notes USING fts5(title, body, tokenize = 'porter');
CREATE VIRTUAL TABLE plain_words USING fts5(b, content='plain');
CREATE VIRTUAL TABLE old_notes USING fts4(title, body);
CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1, y0, y1);
CREATE TRIGGER plain_in AFTER INSERT ON plain BEGIN
    INSERT INTO plain_words (rowid, b) VALUES (NEW.rowid, NEW.b);
END;
INSERT INTO notes (notes, rank) VALUES ('rank', 'bm25(10.0, 5.0)');
"""


def floats() -> list[float]:
    chosen = random.Random(3)
    found = [struct.unpack("d", chosen.randbytes(8))[0] for _ in range(5000)]
    found += [chosen.random() for _ in range(5000)]
    found += [
        0.0,
        -0.0,
        float("inf"),
        float("-inf"),
        5e-324,
        2.2250738585072014e-308,
        1.7976931348623157e308,
        1e16,
    ]
    return [value for value in found if value == value]


def fill(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(SCHEMA)
        values = [
            None, 1, -(2**63), 2**63 - 1, "5", "", "a\0b\0", "it's\r\n;--", b"", bytes(range(256)),
            "🦆\ufeff\ufffe",
        ]  # fmt: skip
        raw.executemany(
            "INSERT INTO plain VALUES (?, ?)", [(v, v if isinstance(v, str) else None) for v in values]
        )
        raw.execute("INSERT INTO plain VALUES (CAST(X'fffe00c3' AS TEXT), CAST(X'80' AS TEXT))")
        raw.executemany("INSERT INTO plain (a) VALUES (?)", [(v,) for v in floats()])
        raw.executemany("INSERT INTO keyed VALUES (?, ?)", [(str(i), bytes([i])) for i in range(50)])
        raw.executemany("INSERT INTO strict_one (x, r) VALUES (?, ?)", [(v, 0.1) for v in values])
        raw.executemany("INSERT INTO computed (a) VALUES (?)", [(i,) for i in range(10)])
        raw.execute("""INSERT INTO "odd ""name" VALUES (1000, 'x', 3)""")
        raw.execute('DELETE FROM "odd ""name"')
        raw.execute('INSERT INTO "Table: ""x""\nsecond line" VALUES (1)')
        raw.executemany("INSERT INTO tree VALUES (?, ?)", [(3, 2), (2, 1), (1, None), (4, 4)])
        raw.execute(
            "INSERT INTO notes (rowid, title, body) VALUES (17, 'running', 'it''s a test'), (40, 'x', NULL)"
        )
        raw.execute("INSERT INTO old_notes (docid, title, body) VALUES (5, 'old words', 'more')")
        raw.execute("INSERT INTO boxes VALUES (9, 0.1, 0.2, 1.5, 2.5)")
        raw.commit()


def everything(path: Path) -> dict[str, list[str]]:
    """Schema and rows as SQLite has them, but for the private tables of virtual ones."""
    with closing(sqlite3.connect(path)) as raw:
        raw.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
        found = {
            name: sorted(map(repr, raw.execute(f'SELECT * FROM "{name.replace(chr(34), chr(34) * 2)}"')))
            for (name,) in raw.execute(
                "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type <> 'shadow' "
                "AND name NOT IN ('sqlite_schema')"
            ).fetchall()
        }
        found["schema"] = sorted(
            repr(row)
            for row in raw.execute(
                "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT IN "
                "(SELECT name FROM pragma_table_list WHERE type = 'shadow')"
            )
        )
        found["versions"] = [
            repr(raw.execute(f"PRAGMA {name}").fetchone()) for name in ("user_version", "application_id")
        ]
        found["words"] = [
            repr(raw.execute(sql).fetchall())
            for sql in (
                "SELECT rowid, title, rank FROM notes WHERE notes MATCH 'run'",
                "SELECT count(*) FROM plain_words WHERE plain_words MATCH 'it'",
                "SELECT docid, title FROM old_notes WHERE old_notes MATCH 'words'",
                "SELECT id FROM boxes WHERE x0 > 0.05 AND y1 < 3",
                "SELECT k, v FROM notes_config WHERE k = 'rank'",
            )
        ]
        return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "full.sqlite"
    fill(path)
    return path


def test_everything_comes_back(file: Path, tmp_path: Path) -> None:
    before = everything(file)
    with holdfast.connect(file) as db, holdfast.connect(tmp_path / "new.sqlite") as new:
        path = db.backup_database(tmp_path / "x.sql")
        assert db.verify_backup(path).ok
        new.restore_database(path)
        db.restore_database(path)
        new.restore_database(new.backup_database(tmp_path / "y.sql"))
    assert everything(tmp_path / "new.sqlite") == before
    assert everything(file) == before


def test_each_table_alone(file: Path, tmp_path: Path) -> None:
    before = everything(file)
    with holdfast.connect(file) as db:
        whole = db.backup_database(tmp_path / "x.sql")
        names = [name for name in db.list_tables() if name != "plain_words"]
        for name in names:
            path = db.backup_table(name, tmp_path / "one.sql")
            db.restore_table(name, path)
            db.restore_table(name, whole)
        with pytest.raises(BackupError, match="'plain'"):
            db.backup_table("plain_words", tmp_path / "z.sql")
        assert db.execute("PRAGMA integrity_check").scalar() == "ok"
    assert everything(file) == before


def test_sqlite_itself_reads_the_file(file: Path, tmp_path: Path) -> None:
    with holdfast.connect(file) as db:
        text = db.backup_database(tmp_path / "x.sql").read_bytes().decode()
    with closing(sqlite3.connect(tmp_path / "plain.sqlite")) as raw:
        raw.executescript(text)
    assert everything(tmp_path / "plain.sqlite") == everything(file)


def test_the_text_that_sqlite3_dumps(tmp_path: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as raw:
        raw.executescript(
            "CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x;'); CREATE VIEW v AS SELECT a FROM t;"
        )
        (tmp_path / "dump.sql").write_text("PRAGMA foreign_keys=OFF;\n" + "\n".join(raw.iterdump()))
    with holdfast.connect(tmp_path / "new.sqlite") as db:
        assert dict(db.restore_database(tmp_path / "dump.sql", unverified=True).tables) == {"t": 1}
        assert db.query("SELECT a FROM v") == [{"a": 1}]
        assert db.execute("PRAGMA foreign_keys").scalar() == 1


@pytest.mark.parametrize("definition", ["fts5(a, content='')", "fts4(a, content='')", "dbstat"])
def test_what_cannot_be_carried_is_named(definition: str, db: holdfast.Database, tmp_path: Path) -> None:
    try:
        db.execute(f"CREATE VIRTUAL TABLE odd USING {definition}")
    except holdfast.errors.Error:
        pytest.skip("this SQLite lacks the module")
    with pytest.raises(BackupError, match="'odd'"):
        db.backup_database(tmp_path / "x.sql")
    assert not list(tmp_path.glob("*.sql"))


def test_a_new_index_of_words_reads_the_restored_rows(db: holdfast.Database, tmp_path: Path) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "x": "TEXT"})
    db.insert("t", {"id": 1, "x": "hello"})
    path = db.backup_database(tmp_path / "x.sql")
    db.execute("CREATE VIRTUAL TABLE words USING fts5(x, content='t', content_rowid='id')")
    db.update("t", {"x": "other"}, all_rows=True)
    db.restore_database(path)
    assert db.query("SELECT rowid FROM words WHERE words MATCH 'hello'") == [{"rowid": 1}]


def test_dangling_references_come_back_as_they_were(url: str, db: holdfast.Database, tmp_path: Path) -> None:
    db.create_table("parent", {"id": "INTEGER PRIMARY KEY"})
    db.create_table("child", {"id": "INTEGER PRIMARY KEY", "p": "INTEGER"}, foreign_keys={"p": "parent(id)"})
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as raw:
        raw.execute("INSERT INTO child VALUES (1, 99)")
        raw.commit()
    path = db.backup_database(tmp_path / "x.sql")
    assert db.verify_backup(path).ok
    db.restore_database(path)
    assert db.select("child") == [{"id": 1, "p": 99}]
    assert db.execute("PRAGMA foreign_keys").scalar() == 1


def test_a_table_is_not_dropped_for_a_view(db: holdfast.Database, tmp_path: Path) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    db.execute("CREATE VIEW v AS SELECT id FROM t")
    path = db.backup_database(tmp_path / "x.sql")
    db.execute("DROP VIEW v")
    db.create_table("v", {"id": "INTEGER PRIMARY KEY"})
    db.insert("v", {"id": 3})
    with pytest.raises(SchemaError, match="'v'"):
        db.restore_database(path)
    assert db.select("v") == [{"id": 3}]


def test_in_memory(tmp_path: Path) -> None:
    with holdfast.connect(":memory:") as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY", "x": "TEXT"})
        db.insert("t", {"x": "a"})
        path = db.backup_database(tmp_path / "x.sql")
        db.delete("t", all_rows=True)
        db.restore_database(path)
        assert db.select("t") == [{"id": 1, "x": "a"}]
        assert db.verify_backup(path).ok
