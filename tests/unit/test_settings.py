"""What ``connect`` is given, and what the environment says."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import ConfigurationError
from holdfast.settings import Target, resolve
from holdfast.urls import LIBPQ_OPTIONS

NASTY = "p@s:s/w#o%r d?&=+é%40"
ENCODED = "p%40s%3As%2Fw%23o%25r%20d%3F%26%3D%2B%C3%A9%2540"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No database in the environment, and an empty current directory."""
    import os

    for name in list(os.environ):
        if name.startswith(("PG", "POSTGRES_")) or name in ("HOLDFAST_URL", "DATABASE_URL"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(*args: Any, **parts: Any) -> str:
    """The whole text of the error, chain included, as a traceback would show it."""
    with pytest.raises(ConfigurationError) as caught:
        resolve(*args, **parts)
    return "".join(traceback.format_exception(caught.value, chain=True)).split("ConfigurationError: ", 1)[1]


@pytest.mark.parametrize(
    ("given_as", "path"),
    [
        ("runs.db", "runs.db"),
        (Path("runs.db"), "runs.db"),
        ("sqlite:///runs.db", "runs.db"),
        ("sqlite+pysqlite:///runs.db", "runs.db"),
        ("SQLite:///runs.db", "runs.db"),
        ("sqlite:////abs/runs.db", "/abs/runs.db"),
        ("sqlite:///my%20runs%3F.db", "my runs?.db"),
        ("sqlite:///100%.db", "100%.db"),
        ("C:\\x.db", "C:\\x.db"),
        ("C:/x.db", "C:/x.db"),
        ("exp:1/run:2.db", "exp:1/run:2.db"),
        ("a=b.db", "a=b.db"),
        ("user=3.db", "user=3.db"),
        (Path("file:x"), "file:x"),
        (":memory:", None),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
    ],
)
def test_sqlite_paths(given_as: str | Path, path: str | None, bare: Path) -> None:
    target = resolve(given_as)
    assert target.scheme == "sqlite"
    assert target.path == (None if path is None else bare / path)
    assert target.is_memory == (path is None)
    assert resolve(target.masked_url) == target


def test_a_path_stays_what_it_was_when_the_directory_changes(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = resolve("runs.db")
    monkeypatch.chdir("/")
    assert target.path == bare / "runs.db"
    assert target.sqlalchemy_url().database == str(bare / "runs.db")


def test_home_directory() -> None:
    assert resolve("~/runs.db").path == Path.home() / "runs.db"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_postgres_url(scheme: str) -> None:
    target = resolve(f"{scheme}://me:{ENCODED}@db.example.org:6543/my%2Fdb?sslmode=require")
    fields = {"host": "db.example.org", "port": 6543, "user": "me", "password": NASTY, "dbname": "my/db"}
    assert target.scheme == "postgresql"
    assert target.conninfo() == {**fields, "sslmode": "require"}
    assert target.masked_url == "postgresql://me:***@db.example.org:6543/my%2Fdb?sslmode=require"
    assert NASTY not in repr(target)


@pytest.mark.parametrize(
    ("url", "conninfo"),
    [
        ("postgresql://", {}),
        ("postgresql:///db", {"dbname": "db"}),
        ("postgresql://host", {"host": "host"}),
        ("postgresql://[::1]:5433/db", {"host": "::1", "port": 5433, "dbname": "db"}),
        ("postgresql://a:1,b:2/db", {"host": "a,b", "port": "1,2", "dbname": "db"}),
        ("postgresql://%2Ftmp%2Fpg/db", {"host": "/tmp/pg", "dbname": "db"}),
        ("postgresql:///db?host=/tmp/pg&port=5433", {"host": "/tmp/pg", "port": 5433, "dbname": "db"}),
        ("postgresql://me:a:b@h", {"user": "me", "password": "a:b", "host": "h"}),
        (
            "postgresql://h/db?application_name=a%26b+c",
            {"host": "h", "dbname": "db", "application_name": "a&b+c"},
        ),
    ],
)
def test_conninfo_holds_what_was_named(url: str, conninfo: dict[str, Any]) -> None:
    target = resolve(url)
    assert target.conninfo() == conninfo
    if not target.password:
        assert resolve(target.masked_url) == target


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_any_password_survives_encoded_and_raw(password: str) -> None:
    from urllib.parse import quote

    encoded = resolve(f"postgresql://me:{quote(password, safe='')}@host/db")
    raw = resolve("postgresql://me@host/db", password=password)
    assert encoded == raw
    assert encoded.password == password
    assert encoded.sqlalchemy_url().password == password
    assert encoded.masked_url == "postgresql://me:***@host/db"


UNENCODED = (
    "me:s3@cret@h me:s3/cret@h me:s3#cret@h me:s3?cret@h me:s3?a=cret@h me:s3%cret@h me:s3@cret?x=cret@h "
    "me:s3cret me:s3cret@h:cret me:s3?cret&b@h me:s3%FFcret@h me:s3[cret"
)


@pytest.mark.parametrize("authority", UNENCODED.split())
def test_an_unencoded_password_is_explained_and_not_shown(authority: str) -> None:
    text = refused(f"postgresql://{authority}/db")
    assert "%40" in text
    assert "cret" not in text
    assert "s3" not in text


@pytest.mark.parametrize("url", ["postgresql+embedded:///./pg%20data", "postgresql+embedded:///pg%20data"])
def test_embedded(url: str, bare: Path) -> None:
    target = resolve(url + "?dbname=runs")
    assert target == Target("postgresql+embedded", directory=bare / "pg data", dbname="runs")
    assert target.conninfo() == {"dbname": "runs"}
    assert resolve(target.masked_url) == target
    assert resolve(url, dbname="other").dbname == "other"
    assert resolve("postgresql+embedded:////abs/dir").directory == Path("/abs/dir")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://me:s3cret@h/db", "supported: sqlite"),
        ("postgre://me:s3cret@h/db", "did you mean 'postgres'"),
        ("postgresql+asyncpg://me:s3cret@h/db", "did you mean 'postgresql"),
        ("sqlite:runs.db", "sqlite:///runs.db"),
        ("sqlite://runs.db", "three slashes"),
        ("file:runs.db?mode=ro", "sqlite:///"),
        ("host=localhost password=s3cret dbname=x", "libpq"),
        ("password = s3cret", "libpq"),
        ("postgresql+embedded://", "pgdata"),
        ("postgresql+embedded://pgdata", "pgdata"),
        ("", "HOLDFAST_URL"),
        ("a\0b", "NUL"),
        ("sqlite:///a%00b", "NUL"),
        (b"runs.db", "bytes"),
        (3, "int"),
        ("sqlite:///r.db?tmeout=3", "did you mean 'timeout'"),
        ("sqlite:///r.db?timeout=s3cret", "'timeout'"),
        ("sqlite:///r.db?timeout", "name=value"),
        ("sqlite:///r.db?timeout=1&timeout=2", "twice"),
        ("sqlite:///r.db?sslmode=require", "no option 'sslmode'"),
        ("postgresql://h/db?ssl_mode=require", "did you mean 'sslmode'"),
        ("postgresql://h:99999/db", "65535"),
    ],
)
def test_what_cannot_be_understood(url: Any, says: str) -> None:
    text = refused(url)
    assert says in text
    assert "s3cret" not in text


