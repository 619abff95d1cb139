"""Opening a database, closing it, and everything that can be wrong with where it is."""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa

import holdfast
import servers
from holdfast import Database
from holdfast.errors import (
    ClosedError,
    ConfigurationError,
    ConnectionFailed,
    Error,
    ReadOnlyError,
    TableNotFound,
)

SECRET = "p@s:s/w#o%r d?&=+"


def all_that_is_said(error: BaseException) -> str:
    """A user's traceback of our own errors: messages and chain, but not the driver's own words."""
    said = [str(error), repr(error), getattr(error, "hint", None) or ""]
    cause = error.__cause__ or error.__context__
    while cause is not None:
        said.append(str(cause) if isinstance(cause, Error) else "")
        cause = cause.__cause__ or cause.__context__
    return "\n".join(said)


# Open and close [2]


def test_with_and_without_with(url: str) -> None:
    db = holdfast.connect(url)
    assert db.is_open
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    db.insert("t", {"v": "a"})
    db.close()
    assert not db.is_open
    db.close()
    with holdfast.connect(url) as again:
        assert again.select("t") == [{"id": 1, "v": "a"}]
    assert not again.is_open


def test_a_second_connection_agrees(db: Database, url: str) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    with holdfast.connect(url) as other:
        for i in range(5):
            db.insert("t", {"v": str(i)})
            assert other.count("t") == i + 1
            other.update("t", {"v": f"{i} seen"}, {"id": i + 1})
            assert db.get("t", i + 1)["v"] == f"{i} seen"


def test_a_closed_database_says_so_in_every_verb(db: Database, url: str) -> None:
    closed = holdfast.connect(url)
    closed.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    table = closed.table("t")
    closed.insert("t", {})
    closed.close()
    for call in (
        lambda: closed.insert("t", {}),
        lambda: closed.select("t"),
        lambda: closed.get("t", 1),
        lambda: closed.count("t"),
        lambda: closed.insert_many("t", [{}]),
        lambda: closed.execute("SELECT 1"),
        lambda: closed.query("SELECT 1"),
        lambda: list(closed.stream("t")),
        lambda: closed.list_tables(),
        lambda: closed.create_table("u", {"a": int}),
        lambda: closed.begin_transaction(),
        lambda: closed.transaction().__enter__(),
        lambda: closed.commit(),
        lambda: closed.run_transaction(lambda: None),
        lambda: closed.engine,
        lambda: table.count(),
    ):
        with pytest.raises(ClosedError, match="closed") as caught:
            call()
        assert caught.value.hint == "connect again"
    assert "closed" in repr(closed)


def test_the_engine_is_sqlalchemys(db: Database) -> None:
    assert isinstance(db.engine, sa.Engine)
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    db.insert("t", {"v": "a"})
    assert sa.inspect(db.engine).get_table_names() == ["t"]
    with db.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT v FROM t")).scalar() == "a"
    assert SECRET not in repr(db.engine)


# Secrets [1]


@pytest.fixture
def guarded(request: pytest.FixtureRequest) -> servers.Server:
    """A server that asks for a password, which has every awkward sign."""
    try:
        return servers.debian_server()
    except LookupError as exc:
        if "debian" in request.config.getoption("--require-engine"):
            raise
        pytest.skip(str(exc))


def test_a_password_is_never_shown(guarded: servers.Server, caplog: pytest.LogCaptureFixture) -> None:
    password = guarded.password
    assert password is not None
    assert all(sign in password for sign in "@:/#% ")
    caplog.set_level(logging.DEBUG)
    with holdfast.connect(guarded.url()) as other:
        shown = [repr(other), str(other), other.url, repr(other.engine), repr(other.engine.url)]
        shown += [repr(other._target), repr(other._executor), str(vars(other)), str(vars(other._executor))]
        with pytest.raises(TableNotFound) as caught:
            other.insert("t", {"id": 1})
        shown.append("".join(traceback.format_exception(caught.value)))
    shown.append(caplog.text)
    for text in shown:
        assert password not in text
        assert quote(password, safe="") not in text
    assert "***" in repr(other)


