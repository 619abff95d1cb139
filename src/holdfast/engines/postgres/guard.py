"""Stop an embedded PostgreSQL when no process uses its folder any more.

Every process that uses the folder holds a shared ``flock`` on ``.holdfast/users``; the kernel drops it
however the process ends, so there is no list of users that a ``kill -9`` could leave wrong.
``.holdfast/control`` is held while the server is started or stopped. The last user stops the server itself;
this file, run as ``python -I -S guard.py DIRECTORY BIN_DIRECTORY UID GID`` by whoever starts the server,
waits for the case that the last user could not. Standard library only: ``-S`` keeps it small and quick.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

if sys.platform != "win32":
    import fcntl

FOLDER = ".holdfast"
CLUSTER_NAME = "cluster_name=holdfast"
STOP_SECONDS = 60

Owner = tuple[int, int]


@dataclass(frozen=True)
class Postmaster:
    """A live server, as its ``postmaster.pid`` describes it. ``host`` is a socket folder or an address."""

    pid: int
    host: str
    port: int
    ready: bool


@dataclass(frozen=True)
class Cluster:
    """A data directory, the programs that fit it, and who must run them (``None``: whoever we are)."""

    directory: Path
    bin_directory: Path
    owner: Owner | None

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs inside the data directory, untouched by ``PG*`` variables.

        The working directory is the data directory and ``.`` names it, because ``pg_ctl`` gives its path to a
        shell inside double quotes.
        """
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        user, group = self.owner or (None, None)
        return subprocess.run(  # noqa: S603 - a program of ours, a list of arguments, no shell
            [str(self.bin_directory / program), *arguments],
            cwd=self.directory,
            env={**environment, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=None if group is None else [],
            check=False,
        )


def open_lock(cluster: Cluster, name: str) -> int:
    """Open, and create if need be, one of the lock files of the folder."""
    path = cluster.directory / FOLDER / name
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if cluster.owner:
        os.fchown(descriptor, *cluster.owner)
    return descriptor


@contextmanager
def locked(descriptor: int, operation: int) -> Iterator[bool]:
    """Hold the lock for the block; yields whether ``LOCK_NB`` got it.

    Unlocks explicitly: a child forked meanwhile has a copy of the descriptor, so closing ours is not enough.
    """
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def find_postmaster(directory: Path) -> Postmaster | None:
    """The server that is running in ``directory``, or starting up, or shutting down."""
    try:
        lines = (directory / "postmaster.pid").read_text(errors="surrogateescape").splitlines()
        pid = int(lines[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    lines += [""] * (8 - len(lines))
    port = int(lines[3] or 5432)
    folder, address = lines[4], lines[5]
    answers = bool(folder) and _accepts(f"{folder}/.s.PGSQL.{port}")
    if not answers and not _is_server_of(pid, directory):
        return None
    ready = lines[7].strip() == "ready" and (answers or not folder)
    return Postmaster(pid, folder or address.replace("*", "localhost"), port, ready)


def _accepts(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _is_server_of(pid: int, directory: Path) -> bool:
    """Whether ``pid`` is a living server of ``directory``; a number in an old file may be anybody's."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        if error.errno != errno.EPERM:
            return False
    process = Path(f"/proc/{pid}")
    try:
        name, _, rest = (process / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
        if name != "postgres" or rest.lstrip().startswith(("Z", "X")):
            return False
        return (process / "cwd").readlink() == directory
    except PermissionError:
        return True
    except FileNotFoundError:
        return not Path("/proc/self").exists()


def stop_if_unused(cluster: Cluster) -> bool:
    """Stop the server unless a process uses the folder; the caller holds the control lock.

    A server that somebody else started in this folder is left alone.
    """
    users = open_lock(cluster, "users")
    try:
        with locked(users, fcntl.LOCK_EX | fcntl.LOCK_NB) as unused:
            if unused and find_postmaster(cluster.directory) and _is_ours(cluster.directory):
                cluster.run("pg_ctl", "-D", ".", "-m", "fast", "-w", "-t", str(STOP_SECONDS), "-s", "stop")
                _remove_socket_folder(cluster.directory)
            return unused
    finally:
        os.close(users)


def _is_ours(directory: Path) -> bool:
    try:
        return CLUSTER_NAME in (directory / "postmaster.opts").read_text(errors="replace")
    except FileNotFoundError:
        return False


def _remove_socket_folder(directory: Path) -> None:
    link = directory / FOLDER / "socket"
    try:
        link.readlink().rmdir()
        link.unlink()
    except OSError:
        return


def set_watch(cluster: Cluster) -> None:
    """See that a process of its own watches the folder; the caller holds a lock on ``users``."""
    presence = open_lock(cluster, "guard")
    try:
        with locked(presence, fcntl.LOCK_EX | fcntl.LOCK_NB) as absent:
            pass
    finally:
        os.close(presence)
    if not absent or not sys.executable or getattr(sys, "frozen", False):
        return
    owner = [str(number) for number in cluster.owner] if cluster.owner else ["", ""]
    subprocess.run(  # noqa: S603 - this Python, this file
        [sys.executable, "-I", "-S", __file__, cluster.directory, cluster.bin_directory, *owner],
        check=False,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def watch(cluster: Cluster) -> None:
    """Wait until the folder is unused, stop its server, and end. At most one process does so per folder."""
    presence = open_lock(cluster, "guard")
    try:
        fcntl.flock(presence, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if os.fork():
        os._exit(0)
    users, control = open_lock(cluster, "users"), open_lock(cluster, "control")
    while True:
        with locked(users, fcntl.LOCK_EX):
            pass
        with locked(control, fcntl.LOCK_EX):
            if stop_if_unused(cluster):
                os.close(presence)
                return


def main(directory: str, bin_directory: str, user: str, group: str) -> None:
    owner = (int(user), int(group)) if user else None
    cluster = Cluster(Path(directory), Path(bin_directory), owner)
    try:
        watch(cluster)
    except FileNotFoundError:
        # The folder was deleted; PostgreSQL notices that by itself within a minute.
        return


if __name__ == "__main__":
    main(*sys.argv[1:])
