"""Free SQL: execute, executemany, query, stream."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.core import rows as row_verbs
from holdfast.core.executor import Executor, each
from holdfast.core.shapes import Shape, shape
from holdfast.core.transaction import Transaction
from holdfast.engines.base import Cursor
from holdfast.engines.sqltext import bind, first_word
from holdfast.errors import Error, InvalidIdentifier, InvalidQuery, TableNotFound, TransactionError

if TYPE_CHECKING:
    import pandas as pd

Params = Sequence[Any] | Mapping[str, Any] | None

_CONTROLS = frozenset(
    {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "PREPARE"}
)
_KEEPS_SCHEMA = frozenset(
    {"SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE", "REPLACE", "EXPLAIN", "MERGE", "TABLE", "SHOW"}
)
# What SQLite makes of a second column of the same name in a subquery.
_RENAMED = re.compile(r":\d+$")
_QUERIES = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})


class Result:
    """What a statement gave: iterate it for its rows as dicts.

    ``columns`` are their names in order, ``rowcount`` the rows given or changed, ``tuples`` the bare values.

    >>> result = db.execute("SELECT 1 AS one, 2 AS two")
    >>> result.rows
    [{'one': 1, 'two': 2}]
    """

    __slots__ = ("_frame", "columns", "kinds", "rowcount", "tuples")

    def __init__(
        self,
        columns: list[str],
        kinds: list[str | None],
        tuples: list[tuple[Any, ...]],
        rowcount: int,
    ) -> None:
        self.columns = columns
        self.kinds = kinds
        self.tuples = tuples
        self.rowcount = rowcount
        self._frame: Callable[[Result], pd.DataFrame] | None = None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows as dicts.

        Raises:
            InvalidQuery: if two columns have the same name, so that one would be lost.
        """
        refuse_same_names(self.columns)
        return _bare(self.columns).rows(self.tuples)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.tuples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        refuse_same_names(self.columns)
        return _bare(self.columns).row(self.tuples[index])

    def scalar(self) -> Any:
        """The first value of the first row, or ``None`` without rows."""
        return self.tuples[0][0] if self.tuples else None

    def to_dataframe(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame, typed as by ``db.to_dataframe``; needs the extra ``frames``."""
        assert self._frame is not None
        return self._frame(self)

    def framed_by(self, frame: Callable[[Result], pd.DataFrame]) -> Result:
        """The same result, which ``frame`` makes a DataFrame of when it is asked for one."""
        self._frame = frame
        return self

    def _repr_html_(self) -> str:
        """The first rows as an HTML table, which Jupyter shows."""
        total = len(self.tuples)
        from holdfast.core import preview

        shown = self.tuples[: preview.MOST_ROWS]
        note = f"{total:,} rows" if len(shown) == total else f"the first {len(shown)} of {total:,} rows"
        return preview.table(self.columns, shown, note)

    def __repr__(self) -> str:
        return f"<Result of {len(self.tuples)} rows, {len(self.columns)} columns>"


def refuse_same_names(columns: Sequence[str]) -> None:
    if len(set(columns)) < len(columns):
        twice = sorted(name for name, times in Counter(columns).items() if times > 1)
        raise InvalidQuery(
            f"the result has two columns named {twice[0]!r}, and a dict holds one",
            hint=f"name them apart, as in SELECT a.{twice[0]}, b.{twice[0]} AS other",
        )


def bound(executor: Executor, sql: str, params: Params) -> tuple[str, list[Any]]:
    """The driver's text of a statement and its encoded values."""
    if not isinstance(sql, str):
        raise InvalidQuery(f"a statement must be text, not {type(sql).__name__}")
    numbered = executor.engine.features.numbered_parameters
    native, values = bind(sql, params, lexicon=executor.engine.lexicon, numbered=numbered)
    param = executor.engine.types.param
    return native, [param(value) for value in values]


def execute(executor: Executor, sql: str, params: Params = None) -> Result:
    """Run one statement of the caller's own SQL."""
    native, values = bound(executor, sql, params)
    verb = _verb(executor, sql)
    answer: _Answer = executor.fetch(native, values, _Answer, binary=_is_binary(executor, native, verb))
    cursor, tuples = answer.cursor, answer.tuples
    if cursor.description is None:
        result = Result([], [], [], max(cursor.rowcount, 0))
    else:
        columns = [item[0] for item in cursor.description]
        types = executor.result_types(native, cursor)
        kinds = _kinds(executor, types or [""] * len(columns))
        result = Result(columns, kinds, _shape(executor, columns, types).tuples(tuples), answer.rowcount)
    if verb not in _KEEPS_SCHEMA:
        executor.forget()
    return result


def select(executor: Executor, sql: str, params: Params = None) -> list[dict[str, Any]]:
    """The rows of :func:`execute` as dicts."""
    native, values = bound(executor, sql, params)
    types, verb = executor.known_types(native), _verb(executor, sql)
    if types is None or verb not in _QUERIES:
        return execute(executor, sql, params).rows

    def read(cursor: Cursor) -> list[dict[str, Any]]:
        columns = [item[0] for item in cursor.description or ()]
        refuse_same_names(columns)
        return _shape(executor, columns, types).rows(each(cursor))

    binary = _is_binary(executor, native, verb)
    rows: list[dict[str, Any]] = executor.fetch(native, values, read, binary=binary)
    return rows


class _Answer:
    """A cursor that was read, and what it gave."""

    __slots__ = ("cursor", "tuples")

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.tuples: list[tuple[Any, ...]] = [] if cursor.description is None else cursor.fetchall()

    @property
    def rowcount(self) -> int:
        return max(self.cursor.rowcount, len(self.tuples))


def _is_binary(executor: Executor, native: str, verb: str) -> bool:
    # What is found not to be in binary any more is read again, and a WITH may write.
    types = executor.known_types(native) if verb in _QUERIES and verb != "WITH" else None
    return types is not None and executor.engine.catalog.has_binary(types)


def _shape(executor: Executor, columns: Sequence[str], types: Sequence[str] | None) -> Shape:
    codec = executor.engine.types.codec
    decoders = [codec(text).decode if text else None for text in types or ()]
    # Another process may have changed a table since the types were read.
    lacking = len(columns) - len(decoders)
    return shape(tuple(columns), (*decoders[: len(columns)], *[None] * lacking))


def _bare(columns: Sequence[str]) -> Shape:
    return shape(tuple(columns), (None,) * len(columns))


def _kinds(executor: Executor, types: Sequence[str]) -> list[str | None]:
    return [executor.engine.types.codec(text).kind.name if text else None for text in types]


def _verb(executor: Executor, sql: str) -> str:
    verb = first_word(sql, executor.engine.lexicon)
    if not verb:
        raise InvalidQuery("the statement is empty")
    if verb in _CONTROLS:
        raise TransactionError(
            f"{verb} cannot be sent as a statement",
            hint="use `with db.transaction():`, or begin_transaction(), commit() and rollback()",
        )
    return verb


def executemany(executor: Executor, sql: str, params: Iterable[Params]) -> int:
    """Run one statement for each set of values, all or none; return how many rows it changed."""
    verb = _verb(executor, sql)
    changed = 0
    with Transaction(executor):
        for number, given in enumerate(params, 1):
            try:
                native, values = bound(executor, sql, given)
                changed += max(executor.send(native, values).rowcount, 0)
            except Error as exc:
                exc.row_number = number
                raise
    if verb not in _KEEPS_SCHEMA:
        executor.forget()
    return changed


def is_table(executor: Executor, table_or_sql: str) -> bool:
    """Whether a text is the name of a table; if it is neither that nor a query, say so."""
    if not isinstance(table_or_sql, str):
        raise InvalidQuery(f"give a table's name or a query, not {type(table_or_sql).__name__}")
    try:
        executor.describe(table_or_sql)
    except (TableNotFound, InvalidIdentifier):
        if first_word(table_or_sql, executor.engine.lexicon) not in _QUERIES or len(table_or_sql.split()) < 2:
            raise
        return False
    return True


def stream_tuples(
    executor: Executor, table_or_sql: str, *args: Any, batch_size: int = 10_000, **kwargs: Any
) -> tuple[list[str], Iterator[list[tuple[Any, ...]]]]:
    """Column names, and batches of decoded tuples, of a table or a query; memory stays flat."""
    names, _, batches = stream_typed(executor, table_or_sql, *args, batch_size=batch_size, **kwargs)
    return names, batches


def stream_typed(
    executor: Executor, table_or_sql: str, *args: Any, batch_size: int = 10_000, **kwargs: Any
) -> tuple[list[str], Sequence[str], Iterator[list[tuple[Any, ...]]]]:
    """As :func:`stream_tuples`, with each column's type, which is empty where it is not known."""
    asked = reading(executor, table_or_sql, *args, **kwargs)
    return asked.names, asked.types, asked.batches(executor, batch_size)


@dataclass(frozen=True, slots=True)
class Reading:
    """A SELECT in neutral text, its values, and the shape and the types of its columns."""

    sql: str
    values: list[Any]
    shape: Shape
    types: Sequence[str]

    @property
    def names(self) -> list[str]:
        return list(self.shape.names)

    def raw(self, executor: Executor, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """Batches of tuples as the driver has them, which ``shape`` is for."""
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise InvalidQuery("batch_size must be a whole number from 1 on")
        binary = executor.engine.catalog.has_binary(self.types)
        return executor.stream(self.sql, self.values, batch_size=size, binary=binary)

    def batches(self, executor: Executor, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """Batches of decoded tuples."""
        raw = self.raw(executor, size)
        return (self.shape.tuples(batch) for batch in raw)


def reading(executor: Executor, table_or_sql: str, *args: Any, **kwargs: Any) -> Reading:
    """How a table or a query is read; nothing of it is read yet."""
    if is_table(executor, table_or_sql):
        sql, values, plan = row_verbs.reading(executor, table_or_sql, *args, **kwargs)
        return Reading(sql, values, plan.shape, [column.type for column in plan.columns])
    sql, values, names, types = _probed(executor, table_or_sql, *args, **kwargs)
    return Reading(sql, values, _shape(executor, names, types), types or [""] * len(names))


def _probed(
    executor: Executor, sql: str, params: Params = None
) -> tuple[str, list[Any], list[str], Sequence[str] | None]:
    from holdfast.engines.sqltext import positional

    text, values = positional(sql, params, lexicon=executor.engine.lexicon)
    encoded = [executor.engine.types.param(value) for value in values]
    inner = text.rstrip().rstrip(";")
    native = executor.native(inner)
    cursor = executor.run(f"SELECT * FROM ({inner}\n) AS probed LIMIT 0", encoded)
    names, types = _named(cursor), executor.result_types(native, cursor)
    if any(_RENAMED.search(name) for name in names):
        names = executor.fetch(native, encoded, _named)
    return inner, encoded, names, types


def _named(cursor: Cursor) -> list[str]:
    return [item[0] for item in cursor.description or ()]


def stream(
    executor: Executor, table_or_sql: str, *args: Any, batch_size: int = 10_000, **kwargs: Any
) -> Iterator[dict[str, Any]]:
    """The rows of a table or a query one by one as dicts."""
    asked = reading(executor, table_or_sql, *args, **kwargs)
    refuse_same_names(asked.names)
    rows = asked.shape.rows
    return (row for batch in asked.raw(executor, batch_size) for row in rows(batch))
