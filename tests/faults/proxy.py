"""A TCP proxy before a PostgreSQL server, which cuts or stalls at a moment of the protocol.

It reads the client's messages, so that a test can name a statement: ``proxy.fault("COMMIT", "during")``.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Moment = Literal["before", "during", "after"]
"""Not sent to the server; sent, and its answer is not awaited; answered, and the answer is dropped."""

_PLEASE_ENCRYPT = (80877103, 80877104)


@dataclass
class _Rule:
    text: bytes
    moment: Moment
    stalls: bool
    skip: int = 0


@dataclass
class Messages:
    """The client's side of a conversation, message by message."""

    waiting: bytes = b""
    started: bool = False
    texts: dict[bytes, bytes] = field(default_factory=dict)

    def take(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The messages that are whole now, each with the statement that it runs, or with nothing."""
        self.waiting += data
        while True:
            head = 1 if self.started else 0
            if len(self.waiting) < head + 4:
                return
            length = head + struct.unpack_from("!i", self.waiting, head)[0]
            if len(self.waiting) < length:
                return
            message, self.waiting = self.waiting[:length], self.waiting[length:]
            yield message, self._statement(message)

    def _statement(self, message: bytes) -> bytes:
        if not self.started:
            self.started = struct.unpack_from("!i", message, 4)[0] not in _PLEASE_ENCRYPT
            return b""
        kind, body = message[:1], message[5:]
        if kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self.texts[name] = text
        elif kind == b"B":
            _, name, _ = body.split(b"\0", 2)
            return self.texts.get(name, b"")
        elif kind == b"Q":
            return body.rstrip(b"\0")
        return b""


class Proxy:
    """Listens on ``port`` of the loopback and passes everything on, until it is told otherwise."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._rules: list[_Rule] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._refuses = False
        self._stalled = threading.Event()
        self.faults = 0
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    # What a test says

    def fault(self, statement: str, moment: Moment, *, stall: bool = False, skip: int = 0) -> None:
        """Cut, or stall, the connection that runs ``statement`` (its beginning) next, once."""
        with self._lock:
            self._rules.append(_Rule(statement.encode(), moment, stall, skip))

    def forget(self) -> None:
        """Take back faults that have not happened."""
        with self._lock:
            self._rules.clear()

    def cut(self) -> None:
        """Cut every connection now."""
        with self._lock:
            sockets, self._open = list(self._open), set()
        for each in sockets:
            _cut(each)

    def refuse(self, refuses: bool = True) -> None:
        """Cut every connection, and each new one at once."""
        self._refuses = refuses
        if refuses:
            self.cut()

    def stall(self, stalls: bool = True) -> None:
        """Keep connections open and pass nothing on."""
        self._stalled.set() if stalls else self._stalled.clear()

    def close(self) -> None:
        self._refuses = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._stalled.clear()
        self.cut()
        for thread in self._threads:
            thread.join(60)

    # How it is done

    def _listen(self) -> None:
        while not self._refuses or self._listener.fileno() >= 0:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses:
                _cut(client)
                continue
            try:
                server = socket.create_connection(self._target, timeout=60)
            except OSError:
                _cut(client)
                continue
            with self._lock:
                self._open |= {client, server}
            thread = threading.Thread(target=self._carry, args=(client, server), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        messages = Messages()
        try:
            with contextlib.suppress(OSError, ValueError):
                while self._step(client, server, messages):
                    pass
        finally:
            with self._lock:
                self._open -= {client, server}
            _cut(client)
            _cut(server)

    def _step(self, client: socket.socket, server: socket.socket, messages: Messages) -> bool:
        readable, _, _ = select.select([client, server], [], [], 0.05)
        if self._stalled.is_set():
            return True if not readable else _pause()
        if server in readable:
            data = server.recv(65536)
            if not data:
                return False
            client.sendall(data)
        if client in readable:
            data = client.recv(65536)
            if not data:
                return False
            rule, parts = None, []
            for message, statement in messages.take(data):
                rule = rule or self._rule_for(statement)
                parts.append(message)
            if rule:
                self.faults += 1
                return self._do(rule, server, b"".join(parts))
            server.sendall(b"".join(parts))
        return True

    def _rule_for(self, statement: bytes) -> _Rule | None:
        with self._lock:
            for rule in self._rules:
                if statement and statement.startswith(rule.text):
                    if rule.skip:
                        rule.skip -= 1
                        continue
                    self._rules.remove(rule)
                    return rule
        return None

    def _do(self, rule: _Rule, server: socket.socket, data: bytes) -> bool:
        if rule.moment != "before":
            server.sendall(data)
        if rule.moment == "after":
            server.recv(65536)
        while rule.stalls and not self._refuses and server in self._open:
            _pause(0.05)
        return False


def _pause(seconds: float = 0.02) -> bool:
    threading.Event().wait(seconds)
    return True


def _cut(each: socket.socket) -> None:
    """Close with a reset, as a firewall or a crash does it."""
    with contextlib.suppress(OSError):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        each.close()
