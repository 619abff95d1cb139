"""The portable archive: the schema as JSON, each table as Parquet, and a manifest, in one sealed ZIP file.

The layout is in docs/archive-format.md. Into a database of the kind that wrote it, an archive is restored as
it was, with what hangs on its tables; into one of another kind as a copy would bring it there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import IO, Any

from holdfast.backup.container import MANIFEST, SCHEMA, Reader, Writer, read, rows_entry
from holdfast.backup.content import content_of, translated
from holdfast.backup.files import reading
from holdfast.backup.manifest import Manifest, name_of, now
from holdfast.backup.sealed import is_sealed, recipients_of, seal, unseal
from holdfast.core.executor import Executor
from holdfast.core.progress import Advance
from holdfast.core.transaction import Transaction
from holdfast.engines.arrow import pyarrow, untagged
from holdfast.engines.base import Column, TableInfo
from holdfast.engines.copying import Content, Fill, Misfit, Seen
from holdfast.engines.dialects import SQLITE, Dialect
from holdfast.errors import BackupCorrupt, BackupError, NotSupported
from holdfast.transfer.copy import carry, prove
from holdfast.transfer.plan import make_plan
from holdfast.transfer.reading import Batches
from holdfast.transfer.schema import Schema, as_json, of_json, read_schema

ARCHIVE = 1
# A row group that claims more is refused before it is unpacked.
MOST_GROUP_BYTES = 4 << 30
_PIECE_ROWS, _PIECE_BYTES = 2_000, 256 << 10
_Statement = str | list[str]


def write(
    executor: Executor,
    table: str | None,
    path: Path,
    advance: Advance | None,
    recipients: Sequence[str] | None = None,
) -> None:
    """Write the database or one table, as it is at one moment, into the file ``path``."""
    _parquet()
    keys = None if recipients is None else recipients_of(recipients)
    with ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(path.open("w+b"))
        if keys is None:
            write_to(executor, table, file, path.parent, advance)
            return
        plain: Any = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
        write_to(executor, table, plain, path.parent, advance)
        seal(plain, file, keys)


def write_to(
    executor: Executor, table: str | None, file: IO[bytes], folder: Path, advance: Advance | None
) -> None:
    """Write it into an open file; what is not yet in it is in files in ``folder`` that have no name."""
    engine, created = executor.engine, now()
    with (
        Writer(file) as out,
        Transaction(executor, isolation="REPEATABLE READ", read_only=True),
        translated(executor),
    ):
        executor.forget()
        raw = executor.driver_connection()
        names = engine.dump.tables(raw, table)
        outline = engine.archive.outline(raw, table)
        others = [] if table else [one for one in engine.catalog.tables(executor.run) if one not in names]
        schema = read_schema(executor, None if table is None else names, others)
        schema = replace(schema, others=[*schema.others, *(("virtual table", one, None) for one in others)])
        statements = [one if isinstance(one, str) else list(one) for one in outline.statements]
        out.add_json(SCHEMA, {**as_json(schema), "statements": statements, "left": list(outline.left)})
        contents = {}
        for number, name in enumerate(names, 1):
            with tempfile.TemporaryFile(dir=folder) as rows:
                contents[name] = _write_rows(executor, name, rows, advance)
                out.add(rows_entry(number), rows)
        known = {**outline.known, "archive": ARCHIVE, "entries": out.entries}
        manifest = Manifest(engine.name, name_of(executor.target), created, contents, known)
        out.add_json(MANIFEST, manifest.as_json())


def _write_rows(executor: Executor, table: str, file: IO[bytes], advance: Advance | None) -> Content:
    """Write the rows, and say what they are: as they were read, before they were made into anything else."""
    seen, told = Seen(), 0

    def tell(rows: int) -> None:
        """Rows that are read a second time are not told again."""
        nonlocal told
        if advance is not None and rows > told:
            advance(rows - told)
            told = rows

    while not _try_rows(executor, table, file, seen, tell):
        file.seek(0)
        file.truncate()
    return seen.content or content_of(executor, table)


def _try_rows(
    executor: Executor, table: str, file: IO[bytes], seen: Seen, tell: Callable[[int], None]
) -> bool:
    """Write the rows, unless the Arrow type of a column turns out to be another one."""
    written = 0
    with ExitStack() as stack:
        writer = None
        try:
            for part in executor.engine.archive.read(executor.driver_connection(), table, seen):
                if writer is None:
                    writer = stack.enter_context(_writer(file, part.schema))
                writer.write_table(part)
                written += part.num_rows
                tell(written)
        except Misfit:
            return False
    return True


def _writer(file: IO[bytes], schema: Any) -> Any:
    return _parquet().ParquetWriter(
        file,
        schema,
        compression="zstd",
        compression_level=1,
        write_statistics=False,
        # Long values seldom recur.
        use_dictionary=[field.name for field in schema if str(field.type) == "string"],
    )


def _parquet() -> Any:
    pyarrow()
    from pyarrow import parquet

    return parquet


# Reading


@dataclass
class Portable:
    """An open archive whose bytes are those that were written."""

    path: Path
    manifest: Manifest
    schema: Schema
    statements: list[_Statement]
    left: list[str]
    reader: Reader
    left_behind: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(content.rows for content in self.manifest.tables.values())

    def load(
        self, executor: Executor, table: str | None, advance: Advance | None
    ) -> Mapping[str, Content] | None:
        if self.manifest.engine != executor.engine.name:
            self._carry(executor, table, advance)
            return {}
        self.left_behind = [f"{item}: it is in no archive" for item in self.left]
        script = (
            one if isinstance(one, str) else Fill(one[0], partial(self._fill, executor, one[0], advance))
            for one in self.statements
        )
        executor.engine.dump.load(executor.driver_connection(), script, self.manifest.as_json(), table)
        return self.manifest.tables

    def _fill(self, executor: Executor, table: str, advance: Advance | None) -> None:
        executor.engine.archive.write(executor.driver_connection(), table, self._parts(table, advance))

    def _parts(self, table: str, advance: Advance | None) -> Iterator[Any]:
        """The rows of a table as Arrow tables, a row group at a time."""
        pa = pyarrow()
        place = list(self.manifest.tables).index(table) + 1
        try:
            with _parquet().ParquetFile(self.reader.open(rows_entry(place))) as file:
                for number in range(file.num_row_groups):
                    if file.metadata.row_group(number).total_byte_size > MOST_GROUP_BYTES:
                        raise BackupCorrupt(f"{self.path} claims to hold more than fits in memory")
                    part = file.read_row_group(number, use_threads=False)
                    yield part
                    if advance is not None:
                        advance(part.num_rows)
        except (pa.ArrowException, OSError) as exc:
            raise BackupCorrupt(f"{self.path} holds no rows that can be read of {table!r}") from exc

    def _carry(self, executor: Executor, table: str | None, advance: Advance | None) -> None:
        """Bring the tables into a database of another kind, as a copy does, and prove them there."""
        schema = self.schema
        if table is not None:
            others = [other for other in schema.others if other[2] == table]
            schema = Schema(schema.engine, {table: schema.tables[table]}, [], others)
        executor.forget()
        plan = make_plan(schema, executor)
        if plan.refused:
            listing = "; ".join(map(str, plan.refused[:5]))
            raise NotSupported(
                f"not everything in {self.path} can be carried: {listing}",
                hint="nothing was changed; restore the other tables one by one with restore_table",
            )
        self.left_behind = [str(item) for item in plan.left_behind]

        def bring() -> None:
            contents = carry(executor, plan, lambda info: (None, self._batches(info, advance)))
            for item in plan.tables:
                prove(executor, item.info, contents[item.info.name])

        raw = executor.driver_connection()
        known = {**executor.engine.archive.replacing(raw), "tables": list(schema.tables)}
        executor.engine.dump.load(raw, [Fill(None, bring)], known, table)

    def _batches(self, info: TableInfo, advance: Advance | None) -> Batches:
        for part in (piece for whole in self._parts(info.name, advance) for piece in _pieces(whole)):
            columns = []
            for column in info.columns:
                values = part.column(column.name).to_pylist()
                if b"tagged" in (part.schema.field(column.name).metadata or {}):
                    values = list(map(untagged, values))
                decode = _decoder(self.schema.dialect, column)
                columns.append(values if decode is None else list(map(decode, values)))
            yield columns, part.num_rows


def _pieces(part: Any) -> Iterator[Any]:
    """Few rows at a time: those that are being written are held until it is known that they were."""
    size = max(1, min(_PIECE_ROWS, part.num_rows * _PIECE_BYTES // max(1, part.nbytes)))
    for start in range(0, part.num_rows, size):
        yield part.slice(start, size)


def _decoder(dialect: Dialect, column: Column) -> Callable[[Any], Any] | None:
    """The value that an archived one stands for; PostgreSQL's texts are the ISO texts that SQLite keeps."""
    if dialect.archives_decimals and column.codec.kind.name == "decimal":
        return lambda value: None if value is None else Decimal(value)
    # Arrays cross in their stored form.
    return None if column.codec.kind.name == "bytes" else SQLITE.types.codec(column.type).decode


