"""Indexes that a statement might use, read off its conditions and orders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from holdfast.engines.sqltext import Lexicon, tokens
from holdfast.errors import InvalidQuery, MissingDependency

Place = tuple[str, str]
"""A table and one of its columns."""
Schema = Mapping[str, Sequence[str]]
MOST_COLUMNS = 4
_MOST_TERMS = 2


@dataclass(frozen=True, slots=True)
class Candidate:
    """An index that might help.

    ``descending`` are those of its columns that go down, ``include`` those that it holds besides. ``where``
    is the condition of a partial one; ``category`` is the column that is compared with a value there, which
    makes sense only if it has few of them.
    """

    table: str
    columns: tuple[str, ...]
    descending: frozenset[str] = frozenset()
    include: tuple[str, ...] = ()
    where: str | None = None
    category: str | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """What a statement writes: a table, and the columns that it sets, all if it is an INSERT or a DELETE."""

    verb: str
    table: str
    columns: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Parsed:
    """The candidates of a statement, and the SELECT that shows how its rows are found.

    ``sql`` is ``None`` if it looks for none. ``marks`` has, by the name that each mark has there, what it is
    compared with, ``None`` if that is not known.
    """

    candidates: tuple[Candidate, ...]
    sql: str | None
    marks: Mapping[str, Place | None]
    tables: frozenset[str]
    write: Write | None = None


@dataclass(slots=True)
class _Uses:
    """What one SELECT does with the columns of one table."""

    equal: list[str] = field(default_factory=list)
    ranged: list[str] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    ordered: list[str] = field(default_factory=list)
    descending: set[str] = field(default_factory=set)
    shown: list[str] = field(default_factory=list)
    terms: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """Conditions that hold no mark: their column, and whether they compare it with a value."""

    def without(self, column: str) -> _Uses:
        def left(names: list[str]) -> list[str]:
            return [name for name in names if name != column]

        return _Uses(
            left(self.equal),
            left(self.ranged),
            left(self.joined),
            left(self.ordered),
            self.descending,
            self.shown,
        )


class _Names:
    """The own names of tables and columns, by those that sqlglot gives them in a dialect.

    SQLite tells no two names apart that differ in case alone; all are small there.
    """

    def __init__(self, schema: Schema, dialect: str) -> None:
        from sqlglot import exp
        from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

        def folded(name: str) -> str:
            return normalize_identifiers(exp.to_identifier(name, quoted=True), dialect=dialect).name

        self._tables = {folded(table): table for table in schema}
        self.known = {
            given: {folded(column): column for column in schema[table]}
            for given, table in self._tables.items()
        }
        self._given = {table: given for given, table in self._tables.items()}

    def table(self, given: str) -> str | None:
        return self._tables.get(given)

    def column(self, table: str, given: str) -> str | None:
        return self.known[self._given[table]].get(given)


def parsed(sql: str, lexicon: Lexicon, dialect: str, schema: Schema) -> Parsed:
    """What indexes might help a statement in the driver's text.

    Raises:
        InvalidQuery: if sqlglot cannot read it, or it is neither a query nor a change of rows.
        MissingDependency: without the extra ``tuning``.
    """
    try:
        import sqlglot
        from sqlglot.errors import SqlglotError
        from sqlglot.optimizer.normalize_identifiers import normalize_identifiers
        from sqlglot.optimizer.qualify import qualify
        from sqlglot.optimizer.scope import traverse_scope
        from sqlglot.schema import MappingSchema
    except ImportError as exc:
        raise MissingDependency("sqlglot", "tuning") from exc
    names = _Names(schema, dialect)
    known: dict[str, object] = {table: dict.fromkeys(own, "unknown") for table, own in names.known.items()}
    try:
        named = _named(sql, lexicon)
        whole = sqlglot.parse_one(named, dialect=dialect)
        write, select = _write(normalize_identifiers(whole.copy(), dialect=dialect), names), _select(whole)
        if select is None and write is not None:
            return Parsed((), None, {}, frozenset(), write)
        # Anything else would be run on the copy, be it COMMIT.
        if not isinstance(select, sqlglot.exp.Query):
            raise InvalidQuery("it looks for no rows")
        tree: Any = qualify(
            select.copy(),
            schema=MappingSchema(known, dialect=dialect, normalize=False),
            dialect=dialect,
            validate_qualify_columns=False,
            quote_identifiers=False,
        )
        scopes = traverse_scope(tree)
    except SqlglotError as exc:
        raise InvalidQuery("sqlglot cannot read the statement") from exc
    shows_all = select.find(sqlglot.exp.Star) is not None and not select.find(sqlglot.exp.Count)
    found: dict[Candidate, None] = {}
    tables: set[str] = set()
    for scope in scopes:
        sources = _sources(scope, names)
        tables.update(sources.values())
        for table, uses in _uses(scope, sources, names, dialect).items():
            found |= dict.fromkeys(_from(table, uses, shows_all))
    # What is a query already is kept as it is.
    text = named if select is whole else select.transform(_as_mark).sql(dialect=dialect)
    return Parsed(tuple(found), text, _marks(tree, scopes, names), frozenset(tables), write)


def _as_mark(node: Any) -> Any:
    from sqlglot import exp

    return exp.Var(this=f":{node.name}") if isinstance(node, exp.Placeholder) else node


def _named(sql: str, lexicon: Lexicon) -> str:
    """The statement with marks that sqlglot knows in both dialects."""
    count = 0
    words = []
    for token in tokens(sql, lexicon):
        if token.kind == "mark":
            count = int(token.text[1:]) if token.text[1:].isdigit() else count + 1
            words.append(f":p{count}")
        else:
            words.append(token.text)
    return "".join(words)


def _select(tree: Any) -> Any:
    """What an UPDATE or DELETE looks for, as a SELECT; ``None`` for an INSERT of values."""
    from sqlglot import exp

    if isinstance(tree, (exp.Update, exp.Delete)) and isinstance(tree.this, exp.Table):
        where = tree.args.get("where")
        select = exp.select("*").from_(tree.this.copy())
        return select.where(where.this.copy()) if where is not None else select
    if isinstance(tree, exp.Insert):
        return tree.expression if isinstance(tree.expression, exp.Query) else None
    return tree


def _write(tree: Any, names: _Names) -> Write | None:
    from sqlglot import exp

    if not isinstance(tree, (exp.Insert, exp.Update, exp.Delete)):
        return None
    target = tree.this.find(exp.Table) if tree.this is not None else None
    table = names.table(target.name) if target is not None else None
    if table is None:
        return None
    if not isinstance(tree, exp.Update):
        return Write(tree.key, table, None)
    set_ = (one.this.name for one in tree.expressions if isinstance(one, exp.EQ))
    return Write(tree.key, table, frozenset(name for one in set_ if (name := names.column(table, one))))


def _sources(scope: Any, names: _Names) -> dict[str, str]:
    """The tables of a SELECT, by the names that it gives them."""
    from sqlglot import exp

    return {
        alias: own
        for alias, source in scope.sources.items()
        if isinstance(source, exp.Table) and (own := names.table(source.name)) is not None
    }


def _uses(scope: Any, sources: Mapping[str, str], names: _Names, dialect: str) -> dict[str, _Uses]:
    found: dict[str, _Uses] = {}
    for column in scope.columns:
        table = sources.get(column.table)
        name = names.column(table, column.name) if table is not None else None
        if table is None or name is None:
            continue
        uses = found.setdefault(table, _Uses())
        place = _use(column, uses, name)
        if name not in place:
            place.append(name)
        if (term := _term(column, dialect, name)) is not None and len(uses.terms) < _MOST_TERMS:
            uses.terms[term[0]] = (name, term[1])
    for column, goes_down in _ordered_by_alias(scope):
        table = sources.get(column.table)
        name = names.column(table, column.name) if table is not None else None
        if table is not None and name is not None and name not in (uses := found[table]).ordered:
            uses.ordered.append(name)
            uses.descending |= {name} if goes_down else set()
    return found


def _ordered_by_alias(scope: Any) -> Iterator[tuple[Any, bool]]:
    """The columns behind the names of results that an ORDER BY uses."""
    from sqlglot import exp

    order = scope.expression.args.get("order")
    shown = {one.alias_or_name: one.unalias() for one in scope.expression.selects}
    for one in order.expressions if order is not None else ():
        column = shown.get(one.this.name) if isinstance(one.this, exp.Column) and not one.this.table else None
        if isinstance(column, exp.Column):
            yield column, bool(one.args.get("desc"))


def _use(column: Any, uses: _Uses, name: str) -> list[str]:
    from sqlglot import exp

    parent = column.parent
    if isinstance(parent, (exp.EQ, exp.In, exp.Is, exp.NullSafeEQ)):
        others = parent.find_all(exp.Column)
        return uses.joined if any(other is not column for other in others) else uses.equal
    if isinstance(parent, (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.Like)):
        return uses.ranged
    if isinstance(parent, exp.Ordered):
        if parent.args.get("desc"):
            uses.descending.add(name)
        return uses.ordered
    return uses.ordered if isinstance(parent, exp.Group) else uses.shown


def _term(column: Any, dialect: str, name: str) -> tuple[str, bool] | None:
    """The condition that a column stands in, if it always means the same rows and every row must meet it."""
    from sqlglot import exp

    term = column.parent
    is_value = isinstance(term, exp.EQ) and isinstance(term.expression, (exp.Literal, exp.Boolean))
    if isinstance(term, (exp.Where, exp.And, exp.Not)):
        term = column
    elif not (is_value or (isinstance(term, exp.Is) and isinstance(term.expression, exp.Null))):
        return None
    if term is not column and term.this is not column:
        return None
    if isinstance(term.parent, exp.Not):
        term = term.parent
    above = term.parent
    while isinstance(above, (exp.And, exp.Paren)):
        above = above.parent
    if not isinstance(above, exp.Where):
        return None
    alone = exp.column(exp.to_identifier(name, quoted=True))
    text = term.copy().transform(lambda node: alone if isinstance(node, exp.Column) else node)
    if isinstance(text, exp.Not) and isinstance(text.this, exp.Is):
        # SQLite compares the words, and this is how people write it.
        return f"{alone.sql(dialect=dialect)} IS NOT NULL", False
    return text.sql(dialect=dialect), is_value


def _from(table: str, uses: _Uses, shows_all: bool) -> Iterator[Candidate]:
    yield from _full(table, uses, shows_all)
    for text, (column, is_value) in uses.terms.items():
        rest = list(_full(table, uses.without(column), shows_all=True))
        for one in rest or [Candidate(table, (column,))]:
            category = column if is_value else None
            yield Candidate(table, one.columns, one.descending, one.include, text, category)


def _full(table: str, uses: _Uses, shows_all: bool) -> Iterator[Candidate]:
    """Equal columns first, then one that is ordered or ranged: an index is read from the left."""
    used = list(dict.fromkeys(chain(uses.equal, uses.joined, uses.ranged, uses.ordered, uses.shown)))
    # Backwards an index is read as well: only a mixture of both needs its own.
    is_mixed = 0 < sum(name in uses.descending for name in uses.ordered) < len(uses.ordered)
    descending = uses.descending if is_mixed else set()
    for columns in _keys(uses):
        down = frozenset(name for name in columns if name in descending)
        yield Candidate(table, columns, down)
        others = tuple(name for name in used if name not in columns)
        # An index with all that is asked for spares the look into the table.
        if others and len(used) <= MOST_COLUMNS and not shows_all:
            yield Candidate(table, columns, down, others)


def _keys(uses: _Uses) -> Iterable[tuple[str, ...]]:
    equal, joined = uses.equal[:MOST_COLUMNS], uses.joined
    # Any of them may come first, which is of use to other statements.
    turned = [[first, *(name for name in equal if name != first)] for first in equal]
    wanted: list[list[str]] = []
    for front in [*turned, *([*joined[:1], *one] for one in turned), *([one, *equal] for one in joined[:2])]:
        wanted += [front, [*front, *uses.ranged[:1]], [*front, *uses.ordered]]
    wanted += [uses.ranged[:1], uses.ordered, [*uses.ordered, *uses.ranged[:1]]]
    wanted += [[name] for name in [*equal, *joined, *uses.ranged]]
    return dict.fromkeys(tuple(dict.fromkeys(one))[:MOST_COLUMNS] for one in wanted if one)


def _marks(tree: Any, scopes: Sequence[Any], names: _Names) -> dict[str, Place | None]:
    from sqlglot import exp

    owner = {id(column): _sources(scope, names) for scope in scopes for column in scope.columns}
    found: dict[str, Place | None] = {}
    for mark in tree.find_all(exp.Placeholder):
        parent = mark.find_ancestor(exp.Predicate, exp.Binary)
        columns = list(parent.find_all(exp.Column)) if parent is not None else []
        place = None
        if len(columns) == 1 and id(columns[0]) in owner:
            table = owner[id(columns[0])].get(columns[0].table)
            column = names.column(table, columns[0].name) if table is not None else None
            place = (table, column) if table is not None and column is not None else None
        found[str(mark.name)] = found.get(str(mark.name)) or place
    return found
