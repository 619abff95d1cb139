"""The rows of a table as columns of values, some thousand at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from holdfast.core.executor import Executor
from holdfast.core.rows import reading_of
from holdfast.core.where import qualified
from holdfast.engines.base import Column, TableInfo
from holdfast.engines.names import quote_identifier as quote
from holdfast.types.json import decoded

_BATCH, _BATCH_BYTES = 2_000, 2 << 20
Values = Sequence[Any]
Batches = Iterator[tuple[list[Values], int]]


def read_batches(
    executor: Executor, info: TableInfo, names: Sequence[str] | None = None, *, where: str = "", size: int = 0
) -> Batches:
    """The rows of a table as columns, and how many they are; nothing is written meanwhile.

    Behind the columns asked for comes the text of those whose values Python may hold less exactly, such
    as an interval of months.
    """
    plan = reading_of(executor, executor.describe(info.name), names)
    asked = [
        _as_text(info, column) if _is_native_json(column) else qualified(info.name, column.name)
        for column in plan.columns
    ]
    asked += [_as_text(info, column) for column in inexact(plan.columns)]
    sql = f"SELECT {', '.join(asked)} FROM {quote(info.name)}{where}"
    decoders = [_decoder(column) for column in plan.columns]
    size = size or batch_size(executor, info)
    for batch in executor.stream(sql, batch_size=size, binary=plan.binary, undisturbed=True):
        columns: list[Values] = list(zip(*batch, strict=True))
        for place, decode in enumerate(decoders):
            if decode is not None:
                columns[place] = [None if value is None else decode(value) for value in columns[place]]
        yield columns, len(batch)


def _as_text(info: TableInfo, column: Column) -> str:
    return f"CAST({qualified(info.name, column.name)} AS TEXT)"


def _is_native_json(column: Column) -> bool:
    """Whether the driver would read JSON, which takes it twice as long as reading the text of it takes us."""
    return column.codec.kind.name == "json" and column.codec.decode is None


def _decoder(column: Column) -> Callable[[Any], Any] | None:
    if _is_native_json(column):
        return decoded
    return None if column.codec.kind.name == "bytes" else column.codec.decode


def batch_size(executor: Executor, info: TableInfo) -> int:
    """So many rows at a time that the longest values of a table do not fill the memory."""
    parts = []
    for column in info.columns:
        name = quote(column.name)
        if column.codec.kind.name in ("bytes", "text"):
            parts.append(f"coalesce(length({name}), 0)")
        elif column.codec.kind.name in ("json", "other"):
            parts.append(f"coalesce(length(CAST({name} AS TEXT)), 0)")
    if not parts:
        return _BATCH
    # SQLite takes no expression that is deeper than 1000.
    groups = [" + ".join(parts[start : start + 500]) for start in range(0, len(parts), 500)]
    sums = ", ".join(f"max({group})" for group in groups)
    found = executor.run(f"SELECT {sums} FROM {quote(info.name)}").fetchall()
    longest = sum(weight or 0 for weight in found[0])
    return max(1, min(_BATCH, _BATCH_BYTES // (longest + 1)))


def inexact(columns: Sequence[Column]) -> list[Column]:
    return [column for column in columns if column.codec.kind.name == "other"]
