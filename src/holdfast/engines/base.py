"""What an engine is: data about a kind of database, and the small parts that know its ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from sys import getsizeof
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from holdfast.engines.names import check_identifier, quote_identifier
from holdfast.engines.sqltext import Lexicon
from holdfast.errors import ColumnNotFound, Error, did_you_mean
from holdfast.types import Codec, Kind, TypeMap

if TYPE_CHECKING:
    import numpy as np
    import sqlalchemy
    from alembic.ddl.impl import DefaultImpl
    from numpy.typing import NDArray

    from holdfast.engines.changes import Changes
    from holdfast.engines.checks import Checks
    from holdfast.engines.copying import Archive, Copies, Dump
    from holdfast.engines.nearest import VectorIndexing
    from holdfast.engines.plans import Plans
    from holdfast.engines.pool import Pool
    from holdfast.engines.searching import FullText
    from holdfast.engines.target import Target as DdlTarget
    from holdfast.engines.writing import Bulk, Load, Packer
    from holdfast.settings import Target


class Cursor(Protocol):
    """What a driver hands back after a statement: the part of PEP 249 that both drivers share."""

    @property
    def rowcount(self) -> int: ...
    @property
    def description(self) -> Sequence[Any] | None: ...
    def fetchone(self) -> Any: ...
    def fetchmany(self, size: int = ..., /) -> list[Any]: ...
    def fetchall(self) -> list[Any]: ...
    def close(self) -> None: ...


Run = Callable[..., Cursor]
"""``run(sql, params=())``: one statement in neutral text on one connection."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the catalogue describes it, with the codec that carries its values."""

    name: str
    type: str
    nullable: bool
    default: str | None
    primary_key: bool
    codec: Codec
    generated: bool = False
    identity: bool = False
    collation: str | None = None
    sequence: str | None = None
    "What counts its generated values, in SQL, where values given by hand do not move it by themselves."


