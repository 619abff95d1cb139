"""PostgreSQL's own programs: finding ``pg_dump`` and ``pg_restore``, and running them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from psycopg import RawCursor
from psycopg.conninfo import make_conninfo

from holdfast.engines.postgres.embedded import bin_directory
from holdfast.errors import BackupError, MissingDependency, NotSupported
from holdfast.folders import own_folder

_RESTORE = "pg_restore"
DEBIAN = Path("/usr/lib/postgresql")
_DESCRIPTORS = Path("/proc/self")
# What every libpq knows: pg_dump may be older than the one that psycopg brings. No secret is among them.
_SHARED_OPTIONS = frozenset(
    {
        "connect_timeout",
        "options",
        "application_name",
        "sslmode",
        "sslcert",
        "sslkey",
        "sslrootcert",
        "sslcrl",
    }
    | {"requirepeer", "krbsrvname", "gssencmode", "channel_binding", "target_session_attrs"}
)


def _candidates(name: str) -> Iterator[Path]:
    wheel = bin_directory()
    if wheel is not None:
        yield wheel / name
    yield from DEBIAN.glob(f"*/bin/{name}")
    found = shutil.which(name)
    if found:
        yield Path(found)


def _known(name: str) -> list[tuple[int, int, Path]]:
    """The versions of a program that are here, with their places."""
    known: list[tuple[int, int, Path]] = []
    for number, path in enumerate(_candidates(name)):
        with suppress(OSError):
            version = _version(path, path.stat().st_mtime_ns)
            if version:
                known.append((version, -number, path))
    return known


@lru_cache
def _version(path: Path, changed: int) -> int | None:
    """The version of a program, asked once for as long as its file stays as it is."""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    version = re.search(r"\) (\d+)", done.stdout)
    return int(version[1]) if done.returncode == 0 and version else None


def _pg_dump(server: int) -> Path:
    """The oldest that knows the server's version: its text is the nearest to the server's own."""
    known = [found for found in _known("pg_dump") if found[0] >= server]
    if not known:
        raise MissingDependency(f"pg_dump of PostgreSQL {server} or later", "embedded")
    return min(known, key=lambda found: (found[0], -found[1]))[2]


def _pg_restore() -> Path:
    """The newest: it reads what every older one wrote."""
    known = _known(_RESTORE)
    if not known:
        raise MissingDependency(f"{_RESTORE} of PostgreSQL", "embedded")
    return max(known)[2]


@contextmanager
def dumping(raw: Any, arguments: Sequence[str]) -> Iterator[IO[bytes]]:
    """The output of ``pg_dump`` on the snapshot of ``raw``'s transaction, as the user of that connection.

    Raises:
        MissingDependency: if it is not here.
        NotSupported: behind a pooler, whose other clients would find what pg_dump sets in its session.
    """
    if not raw.prepares:
        raise NotSupported(
            "pg_dump cannot work through a pooler that lends connections for a transaction",
            hint="name it .hfz, which needs none, or connect to the server itself",
        )
    info = raw.info
    given = info.get_parameters()
    known = {name: value for name, value in given.items() if name in _SHARED_OPTIONS}
    known |= {name: getattr(info, name) for name in ("host", "port", "user", "dbname")}
    known |= {"hostaddr": info.hostaddr} if given.get("hostaddr") else {}
    ((snapshot,),) = RawCursor(raw).execute("SELECT pg_export_snapshot()", ()).fetchall()
    escaped = re.sub(r"([\\:])", r"\\\1", info.password or "")
    with _private_file(f"*:*:*:*:{escaped}\n") as passwords:
        command = [
            str(_pg_dump(info.server_version // 10_000)),
            "--dbname=" + make_conninfo(**known),
            "--no-password",
            "--encoding=UTF8",
            f"--snapshot={snapshot}",
            *arguments,
        ]
        with _running(command, {"PGPASSFILE": passwords}) as output:
            yield output


@contextmanager
def _private_file(text: str) -> Iterator[str]:
    """The path by which children of this process read a file; where it can, it has no other name."""
    if not _DESCRIPTORS.exists():
        with own_folder(Path(tempfile.gettempdir()), "holdfast-secret-") as folder:
            path = folder / "pgpass"
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8")
            yield str(path)
        return
    # A process that is killed leaves nothing of it.
    with tempfile.TemporaryFile("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        yield str(_DESCRIPTORS.with_name(str(os.getpid())) / "fd" / str(file.fileno()))


@contextmanager
def restoring(path: Path, arguments: Sequence[str]) -> Iterator[IO[bytes]]:
    """The SQL text that ``pg_restore`` makes of a file in pg_dump's custom format."""
    with _running([str(_pg_restore()), "--file=-", *arguments, str(path)], {}) as output:
        yield output


@contextmanager
def _running(command: list[str], settings: Mapping[str, str]) -> Iterator[IO[bytes]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {"LC_ALL": "C", **settings}
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=environment,
        )
        assert child.stdout is not None
        try:
            yield child.stdout
        except BaseException:
            child.kill()
            raise
        finally:
            child.stdout.close()
            status = child.wait()
        if status:
            complaints.seek(0)
            first = complaints.readline(500).decode("utf-8", "replace").strip()
            raise BackupError(f"{first or Path(command[0]).name + ' failed'}, exit status {status}")
