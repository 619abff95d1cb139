"""Indexes that what a statement does with the columns of a table might be served by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from holdfast.engines.names import quote_identifier
from holdfast.engines.plans import Ways
from holdfast.tuning.expressions import Expression

MOST_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """An index that might help.

    Its ``columns`` may be expressions; ``descending`` are those that go down, ``include`` those that it holds
    besides. ``where`` is the condition of a partial one; ``category`` is the column that is compared with a
    value there, which makes sense only if it has few of them. ``method`` is its kind, if not a B-tree, and
    ``extension`` what that comes from.
    """

    table: str
    columns: tuple[str, ...]
    descending: frozenset[str] = frozenset()
    include: tuple[str, ...] = ()
    where: str | None = None
    category: str | None = None
    method: str | None = None
    extension: str | None = None

    @property
    def reads(self) -> frozenset[str]:
        """The columns of the table that its entries are made of."""
        keys = (key.columns if isinstance(key, Expression) else {key} for key in self.columns)
        return frozenset(chain(self.include, *keys))


@dataclass(slots=True)
class Uses:
    """What one SELECT does with the columns of one table."""

    equal: list[str] = field(default_factory=list)
    ranged: list[str] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    ordered: list[str] = field(default_factory=list)
    descending: set[str] = field(default_factory=set)
    shown: list[str] = field(default_factory=list)
    beginning: list[str] = field(default_factory=list)
    "Compared with the beginning of a text."
    pattern: list[str] = field(default_factory=list)
    "Compared with a pattern that begins with anything."
    containing: list[str] = field(default_factory=list)
    terms: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """Conditions that hold no mark: their column, and whether they compare it with a value."""

    def without(self, column: str) -> Uses:
        def left(names: list[str]) -> list[str]:
            return [name for name in names if name != column]

        return Uses(
            left(self.equal),
            left(self.ranged),
            left(self.joined),
            left(self.ordered),
            self.descending,
            self.shown,
            left(self.beginning),
        )


def candidates(table: str, uses: Uses, ways: Ways, *, shows_all: bool) -> Iterator[Candidate]:
    """Those that might help; which of them do, a trial shows."""
    yield from _full(table, uses, shows_all)
    yield from _inverted(table, uses, ways)
    for text, (column, is_value) in uses.terms.items():
        rest = list(_full(table, uses.without(column), shows_all=True))
        for one in rest or [Candidate(table, (column,))]:
            category = column if is_value else None
            yield Candidate(table, one.columns, one.descending, one.include, text, category)


def _inverted(table: str, uses: Uses, ways: Ways) -> Iterator[Candidate]:
    """Indexes of what is within a value."""
    for keys, kinds, extension in (
        (uses.containing, ways.contains, None),
        (uses.pattern, ways.pattern, ways.extension),
    ):
        for key in keys:
            for method, name in kinds:
                yield Candidate(table, (classed(key, name),), method=method, extension=extension)


def classed(key: str, name: str) -> Expression:
    """A key with a collation or an operator class."""
    whole = key if isinstance(key, Expression) else Expression(quote_identifier(key), {key})
    return whole.of_class(name) if name else whole


def _full(table: str, uses: Uses, shows_all: bool) -> Iterator[Candidate]:
    """Equal columns first, then one that is ordered or ranged: an index is read from the left."""
    used = list(dict.fromkeys(chain(uses.equal, uses.joined, uses.ranged, uses.ordered, uses.shown)))
    # What is computed is not read off an index that could compute it.
    shows_all = shows_all or any(isinstance(key, Expression) for key in used)
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


def _keys(uses: Uses) -> Iterable[tuple[str, ...]]:
    equal, joined = uses.equal[:MOST_COLUMNS], uses.joined
    # Any of them may come first, which is of use to other statements.
    turned = [[first, *(name for name in equal if name != first)] for first in equal]
    wanted: list[list[str]] = []
    for front in [*turned, *([*joined[:1], *one] for one in turned), *([one, *equal] for one in joined[:2])]:
        wanted += [front, [*front, *uses.ranged[:1]], [*front, *uses.beginning[:1]], [*front, *uses.ordered]]
    wanted += [uses.ranged[:1], uses.ordered, [*uses.ordered, *uses.ranged[:1]]]
    wanted += [[name] for name in [*equal, *joined, *uses.ranged, *uses.beginning]]
    return dict.fromkeys(tuple(dict.fromkeys(one))[:MOST_COLUMNS] for one in wanted if one)