@dataclass(frozen=True, slots=True)
class TableInfo:
    """A table or a view: its columns in order and its primary key."""

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    is_view: bool = False
    rowid_key: str | None = None
    """The column that SQLite fills with the row's number, known from the cursor without RETURNING."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        check_identifier(name, "column name")
        raise ColumnNotFound(
            f"table {self.name!r} has no column {name!r}",
            hint=did_you_mean(name, self.names, "columns"),
        )


@dataclass(frozen=True, slots=True)
class Features:
    """How this kind of database differs, as data: the reasons stand in docs/differences.md."""

    max_parameters: int
    max_columns: int
    "How many columns a table may have."
    numbered_parameters: bool
    "``$1`` on the wire rather than ``?``."
    null_order: bool
    "NULLs sort as PostgreSQL has them without being told."
    binary_collation: str | None
    "The collation to name in ORDER BY so that text sorts by code point; None where it is the default."
    retries_busy: bool
    "A single statement refused by a lock did nothing and may be sent again."
    index_methods: frozenset[str]
    builds_online: str
    "The word that has CREATE INDEX keep nobody from writing meanwhile, where there is one."
    includes_columns: bool
    "An index may hold columns that it is not read by (INCLUDE)."
    no_limit: str
    "What LIMIT says to mean all rows."
    like_by_case: str | None
    "The operator for LIKE with case; None where it must be spelt as GLOB."
    isolation_levels: frozenset[str]
    default_timeout: float
    "Seconds to wait for a lock."
    row_locks: str
    "What a SELECT ends with so that nobody else changes its rows until the transaction ends."
    writes_in_with: bool
    "One statement may write into several tables, all but one of them in its WITH."


@dataclass(frozen=True, slots=True)
class Opened:
    """A pool of connections, the URL for SQLAlchemy, and what is to be let go when it is closed."""

    pool: Pool
    url: Callable[[], sqlalchemy.URL] = field(repr=False)
    "It holds the password."
    release: Callable[[], None]


class Connect(Protocol):
    """Opening connections, and what a connection needs while a thread holds it."""

    @property
    def driver_error(self) -> tuple[type[Exception], ...]: ...
    def create(self, target: Target, options: Mapping[str, Any]) -> Opened: ...
    def hold(self, raw: Any) -> tuple[Callable[..., Cursor], Callable[..., Cursor], Callable[..., Cursor]]:
        """What runs a statement, runs it for many rows, and runs it with results in binary form."""
        ...

    def end(self, cursor: Cursor) -> None:
        """Let a cursor that failed while it was read lock nothing."""
        ...

    def interrupt(self, raw: Any) -> None:
        """Have what a connection is doing in another thread end with an error."""
        ...

    def let_go(self, raw: Any) -> None: ...
    def is_alive(self, raw: Any) -> bool: ...
    def is_unsent(self, exc: BaseException | None) -> bool:
        """Whether a connection was found lost before the statement was sent."""
        ...

    def is_stale(self, exc: BaseException) -> bool: ...
    def refresh(self, raw: Any) -> None: ...
    def stream(
        self,
        raw: Any,
        sql: str,
        params: Sequence[Any],
        size: int,
        *,
        binary: bool,
        shared: bool,
        lasts: Callable[[], bool],
    ) -> Iterator[list[Any]]:
        """Batches of rows, which end where ``lasts()`` no longer says that its transaction is open."""
        ...

    def begin(self, run: Run, *, isolation: str | None, read_only: bool) -> None: ...
    def ended(self, run: Run, *, read_only: bool) -> None: ...
    def wait_for_rows(self, run: Run) -> None:
        """The open transaction may now be idle for long: its rows come from somewhere slow."""
        ...

    def limited(self, raw: Any, seconds: float) -> AbstractContextManager[None]:
        """Let statements that only read end after so many seconds, in the open transaction."""
        ...

    def ticket(self, raw: Any) -> Any:
        """What the open transaction can be found by if its COMMIT is not answered; ``None`` for nothing."""
        ...

    def fate(self, raw: Any, of: Any) -> bool | None:
        """Whether the transaction of that ticket took effect, asked on another connection."""
        ...


_FIRST_ROWS = 16
_BATCH_BYTES = 1 << 20
_SAMPLE = 8


def paced(fetch: Callable[[int], list[Any]], most: int) -> Iterator[list[Any]]:
    """Batches that ``fetch`` gives of so many rows: few at first, then what some megabytes hold.

    What a row weighs is known from some of the batch before, so that memory stays flat with wide rows, too.
    """
    size = min(most, _FIRST_ROWS)
    while batch := fetch(size):
        sample = batch[:: -(-len(batch) // _SAMPLE)]
        weight = sum(sum(map(getsizeof, row)) for row in sample) // len(sample)
        size = max(1, min(most, size * 4, _BATCH_BYTES // max(1, weight)))
        yield batch
        # It must be gone before the next one comes.
        del batch


Fragment = tuple[str, list[Any]]
"""A piece of SQL with ``?`` marks, and their values."""


class Catalog(Protocol):
    """Reading what the database holds. ``run`` takes neutral text."""

    def describe(self, run: Run, table: str, types: TypeMap) -> TableInfo | None: ...
    def tables(self, run: Run) -> list[str]: ...
    def views(self, run: Run) -> list[str]: ...
    def elsewhere(self, run: Run) -> list[str]:
        """The names of schemas with tables that no other question tells of."""
        ...

    def unique_keys(self, run: Run, table: str) -> list[frozenset[str]]: ...
    def indexes(self, run: Run, table: str | None) -> list[dict[str, Any]]: ...
    def foreign_keys(self, run: Run, table: str) -> list[dict[str, Any]]: ...
    def create_sql(self, run: Run, table: str) -> str: ...
    def triggers(self, run: Run, table: str | None) -> list[dict[str, Any]]: ...
    def others(self, run: Run) -> list[tuple[str, str, str | None]]:
        """Triggers and whatever else no other question tells of: kind, name, the table it is part of."""
        ...

    def result_types(self, raw: Any, sql: str, cursor: Cursor) -> list[str] | None: ...
    def has_binary(self, types: Sequence[str]) -> bool:
        """Whether values of all these types may be asked for in binary form and are the same then."""
        ...


UNSET: Any = object()
"""Not given, where ``None`` means something."""


class Alter(Protocol):
    """Changing a table in place; each call is one step of an open transaction."""

    def around(self, run: Run) -> AbstractContextManager[None]: ...
    def hold(self, run: Run, table: str) -> None:
        """Keep everybody else off a table until the transaction ends."""
        ...

    def drop_table(self, run: Run, table: str) -> None: ...
    def rename_table(self, run: Run, table: str, new_name: str) -> None: ...
    def add_column(self, run: Run, table: str, definition: str) -> None: ...
    def drop_column(self, run: Run, table: str, column: str) -> None: ...
    def rename_column(self, run: Run, table: str, column: str, new_name: str) -> None: ...
    def alter_column(
        self,
        run: Run,
        table: str,
        column: str,
        *,
        type: str | None,
        nullable: bool | None,
        default: Any,
    ) -> None: ...
    def add_foreign_key(
        self,
        run: Run,
        table: str,
        columns: Sequence[str],
        references: str,
        keys: Sequence[str],
        *,
        on_delete: str | None,
        on_update: str | None,
    ) -> None: ...


class Upkeep(Protocol):
    """Maintenance and figures. ``run`` is outside any transaction."""

    @property
    def SAMPLES(self) -> bool:  # noqa: N802
        """Whether the planner keeps values of columns, also of rows that are gone."""
        ...

    def vacuum(self, run: Run) -> None: ...
    def analyze(self, run: Run) -> None: ...
    def optimize(self, run: Run) -> None: ...
    def scrub(self, run: Run, tables: Sequence[str], searched: Sequence[str]) -> str | None:
        """Write tables anew, and the searches of some, so that nothing of removed rows is left on the disk.

        It returns why that could not be done, if so.
        """
        ...

    def state(self, run: Run) -> Any:
        """What is another value as soon as anybody has committed a write; ``None`` where nothing tells.

        It holds for one connection only.
        """
        ...

    def size(self, run: Run) -> int: ...
    def version(self, run: Run) -> str: ...
    def rough_count(self, run: Run, table: str) -> int | None:
        """How many rows the planner believes a table to have; ``None`` where it was never told."""
        ...

    def estimate(self, run: Run, info: TableInfo) -> int | None:
        """About how many rows a table has, at once; ``None`` where nothing tells."""
        ...

    def table_sizes(self, run: Run) -> dict[str, int]:
        """Bytes of each table with its indexes; empty where nothing tells."""
        ...

    def sample(self, run: Run, info: TableInfo, rows: int, of: int) -> list[Fragment]:
        """What to select from for about ``rows`` rows from all over a table ``of`` so many, in parts.

        Where a table cannot be reached into, these are the first rows.
        """
        ...

    def row_locator(self, run: Run, info: TableInfo) -> list[str]:
        """Expressions that together single out one row of a table, with or without a primary key."""
        ...

    def comparable(self, raw: Any, column: Column, expression: str) -> str:
        """``expression``, a value of ``column``, in a form whose equal values GROUP BY puts together."""
        ...


def _nothing(start: int, stop: int) -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class Blob:
    """A binary value that is read in parts: its length, ``None`` for NULL, and how.

    ``piece`` is the most that one ``read(start, stop)`` should ask for, where that matters.
    """

    length: int | None
    read: Callable[[int, int], bytes | memoryview] = _nothing
    piece: int | None = None


class Changed(Exception):
    """A value was replaced while it was read in parts."""


class Columnar(Protocol):
    """Whole columns as Arrow arrays, past Python's values, where that is exact."""

    def reads(self, raw: Any, kinds: Sequence[Kind | None]) -> bool: ...
    def read(self, raw: Any, sql: str, kinds: Sequence[Kind], *, shared: bool) -> Iterator[list[Any]]:
        """The columns of a query without parameters, in parts of some megabytes.

        Decimals, JSON and UUIDs come as text. A ``shared`` connection is in the caller's transaction.
        """
        ...


