"""What only PostgreSQL databases hold, in and out of a backup."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from psycopg.sql import SQL, Identifier

import holdfast
import servers
from holdfast.engines.postgres import dump, programs
from holdfast.errors import BackupError, ForeignKeyViolation, MissingDependency, NotSupported, SchemaError


@pytest.fixture(params=["embedded", "debian"])
def engine_name(request: pytest.FixtureRequest) -> str:
    """These tests are of what no other engine has."""
    name: str = request.param
    return name


def server(engine_name: str) -> servers.Server:
    return servers.embedded_server() if engine_name == "embedded" else servers.debian_server()


SCHEMA = [
    "CREATE TYPE mood AS ENUM ('sad', 'it''s ok')",
    "CREATE DOMAIN positive AS bigint CHECK (VALUE > 0)",
    "CREATE SEQUENCE numbers START 100",
    "CREATE FUNCTION twice(n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT n * 2; -- x'",
    "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ "
    "BEGIN NEW.note := 'new;'; RETURN NEW; END $$",
    """CREATE TABLE people (
        id bigint GENERATED ALWAYS AS IDENTITY (START 5) PRIMARY KEY, feeling mood, amount positive,
        number bigint DEFAULT nextval('numbers'),
        double_amount bigint GENERATED ALWAYS AS (twice(amount)) STORED,
        day date, at timestamptz, span interval, tags text[], place int4range, big numeric, raw bytea,
        money money, net inet, doc json, docb jsonb, bits bit(3), t time, note text, r real, boss bigint)""",
    "ALTER TABLE people ADD FOREIGN KEY (boss) REFERENCES people DEFERRABLE INITIALLY DEFERRED",
    "COMMENT ON TABLE people IS 'it''s; a comment'",
    "CREATE INDEX by_note ON people (lower(note)) WHERE amount > 1",
    "CREATE TRIGGER stamped BEFORE INSERT ON people FOR EACH ROW "
    "WHEN (NEW.note IS NULL) EXECUTE FUNCTION stamp()",
    "CREATE TABLE old (id serial PRIMARY KEY, x text)",
    "CREATE TABLE older (y text) INHERITS (old)",
    "CREATE TABLE parts (id int, x text) PARTITION BY RANGE (id)",
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)",
    "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20)",
    'CREATE TABLE "t" (t text, "ONLY" int)',
    "CREATE TABLE nothing ()",
    "CREATE MATERIALIZED VIEW summed AS SELECT feeling, sum(amount) FROM people GROUP BY 1",
    "CREATE VIEW seen WITH (security_barrier = true) AS SELECT * FROM summed JOIN people USING (feeling)",
    "CREATE RULE gone AS ON DELETE TO old DO INSTEAD NOTHING",
    "ALTER TABLE old ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY mine ON old USING (x = 'a')",
    """INSERT INTO people (feeling, amount, day, at, span, tags, place, big, raw, money,
         net, doc, docb, bits, t, note, r, boss)
       VALUES ('sad', 1, 'infinity', '-infinity', '1 mon -2 days 00:00:03.5', '{a,NULL,"b,\\"c"}', '[1,5)',
               'NaN',
               '\\x00ff0a', '12.34', '::1/64', '{"b":1,  "a":2}', '{"b":1,"a":2}', B'101', '23:59:59.999999',
               E'a''b\\\\;\\n\\t', 1.1, NULL),
              ('it''s ok', 3, '0044-03-15 BC', '2024-01-01 00:00+05', NULL, '{}', 'empty', 1e100,
               NULL, NULL, NULL, NULL,
               'null', NULL, NULL, NULL, '-Infinity', 5)""",
    "INSERT INTO old (x) VALUES ('a'), ('b')",
    "INSERT INTO older (x, y) VALUES ('c', 'd')",
    "INSERT INTO parts SELECT n, 'p' || n FROM generate_series(0, 19) AS n",
    "INSERT INTO t VALUES ('(t)', 1), (NULL, 2), ('', 3)",
    "INSERT INTO nothing DEFAULT VALUES",
    "REFRESH MATERIALIZED VIEW summed",
    "SELECT nextval('numbers')",
]


@pytest.fixture
def full(db: holdfast.Database) -> holdfast.Database:
    for statement in SCHEMA:
        db.execute(statement.replace("?", "??"))
    return db


def everything(url: str, engine_name: str) -> list[str]:
    """All that pg_dump says of a database."""
    program = server(engine_name).bin / "pg_dump"
    done = subprocess.run(
        [program, "--inserts", url],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    return [line for line in done.stdout.splitlines() if "restrict" not in line]


def test_everything_comes_back(
    engine_name: str, url: str, full: holdfast.Database, new_url: Callable[[], str], tmp_path: Path
) -> None:
    before = everything(url, engine_name)
    path = full.backup_database(tmp_path / "x.sql")
    assert "restrict" not in path.read_text()
    assert full.verify_backup(path).ok
    other_url = new_url()
    with holdfast.connect(other_url) as other:
        other.restore_database(path)
        other.execute("INSERT INTO people (amount) VALUES (4)")
        assert other.query("SELECT id, number, note FROM people WHERE amount = 4") == [
            {"id": 7, "number": 103, "note": "new;"}
        ]
        other.restore_database(path)
    full.restore_database(path)
    assert everything(url, engine_name) == before
    # A database of its own has the plain public schema, which pg_dump does not write out.
    assert [line for line in everything(other_url, engine_name) if "INSERT" in line] == [
        line for line in before if "INSERT" in line
    ]


def test_each_table_alone(engine_name: str, url: str, full: holdfast.Database, tmp_path: Path) -> None:
    full.execute("DROP VIEW seen")
    full.execute("DROP MATERIALIZED VIEW summed")
    full.execute("DROP TABLE older")
    before = everything(url, engine_name)
    whole = full.backup_database(tmp_path / "x.sql")
    for name in ("people", "old", "t", "nothing"):
        full.restore_table(name, full.backup_table(name, tmp_path / "one.sql"))
        full.restore_table(name, whole)
    assert sorted(everything(url, engine_name)) == sorted(before)
    with pytest.raises(BackupError, match="partitioned"):
        full.backup_table("parts", tmp_path / "one.sql")


def test_the_session_is_as_before(db: holdfast.Database, tmp_path: Path) -> None:
    db.create_table("t1", {"id": "INTEGER PRIMARY KEY"})
    db.execute("SET search_path = public, pg_catalog")
    settings = "SELECT name, setting FROM pg_settings ORDER BY name"
    before = db.query(settings)
    path = db.backup_database(tmp_path / "x.sql")
    db.restore_database(path)
    assert db.verify_backup(path).ok
    assert db.query(settings) == before


def test_what_hangs_on_the_tables_from_outside(
    db: holdfast.Database, engine_name: str, tmp_path: Path
) -> None:
    db.create_table("parent", {"id": "INTEGER PRIMARY KEY", "x": "TEXT"})
    db.insert_many("parent", [{"id": 1, "x": "a"}, {"id": 2, "x": "b"}])
    path = db.backup_table("parent", tmp_path / "x.sql")
    whole = db.backup_database(tmp_path / "all.sql")
    role = f"reader_{engine_name}_{tmp_path.name[-8:]}"
    db.execute(f'CREATE ROLE "{role}"')
    db.execute(f'GRANT SELECT ON parent TO "{role}" WITH GRANT OPTION')
    db.create_table(
        "child",
        {"id": "INTEGER PRIMARY KEY", "p": "INTEGER"},
        foreign_keys={"p": "parent(id) ON DELETE CASCADE"},
    )
    db.insert("child", {"id": 1, "p": 2})
    db.execute("CREATE VIEW first AS SELECT x FROM parent")
    db.execute("CREATE VIEW second WITH (security_barrier = true) AS SELECT x FROM first")
    db.execute(f'GRANT SELECT ON second TO "{role}"')
    granted = (
        "SELECT table_name, privilege_type, is_grantable FROM information_schema.role_table_grants "
        "WHERE grantee = ? ORDER BY 1"
    )
    before = db.query(granted, [role])
    assert len(before) == 2
    try:
        db.restore_table("parent", path)
        db.restore_database(whole)
        assert db.query("SELECT x FROM second ORDER BY x") == [{"x": "a"}, {"x": "b"}]
        assert db.query(granted, [role]) == before
        assert db.count("child") == 1
        with pytest.raises(ForeignKeyViolation):
            db.insert("child", {"id": 2, "p": 3})
        db.delete("parent", {"id": 2})
        assert db.count("child") == 0
        db.insert("parent", {"id": 3, "x": "c"})
        db.insert("child", {"id": 3, "p": 3})
        with pytest.raises(ForeignKeyViolation):
            db.restore_table("parent", path)
        assert db.count("child") == 1
        db.execute("CREATE MATERIALIZED VIEW kept AS SELECT x FROM first")
        with pytest.raises(SchemaError, match="kept"):
            db.restore_table("parent", path)
        db.execute("DROP MATERIALIZED VIEW kept")
        db.execute("CREATE FUNCTION uses(r parent) RETURNS text LANGUAGE sql AS 'SELECT 1::text'")
        with pytest.raises(SchemaError, match="uses"):
            db.restore_table("parent", path)
        assert db.count("parent") == 2
    finally:
        db.execute(f'DROP OWNED BY "{role}"')
        db.execute(f'DROP ROLE "{role}"')


@pytest.fixture
def ordinary(engine_name: str, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The URL of a database of a role without any rights of its own, and the role."""
    there = server(engine_name)
    role, database = f"ordinary_{tmp_path.name[-8:]}", f"own_{tmp_path.name[-8:]}"
    password = "p:a\\s's\"@ /%#"
    there.create_role(role, password)
    there.create_database(database)
    there.execute(
        SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(Identifier('My "lab".x'), Identifier(role)), database
    )
    there.execute(SQL("GRANT CREATE, USAGE ON SCHEMA public TO {}").format(Identifier(role)), database)
    try:
        yield f"postgresql://{role}:{quote(password, safe='')}@{servers.HOST}:{there.port}/{database}", role
    finally:
        there.drop_database(database)
        there.execute(SQL("DROP ROLE {}").format(Identifier(role)))


