"""A span of OpenTelemetry for each statement, by its semantic conventions for clients of databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from holdfast._version import __version__
from holdfast.core.executor import Executor, _all
from holdfast.core.watching import Doors, surround
from holdfast.engines.base import Cursor
from holdfast.engines.names import unquote_identifier
from holdfast.engines.sqltext import Lexicon, first_word, tokens
from holdfast.errors import MissingDependency
from holdfast.tuning.fingerprints import fingerprint

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

LONGEST_SUMMARY = 255
_BEFORE_A_TABLE = frozenset({"FROM", "JOIN", "INTO", "UPDATE", "TABLE", "VIEW"})
_BETWEEN = frozenset({"IF", "NOT", "EXISTS", "ONLY"})


def trace(executor: Executor, on: bool, provider: TracerProvider | None) -> None:
    """Begin to make spans of what is asked of a database, or end it.

    Raises:
        MissingDependency: if the API of OpenTelemetry is not installed.
    """
    if not on:
        surround(executor, "trace", None)
        return
    try:
        from opentelemetry.trace import SpanKind, get_tracer
    except ImportError as exc:
        raise MissingDependency("opentelemetry-api", "telemetry") from exc
    tracer = get_tracer("holdfast", __version__, provider)
    always = _of_target(executor)
    lexicon = executor.engine.lexicon

    @contextmanager
    def span(native: str) -> Iterator[Span]:
        about = described(native, lexicon)
        name = about["db.query.summary"]
        # Not the current one: nothing of the caller's runs within it, but between the batches of a stream.
        begun = tracer.start_span(name, kind=SpanKind.CLIENT, attributes={**always, **about})
        try:
            yield begun
        except Exception as exc:
            _failed(begun, exc)
            raise
        finally:
            begun.end()

    surround(executor, "trace", lambda plain: _doors(plain, span))


def _failed(span: Span, exc: Exception) -> None:
    """Only the kind of an error: what the database said of it may quote a value."""
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR)
    span.set_attribute("error.type", f"{type(exc).__module__}.{type(exc).__qualname__}")
    state = getattr(exc.__cause__, "sqlstate", None) or getattr(exc.__cause__, "sqlite_errorname", None)
    if state is not None:
        span.set_attribute("db.response.status_code", state)


def _of_target(executor: Executor) -> dict[str, str | int]:
    target = executor.target
    found = {
        "db.system.name": target.scheme.partition("+")[0],
        "db.namespace": str(target.path) if target.path else target.dbname,
        "server.address": target.host,
        # Of several servers none is the one.
        "server.port": target.port if isinstance(target.port, int) else None,
    }
    return {name: value for name, value in found.items() if value}


@lru_cache(maxsize=4096)
def described(native: str, lexicon: Lexicon) -> dict[str, str]:
    """What a span says of a statement; nothing of it is a value.

    >>> from holdfast.engines.sqltext import SQLITE
    >>> described("SELECT * FROM runs WHERE model = 'secret'", SQLITE)["db.query.summary"]
    'SELECT runs'
    """
    verb = first_word(native, lexicon) or "SQL"
    tables = list(dict.fromkeys(_tables(native, lexicon)))
    found = {
        "db.operation.name": verb,
        "db.query.summary": " ".join([verb, *tables])[:LONGEST_SUMMARY],
        "db.query.text": fingerprint(native, lexicon),
    }
    return {**found, "db.collection.name": tables[0]} if len(tables) == 1 else found


def _tables(native: str, lexicon: Lexicon) -> Iterator[str]:
    is_next = False
    for token in tokens(native, lexicon):
        if not token.is_code:
            continue
        word = token.text.upper() if token.kind == "word" else ""
        if is_next and word not in _BETWEEN:
            is_next = False
            if token.kind in ("word", "quoted"):
                yield unquote_identifier(token.text)
        elif word in _BEFORE_A_TABLE:
            is_next = True


def _doors(executor: Executor, span: Callable[[str], Any]) -> Doors:
    plain_send, plain_fetch, plain_many = executor.send, executor.fetch, executor.send_many
    plain_stream = executor.stream

    def send(native: str, params: Sequence[Any] = ()) -> Cursor:
        with span(native):
            return plain_send(native, params)

    def fetch(
        native: str,
        params: Sequence[Any] = (),
        read: Callable[[Cursor], Any] = _all,
        *,
        binary: bool = False,
    ) -> Any:
        with span(native) as begun:
            result = plain_fetch(native, params, read, binary=binary)
            rows = getattr(result, "tuples", result)
            if type(rows) is list:
                begun.set_attribute("db.response.returned_rows", len(rows))
            return result

    def send_many(native: str, rows: Sequence[Sequence[Any]]) -> int:
        with span(native) as begun:
            if len(rows) > 1:
                begun.set_attribute("db.operation.batch.size", len(rows))
            return plain_many(native, rows)

    return {"send": send, "fetch": fetch, "send_many": send_many, "stream": _streaming(plain_stream, span)}


def _streaming(
    plain: Callable[..., Iterator[Any]], span: Callable[[str], Any]
) -> Callable[..., Iterator[Any]]:
    def stream(sql: str, params: Sequence[Any] = (), **how: Any) -> Iterator[list[tuple[Any, ...]]]:
        rows = 0
        with span(sql) as begun:
            for batch in plain(sql, params, **how):
                rows += len(batch)
                yield batch
            begun.set_attribute("db.response.returned_rows", rows)

    return stream
