"""A real PgBouncer in transaction mode before a server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import servers
from servers import HOST, free_port

_SETTINGS = {
    "listen_addr": HOST,
    "pool_mode": "transaction",
    "default_pool_size": "2",
    "server_round_robin": "1",
    "unix_socket_dir": "",
}


def program() -> str | None:
    """Where PgBouncer is, or ``None``."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class Bouncer:
    """Listens on ``port``; two connections to the server serve all clients of a database."""

    def __init__(self, server: servers.Server, folder: Path) -> None:
        self.port = free_port()
        self._owner = server.cluster.owner
        users, settings = folder / "users.txt", folder / "pgbouncer.ini"
        users.write_text(f'"{server.user}" "{server.password or ""}"\n')
        auth = {"auth_type": "scram-sha-256" if server.password else "trust", "auth_file": str(users)}
        lines = (f"{name} = {value}" for name, value in {**_SETTINGS, **auth}.items())
        settings.write_text(
            f"[databases]\n* = host={HOST} port={server.port}\n"
            f"[pgbouncer]\nlisten_port = {self.port}\n" + "\n".join(lines) + "\n"
        )
        self._command = [str(program()), "-q", str(settings)]
        self._log = folder / "log"
        self.start()

    def start(self) -> None:
        # It refuses to be root.
        user, group = self._owner or (None, None)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, user=user, group=group, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection((HOST, self.port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.02)

    def stop(self) -> None:
        """End it at once, with all its connections."""
        self._process.kill()
        self._process.wait(120)

    close = stop