@contextmanager
def opened(path: Path, *, unverified: bool, identity: Path | None = None) -> Iterator[Portable]:
    """Open an archive after checking every byte of it; ``identity`` is the file with the secret key.

    Raises:
        BackupCorrupt: if it is cut short, changed or no archive.
        BackupError: if there is none, or a newer version wrote it.
    """
    _parquet()
    with reading(path) as file:
        if not is_sealed(file):
            yield _checked(path, read(path, file))
            return
        with tempfile.TemporaryFile() as plain:
            unseal(path, file, plain, identity)
            yield _checked(path, read(path, plain))


def _checked(path: Path, reader: Reader) -> Portable:
    manifest = Manifest.of_json(path, reader.json(MANIFEST))
    try:
        if manifest.known["archive"] > ARCHIVE:
            raise BackupError(
                f"{path} was written by a newer Holdfast", hint="pip install --upgrade holdfast"
            )
        entries = {name: size for name, (size, _) in manifest.known["entries"].items()}
        if entries != {name: size for name, (_, size) in reader.places.items() if name != MANIFEST}:
            raise ValueError
        if len(entries) != len(manifest.tables) + 1:
            raise ValueError
        given = reader.json(SCHEMA)
        schema = of_json(given)
        statements = [one if isinstance(one, str) else [str(one[0])] for one in given["statements"]]
        left = [f"{kind} {name}" for kind, name in given["left"]]
        if schema.engine != manifest.engine or any(name not in schema.tables for name in manifest.tables):
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as exc:
        raise BackupCorrupt(f"{path} does not hold what an archive holds", hint="use another backup") from exc
    return Portable(path, manifest, schema, statements, left, reader)