def test_options_are_the_callers_choice() -> None:
    options = resolve("sqlite:///r.db?timeout=2.5&read_only=yes", page_size=8192).options
    assert options == {"timeout": 2.5, "read_only": True, "page_size": 8192}
    assert resolve("sqlite:///r.db?cache=2", sqlite_options={"cache"}).options == {"cache": "2"}
    assert "did you mean 'timeout'" in refused("r.db", timout=3)
    assert "no setting 'host'" in refused("r.db", host="h")
    assert "did you mean 'dbname'" in refused(dbnam="x", host="h")
    target = resolve("postgresql://h/db?timeout=3", connect_timeout=9)
    assert target.conninfo() == {"host": "h", "dbname": "db", "connect_timeout": 9}


@pytest.mark.parametrize("port", [0, 65536, "x", True, "9" * 5000, 1.5, "٣"])
def test_a_port_is_a_number(port: Any) -> None:
    assert "65535" in refused("postgresql://h/db", port=port)


def test_fields_are_text() -> None:
    assert "bytes" in refused("postgresql://h/db", password=b"secret")
    assert "NUL" in refused("postgresql://h/db", dbname="a\0b")


def test_nothing_configured() -> None:
    assert "HOLDFAST_URL" in refused()
    assert "no database was named" in refused(engine="sqlite")
    assert resolve(engine="postgresql") == Target("postgresql")


def test_wrong_engine() -> None:
    assert "not a SQLite database" in refused("postgresql://me:s3cret@h/db", engine="sqlite")
    assert "not a PostgreSQL database" in refused("runs.db", engine="postgresql")
    assert resolve("postgresql+embedded:///x", engine="postgresql").directory is not None


def test_precedence(monkeypatch: pytest.MonkeyPatch, bare: Path) -> None:
    monkeypatch.setenv("PGHOST", "from-libpq")
    assert resolve() == Target("postgresql")
    monkeypatch.setenv("POSTGRES_HOST", "from-host")
    monkeypatch.setenv("POSTGRES_DB", "main")
    assert resolve().conninfo() == {"host": "from-host", "dbname": "main"}
    monkeypatch.setenv("POSTGRES_SERVER", "from-server")
    monkeypatch.setenv("POSTGRES_PORT", "6000")
    monkeypatch.setenv("POSTGRES_PASSWORD", NASTY)
    expected = {"host": "from-server", "port": 6000, "password": NASTY, "dbname": "main"}
    assert resolve().conninfo() == expected
    assert resolve(dbname="mine", user="me").conninfo() == {**expected, "dbname": "mine", "user": "me"}
    monkeypatch.setenv("DATABASE_URL", "postgres://url/db")
    assert resolve().conninfo() == {"host": "url", "dbname": "db"}
    assert resolve(dbname="mine").conninfo() == {"host": "url", "dbname": "mine"}
    monkeypatch.setenv("HOLDFAST_URL", "runs.db")
    assert resolve().path == bare / "runs.db"
    assert resolve(dbname="mine").conninfo() == {"host": "url", "dbname": "mine"}
    assert resolve(engine="postgresql").host == "url"
    assert resolve("other.db").path == bare / "other.db"
    monkeypatch.setenv("HOLDFAST_URL", "  ")
    assert resolve().host == "url"


