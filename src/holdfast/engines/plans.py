"""Plans of statements in words that mean the same on every engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from holdfast.engines.base import Run

Kind = Literal[
    "scan",
    "index scan",
    "search",
    "join",
    "sort",
    "group",
    "distinct",
    "union",
    "limit",
    "subquery",
    "write",
    "values",
    "other",
]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan, and the steps that it takes its rows from.

    A ``scan`` reads every row of a table, an ``index scan`` every entry of an index, in its order; a
    ``search`` finds rows by an index. ``by`` is what it finds, joins or sorts them by, without any value.
    ``estimate`` is how many rows the planner expects each time, ``rows`` how many there were in ``loops``
    runs together, ``removed`` how many of those read were dropped again, ``seconds`` how long it took with
    all that is below it; they are ``None`` where the engine does not say.
    """

    kind: Kind
    native: str
    table: str | None = None
    index: str | None = None
    by: str | None = None
    estimate: float | None = None
    rows: float | None = None
    removed: float | None = None
    loops: int | None = None
    seconds: float | None = None
    is_filtered: bool | None = None
    "Whether rows that were read are dropped again; ``None`` where the engine does not say."
    is_repeated: bool = False
    "Run again for every row of what is around it."
    is_temporary_index: bool = False
    "The index is made for this one statement."
    is_nested: bool = False
    "A join that runs one side for each row of the other."
    is_sorting: bool = False
    "Rows are grouped, or made distinct, by sorting them first."
    is_on_disk: bool = False
    "It had more rows than fit into the memory that it may use."
    steps: tuple[Step, ...] = ()

    def walk(self) -> list[Step]:
        """This step and all below it, from the top down."""
        return [self, *(below for step in self.steps for below in step.walk())]


@dataclass(frozen=True, slots=True)
class Explained:
    """What an engine says of a statement: its plan, and its own text.

    ``seconds`` and ``rows`` are those of the whole statement where it was run.
    """

    step: Step
    text: str
    seconds: float | None = None
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A copy of some tables: what runs a statement there, and how many bytes it has.

    ``build`` makes an index by its name and its CREATE INDEX, so that the planner knows what is in it.
    ``stale`` are the tables of which the planner of the database itself believes what is far from true.
    """

    run: Run
    size: Callable[[], int]
    build: Callable[[str, str], None]
    stale: frozenset[str]


@dataclass(frozen=True, slots=True)
class Ways:
    """What the keys of an index are for what a plain column is no help with.

    ``beginning`` is written after a key that is compared with the beginning of a text, ``contains`` are the
    methods and what is written after it for what is in an array or a document, and ``pattern`` those for a
    pattern that begins with anything, which need ``extension``. Empty where there are none. ``elsewhere``
    is how to have the tables of another schema looked at.
    """

    beginning: str
    contains: tuple[tuple[str, str], ...] = ()
    pattern: tuple[tuple[str, str], ...] = ()
    extension: str | None = None
    elsewhere: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a server counted of a statement: its calls, the seconds of all and of the worst, the rows."""

    sql: str
    calls: int
    total: float
    worst: float
    rows: int


Imagine = Callable[[str], AbstractContextManager[str]]
"""Has the planner take an index for real in the block, by its CREATE INDEX; gives its name in plans."""


class Plans(Protocol):
    """How a statement will be run, or was."""

    @property
    def WAYS(self) -> Ways:  # noqa: N802
        """The keys of indexes that are not plain columns."""
        ...

    def home(self, run: Run) -> str:
        """The schema whose tables are meant where none is named."""
        ...

    def explain(self, run: Run, sql: str, params: Sequence[Any], *, analyze: bool) -> Explained: ...
    def generic(self, run: Run, sql: str) -> Explained:
        """The plan whatever the values of its marks are; in a transaction that is taken back."""
        ...

    def seconds(self, run: Run, sql: str, params: Sequence[Any]) -> float:
        """How long a query takes, as near to the engine as can be had."""
        ...

    def misread(self, exc: BaseException, sql: str) -> int | None:
        """Where in a statement the engine stopped understanding it, if that was what is wrong."""
        ...

    def rehearsal(self, raw: Any, tables: Sequence[str], most_rows: int) -> AbstractContextManager[Rehearsal]:
        """A copy of the tables, at most so many rows of each, that nobody else sees.

        Statements find the copy by the tables' own names, and its indexes by theirs; indexes may be made
        and dropped there. ``raw`` is in no transaction.
        """
        ...

    def imagining(self, run: Run) -> Imagine | None:
        """What makes an index that is none, where the database can."""
        ...

    def carry_out(self, run: Run, sql: str, index: str | None) -> None:
        """Run a CREATE INDEX or another one's advice; what a failed try left of ``index`` is removed."""
        ...

    def leftovers(self, run: Run) -> frozenset[str]:
        """Indexes that are of no use, because their building failed or was killed."""
        ...

    def scans(self, run: Run) -> dict[str, int] | None:
        """How often each index was used by anybody, where that is counted."""
        ...

    def statistics(self, run: Run) -> list[Counted] | None:
        """What the server knows of each statement; ``None`` where the engine counts none."""
        ...
