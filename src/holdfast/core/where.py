"""Filters and orders: what the caller says, as neutral SQL over one table and its values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from holdfast.core.executor import Executor
from holdfast.engines.base import Column, TableInfo
from holdfast.engines.names import quote_identifier, unquote_identifier
from holdfast.engines.sqltext import Lexicon, positional, quoted_names, tokens
from holdfast.errors import ColumnNotFound, InvalidQuery, ValueRefused, did_you_mean
from holdfast.types.codec import INT64_MAX, INT64_MIN

Fragment = tuple[str, list[Any]]
Where = str | Mapping[str, Any] | Any
Params = Sequence[Any] | Mapping[str, Any] | None

_NO_ORDER = frozenset({"json", "bytes"})


def qualified(table: str, column: str) -> str:
    """A column with its table: SQLite reads a bare unknown ``"name"`` as a text."""
    return f"{quote_identifier(table)}.{quote_identifier(column)}"


def located(error: ValueRefused, table: str, column: Column) -> ValueRefused:
    """The same refusal, saying for which column."""
    return ValueRefused(f"{table}.{column.name} ({column.type}): {error.message}", hint=error.hint)


def encode(table: str, column: Column, value: Any) -> Any:
    """``value`` as the driver takes it for ``column``."""
    if value is None or type(value) in column.codec.passes:
        return value
    try:
        return column.codec.encode(value)
    except ValueRefused as exc:
        raise located(exc, table, column) from exc


def condition(executor: Executor, info: TableInfo, where: Where, params: Params) -> Fragment:
    """The text after WHERE and its values; empty text where there is no filter.

    Raises:
        ColumnNotFound: if the filter names a column the table lacks.
        InvalidQuery: if it is of no known form, or its values do not fit its marks.
    """
    if where is None:
        if params:
            raise InvalidQuery("params were given without where", hint="give where='column = ?'")
        return "", []
    shape = _shape(info.name, where, params)
    if shape is None:
        return _worked_out(executor, info, where, params)
    planned: _Planned | None = executor.plans.get(shape)
    if planned is None:
        return _first_of_shape(executor, info, shape, where, params)
    given: Any = where.values() if type(where) is dict else params
    return planned.text, [encode(value) for encode, value in zip(planned.encoders, given, strict=True)]


@dataclass(frozen=True, slots=True)
class _Planned:
    """A filter whose text does not depend on its values, and how each of them goes in."""

    text: str
    encoders: tuple[Callable[[Any], Any], ...]


# A longer text is likelier to hold its values than to come again.
_LONGEST_KEPT = 1000
_SCALARS = frozenset({int, float, str, bool})


def _shape(table: str, where: Where, params: Params) -> tuple[Any, ...] | None:
    """What the text of a filter depends on, as a key of plans; ``None`` where it depends on the values."""
    if type(where) is str and len(where) <= _LONGEST_KEPT:
        return ("where", table, where, len(params)) if type(params) is list or type(params) is tuple else None
    if type(where) is dict and where and params is None and _SCALARS.issuperset(map(type, where.values())):
        return "where", table, tuple(where)
    return None


def _first_of_shape(
    executor: Executor, info: TableInfo, shape: tuple[Any, ...], where: Where, params: Params
) -> Fragment:
    fragment = _worked_out(executor, info, where, params)
    if params is not None:
        param = executor.engine.types.param
        executor.keep(shape, _Planned(fragment[0], (param,) * len(params)))
    elif set(where) <= set(info.names):
        entries = [_Comparison(executor, info.name, info.column(name), "=") for name in where]
        executor.keep(shape, _Planned(fragment[0], tuple(entry.encode for entry in entries)))
    return fragment


def _worked_out(executor: Executor, info: TableInfo, where: Where, params: Params) -> Fragment:
    if isinstance(where, str):
        return _from_text(executor, info, where, params)
    if params is not None:
        raise InvalidQuery("params go with a text filter only", hint="a dict carries its own values")
    if isinstance(where, Mapping):
        return _from_mapping(executor, info, where)
    return _from_expression(executor, where)


def _from_text(executor: Executor, info: TableInfo, where: str, params: Params) -> Fragment:
    if not where.strip():
        raise InvalidQuery("where is empty", hint="leave it out to mean every row")
    lexicon = executor.engine.lexicon
    text, values = positional(where, params, lexicon=lexicon)
    for name in _names_to_check(text, lexicon):
        if name != info.name:
            info.column(name)
    param = executor.engine.types.param
    # The line break ends a comment that the text may end with.
    return f"({text}\n)", [param(value) for value in values]


@lru_cache(maxsize=4096)
def _names_to_check(text: str, lexicon: Lexicon) -> tuple[str, ...]:
    depth = 0
    for token in tokens(text, lexicon):
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "op" else 0
        if depth < 0:
            break
    if depth:
        # It would close the parentheses that keep it one condition among others.
        raise InvalidQuery("the parentheses of the filter do not match")
    if any(token.kind == "word" and token.text.upper() == "SELECT" for token in tokens(text, lexicon)):
        return ()
    return tuple(quoted_names(text, lexicon))


def _from_expression(executor: Executor, where: Any) -> Fragment:
    from sqlalchemy.sql.elements import ClauseElement

    if not isinstance(where, ClauseElement):
        raise InvalidQuery(
            f"where cannot be {type(where).__name__}",
            hint="give a text with params, a dict, or a SQLAlchemy expression",
        )
    named: Any = type(executor.sqlalchemy.dialect)
    dialect = named(paramstyle="named")
    compiled = where.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    text, values = positional(str(compiled), dict(compiled.params), lexicon=executor.engine.lexicon)
    param = executor.engine.types.param
    return f"({text})", [param(value) for value in values]


def _from_mapping(executor: Executor, info: TableInfo, where: Mapping[str, Any]) -> Fragment:
    if not where:
        raise InvalidQuery("where is an empty dict", hint="leave it out to mean every row")
    parts: list[str] = []
    values: list[Any] = []
    for key, value in where.items():
        column, operator = _split_key(info, key)
        text, more = _compare(executor, info, column, operator, value)
        parts.append(text)
        values += more
    return " AND ".join(parts), values


def _split_key(info: TableInfo, key: Any) -> tuple[Column, str]:
    if not isinstance(key, str):
        raise InvalidQuery(f"a filter's key must be text, not {type(key).__name__}")
    for column in info.columns:
        if column.name == key:
            return column, "="
    for column in sorted(info.columns, key=lambda column: -len(column.name)):
        if key.startswith(f"{column.name} "):
            operator = " ".join(key[len(column.name) :].lower().split())
            if operator in _OPERATORS:
                return column, operator
            raise InvalidQuery(
                f"unknown operator {operator!r} in the filter {key!r}",
                hint=did_you_mean(operator, _OPERATORS, "operators"),
            )
    name = key.split()[0] if key.split() else key
    raise ColumnNotFound(
        f"table {info.name!r} has no column {name!r}", hint=did_you_mean(name, info.names, "columns")
    )


@dataclass(frozen=True, slots=True)
class _Comparison:
    """One entry of a dict filter on its way to SQL."""

    executor: Executor
    table: str
    column: Column
    operator: str

    @property
    def name(self) -> str:
        return qualified(self.table, self.column.name)

    def by_code_point(self) -> str:
        return self.name + collation(self.executor, self.column)

    def encode(self, value: Any) -> Any:
        if type(value) is int and int in self.column.codec.passes and INT64_MIN <= value <= INT64_MAX:
            return value
        if isinstance(value, (int, float, Decimal)) and self.column.codec.kind.name != "decimal":
            return self._within(value, lambda: self.column.codec.encode(value))
        return encode(self.table, self.column, value)

    def bound(self, value: Any) -> Any:
        """A limit to compare with; it need not be a value that the column could hold."""
        kind = self.column.codec.kind.name
        is_number = kind in ("integer", "float", "decimal") and isinstance(value, (int, float, Decimal))
        if is_number and isinstance(value, bool):
            value = int(value)
        if is_number or (kind == "text" and isinstance(value, str)):
            return self._within(value, lambda: self.executor.engine.types.param(value))
        return self.encode(value)

    def _within(self, value: Any, convert: Callable[[], Any]) -> Any:
        """Refuse on every engine what one of them cannot take."""
        try:
            if value != value:
                raise ValueRefused("NaN cannot be compared", hint="use a text filter, where the engine can")
            if isinstance(value, (int, Decimal)) and not INT64_MIN <= value <= INT64_MAX:
                raise ValueRefused("a number does not fit into 64 bits")
            return convert()
        except ValueRefused as exc:
            raise located(exc, self.table, self.column) from exc


def _compare(executor: Executor, info: TableInfo, column: Column, operator: str, value: Any) -> Fragment:
    entry = _Comparison(executor, info.name, column, operator)
    if operator in ("=", "==") and isinstance(value, (list, tuple, set, frozenset)):
        return _any_of(entry, value)
    if column.codec.kind.name == "json" and value is not None:
        raise InvalidQuery(
            f"{info.name}.{column.name} holds JSON, which a dict filter cannot compare",
            hint="use a text filter, such as where=\"config->>'model' = ?\"",
        )
    return _OPERATORS[operator](entry, value)


def _equal(entry: _Comparison, value: Any) -> Fragment:
    if value is None:
        return f"{entry.name} IS NULL", []
    return f"{entry.name} = ?", [entry.encode(value)]


def _unequal(entry: _Comparison, value: Any) -> Fragment:
    if value is None:
        return f"{entry.name} IS NOT NULL", []
    if isinstance(value, (list, tuple, set, frozenset)):
        return _none_of(entry, value)
    return f"{entry.name} <> ?", [entry.encode(value)]


def _ordered(entry: _Comparison, value: Any) -> Fragment:
    if value is None:
        raise InvalidQuery(
            f"{entry.column.name!r} {entry.operator} None has no answer", hint="use None with ="
        )
    return f"{entry.by_code_point()} {entry.operator} ?", [entry.bound(value)]


def _any_of(entry: _Comparison, value: Any) -> Fragment:
    given = _listed(entry, value)
    values = [entry.encode(item) for item in given if item is not None]
    parts = [f"{entry.name} IN ({', '.join('?' * len(values))})"] if values else []
    if len(values) < len(given):
        parts.append(f"{entry.name} IS NULL")
    return f"({' OR '.join(parts)})" if parts else "(1 = 0)", values


def _none_of(entry: _Comparison, value: Any) -> Fragment:
    given = _listed(entry, value)
    values = [entry.encode(item) for item in given if item is not None]
    parts = [f"{entry.name} NOT IN ({', '.join('?' * len(values))})"] if values else []
    if len(values) < len(given):
        parts.append(f"{entry.name} IS NOT NULL")
    return f"({' AND '.join(parts)})" if parts else "(1 = 1)", values


def _listed(entry: _Comparison, value: Any) -> list[Any]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise InvalidQuery(f"{entry.operator!r} on {entry.column.name!r} takes a list")
    given = list(value)
    limit = entry.executor.engine.features.max_parameters
    if len(given) > limit:
        raise InvalidQuery(
            f"a list of {len(given)} values is longer than the {limit} that one statement takes",
            hint="split the list, or put it into a table and join",
        )
    return given


def _between(entry: _Comparison, value: Any) -> Fragment:
    bounds = _listed(entry, value)
    if len(bounds) != 2 or None in bounds:
        raise InvalidQuery(f"between on {entry.column.name!r} takes two values")
    return f"{entry.by_code_point()} BETWEEN ? AND ?", [entry.bound(bound) for bound in bounds]


def _like(entry: _Comparison, value: Any) -> Fragment:
    if entry.column.codec.kind.name not in ("text", "other"):
        raise InvalidQuery(
            f"{entry.operator} needs a text column, and {entry.column.name!r} is {entry.column.type}"
        )
    if not isinstance(value, str):
        raise InvalidQuery(f"{entry.operator} on {entry.column.name!r} takes a text")
    value = entry.encode(value) if entry.column.codec.kind.length is None else entry.bound(value)
    negation = "NOT " if entry.operator.startswith("not") else ""
    operator = entry.executor.engine.features.like_by_case
    if operator is not None:
        return f"{entry.name} {negation}{operator} ?", [value]
    return f"{entry.name} {negation}GLOB ?", [as_glob(value)]


def as_glob(pattern: str) -> str:
    r"""A LIKE pattern (``%``, ``_``, backslash escapes) in GLOB's signs, where case matters.

    >>> as_glob("a%_[*")
    'a*?[[][*]'
    """
    glob = {"%": "*", "_": "?"}
    pieces: list[str] = []
    escaped = False
    for sign in pattern:
        if sign == "\\" and not escaped:
            escaped = True
            continue
        literal = f"[{sign}]" if sign in "*?[" else sign
        pieces.append(literal if escaped else glob.get(sign, literal))
        escaped = False
    return "".join(pieces)


_OPERATORS: dict[str, Callable[[_Comparison, Any], Fragment]] = {
    "=": _equal,
    "==": _equal,
    "is": _equal,
    "!=": _unequal,
    "<>": _unequal,
    "is not": _unequal,
    "<": _ordered,
    "<=": _ordered,
    ">": _ordered,
    ">=": _ordered,
    "in": _any_of,
    "not in": _none_of,
    "between": _between,
    "like": _like,
    "not like": _like,
}


def collation(executor: Executor, column: Column) -> str:
    """The COLLATE that makes text compare by code point on every engine, where it does not already."""
    wanted = executor.engine.features.binary_collation
    if wanted is None or column.codec.kind.name != "text" or column.collation in (None, wanted, "POSIX"):
        return ""
    return f" COLLATE {quote_identifier(wanted)}"


@dataclass(frozen=True, slots=True)
class Order:
    """One column of an order: its direction and where its NULLs go."""

    column: Column
    descending: bool
    nulls_first: bool

    def reversed(self) -> Order:
        return Order(self.column, not self.descending, not self.nulls_first)


OrderBy = str | Sequence[str] | None

_ITEM = re.compile(
    r"(?P<name>.*?)(?:\s+(?P<direction>ASC|DESC))?(?:\s+NULLS\s+(?P<nulls>FIRST|LAST))?\s*",
    re.IGNORECASE | re.DOTALL,
)


def orders(executor: Executor, info: TableInfo, order_by: OrderBy) -> list[Order]:
    """Read ``"score DESC"`` or ``["a", "b DESC NULLS LAST"]``; only columns of the table are taken.

    NULLs come last ascending and first descending unless the caller says otherwise, as PostgreSQL has it.

    Raises:
        ColumnNotFound: if an item is not a column with a direction.
    """
    if order_by is None:
        return []
    if isinstance(order_by, str):
        names = info.names
        items = [order_by] if order_by in names else _split_commas(order_by, executor.engine.lexicon)
    elif isinstance(order_by, Sequence):
        items = list(order_by)
    else:
        raise InvalidQuery(
            f"order_by cannot be {type(order_by).__name__}", hint="give a text or a list of texts"
        )
    return [_order(info, item) for item in items]


def _order(info: TableInfo, item: Any) -> Order:
    for column in info.columns:
        if column.name == item:
            return Order(column, descending=False, nulls_first=False)
    if not isinstance(item, str) or not item.strip():
        raise InvalidQuery("an item of order_by must be a column name with ASC or DESC")
    match = _ITEM.fullmatch(item.strip())
    assert match is not None
    name = match["name"]
    if name not in info.names and name.startswith('"'):
        name = unquote_identifier(name)
    column = info.column(name)
    descending = (match["direction"] or "").upper() == "DESC"
    nulls = (match["nulls"] or "").upper()
    return Order(column, descending, nulls_first=nulls == "FIRST" if nulls else descending)


def _split_commas(text: str, lexicon: Lexicon) -> list[str]:
    items = [""]
    for token in tokens(text, lexicon):
        if token.text == ",":
            items.append("")
        else:
            items[-1] += token.text
    return items


def order_sql(executor: Executor, info: TableInfo, items: Sequence[Order]) -> str:
    """The text after ORDER BY."""
    native = executor.engine.features.null_order
    parts = []
    for item in items:
        if item.column.codec.kind.name == "json":
            raise InvalidQuery(
                f"{info.name}.{item.column.name} holds JSON, which has no order",
                hint="query() orders by an expression such as config->>'name'",
            )
        text = qualified(info.name, item.column.name) + collation(executor, item.column)
        if item.descending:
            text += " DESC"
        default = item.descending if native else not item.descending
        if item.nulls_first != default and item.column.nullable:
            text += " NULLS FIRST" if item.nulls_first else " NULLS LAST"
        parts.append(text)
    return ", ".join(parts)
