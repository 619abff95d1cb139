"""Noticing that another process changed a table whose description is at hand here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.engines.base import TableInfo
from holdfast.errors import ColumnNotFound, TableNotFound, ValueRefused, did_you_mean

if TYPE_CHECKING:
    from holdfast.core.executor import Executor

Verb = TypeVar("Verb", bound=Callable[..., Any])


def reread_once(verb: Verb) -> Verb:
    """Let a verb on a table try again where it was refused by a description that is no longer true.

    A refusal comes before anything is written.
    """

    @wraps(verb)
    def call(executor: Executor, table: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return verb(executor, table, *args, **kwargs)
        except (ColumnNotFound, ValueRefused):
            is_spent = bool(args) and hasattr(args[0], "__next__")
            if is_spent or not executor.reread(table):
                raise
        return verb(executor, table, *args, **kwargs)

    return call  # type: ignore[return-value]


def suggest(error: TableNotFound | ColumnNotFound, tables: Mapping[str, TableInfo], native: str) -> None:
    """Add the nearest name that is known, without asking the database for more."""
    if error.missing is None or error.hint:
        return
    if isinstance(error, TableNotFound):
        error.hint = did_you_mean(error.missing, tables, "tables") if tables else None
        return
    mentioned = [info for name, info in tables.items() if name in native]
    columns = dict.fromkeys(name for info in mentioned for name in info.names)
    if columns:
        error.hint = did_you_mean(error.missing, columns, "columns")
