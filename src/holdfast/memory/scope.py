"""Whose memories a statement may touch: the one place that adds the tenant to SQL."""

from __future__ import annotations

import time
from dataclasses import dataclass

from holdfast.engines.base import Fragment
from holdfast.errors import ValueRefused
from holdfast.memory.records import Record, as_name
from holdfast.memory.rows import changed


@dataclass(frozen=True, slots=True)
class Scope:
    """A user, and where it is given one agent of theirs."""

    user_id: str
    agent_id: str | None

    def condition(self, table: str) -> Fragment:
        """The rows of ``table``, which is quoted, that belong here."""
        if self.agent_id is None:
            return f'{table}."user_id" = ?', [self.user_id]
        return f'{table}."user_id" = ? AND {table}."agent_id" = ?', [self.user_id, self.agent_id]

    def check(self, table: str) -> Fragment:
        """The same as :meth:`present` for rows that are found by their numbers.

        SQLite would rather go through all that the user has, by the index that begins with the user.
        """
        sql, given = f"({table}.\"user_id\" || '') = ?", [self.user_id]
        if self.agent_id is not None:
            sql, given = f'{sql} AND {table}."agent_id" = ?', [*given, self.agent_id]
        alive, moment = unexpired(table)
        return f"{sql} AND {alive}", [*given, *moment]

    def present(self, table: str) -> Fragment:
        """Of the memories in ``table`` those that belong here and have not expired."""
        sql, given = self.condition(table)
        alive, moment = unexpired(table)
        return f"{sql} AND {alive}", [*given, *moment]

    def own(self, record: Record) -> Record:
        """The record with its owner filled in.

        Raises:
            ValueRefused: if it is said to be somebody else's.
        """
        values: dict[str, str] = {}
        for name in ("user_id", "agent_id"):
            here, given = getattr(self, name), getattr(record, name, None)
            if given is not None and here is not None and given != here:
                raise ValueRefused(
                    f"the record has another {name} than this memory", hint=f"leave its {name} out"
                )
            if given is None and here is not None and hasattr(record, name):
                values[name] = here
        return changed(record, **values) if values else record


def now() -> int:
    """The time as it is stored."""
    return time.time_ns() // 1000


def unexpired(table: str) -> Fragment:
    """The rows of ``table`` whose time has not come."""
    return f'({table}."expires_at" IS NULL OR {table}."expires_at" > ?)', [now()]


def scope_of(user_id: object, agent_id: object) -> Scope:
    """A scope from what a caller gave.

    Raises:
        InvalidIdentifier: if a name is no text, or empty.
    """
    return Scope(as_name(user_id, "user_id"), None if agent_id is None else as_name(agent_id, "agent_id"))
