"""A server that makes vectors as OpenAI's and Ollama's do by their documentation, and misbehaves as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from holdfast.memory.embed import HashingEmbedder

Trouble = Callable[["Handler", int], bool]
"""Answers a call, of which the number is given, in a way of its own, and says whether it did."""
vectors = HashingEmbedder(64)


class Handler(BaseHTTPRequestHandler):
    server: EmbeddingServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            self.server.calls.append((self.path, dict(self.headers), body))
            number = len(self.server.calls)
        if self.server.trouble is None or not self.server.trouble(self, number):
            self.answer(200, self.made(body))

    def made(self, body: dict[str, Any]) -> Any:
        found = [vector.tolist() for vector in vectors(body["input"])]
        if self.path == "/api/embed":
            return {"model": body["model"], "embeddings": found, "total_duration": 14143917}
        data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(found)]
        # Nothing says that they come in order.
        return {"object": "list", "data": data[::-1], "model": body["model"], "usage": {"total_tokens": 1}}

    def answer(self, status: int, body: Any, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class EmbeddingServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.calls: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.trouble: Trouble | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def texts(self) -> list[str]:
        """All texts that it was given."""
        return [text for _, _, body in self.calls for text in body["input"]]

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A caller that has given up.
        pass


@contextmanager
def running() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