@pytest.mark.parametrize("secret", [SECRET, "@", "a:b@c/d", "%40", "ü", "x y", "'; --", "#?&", "\\"])
def test_a_wrong_password_is_refused_and_not_repeated(guarded: servers.Server, secret: str) -> None:
    url = f"postgresql://postgres:{quote(secret, safe='')}@{servers.HOST}:{guarded.port}/postgres"
    with pytest.raises(ConnectionFailed, match="refused the user or the password") as caught:
        holdfast.connect(url)
    assert f"{servers.HOST}, port {guarded.port}" in str(caught.value)
    assert caught.value.hint
    if len(secret) > 2:
        assert secret not in all_that_is_said(caught.value)
        assert quote(secret, safe="") not in all_that_is_said(caught.value)


@pytest.mark.parametrize("password", ["p@s:s/w#o%r d", "%", "a@b", "x:y/z", "é ü", "' \" \\"])
def test_any_password_connects(guarded: servers.Server, password: str) -> None:
    role = f"role{abs(hash(password))}"
    guarded.create_role(role, password)
    url = f"postgresql://{role}:{quote(password, safe='')}@{servers.HOST}:{guarded.port}/postgres"
    with holdfast.connect(url) as db:
        assert db.query("SELECT current_user AS me") == [{"me": role}]
        assert password not in repr(db)
    parts: dict[str, Any] = {
        "dbname": "postgres",
        "user": role,
        "password": password,
        "host": servers.HOST,
        "port": guarded.port,
    }
    with holdfast.PostgreSQL(**parts) as db:
        assert db.execute("SELECT 1").scalar() == 1


def test_a_malformed_url_does_not_give_its_password_away() -> None:
    for url in (
        f"postgresql://me:{SECRET}@host/db",
        "postgresql://me:hunter22@host:port/db",
        "postgresql://me:hunter22@ho st:99999/db",
        "postgres://me:hunter22@host/db?sslmode",
        "mysql://me:hunter22@host/db",
        "postgresql://me:hunter22@host/db?unknown=1",
        "host=localhost password=hunter22 dbname=x",
    ):
        with pytest.raises(ConfigurationError) as caught:
            holdfast.connect(url)
        said = all_that_is_said(caught.value)
        assert "hunter22" not in said
        assert SECRET not in said
        assert caught.value.hint, url


