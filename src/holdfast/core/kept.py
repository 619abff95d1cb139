"""Results that outlive the connection they came from."""

from __future__ import annotations

from typing import Any

from holdfast.engines.base import Cursor


class Kept:
    """A cursor that has read all its rows: it needs its connection, which may be closed, no more."""

    def __init__(self, cursor: Cursor) -> None:
        self.description = cursor.description
        self._rows: list[Any] = [] if self.description is None else cursor.fetchall()
        self.rowcount = cursor.rowcount
        self.lastrowid = getattr(cursor, "lastrowid", None)

    def fetchone(self) -> Any:
        return self._rows.pop(0) if self._rows else None

    def fetchmany(self, size: int = 1, /) -> list[Any]:
        taken, self._rows = self._rows[:size], self._rows[size:]
        return taken

    def fetchall(self) -> list[Any]:
        taken, self._rows = self._rows, []
        return taken

    def close(self) -> None:
        """There is nothing to close."""
