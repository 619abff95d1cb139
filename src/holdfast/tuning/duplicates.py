"""Rows that are there more than once."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.core.executor import Executor
from holdfast.core.where import order_sql, orders, qualified
from holdfast.engines.base import Column, TableInfo
from holdfast.errors import InvalidQuery, TableNotFound


def delete_duplicates(
    executor: Executor,
    table: str,
    columns: Sequence[str] | str | None = None,
    keep: str = "first",
    dry_run: bool = False,
) -> int:
    """Remove rows that are alike in ``columns`` but one of each, in one statement; return how many.

    Two values are alike when the database calls them equal, and two NULLs are. ``columns`` defaults to
    all but the primary key. ``keep`` is ``"first"`` or ``"last"`` by primary key, or by the place of the
    row where there is no key. Foreign keys hold: a row that others refer to is refused, or takes those
    along if its key says ON DELETE CASCADE.

    Raises:
        InvalidQuery: if ``columns`` is empty or ``keep`` is something else.
        ColumnNotFound: if the table lacks one of ``columns``.
    """
    info = executor.describe(table)
    if info.is_view:
        raise TableNotFound(f"{table!r} is a view, not a table")
    if keep not in ("first", "last"):
        raise InvalidQuery(f"keep cannot be {keep!r}", hint="use 'first' or 'last'")
    compared = _compared(info, columns)
    locator = executor.engine.upkeep.row_locator(executor.run, info)
    condition = _surplus(executor, info, compared, locator, last=keep == "last")
    if dry_run:
        return int(executor.scalar(f"SELECT count(*) FROM {executor.engine.quote(table)} WHERE {condition}"))
    return executor.run(f"DELETE FROM {executor.engine.quote(table)} WHERE {condition}").rowcount


def _compared(info: TableInfo, columns: Sequence[str] | str | None) -> list[Column]:
    if columns is None:
        return [column for column in info.columns if not column.primary_key] or list(info.columns)
    names = [columns] if isinstance(columns, str) else list(columns)
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidQuery(
            "columns must be one or more names", hint="leave it out to compare all but the primary key"
        )
    return [info.column(name) for name in names]


def _surplus(
    executor: Executor, info: TableInfo, compared: list[Column], locator: list[str], *, last: bool
) -> str:
    """A condition for the rows to remove."""
    comparable = executor.engine.upkeep.comparable
    with executor.lent() as raw:
        groups = [comparable(raw, column, qualified(info.name, column.name)) for column in compared]
    if len(locator) == 1 and info.primary_key in ((), (info.rowid_key,)):
        # The place is the order, too: a third less to sort than by row_number().
        kept = f"SELECT {'max' if last else 'min'}({locator[0]}) FROM {executor.engine.quote(info.name)}"
        return f"{locator[0]} NOT IN ({kept} GROUP BY {', '.join(groups)})"
    order = orders(executor, info, list(info.primary_key))
    sequence = [order_sql(executor, info, [item.reversed() if last else item]) for item in order]
    sequence += [f"{place} DESC" if last else place for place in locator]
    places = ", ".join(f"{place} AS p{number}" for number, place in enumerate(locator))
    chosen = ", ".join(f"p{number}" for number in range(len(locator)))
    return (
        f"({', '.join(locator)}) IN (SELECT {chosen} FROM (SELECT {places}, "
        f"row_number() OVER (PARTITION BY {', '.join(groups)} ORDER BY {', '.join(sequence)}) AS n "
        f"FROM {executor.engine.quote(info.name)}) AS numbered WHERE n > 1)"
    )