def test_a_password_without_any_host_means_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve(user="me", password="p", dbname="d").host == "localhost"
    assert resolve(user="me", dbname="d").host is None
    assert resolve("postgresql://me:p@/d").host is None
    monkeypatch.setenv("PGHOST", "elsewhere")
    assert resolve(user="me", password="p", dbname="d").host is None


def test_all_fields_given_need_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://other/program")
    fields = {"host": "h", "port": 1, "user": "u", "password": "p", "dbname": "d"}
    assert resolve(engine="postgresql", **fields).conninfo() == fields
    assert resolve(engine="postgresql", dbname="d").conninfo() == {"dbname": "d"}
    assert "DATABASE_URL" in refused()


def test_dotenv(monkeypatch: pytest.MonkeyPatch, bare: Path) -> None:
    (bare / ".env").write_text(
        "\ufeff# comment\nHOLDFAST_URL=\nPOSTGRES_SERVER=héâte\nPOSTGRES_USER=file\n"
        f"POSTGRES_PASSWORD='{NASTY}'\nPOSTGRES_DB=db\nOTHER=1\nPGPORT=7000\n",
        encoding="utf-8",
    )
    expected = {"host": "héâte", "user": "file", "password": NASTY, "dbname": "db", "port": 7000}
    assert resolve().conninfo() == expected
    monkeypatch.setenv("POSTGRES_USER", "real")
    monkeypatch.setenv("POSTGRES_DB", "")
    monkeypatch.setenv("PGPORT", "7001")
    del expected["port"]  # libpq sees that one itself
    assert resolve().conninfo() == {**expected, "user": "real"}
    assert NASTY not in repr(resolve())


@pytest.mark.parametrize(
    "content", [b"HOLDFAST_URL=caf\xe9-secret", b"\xff\xfeH\0O\0", b"POSTGRES_PORT=secret\nPOSTGRES_DB=x"]
)
def test_a_broken_dotenv_is_explained_and_not_shown(content: bytes, bare: Path) -> None:
    (bare / ".env").write_bytes(content)
    assert "secret" not in refused()


def test_a_malformed_line_of_dotenv_is_skipped_and_not_shown(
    bare: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    (bare / ".env").write_text("POSTGRES_PASSWORD='secret\n=secret=\nHOLDFAST_URL=runs.db\n")
    assert resolve().path == bare / "runs.db"
    assert "secret" not in caplog.text + "".join(capfd.readouterr())


def test_secret_options_are_masked() -> None:
    target = resolve("postgresql://h/db?sslpassword=s3cret&password=s3cret", oauth_client_secret="s3cret")
    assert "s3cret" not in f"{target} {target!r} {target.masked_url}"
    assert target.conninfo()["sslpassword"] == "s3cret"
    assert target.password == "s3cret"


def test_sqlalchemy_url() -> None:
    pytest.importorskip("psycopg")
    from sqlalchemy import create_engine

    url = resolve(f"postgresql://me:{ENCODED}@h:1/db?sslmode=require", timeout=3).sqlalchemy_url()
    assert (url.drivername, url.password, dict(url.query)) == (
        "postgresql+psycopg",
        NASTY,
        {"sslmode": "require"},
    )
    socket = resolve("postgresql:///db?host=/tmp/pg&port=7").sqlalchemy_url()
    found = create_engine(socket).dialect.create_connect_args(socket)[1]
    assert {name: found[name] for name in ("dbname", "host", "port")} == resolve(
        "postgresql:///db?host=/tmp/pg&port=7"
    ).conninfo() | {"port": "7"}
    assert resolve(":memory:").sqlalchemy_url().render_as_string() == "sqlite+pysqlite://"


def test_the_list_of_options_is_libpqs() -> None:
    psycopg = pytest.importorskip("psycopg")
    own = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    internal = {"authtype", "requiressl", "service", "tty"}
    fields = {"host", "port", "user", "password", "dbname"}
    assert own - internal - fields <= LIBPQ_OPTIONS


def test_import_is_light() -> None:
    code = "import sys, holdfast.settings as s; s.resolve('x.db'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"pydantic", "pydantic_settings", "sqlalchemy", "psycopg"} & set(loaded.split())