class Blobs(Protocol):
    """Large binary values."""

    def opened(
        self, raw: Any, info: TableInfo, column: str, condition: str, values: Sequence[Any], at_once: int
    ) -> AbstractContextManager[Blob | None]:
        """The value of one row; one of up to ``at_once`` bytes is wanted whole."""
        ...

    def enlarge_pages(self, raw: Any) -> None:
        """Ready a database for large values while it is still empty, where that can be done."""
        ...

    def keep_as_it_is(self, run: Run, table: str, column: str) -> None:
        """Store what goes into a new column as it is: it is compressed already, or not worth it."""
        ...

    def room(self, raw: Any, info: TableInfo, length: int) -> str | None:
        """SQL for so many empty bytes, its mark the length, where filling them is better than a parameter."""
        ...

    def fill(
        self,
        raw: Any,
        statement: tuple[str, Sequence[Any]],
        info: TableInfo,
        column: str,
        condition: tuple[str, Sequence[Any]],
        parts: Sequence[Any],
    ) -> None:
        """Run ``statement``, which makes room in one row, and write ``parts`` there; inside a transaction."""
        ...


Scalar = str | int | float | bool


class Documents(Protocol):
    """Conditions on a key of a JSON column. A value of another kind does not match; nothing is an error.

    ``column`` is SQL; the condition may be NULL.
    """

    def among(self, column: str, key: str, values: Sequence[Scalar]) -> Fragment: ...
    def ordered(self, column: str, key: str, operator: str, value: Scalar) -> Fragment: ...
    def like(self, column: str, key: str, operator: str, pattern: str) -> Fragment: ...
    def has(self, column: str, key: str) -> Fragment: ...
    def has_value(self, column: str, key: str) -> Fragment: ...

    @property
    def NARROWS(self) -> bool:  # noqa: N802
        """Whether conditions find the indexes of :meth:`index` only by what :meth:`narrowed` adds."""
        ...

    def narrowed(self, column: str, key: str, operator: str, values: Sequence[Scalar]) -> Fragment:
        """What holds wherever the key's value is so to one of ``values``, in a form that an index knows."""
        ...

    def index(self, run: Run, table: str, names: tuple[str, str], key: str, *, beside: bool) -> None:
        """Build the indexes of a key anew over ``user_id`` and the value that ``metadata`` has under it.

        ``names`` are theirs, of which not all need be used; ``beside`` the writers, who then do not wait,
        but not in a transaction.
        """
        ...


