"""Tables of a PostgreSQL schema as Arrow data, through COPY in CSV; numbers, truth and bytes by their type.

Everything else is the text that the server writes of it, under settings that do not depend on the session.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from typing import Any

from psycopg import RawCursor

from holdfast.engines.arrow import pyarrow, pyarrow_csv
from holdfast.engines.copying import Outline, Seen
from holdfast.engines.names import quote_identifier as quote
from holdfast.engines.postgres import dump
from holdfast.engines.postgres.outline import left_of, statements
from holdfast.errors import BackupError
from holdfast.types import classify

PART_BYTES = 1 << 20
_BY_KIND = {"integer": "int64", "float": "float64", "boolean": "bool", "bytes": "binary"}


def outline(raw: Any, only: str | None) -> Outline:
    """The statements that pg_dump would write, from the catalogue."""
    known = dump.surroundings(raw)
    chosen = dump.tables(raw, only)
    said = statements(raw, known, chosen, only)
    return Outline(said, known if only is None else {**known, "views": []}, left_of(raw, only))


def replacing(raw: Any) -> Mapping[str, Any]:
    return {**dump.surroundings(raw), "views": []}


def _columns(raw: Any, table: str) -> list[tuple[str, str, bool]]:
    """Name, Arrow type and whether it is generated, of each column."""
    rows = dump.rows(
        raw,
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attgenerated <> '' "
        "FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid "
        "WHERE c.relname = $1 AND c.relnamespace = $2::regnamespace AND a.attnum > 0 AND NOT a.attisdropped "
        "ORDER BY a.attnum",
        (table, quote(dump.schema_of(raw))),
    )
    return [(name, _BY_KIND.get(classify(kind).name, "string"), generated) for name, kind, generated in rows]


def read(raw: Any, table: str, seen: Seen) -> Iterator[Any]:
    """The rows as COPY writes them."""
    pa, text = pyarrow(), pyarrow_csv()

    dump.set_forms(raw)
    columns = _columns(raw, table)
    schema = pa.schema(
        [
            pa.field(name, kind, metadata={"generated": "1"} if generated else None)
            for name, kind, generated in columns
        ]
    )
    if not columns:
        raise BackupError(f"the table {table!r} has no columns", hint="drop it, or back up as .dump or .sql")
    given = {name: "string" if kind == "binary" else kind for name, kind, _ in columns}
    options = text.ConvertOptions(
        column_types={
            name: getattr(pa, kind.removesuffix("bool") or "bool_")() for name, kind in given.items()
        },
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    )
    for block in _blocks(
        raw, table, [name for name, *_ in columns], [n for n, k in given.items() if k == "string"]
    ):
        if not block:
            yield schema.empty_table()
            return
        # A row may not be longer than a block.
        reading = text.ReadOptions(use_threads=False, column_names=list(given), block_size=len(block) + 1)
        parsing = text.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
        part = text.read_csv(BytesIO(block), reading, parsing, options)
        arrays = [
            _from_hex(part.column(place)) if kind == "binary" else part.column(place)
            for place, (_, kind, _) in enumerate(columns)
        ]
        yield pa.table(arrays, schema=schema)


def _blocks(raw: Any, table: str, names: list[str], texts: list[str]) -> Iterator[bytes]:
    quoted = ", ".join(map(quote, texts))
    forced = f", FORCE_QUOTE ({quoted})" if texts else ""
    source = f"SELECT {', '.join(map(quote, names))} FROM {dump.place_of(raw, table)}"
    waiting: list[Any] = []
    size = 0
    with RawCursor(raw).copy(
        f"COPY ({source}) TO STDOUT (FORMAT csv, ENCODING 'UTF8'{forced})".encode()
    ) as copy:
        for row in copy:
            waiting.append(bytes(row))
            size += len(row)
            if size > PART_BYTES:
                yield b"".join(waiting)
                waiting, size = [], 0
    yield b"".join(waiting)


def _from_hex(column: Any) -> Any:
    pa = pyarrow()

    return pa.array(
        [None if value is None else bytes.fromhex(value[2:]) for value in column.to_pylist()], pa.binary()
    )


def write(raw: Any, table: str, parts: Iterable[Any]) -> None:
    """Give the server the texts that it wrote."""
    pa, text = pyarrow(), pyarrow_csv()

    dump.set_forms(raw)
    options = text.WriteOptions(include_header=False, quoting_style="all_valid")
    names = [name for name, _, generated in _columns(raw, table) if not generated]
    if not names:
        raise BackupError(f"the table {table!r} has no columns to be written")
    target = f"{dump.place_of(raw, table).removeprefix('ONLY ')} ({', '.join(map(quote, names))})"
    with RawCursor(raw).copy(f"COPY {target} FROM STDIN (FORMAT csv, ENCODING 'UTF8')".encode()) as copy:
        for part in parts:
            columns = [part.column(name) for name in names]
            hexed = [_as_hex(column) if pa.types.is_binary(column.type) else column for column in columns]
            data = BytesIO()
            text.write_csv(pa.table(hexed, names=names), data, options)
            copy.write(data.getbuffer())


def _as_hex(column: Any) -> Any:
    pa = pyarrow()

    return pa.array(
        [None if value is None else f"\\x{value.hex()}" for value in column.to_pylist()], pa.string()
    )
