"""Identifiers: which names are possible, and how they are written into SQL and shown to people.

Both engines quote with double quotes and double the inner ones; PostgreSQL cuts a name at 63 bytes, so
a longer one is refused everywhere rather than cut on one engine.
"""

from __future__ import annotations

from functools import lru_cache

from holdfast.errors import InvalidIdentifier

MAX_BYTES = 63
IDEMPOTENCY_TABLE = "hf_idempotency"
"""Where keys of writes are kept; no table of the user's, so it is not listed."""
SYNC_PREFIX = "hf_sync_"
"""What the names of all tables, triggers and functions of a sync begin with; they are not listed either."""


def check_identifier(name: str, noun: str = "name") -> str:
    """Return ``name`` if it can name a table, a column or an index on every engine.

    Raises:
        InvalidIdentifier: if it is no text, empty, holds NUL, or is longer than 63 bytes in UTF-8.
    """
    if not isinstance(name, str):
        raise InvalidIdentifier(f"a {noun} must be text, not {type(name).__name__}")
    if not name:
        raise InvalidIdentifier(f"a {noun} must not be empty")
    if "\0" in name:
        raise InvalidIdentifier(f"the {noun} {name[:40]!r} holds a NUL character", hint="leave it out")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as exc:
        raise InvalidIdentifier(f"the {noun} {name[:40]!r} is not valid Unicode") from exc
    if size > MAX_BYTES:
        raise InvalidIdentifier(
            f"the {noun} {name[:40] + '…'!r} is {size} bytes long in UTF-8",
            hint=f"PostgreSQL keeps {MAX_BYTES}; choose a shorter one",
        )
    return name


@lru_cache(maxsize=8192)
def quote_identifier(name: str) -> str:
    """Write ``name`` as a quoted identifier, after :func:`check_identifier`.

    >>> quote_identifier('a"b')
    '"a""b"'
    """
    return '"' + check_identifier(name).replace('"', '""') + '"'


def unquote_identifier(text: str) -> str:
    """The name that an identifier token stands for: bare, or in double quotes, backticks or brackets.

    >>> unquote_identifier('"a""b"')
    'a"b'
    """
    opening = text[:1]
    if opening == "[":
        return text[1:].removesuffix("]")
    if opening in {'"', "`", "'"}:
        inner = text[1:-1] if len(text) > 1 and text.endswith(opening) else text[1:]
        return inner.replace(opening * 2, opening)
    return text


def printable(text: str) -> str:
    """``text`` on one line, with control characters written out: a terminal would obey them.

    >>> printable("red \\x1b[31m")
    'red \\\\x1b[31m'
    """
    return text if text.isprintable() else "".join(map(_written_out, text))


def legible(text: str) -> str:
    """The same for a text of several lines, which stay."""
    return "\n".join(map(printable, text.split("\n")))


def _written_out(letter: str) -> str:
    return letter if letter.isprintable() else ascii(letter)[1:-1]