class OwnedVector(NamedTuple):
    """A vector as it is stored: with the number and the id of its memory, and whose that is."""

    n: int
    user_id: str
    agent_id: str | None
    id: str
    model: str
    vector: NDArray[np.float32]


class Vectors(Protocol):
    """Vectors of float32, in a column of the ``kind`` that :meth:`kind` said when its table was made."""

    @property
    def PLAIN(self) -> str:  # noqa: N802
        """The kind that every server has, be it without distances."""
        ...

    def kind(self, run: Run) -> str:
        """The best kind there is; may raise where it needs a right that we do not have."""
        ...

    def check(self, kind: str, column: str, dimension: str) -> str: ...
    def read(self, kind: str, column: str) -> str: ...
    def decode(self, kind: str, stored: bytes) -> NDArray[np.float32]: ...
    def decode_many(self, kind: str, stored: Sequence[bytes]) -> NDArray[np.float32]:
        """Vectors of one dimension as the rows of an array."""
        ...

    def distance(self, kind: str, column: str) -> str | None:
        """SQL for the cosine distance to a mark; ``None`` where the database has none."""
        ...

    def asked(self, vector: NDArray[np.float32]) -> str:
        """The vector as that mark takes it."""
        ...

    def mark(self, kind: str) -> str:
        """What stands in SQL for a vector that is written."""
        ...

    def bound(self, kind: str, vector: NDArray[np.float32]) -> Any:
        """The vector as that takes it."""
        ...

    def put(self, raw: Any, table: str, kind: str, rows: Iterable[OwnedVector]) -> None:
        """Write vectors into a table with the columns of :class:`OwnedVector` and their length."""
        ...

    def state(self, raw: Any) -> Any:
        """What tells whether anything was written since; ``None`` where nothing is to be kept outside.

        It holds for one connection only.
        """
        ...

    def renumbered(self, table: str) -> Sequence[str]:
        """Statements that have a vector get another number ``v`` when it is changed where it lies.

        What is kept outside is kept by the numbers of vectors that are never changed.
        """
        ...


class Migrating(Protocol):
    """What migrations do in a way of this engine's own. Alembic is imported when it is first used."""

    @property
    def DIALECT(self) -> str:  # noqa: N802
        """What SQLAlchemy calls the engine."""
        ...

    @property
    def SCRATCH(self) -> str | None:  # noqa: N802
        """The URL of a database in which migrations run to be noted; ``None`` if Alembic writes their SQL."""
        ...

    def operations(self) -> type[DefaultImpl] | None:
        """What alters tables in the place of Alembic's own, if something does."""
        ...

    def hold(self, run: Run, turn: float, locks: float) -> None:
        """Wait up to ``turn`` seconds for other migrations; then statements wait ``locks`` for locks.

        Both end with the transaction, which is open.
        """
        ...

    def recording(self, raw: Any) -> AbstractContextManager[list[str]]:
        """Note what is done to a scratch database: statements that do the same to another one."""
        ...

    def lacks_vectors(self, run: Run) -> str | None:
        """What is missing for comparing vectors, in words; ``None`` if nothing is."""
        ...

    def dangers(self, statements: Sequence[str]) -> list[str]:
        """What in the statements of a migration locks, rewrites or loses what is there, in words."""
        ...


Translate = Callable[[BaseException], Error]


@dataclass(frozen=True, slots=True)
class Engine:
    """One kind of database: its features and its parts."""

    name: str
    features: Features
    lexicon: Lexicon
    ddl: DdlTarget
    types: TypeMap
    connect: Connect
    catalog: Catalog
    alter: Alter
    upkeep: Upkeep
    plans: Plans
    checks: Checks
    changes: Changes
    dump: Dump
    copies: Copies
    archive: Archive
    fulltext: FullText
    bulk: Bulk
    blobs: Blobs
    documents: Documents
    vectors: Vectors
    migrating: Migrating
    translate: Translate
    insert_returning: Callable[[TableInfo, Sequence[str]], list[str]]
    "The expressions of RETURNING that an INSERT of these columns needs besides its key."
    columnar: Columnar | None = None
    "``None`` where Arrow data is made of Python's values."
    vector_index: VectorIndexing | None = None
    "``None`` where vectors are always all compared."
    packer: Callable[[Load, int], Packer] | None = None
    "For plain inserts, where a writer there is for those; the number is its ``least``."

    def quote(self, name: str) -> str:
        """``name`` as an identifier in this engine's SQL."""
        return quote_identifier(name)