def test_no_value_is_in_an_error_or_a_log(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT UNIQUE", "n": "INTEGER CHECK (n > 0)"})
    secret = "swordfish"
    db.insert("t", {"id": 1, "v": secret, "n": 777_123})
    for call in (
        lambda: db.insert("t", {"v": secret}),
        lambda: db.insert_many("t", [{"v": secret}]),
        lambda: db.insert("t", {"n": secret}),
        lambda: db.insert("t", {"v": "x", "n": -777_123}),
        lambda: db.get("t", 777_123),
        lambda: db.select("t", where={"n": secret}),
        lambda: db.select("t", where="nope = ?", params=[secret]),
        lambda: db.execute("SELECT * FROM t WHERE v = ?", [secret, secret]),
        lambda: db.execute("INSERT INTO t (v) VALUES (:v)", {"v": secret}),
        lambda: db.execute("SELECT CAST(? AS no_type_at_all(", [secret]),
    ):
        with pytest.raises(Error) as caught:
            call()
        assert secret not in all_that_is_said(caught.value)
        assert "777123" not in all_that_is_said(caught.value)
    assert secret not in caplog.text


# Servers that are not there


def test_an_absent_server_is_named_with_its_port() -> None:
    port = servers.free_port()
    started = time.monotonic()
    with pytest.raises(ConnectionFailed) as caught:
        holdfast.connect(f"postgresql://me:secret@127.0.0.1:{port}/db")
    assert time.monotonic() - started < 30
    assert f"127.0.0.1, port {port}" in caught.value.message
    assert "check that the server runs" in str(caught.value.hint)
    assert "secret" not in all_that_is_said(caught.value)
    assert isinstance(caught.value, ConnectionError)


def test_a_server_that_does_not_answer_is_given_up_after_the_connect_timeout() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        port = silent.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(ConnectionFailed, match=f"port {port} did not answer within 2 s") as caught:
            holdfast.connect(f"postgresql://me@127.0.0.1:{port}/db?connect_timeout=2")
        assert 1.5 < time.monotonic() - started < 30
        assert "firewall" in str(caught.value.hint)


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(ConnectionFailed, match=r"no-such-host\.invalid"):
        holdfast.connect("postgresql://me@no-such-host.invalid/db?connect_timeout=3")


def test_an_unknown_database_is_named(url: str, engine_name: str) -> None:
    if engine_name == "sqlite":
        pytest.skip("a SQLite file that is not there is made")
    wrong = url.rpartition("/")[0] + "/no%20such%20database"
    with pytest.raises(ConnectionFailed, match="no database 'no such database'") as caught:
        holdfast.connect(wrong)
    assert "create it" in str(caught.value.hint)


# Files that are none


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, and no database at all\n" * 200)
    before = path.read_bytes()
    for options in ({}, {"read_only": True}):
        with pytest.raises(ConnectionFailed, match=r"notes\.txt.*not a SQLite database") as caught:
            holdfast.connect(path, **options)
        assert caught.value.hint
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_directory_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailed, match="is a directory"):
        holdfast.connect(tmp_path)
    with pytest.raises(ConnectionFailed, match="does not exist") as caught:
        holdfast.connect(tmp_path / "missing" / "runs.db")
    assert "create it" in str(caught.value.hint)
    assert os.listdir(tmp_path) == []


@pytest.fixture
def nobody() -> int:
    """The id of a user without rights, for a test as root."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    return pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that other users may enter."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_user(user: int, script: str, *arguments: Path) -> list[str]:
    """What a script prints that became ``user`` once it had imported what it needs."""
    prepare = """
import os, sys, holdfast
with holdfast.connect(":memory:") as db:
    db.create_table("t", {"a": int})
    db.insert("t", {"a": 1})
    db.select("t")
