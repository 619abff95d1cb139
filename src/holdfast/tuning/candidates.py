"""Indexes that a statement might use, read off its conditions and orders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.engines.sqltext import Lexicon, tokens
from holdfast.errors import InvalidQuery, MissingDependency

if TYPE_CHECKING:
    from sqlglot import exp

Place = tuple[str, str]
"""A table and one of its columns."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An index that might help."""

    table: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parsed:
    """The candidates of a statement, and the SELECT that shows how its rows are found.

    ``marks`` has, by the name that each mark has there, what it is compared with, ``None`` if that is not
    known.
    """

    candidates: tuple[Candidate, ...]
    sql: str
    marks: Mapping[str, Place | None]


@dataclass(slots=True)
class _Uses:
    """What one SELECT does with the columns of one table."""

    equal: list[str]
    ranged: list[str]
    joined: list[str]
    ordered: list[str]
    shown: list[str]


MOST_COLUMNS = 4


def parsed(sql: str, lexicon: Lexicon, dialect: str, schema: Mapping[str, Sequence[str]]) -> Parsed:
    """What indexes might help a statement in the driver's text.

    Raises:
        InvalidQuery: if sqlglot cannot read it.
        MissingDependency: without the extra ``tuning``.
    """
    try:
        import sqlglot
        from sqlglot.errors import SqlglotError
        from sqlglot.optimizer.qualify import qualify
        from sqlglot.optimizer.scope import traverse_scope
    except ImportError as exc:
        raise MissingDependency("sqlglot", "tuning") from exc
    known: dict[str, object] = {table: dict.fromkeys(columns, "unknown") for table, columns in schema.items()}
    try:
        select = _select(sqlglot.parse_one(_named(sql, lexicon), dialect=dialect))
        # Anything else would be run on the copy, be it COMMIT.
        if not isinstance(select, sqlglot.exp.Query):
            raise InvalidQuery("it looks for no rows")
        tree: Any = qualify(
            select.copy(),
            schema=known,
            dialect=dialect,
            validate_qualify_columns=False,
            quote_identifiers=False,
        )
        scopes = traverse_scope(tree)
    except SqlglotError as exc:
        raise InvalidQuery("sqlglot cannot read the statement") from exc
    found: dict[Candidate, None] = {}
    for scope in scopes:
        names = {
            alias: source.name
            for alias, source in scope.sources.items()
            if isinstance(source, sqlglot.exp.Table) and source.name in schema
        }
        shows_all = select.find(sqlglot.exp.Star) is not None
        for table, uses in _uses(scope.columns, names).items():
            found |= dict.fromkeys(_from(table, uses, shows_all))
    return Parsed(tuple(found), select.transform(_as_mark).sql(dialect=dialect), _marks(tree, scopes))


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
    """What an UPDATE or DELETE looks for, as a SELECT."""
    from sqlglot import exp

    if isinstance(tree, (exp.Update, exp.Delete)) and isinstance(tree.this, exp.Table):
        where = tree.args.get("where")
        select = exp.select("*").from_(tree.this.copy())
        return select.where(where.this.copy()) if where is not None else select
    if isinstance(tree, exp.Insert) and isinstance(tree.expression, exp.Query):
        return tree.expression
    return tree


def _uses(columns: Iterable[exp.Column], names: Mapping[str, str]) -> dict[str, _Uses]:
    from sqlglot import exp

    found: dict[str, _Uses] = {}
    for column in columns:
        if column.table not in names:
            continue
        uses = found.setdefault(names[column.table], _Uses([], [], [], [], []))
        parent = column.parent
        place = uses.shown
        if isinstance(parent, (exp.EQ, exp.In, exp.Is, exp.NullSafeEQ)):
            others = parent.find_all(exp.Column)
            place = uses.joined if any(other is not column for other in others) else uses.equal
        elif isinstance(parent, (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.Like)):
            place = uses.ranged
        elif isinstance(parent, (exp.Ordered, exp.Group)):
            place = uses.ordered
        if column.name not in place:
            place.append(column.name)
    return found


def _from(table: str, uses: _Uses, shows_all: bool) -> list[Candidate]:
    """Equal columns first, then one that is ordered or ranged: an index is read from the left."""
    equal = uses.equal[:MOST_COLUMNS]
    keys = [*equal, *(name for name in uses.joined if name not in equal)]
    wanted = [
        equal,
        [*equal, *uses.ranged[:1]],
        [*equal, *uses.ordered],
        uses.joined[:1],
        [*uses.joined[:1], *equal],
        uses.ranged[:1],
        uses.ordered,
        *([name] for name in keys),
    ]
    used = list(dict.fromkeys([*keys, *uses.ranged[:1], *uses.ordered, *uses.shown]))
    # An index with all that is asked for spares the look into the table.
    if len(used) <= MOST_COLUMNS and not shows_all:
        wanted.append(used)
    unique = dict.fromkeys(tuple(dict.fromkeys(columns))[:MOST_COLUMNS] for columns in wanted)
    return [Candidate(table, columns) for columns in unique if columns]


def _marks(tree: Any, scopes: Sequence[Any]) -> dict[str, Place | None]:
    from sqlglot import exp

    tables = {
        (id(scope), alias): source.name
        for scope in scopes
        for alias, source in scope.sources.items()
        if isinstance(source, exp.Table)
    }
    owner = {id(column): scope for scope in scopes for column in scope.columns}
    found: dict[str, Place | None] = {}
    for mark in tree.find_all(exp.Placeholder):
        name = str(mark.name)
        parent = mark.find_ancestor(exp.Predicate, exp.Binary)
        columns = list(parent.find_all(exp.Column)) if parent is not None else []
        place = None
        if len(columns) == 1 and id(columns[0]) in owner:
            scope = owner[id(columns[0])]
            table = tables.get((id(scope), columns[0].table))
            place = (table, columns[0].name) if table else None
        found[name] = found.get(name) or place
    return found
