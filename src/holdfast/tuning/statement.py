"""A statement, read: what it does with which columns, and what it writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.engines.names import unquote_identifier
from holdfast.engines.plans import Ways
from holdfast.engines.sqltext import Lexicon, Token, first_word, tokens
from holdfast.errors import InvalidQuery, MissingDependency
from holdfast.tuning.candidates import Candidate, Uses, candidates, classed
from holdfast.tuning.explain import HAVE_PLANS
from holdfast.tuning.expressions import Expression, Place, Source, compared, comparisons, operand

Schema = Mapping[str, Sequence[str]]
_MOST_TERMS = 2
_ANYTHING = ("%", "_", "*", "?", "[")


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
    compared with, ``None`` if that is not known. ``patterns`` are the columns that are compared with patterns
    that begin with anything.
    """

    candidates: tuple[Candidate, ...]
    sql: str | None
    marks: Mapping[str, Place | None]
    tables: frozenset[str]
    write: Write | None = None
    patterns: frozenset[tuple[str, str]] = frozenset()


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


def parsed(sql: str, lexicon: Lexicon, dialect: str, schema: Schema, ways: Ways, *, home: str) -> Parsed:
    """What indexes might help a statement in the driver's text.

    ``home`` is the schema of the tables; it may be named, and is left out of what is returned.

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
    # Anything else would be run on the copy, be it COMMIT.
    if (verb := first_word(sql, lexicon)) and verb not in HAVE_PLANS:
        raise InvalidQuery("it looks for no rows")
    names = _Names(schema, dialect)
    known: dict[str, object] = {table: dict.fromkeys(own, "unknown") for table, own in names.known.items()}
    try:
        named = _named(_at_home(sql, lexicon, home, schema), lexicon)
        whole = sqlglot.parse_one(named, dialect=dialect)
        _refuse_others(whole, ways)
        write, select = _write(normalize_identifiers(whole.copy(), dialect=dialect), names), _select(whole)
        if select is None and write is not None:
            return Parsed((), None, {}, frozenset(), write)
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
    reader = _Reader(names, Source(named, lexicon, dialect), dialect, ways)
    found: dict[Candidate, None] = {}
    tables: set[str] = set()
    patterns: set[tuple[str, str]] = set()
    for scope in scopes:
        sources = _sources(scope, names)
        tables.update(sources.values())
        for table, uses in reader.uses(scope, sources).items():
            found |= dict.fromkeys(candidates(table, uses, ways, shows_all=shows_all))
            patterns |= {(table, column) for key in uses.pattern for column in _columns_of(key)}
    # What is a query already is kept as it is.
    text = named if select is whole else _looking(whole, select, reader.source, dialect)
    marks = reader.marks(tree, scopes)
    return Parsed(tuple(found), text, marks, frozenset(tables), write, frozenset(patterns))


def _looking(whole: Any, select: Any, source: Source, dialect: str) -> str:
    """The SELECT of a change of rows, with its condition in the words that it has there."""
    from sqlglot import exp

    if isinstance(whole, exp.Insert):
        return str(select.transform(_as_mark).sql(dialect=dialect))
    return f"SELECT * FROM {whole.this.sql(dialect=dialect)}{source.condition()}"


def _as_mark(node: Any) -> Any:
    from sqlglot import exp

    return exp.Var(this=f":{node.name}") if isinstance(node, exp.Placeholder) else node


def _at_home(sql: str, lexicon: Lexicon, home: str, schema: Schema) -> str:
    """The statement without the name of the schema, which a copy of the tables does not have."""
    tables = {table.lower() for table in schema}
    code = [token for token in tokens(sql, lexicon) if token.is_code]
    gone: set[int] = set()
    for one, dot, other in zip(code, code[1:], code[2:], strict=False):
        is_named = dot.text == "." and unquote_identifier(other.text).lower() in tables
        if is_named and _own_name(one) == home:
            gone |= {one.start, dot.start}
    return "".join(token.text for token in tokens(sql, lexicon) if token.start not in gone)


def _own_name(token: Token) -> str | None:
    if token.kind not in ("word", "quoted"):
        return None
    return token.text.lower() if token.kind == "word" else unquote_identifier(token.text)


def _refuse_others(tree: Any, ways: Ways) -> None:
    """A table of another schema has no copy."""
    from sqlglot import exp

    for table in tree.find_all(exp.Table):
        if table.db:
            way = f": {ways.elsewhere.format(table.db)}" if ways.elsewhere else ""
            raise InvalidQuery(f"{table.db}.{table.name} is of another schema{way}")


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


class _Reader:
    """What the parts of a statement do with the columns of tables."""

    def __init__(self, names: _Names, source: Source, dialect: str, ways: Ways) -> None:
        self.source = source
        self._names = names
        self._dialect = dialect
        self._ways = ways

    def uses(self, scope: Any, sources: Mapping[str, str]) -> dict[str, Uses]:
        found: dict[str, Uses] = {}
        for column in scope.columns:
            if (own := self._own(column, sources)) is None:
                continue
            uses = found.setdefault(own[0], Uses())
            self._note(operand(column), column, own, uses)
            term = _term(column, self._dialect, own[1])
            if term is not None and len(uses.terms) < _MOST_TERMS:
                uses.terms[term[0]] = (own[1], term[1])
        for shown, goes_down in _ordered_by_alias(scope):
            column = shown.find(_column())
            own = self._own(column, sources) if column is not None else None
            key = self._key(shown, own) if own is not None else None
            if own is not None and key is not None and key not in (uses := found[own[0]]).ordered:
                uses.ordered.append(key)
                uses.descending |= {key} if goes_down else set()
        return found

    def _own(self, column: Any, sources: Mapping[str, str]) -> tuple[str, str] | None:
        """The table and the column that a name stands for."""
        table = sources.get(column.table)
        name = self._names.column(table, column.name) if table is not None else None
        return None if table is None or name is None else (table, name)

    def _key(self, part: Any, own: tuple[str, str]) -> str | None:
        """What an index would hold for a part of a statement."""
        if isinstance(part.unnest(), _column()):
            return own[1]
        text = self.source.text(part)
        if text is None:
            return None
        columns = (self._names.column(own[0], column.name) for column in part.find_all(_column()))
        return Expression(text, {name for name in columns if name is not None})

    def _note(self, part: Any, column: Any, own: tuple[str, str], uses: Uses) -> None:
        place = _place(part, uses)
        key = self._key(part, own) if place is not uses.shown else own[1]
        if key is None:
            place, key = uses.shown, own[1]
        if place is uses.ordered and part.parent.args.get("desc"):
            uses.descending.add(key)
        if place is uses.beginning:
            # Where texts are in the order of their letters' numbers, the plain one does.
            uses.ranged += [key] if key not in uses.ranged else []
            key = classed(key, self._ways.beginning)
        if key not in place:
            place.append(key)

    def marks(self, tree: Any, scopes: Sequence[Any]) -> dict[str, Place | None]:
        """What each mark is compared with."""
        from sqlglot import exp

        owner = {id(column): _sources(scope, self._names) for scope in scopes for column in scope.columns}
        found: dict[str, Place | None] = {}
        for mark in tree.find_all(exp.Placeholder):
            found[str(mark.name)] = found.get(str(mark.name)) or self._marked(mark, owner)
        return found

    def _marked(self, mark: Any, owner: Mapping[int, Mapping[str, str]]) -> Place | None:
        from sqlglot import exp

        parent = mark.find_ancestor(*comparisons())
        columns = list(parent.find_all(exp.Column)) if parent is not None else []
        if not columns or id(columns[0]) not in owner:
            return None
        part, own = operand(columns[0]), self._own(columns[0], owner[id(columns[0])])
        others = {id(column) for column in columns} - {id(column) for column in part.find_all(exp.Column)}
        if own is None or others or any(one is mark for one in part.find_all(exp.Placeholder)):
            return None
        is_whole = operand(mark).unnest() is mark
        key = (self._key(part, own) if is_whole else None) or own[1]
        return Place(own[0], key, _ending(parent, is_whole=is_whole))


def _column() -> Any:
    from sqlglot import exp

    return exp.Column


def _columns_of(key: str) -> frozenset[str]:
    """The columns of a table that a key of an index is made of."""
    return key.columns if isinstance(key, Expression) else frozenset({key})


def _ending(parent: Any, *, is_whole: bool) -> str | None:
    """What comes after the beginning of a text to make it a pattern; ``None`` if the whole is compared."""
    from sqlglot import exp

    if isinstance(parent, exp.StartsWith):
        return ""
    if not isinstance(parent, (exp.Like, exp.ILike, exp.Glob)):
        return None
    return ("*" if isinstance(parent, exp.Glob) else "%") if is_whole else ""


def _ordered_by_alias(scope: Any) -> Iterator[tuple[Any, bool]]:
    """What is behind the names of results that an ORDER BY uses."""
    from sqlglot import exp

    order = scope.expression.args.get("order")
    shown = {one.alias_or_name: one.unalias() for one in scope.expression.selects}
    for one in order.expressions if order is not None else ():
        part = shown.get(one.this.name) if isinstance(one.this, exp.Column) and not one.this.table else None
        if part is not None and not part.find(exp.AggFunc, exp.Query, exp.Window):
            yield part, bool(one.args.get("desc"))


def _place(part: Any, uses: Uses) -> list[str]:
    """The list of uses that what stands in a part belongs to."""
    from sqlglot import exp

    parent = part.parent
    if isinstance(parent, (exp.EQ, exp.In, exp.Is, exp.NullSafeEQ)):
        own = {id(column) for column in part.find_all(exp.Column)}
        is_joined = any(id(other) not in own for other in parent.find_all(exp.Column))
        return uses.joined if is_joined else uses.equal
    if isinstance(parent, (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between)):
        return uses.ranged
    if isinstance(parent, (exp.Ordered, exp.Group)):
        return uses.ordered
    if not isinstance(parent, compared()) or parent.this is not part or parent.args.get("negate"):
        return uses.shown
    return _matched(parent, uses)


def _matched(parent: Any, uses: Uses) -> list[str]:
    """Where what is compared with a pattern, or looked into, belongs to."""
    from sqlglot import exp

    if isinstance(parent, (exp.ArrayContainsAll, exp.ArrayOverlaps)):
        return uses.containing
    if isinstance(parent, exp.StartsWith):
        return uses.beginning
    first = parent.expression
    while isinstance(first, exp.Binary):
        first = first.this
    begins_with_any = isinstance(first, exp.Literal) and str(first.name).startswith(_ANYTHING)
    if begins_with_any or not isinstance(parent, (exp.Like, exp.Glob)):
        return uses.pattern
    return uses.ranged if isinstance(parent, exp.Glob) else uses.beginning


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
