"""Asking a server for vectors: how long to wait, what to ask again, and what may be said of it."""

from __future__ import annotations

import itertools
import json
import random
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from holdfast.errors import ConfigurationError, EmbeddingFailed, MissingDependency

if TYPE_CHECKING:
    import httpx

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
LONGEST_ANSWER = 256 * 1024 * 1024
_AGAIN = frozenset({408, 409, 425, 429})
_CODE = re.compile(r"[a-zA-Z][a-zA-Z_-]{0,39}")


class Client:
    """One place to post JSON to, with what it takes to be let in.

    It asks again after 408, 409, 425, 429, every 5xx and a broken connection, up to ``retries`` times, after
    a pause with full jitter; where the answer says ``Retry-After`` not before that. ``timeout`` seconds are
    for one answer as a whole. No redirection is followed, so that the key goes nowhere else. May be shared
    by threads.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015; RFC 9110, 10.2.3.
    """

    def __init__(self, url: str, key: str | None, *, timeout: float, retries: int) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError("base_url is no URL of HTTP", hint="http://host:port/path")
        if not timeout > 0 or retries < 0:
            raise ConfigurationError("timeout is more than 0 seconds, and retries are 0 or more")
        self._url, self._key = url, key
        self.place = parts.hostname + (f":{parts.port}" if parts.port else "")
        self._timeout, self._retries = timeout, retries
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def post(self, body: Mapping[str, Any]) -> Any:
        """The JSON that comes back.

        Raises:
            EmbeddingFailed: if there is none, after all; says neither what was sent nor what came back.
            MissingDependency: if httpx is not installed.
        """
        client = self._open()
        for attempt in itertools.count():
            try:
                return self._attempt(client, body)
            except _Again as again:
                if attempt == self._retries or again.seconds > 2 * LONGEST_PAUSE:
                    raise again.error from again.__cause__
                pause = max(again.seconds, _jitter(attempt))
            sleep(pause)
        raise AssertionError

    def _open(self) -> httpx.Client:
        try:
            import httpx
        except ImportError as exc:
            raise MissingDependency("httpx", "http") from exc
        with self._lock:
            if self._client is None:
                headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
                self._client = httpx.Client(headers=headers, timeout=self._timeout, follow_redirects=False)
            return self._client

    def _attempt(self, client: httpx.Client, body: Mapping[str, Any]) -> Any:
        import httpx

        try:
            with client.stream("POST", self._url, json=dict(body)) as response:
                data = self._read(response)
        except (httpx.TransportError, TimeoutError) as exc:
            is_late = isinstance(exc, (httpx.TimeoutException, TimeoutError))
            what = f"within {self._timeout:g} seconds" if is_late else "at all"
            raise _Again(
                EmbeddingFailed(f"{self.place} did not answer {what}", hint="check that it runs")
            ) from exc
        status = response.status_code
        if status == 200:
            return self._parsed(data)
        failed = EmbeddingFailed(f"{self.place} answered {status}{_code_in(data)}", hint=_HINTS.get(status))
        if status in _AGAIN or status >= 500:
            raise _Again(failed, _seconds(response.headers.get("retry-after")))
        raise failed

    def _read(self, response: httpx.Response) -> bytes:
        deadline, data = monotonic() + self._timeout, bytearray()
        for piece in response.iter_bytes():
            data += piece
            # The client's own limit is for each piece, and a server may send them for ever.
            if monotonic() > deadline:
                raise TimeoutError
            if len(data) > LONGEST_ANSWER:
                raise EmbeddingFailed(f"{self.place} answered with more than {LONGEST_ANSWER >> 20} MiB")
        return bytes(data)

    def _parsed(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except ValueError as exc:
            raise EmbeddingFailed(
                f"{self.place} answered with no JSON", hint="check base_url; it may be that of a web page"
            ) from exc


class _Again(Exception):
    """What went wrong may go right after so many seconds."""

    def __init__(self, error: EmbeddingFailed, seconds: float = 0.0) -> None:
        super().__init__()
        self.error, self.seconds = error, seconds


_HINTS = {
    400: "a text may be too long for the model",
    401: "check the key",
    403: "check the key, and what it may do",
    404: "check base_url and the name of the model",
    413: "a smaller batch_size",
    429: "it asks for fewer calls; try later, or with more retries",
}


def _jitter(attempt: int) -> float:
    ceiling = min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt)
    return random.uniform(0, ceiling)  # noqa: S311 - spreads load, guards nothing


def _seconds(text: str | None) -> float:
    """What ``Retry-After`` says: seconds, or a time."""
    if text is None:
        return 0.0
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def _code_in(data: bytes) -> str:
    """The short code that an error has, if it has one; its text may quote the key or what was sent."""
    try:
        error = json.loads(data)["error"]
        found = [error.get("code"), error.get("type")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    codes = [code for code in found if isinstance(code, str) and _CODE.fullmatch(code)]
    return f" ({codes[0]})" if codes else ""
