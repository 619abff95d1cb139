"""Pages of memories in the order of their making, by a cursor that says where the last one ended."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Iterable
from uuid import UUID

from holdfast.engines.base import Fragment
from holdfast.errors import InvalidQuery
from holdfast.memory.records import Record, microseconds


class Page(list[Record]):
    """Some memories in order; ``next`` goes into ``after``, and is ``None`` after the last page."""

    def __init__(self, records: Iterable[Record], next: str | None) -> None:
        super().__init__(records)
        self.next = next

    def __repr__(self) -> str:
        return f"<Page of {len(self)} memories>"


def cursor_of(record: Record) -> str:
    """The place of a record, as a text to hand around."""
    place = [microseconds(record.created_at), record.id.hex]
    return urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode()


def beyond(table: str, cursor: str | None, *, reverse: bool) -> Fragment:
    """The condition to come after a cursor, or with ``reverse`` before it.

    Raises:
        InvalidQuery: if it is none.
    """
    if cursor is None:
        return "TRUE", []
    try:
        moment, id = json.loads(urlsafe_b64decode(cursor.encode()))
        place = [int(moment), str(UUID(id))]
        if not -(2**63) <= place[0] < 2**63:  # type: ignore[operator]
            raise ValueError
    except (NotBase64, ValueError, TypeError, AttributeError) as exc:
        raise InvalidQuery("after= is no cursor of a page", hint="give page.next of the page before") from exc
    return f'({table}."created_at", {table}."id") {"<" if reverse else ">"} (?, ?)', place
