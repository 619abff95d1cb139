"""Give an embedded PostgreSQL to a user without rights when root starts it: it refuses to run as root."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

from holdfast.engines.postgres.guard import FOLDER, Owner
from holdfast.errors import ConnectionFailed

OS_USER = "pgserver"

_log = logging.getLogger("holdfast.embedded")


def hand_over(directory: Path, programs: Path) -> Owner | None:
    """Make both folders usable for the one who must run the server, and say who; ``None``: ourselves.

    A folder of somebody else is run as that user; one of root's is given to the system user ``pgserver``.
    """
    if os.geteuid() != 0:
        return None
    status = directory.stat()
    owner = (status.st_uid, status.st_gid) if status.st_uid else _system_user()
    if status.st_uid == 0:
        for folder, _, files in os.walk(directory):
            for path in (Path(folder), *(Path(folder, name) for name in files)):
                with suppress(FileNotFoundError):
                    os.chown(path, *owner, follow_symlinks=False)
    os.chown(directory / FOLDER, *owner)
    let_pass(directory, owner)
    let_pass(programs, owner)
    _make_readable(programs.parent)
    return owner


def let_pass(path: Path, owner: Owner) -> None:
    """Let ``owner`` go through the parents of ``path``: the right to enter, not to list or read them."""
    for parent in path.parents:
        status = parent.stat()
        if status.st_uid == owner[0]:
            bit = stat.S_IXUSR
        elif status.st_gid == owner[1]:
            bit = stat.S_IXGRP
        else:
            bit = stat.S_IXOTH
        if not status.st_mode & bit:
            _log.warning("%s: permission to enter added, so that PostgreSQL can reach %s", parent, path)
            parent.chmod(stat.S_IMODE(status.st_mode) | bit)


def _system_user() -> Owner:
    import pwd

    with suppress(KeyError):
        entry = pwd.getpwnam(OS_USER)
        return entry.pw_uid, entry.pw_gid
    program = shutil.which("useradd") or "/usr/sbin/useradd"
    arguments = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", OS_USER]
    with suppress(FileNotFoundError):
        subprocess.run([program, *arguments], check=False, capture_output=True)  # noqa: S603 - constants
    with suppress(KeyError):
        entry = pwd.getpwnam(OS_USER)
        return entry.pw_uid, entry.pw_gid
    raise ConnectionFailed(
        "PostgreSQL does not run as root, and the system user for it could not be created",
        hint=f"create the system user {OS_USER!r}, or run as another user than root",
    )


def _make_readable(installation: Path) -> None:
    """Repair a wheel that root installed under a strict umask."""
    if (installation / "bin" / "postgres").stat().st_mode & stat.S_IXOTH:
        return
    for folder, _, files in os.walk(installation):
        for path in (Path(folder), *(Path(folder, name) for name in files)):
            mode = path.stat().st_mode
            executable = stat.S_IXGRP | stat.S_IXOTH if mode & stat.S_IXUSR else 0
            path.chmod(stat.S_IMODE(mode) | stat.S_IRGRP | stat.S_IROTH | executable)
