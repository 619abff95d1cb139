"""A pooler that lends a server connection for one transaction only, as PgBouncer does in transaction mode."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
from collections.abc import Iterator

from faults.proxy import Messages


def _read(server: socket.socket) -> Iterator[tuple[bytes, bytes]]:
    """What the server says, message by message."""
    waiting = b""
    while True:
        while len(waiting) < 5 or len(waiting) < 1 + struct.unpack_from("!i", waiting, 1)[0]:
            data = server.recv(65536)
            if not data:
                return
            waiting += data
        length = 1 + struct.unpack_from("!i", waiting, 1)[0]
        message, waiting = waiting[:length], waiting[length:]
        yield message[:1], message


class Pooler:
    """Listens on ``port``; ``connections`` to a server that trusts everybody serve all clients in turn."""

    def __init__(self, host: str, port: int, connections: int = 2) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._most = connections
        self._free: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        self._greeting = b""
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        messages = Messages()
        with contextlib.suppress(OSError), client:
            while not messages.started:
                for message, _ in messages.take(client.recv(65536)):
                    if not messages.started:
                        client.sendall(b"N")
                    else:
                        client.sendall(self._greet(message))
            data = b""
            while data or (data := client.recv(65536)):
                if data[:1] == b"X":
                    return
                data = self._transaction(client, data)

    def _greet(self, startup: bytes) -> bytes:
        with self._lock:
            while not self._greeting or self._most:
                server = socket.create_connection(self._target)
                self._sockets.append(server)
                server.sendall(startup)
                said = b""
                for kind, message in _read(server):
                    said += message
                    if kind == b"Z":
                        break
                self._greeting = said
                self._free.put(server)
                self._most -= 1
        return self._greeting

    def _transaction(self, client: socket.socket, data: bytes) -> bytes:
        """Serve one transaction; what came of the next one is returned."""
        server = self._free.get(timeout=120)
        done = threading.Event()

        def back() -> None:
            for kind, message in _read(server):
                if kind == b"Z" and message[5:6] == b"I":
                    # Lent to somebody else before this client can ask again.
                    self._free.put(server)
                    done.set()
                    client.sendall(message)
                    return
                client.sendall(message)

        answering = threading.Thread(target=back, daemon=True)
        answering.start()
        server.sendall(data)
        client.settimeout(0.01)
        try:
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    more = client.recv(65536)
                    if done.is_set() or not more:
                        return more
                    server.sendall(more)
            return b""
        finally:
            client.settimeout(None)
            answering.join(10)