def test_an_ordinary_user(
    ordinary: tuple[str, str], tmp_path: Path, engine_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, role = ordinary
    with holdfast.connect(url) as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY", "x": "TEXT"})
        db.insert_many("t", [{"x": "a"}, {"x": "b"}])
        path = db.backup_database(tmp_path / "x.sql")
        assert "CREATE SCHEMA" in path.read_text() or engine_name == "embedded"
        db.delete("t", all_rows=True)
        db.restore_database(path)
        assert db.count("t") == 2
        assert db.verify_backup(path).ok
        with monkeypatch.context() as without_wheel:
            without_wheel.setattr(dump, "bin_directory", lambda version=None: None)
            without_wheel.setattr(tempfile, "tempdir", str(tmp_path))
            with pytest.raises(NotSupported, match="CREATEDB"):
                db.verify_backup(path)
        assert not list(tmp_path.glob("holdfast-verify-*"))
        server(engine_name).execute(SQL("ALTER ROLE {} CREATEDB").format(Identifier(role)))
        assert db.verify_backup(path).ok


def test_a_schema_of_its_own(ordinary: tuple[str, str], engine_name: str, tmp_path: Path) -> None:
    url, role = ordinary
    server(engine_name).execute(SQL("ALTER ROLE {} CREATEDB").format(Identifier(role)))
    server(engine_name).execute(
        SQL("ALTER ROLE {} SET search_path = {}").format(Identifier(role), Identifier('My "lab".x'))
    )
    with holdfast.connect(url) as db:
        db.create_table('a."b', {"id": "SERIAL PRIMARY KEY", "x": "TEXT"})
        db.insert_many('a."b', [{"x": "a"}, {"x": "b"}])
        db.create_index('a."b', "x")
        path = db.backup_database(tmp_path / "x.sql")
        one = db.backup_table('a."b', tmp_path / "one.sql")
        assert db.verify_backup(path).ok
        assert db.verify_backup(one).ok
        db.delete('a."b', all_rows=True)
        for call in (
            lambda: db.restore_database(path),
            lambda: db.restore_table('a."b', path),
            lambda: db.restore_database(one),
        ):
            call()
            assert db.insert('a."b', {"x": "c"}) == 3
    server(engine_name).execute(SQL("ALTER ROLE {} RESET search_path").format(Identifier(role)))
    with holdfast.connect(url) as db, pytest.raises(BackupError, match="schema"):
        db.restore_database(path)


def only(*paths: Path) -> Callable[[str], Iterator[Path]]:
    return lambda name: iter(paths)


def test_a_newer_pg_dump_serves_an_older_server(
    full: holdfast.Database, engine_name: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_candidates", only(servers.embedded_server().bin / "pg_dump"))
    before = everything(url, engine_name)
    path = full.backup_database(tmp_path / "x.sql")
    full.restore_database(path)
    assert full.verify_backup(path).ok
    assert everything(url, engine_name) == before


def test_without_a_pg_dump_that_will_do(
    db: holdfast.Database, engine_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = servers.debian_bin() if engine_name == "embedded" else None
    monkeypatch.setattr(
        programs, "_candidates", only(tmp_path / "none", *([older / "pg_dump"] if older else []))
    )
    with pytest.raises(MissingDependency, match=r"holdfast\[embedded\]"):
        db.backup_database(tmp_path / "x.sql")
    assert not list(tmp_path.iterdir())


def test_no_password_is_given_away(
    ordinary: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    real = subprocess.Popen

    def spy(arguments: Any, **options: Any) -> Any:
        if "env" not in options:
            return real(arguments, **options)
        passwords = Path(options["env"]["PGPASSFILE"])
        seen.append(
            (" ".join(map(str, arguments)), passwords.stat().st_mode & 0o777, passwords, options["env"])
        )
        return real(arguments, **options)

    monkeypatch.setattr(programs.subprocess, "Popen", spy)
    with holdfast.connect(ordinary[0]) as db:
        db.backup_database(tmp_path / "x.sql")
    ((line, mode, passwords, env),) = seen
    assert mode == 0o600
    assert "p:a" not in line
    assert "PGPASSWORD" not in env
    assert not passwords.exists()


def test_the_text_that_pg_dump_writes(
    engine_name: str, url: str, full: holdfast.Database, new_url: Callable[[], str], tmp_path: Path
) -> None:
    program = server(engine_name).bin / "pg_dump"
    text = subprocess.run([program, "--inserts", url], capture_output=True, check=True).stdout
    (tmp_path / "dump.sql").write_bytes(text)
    with holdfast.connect(new_url()) as other:
        other.execute("DROP SCHEMA public")
        other.execute("CREATE SCHEMA public")
        report = other.restore_database(tmp_path / "dump.sql", unverified=True)
        assert report.tables["people"] == 2
        assert other.count("parts") == 20
    copied = subprocess.run([program, url], capture_output=True, check=True).stdout
    (tmp_path / "dump.sql").write_bytes(copied)
    with holdfast.connect(new_url()) as other:
        with pytest.raises(BackupError, match="--inserts"):
            other.restore_database(tmp_path / "dump.sql", unverified=True)
        assert other.list_tables() == []


def test_vectors(engine_name: str, db: holdfast.Database, new_url: Callable[[], str], tmp_path: Path) -> None:
    if not db.query("SELECT 1 AS x FROM pg_available_extensions WHERE name = 'vector'"):
        pytest.skip("this server has no pgvector")
    db.execute("CREATE EXTENSION vector")
    db.execute("CREATE TABLE v (id int PRIMARY KEY, e vector(3))")
    db.execute("INSERT INTO v VALUES (1, '[0.1,2,3]')")
    db.execute("CREATE INDEX near ON v USING hnsw (e vector_l2_ops)")
    path = db.backup_database(tmp_path / "x.sql")
    assert db.verify_backup(path).ok
    db.restore_database(path)
    with holdfast.connect(new_url()) as other:
        other.restore_table("v", path)
        assert other.execute("SELECT e::text FROM v").scalar() == "[0.1,2,3]"


def test_an_embedded_server(tmp_path: Path) -> None:
    url = f"postgresql+embedded:///{tmp_path}/pg"
    with holdfast.connect(url) as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY", "x": "TEXT"})
        db.insert("t", {"x": "a"})
        path = db.backup_database(tmp_path / "x.sql")
        assert db.verify_backup(path).ok
        db.delete("t", all_rows=True)
        db.restore_database(path)
        assert db.select("t") == [{"id": 1, "x": "a"}]
        left = db.query("SELECT datname FROM pg_database WHERE datname LIKE 'holdfast%'")
    assert left == []
