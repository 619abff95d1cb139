"""Parquet and Feather files, a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

from holdfast.core.executor import Executor
from holdfast.core.progress import track
from holdfast.errors import ImportFailed
from holdfast.io import arrow, arrowrows, entries, resuming
from holdfast.io.files import publishing_bytes
from holdfast.io.jsonl import spooled

# What is gathered for one row group: readers do best with large ones, and Arrow takes 20 times this memory.
_GROUP_ROWS = 100_000
_GROUP_BYTES = 1 << 20


def export(
    executor: Executor,
    table_or_sql: str,
    path: Path | BinaryIO,
    *args: Any,
    is_parquet: bool,
    progress: bool | None = None,
    **kwargs: Any,
) -> int:
    """Write the rows of a table or a query, packed with zstd, and return how many there were.

    Raises:
        NotSupported: if a column holds what its Arrow type cannot; the file that was there stays.
    """
    pa = arrow.pyarrow()
    schema, batches = arrow.record_batches(executor, table_or_sql, *args, **kwargs)
    written = 0
    with (
        track(f"export {table_or_sql[:40]}", show=progress) as advance,
        publishing_bytes(path) as file,
        _writer(pa, file, schema, is_parquet=is_parquet) as writer,
    ):
        for group in _groups(batches):
            # Feather packs each batch by itself, and small ones badly.
            writer.write_table(pa.Table.from_batches(group, schema).combine_chunks(), _GROUP_ROWS)
            rows = sum(batch.num_rows for batch in group)
            written += rows
            if advance:
                advance(rows)
    return written


def _groups(batches: Iterator[Any]) -> Iterator[list[Any]]:
    group: list[Any] = []
    rows = size = 0
    for batch in batches:
        group.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield group
            group, rows, size = [], 0, 0
    if group:
        yield group


def _writer(pa: Any, file: BinaryIO, schema: Any, *, is_parquet: bool) -> AbstractContextManager[Any]:
    if is_parquet:
        return _parquet().ParquetWriter(file, schema, compression="zstd")  # type: ignore[no-any-return]
    return pa.ipc.new_file(file, schema, options=pa.ipc.IpcWriteOptions(compression="zstd"))  # type: ignore[no-any-return]


def _parquet() -> Any:
    from pyarrow import parquet

    return parquet


def load(
    executor: Executor,
    table: str,
    path: Path | BinaryIO,
    if_exists: str = "append",
    *,
    is_parquet: bool,
    extra_columns: str = "error",
    progress: bool | None = None,
    resume: bool = False,
) -> int:
    """Load a Parquet or a Feather file, all rows or none, and return how many there were.

    Raises:
        ImportFailed: if the file is none, or has a column that no table could hold, such as a nested one.
    """
    pa = arrow.pyarrow()
    with spooled(path) as (file, name):
        _check(file, name)
        options = {"format": "parquet" if is_parquet else "feather"} if resume else None
        steps = resuming.steps(executor, table, path, if_exists, options)
        try:
            if is_parquet:
                source = _parquet().ParquetFile(file, buffer_size=1 << 16, pre_buffer=False)
                size = _rows_of_batch(source.metadata)
                found = arrowrows.Batches(
                    name, source.schema_arrow, lambda: source.iter_batches(size, use_threads=False)
                )
                with source:
                    return entries.load(
                        executor, table, found, if_exists, extra_columns, progress, steps=steps
                    )
            with pa.OSFile(str(file)) as opened:
                found = _feather(pa, opened, name)
                return entries.load(executor, table, found, if_exists, extra_columns, progress, steps=steps)
        except (pa.ArrowException, OSError) as exc:
            if isinstance(exc, OSError) and type(exc).__module__.startswith("holdfast"):
                raise
            kind = "Parquet" if is_parquet else "Feather"
            raise ImportFailed(f"{name} is damaged, cut short, or no {kind} file") from exc


def _rows_of_batch(metadata: Any) -> int:
    groups = range(metadata.num_row_groups)
    held = sum(metadata.row_group(place).total_byte_size for place in groups)
    return arrowrows.rows_within(arrow.BATCH_BYTES, metadata.num_rows, held)


def _feather(pa: Any, opened: Any, name: str) -> arrowrows.Batches:
    is_file = opened.read(6) == b"ARROW1"
    opened.seek(0)
    if not is_file:
        stream = pa.ipc.open_stream(opened)
        return arrowrows.Batches(name, stream.schema, lambda: stream)
    file = pa.ipc.open_file(opened)
    return arrowrows.Batches(
        name, file.schema, lambda: (file.get_batch(place) for place in range(file.num_record_batches))
    )


def _check(path: Path, name: str) -> None:
    """Say what is wrong with the file itself, in the words of the other formats."""
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise ImportFailed(f"{name} is empty", hint="an empty table is written with its columns")
    except OSError as exc:
        raise ImportFailed(f"{name} cannot be read: {exc.strerror}", hint="check the path") from exc