os.setuid(int(sys.argv[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", prepare + script, str(user), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_an_unreadable_file_and_a_folder_that_cannot_be_written(shared_folder: Path, nobody: int) -> None:
    path = shared_folder / "secret.db"
    with holdfast.connect(path) as db:
        db.create_table("t", {"a": int})
    script = """
for path in sys.argv[2:]:
    try:
        holdfast.connect(path)
    except holdfast.Error as error:
        print(type(error).__name__, "|", error.message, "|", error.hint)
"""
    unreadable, unwritable = as_user(nobody, script, path, shared_folder / "new.db")
    assert unreadable.startswith("ConnectionFailed")
    assert "secret.db" in unreadable
    assert unwritable.startswith("ConnectionFailed")
    assert "new.db" in unwritable
    assert os.listdir(shared_folder) == ["secret.db"]


def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with holdfast.connect(path) as db:
        db.create_table("t", {"a": int})
        modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in os.listdir(tmp_path)}
    assert set(modes.values()) == {0o600}, modes
    assert os.listdir(tmp_path) == ["runs.db"], "closing leaves one file"


def test_the_forms_of_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [
        "plain.db",
        "with space.db",
        "ünïcode.db",
        "per%cent.db",
        "ha#sh.db",
        "que?stion.db",
        "a'b\"c.db",
    ]
    for name in names:
        for given in (name, Path(name), tmp_path / name, str(tmp_path / name)):
            with holdfast.connect(given) as db:
                db.create_table("t", {"a": int}, if_not_exists=True)
        with holdfast.connect(f"sqlite:///{quote(name)}") as db:
            assert db.table_exists("t")
        with holdfast.SQLite3(name) as db:
            assert db.table_exists("t")
    assert sorted(os.listdir(tmp_path)) == sorted(names)


def test_a_later_chdir_opens_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with holdfast.connect("runs.db") as db:
        db.create_table("t", {"a": int})
        monkeypatch.chdir(tmp_path / "elsewhere")
        with db.engine.connect() as one, db.engine.connect() as two:
            assert one.execute(sa.text("SELECT count(*) FROM t")).scalar() == 0
            assert two.execute(sa.text("SELECT count(*) FROM t")).scalar() == 0
    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_file_of_sqlite3_is_opened_as_it_is(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE t (a INTEGER, b)")
        raw.execute("INSERT INTO t VALUES (1, 'x')")
        raw.commit()
    with holdfast.connect(path) as db:
        assert db.select("t") == [{"a": 1, "b": "x"}]
        db.insert("t", {"a": 2, "b": b"y"})
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT * FROM t ORDER BY a").fetchall() == [(1, "x"), (2, b"y")]


# read_only


def test_read_only_writes_nothing(db: Database, url: str, tmp_path: Path) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    db.insert("t", {"v": "a"})
    with holdfast.connect(url, read_only=True) as readonly:
        for write in (
            lambda: readonly.insert("t", {"v": "b"}),
            lambda: readonly.insert_many("t", [{"v": "b"}]),
            lambda: readonly.upsert("t", {"id": 1, "v": "b"}),
            lambda: readonly.update("t", {"v": "b"}, {"id": 1}),
            lambda: readonly.update_many("t", [{"id": 1, "v": "b"}]),
            lambda: readonly.delete("t", {"id": 1}),
            lambda: readonly.execute("INSERT INTO t (v) VALUES ('b')"),
            lambda: readonly.executemany("INSERT INTO t (v) VALUES (?)", [["b"]]),
            lambda: readonly.create_table("u", {"a": int}),
            lambda: readonly.drop_table("t"),
            lambda: readonly.add_column("t", "w", int),
            lambda: readonly.create_index("t", "v"),
            lambda: readonly.rename_table("t", "u"),
            lambda: readonly.run_transaction(lambda: readonly.insert("t", {"v": "b"})),
        ):
            with pytest.raises(ReadOnlyError) as caught:
                write()
            assert isinstance(caught.value, PermissionError)
        with pytest.raises(sa.exc.DBAPIError), readonly.engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM t"))
        assert readonly.select("t") == [{"id": 1, "v": "a"}]
        assert readonly.query("SELECT v FROM t WHERE id = ?", [1]) == [{"v": "a"}]
        assert list(readonly.stream("t")) == [{"id": 1, "v": "a"}]
        with readonly.transaction():
            assert readonly.count("t") == 1
    assert db.select("t") == [{"id": 1, "v": "a"}]
    assert db.list_tables() == ["t"]


def test_read_only_cannot_be_put_off_by_a_statement(db: Database, url: str, engine_name: str) -> None:
    """These tests connect as a superuser, whom PostgreSQL's read-only transactions do not stop."""
    if engine_name == "sqlite":
        pytest.skip("SQLite opens the file itself without the right to write")
    db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    with holdfast.connect(url, read_only=True) as readonly:
        for sql in (
            "SET default_transaction_read_only = off",
            "/* a */ set transaction read write",
            "RESET ALL",
            "SELECT set_config('default_transaction_read_only', 'off', false)",
            "SELECT \"set_config\"('transaction_read_only', 'off', false)",
            "COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'",
            "COPY t FROM PROGRAM 'echo 1'",
            "DO 'BEGIN END'",
            "CREATE TEMP TABLE u (a int)",
            "EXPLAIN ANALYZE INSERT INTO t VALUES (1)",
            "WITH w AS (INSERT INTO t VALUES (1) RETURNING id) SELECT * FROM w",
        ):
            with pytest.raises(ReadOnlyError):
                readonly.execute(sql)
            with pytest.raises(ReadOnlyError), readonly.transaction():
                readonly.execute(sql)
        assert readonly.count("t") == 0
        assert readonly.query("EXPLAIN SELECT * FROM t")
        assert readonly.query("SHOW default_transaction_read_only") == [
            {"default_transaction_read_only": "on"}
        ]
        assert list(readonly.stream("SELECT 1 AS a")) == [{"a": 1}]


@pytest.mark.parametrize("pool", ["thread", "null"])
def test_read_only_attaches_nothing(tmp_path: Path, pool: str) -> None:
    """SQLite opens what is attached for writing, the same file under another name as well."""
    path, other = tmp_path / "own.db", tmp_path / "other.db"
    with holdfast.connect(path) as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    with holdfast.connect(path, read_only=True, pool=pool) as readonly:
        readonly.execute("PRAGMA query_only = OFF")
        for sql in (
            f"ATTACH '{path}' AS again",
            f"attach database 'file:{path}?mode=rw' AS again",
            f"ATTACH '{other}' AS another",
            "ATTACH ':memory:' AS another",
            f"VACUUM INTO '{other}'",
        ):
            for send in (readonly.execute, readonly.query):
                with pytest.raises(ReadOnlyError, match="read-only"):
                    send(sql)
        with pytest.raises(sa.exc.DBAPIError), readonly.engine.connect() as connection:
            connection.exec_driver_sql(f"ATTACH '{path}' AS again")
        assert readonly.count("t") == 0
        copy = readonly.backup_database(tmp_path / "copy.db")
        assert readonly.verify_backup(copy).ok
    assert not other.exists()


def test_read_only_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailed, match="does not exist") as caught:
        holdfast.connect(tmp_path / "none.db", read_only=True)
    assert "creates nothing" in str(caught.value.hint)
    assert os.listdir(tmp_path) == []


def test_a_file_that_may_only_be_read_is_read(shared_folder: Path, nobody: int) -> None:
    path = shared_folder / "readable.db"
    with holdfast.connect(path) as db:
        db.create_table("t", {"a": int})
        db.insert("t", {"a": 1})
    path.chmod(0o444)
    script = """
for options in ({}, {"read_only": True}):
    with holdfast.connect(sys.argv[2], **options) as db:
        print(db.select("t"))
        try:
            db.insert("t", {"a": 2})
        except holdfast.Error as error:
            print(type(error).__name__)
"""
    shared_folder.chmod(0o777)
    assert as_user(nobody, script, path) == ["[{'a': 1}]", "ReadOnlyError"] * 2


def test_a_file_in_a_folder_that_may_only_be_read_is_named(shared_folder: Path, nobody: int) -> None:
    """SQLite shares its index of the write-ahead log through a file beside the database."""
    path = shared_folder / "readable.db"
    with holdfast.connect(path) as db:
        db.create_table("t", {"a": int})
    path.chmod(0o444)
    script = """
for options in ({}, {"read_only": True}):
    try:
        holdfast.connect(sys.argv[2], **options)
    except holdfast.Error as error:
        print(type(error).__name__, sys.argv[2] in error.message, error.hint)
"""
    hint = "check read_only=, and the permissions of the file and of its folder"
    assert as_user(nobody, script, path) == [f"ReadOnlyError True {hint}"] * 2


# Options and drivers


def test_unknown_schemes_and_options_get_a_hint(url: str) -> None:
    with pytest.raises(ConfigurationError, match="mysql") as caught:
        holdfast.connect("mysql://localhost/db")
    assert caught.value.hint
    with pytest.raises(ConfigurationError, match="did you mean 'timeout'"):
        holdfast.connect(url, timeuot=3)
    with pytest.raises(ConfigurationError, match="'full' or 'normal'"):
        holdfast.connect(url, durability="none")
    wrong: list[Any] = [3, 1.5, [], {}, b"runs.db"]
    for bad in wrong:
        with pytest.raises(ConfigurationError):
            holdfast.connect(bad)


OPTIONS: list[tuple[str, Any]] = [
    *(("timeout", bad) for bad in ("soon", -1, float("nan"), float("inf"), [1], True)),
    ("read_only", "perhaps"),
    ("read_only", 2),
    ("read_only", []),
    *(("durability", bad) for bad in ("none", 1, ["full"])),
]


def test_an_option_of_a_wrong_kind_is_refused_before_anything_is_opened(url: str) -> None:
    for name, bad in OPTIONS:
        with pytest.raises(ConfigurationError, match=name):
            holdfast.connect(url, **{name: bad})
    for query in ("timeout=soon", "timeout=nan", "timeout=-1", "read_only=perhaps", "durability=none"):
        with pytest.raises(ConfigurationError, match=query.partition("=")[0]):
            holdfast.connect(f"{url}?{query}")
    if url.startswith("sqlite"):
        assert not Path(url.removeprefix("sqlite:///")).exists()
        sizes: list[Any] = ["big", 1000, -4096, True, 131_072]
        for page_size in sizes:
            with pytest.raises(ConfigurationError, match="page_size"):
                holdfast.connect(url, page_size=page_size)


def test_options_in_a_url_and_as_arguments_are_the_same(url: str) -> None:
    with holdfast.connect(f"{url}?timeout=0.5&durability=normal") as db:
        db.create_table("t", {"a": int})
    for given, options in ((f"{url}?read_only=true", {}), (url, {"read_only": True})):
        with holdfast.connect(given, **options) as db, pytest.raises(ReadOnlyError):
            db.insert("t", {"a": 1})


def test_the_old_names_take_only_their_kind(url: str, engine_name: str) -> None:
    if engine_name == "sqlite":
        with pytest.raises(ConfigurationError):
            holdfast.connect("postgresql://me@host/db", page_size=4096)
        return
    with pytest.raises(ConfigurationError, match="not a SQLite database"):
        holdfast.SQLite3(url)


@pytest.mark.parametrize(
    ("url", "extra"),
    [("postgresql://me@localhost/db", "postgres"), ("postgresql+embedded:///./pg", "embedded")],
)
def test_a_missing_driver_names_the_pip_line(url: str, extra: str, tmp_path: Path) -> None:
    script = """
import sys
sys.modules["psycopg"] = None
import holdfast
with holdfast.connect(":memory:") as db:
    assert db.execute("SELECT 1").scalar() == 1
try:
    holdfast.connect(sys.argv[1])
except ImportError as error:
    print(type(error).__name__, "|", error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, url], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == f"MissingDependency | pip install 'holdfast[{extra}]'"
    assert os.listdir(tmp_path) == []


def test_memory_in_all_its_spellings() -> None:
    for name in (":memory:", "sqlite://", "sqlite:///:memory:"):
        with holdfast.connect(name) as db:
            db.create_table("t", {"a": int})
            db.insert("t", {"a": 1})
            assert db.select("t") == [{"a": 1}]


def test_a_fork_has_its_own_connections(db: Database, url: str) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    script = """
import os, sys, holdfast
db = holdfast.connect(sys.argv[1])
db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
db.insert("t", {"v": "parent"})
pid = os.fork()
if pid == 0:
    db.insert("t", {"v": "child"})
    os._exit(0)
_, status = os.waitpid(pid, 0)
db.insert("t", {"v": "parent again"})
print(status, [row["v"] for row in db.select("t", order_by="id")])
db.close()
"""
    done = subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0 ['parent', 'child', 'parent again']", done


def test_threads_open_one_new_database_at_once(url: str) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with holdfast.connect(url) as db:
                assert db.list_tables() == []
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
