"""How a statement is run, in the same words on every engine, with what makes it slow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Protocol, TypeVar

from holdfast.core.executor import Executor
from holdfast.core.preview import as_printed
from holdfast.core.query import Params, bound
from holdfast.core.transaction import Transaction
from holdfast.engines.base import Run
from holdfast.engines.names import legible, unquote_identifier
from holdfast.engines.plans import Explained, Step
from holdfast.engines.sqltext import first_word, tokens
from holdfast.errors import InvalidQuery
from holdfast.tuning.conditions import Conditions, conditions

MANY = 10_000
"""Fewer rows than this are read or sorted without a word."""
LACKS_INDEX = ("reads every row", "makes an index")
"""How what is said of a plan begins where an index would help."""
_WRONG = 10
HAVE_PLANS = frozenset(
    {"SELECT", "WITH", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"}
)


class _Recorded(Protocol):
    @property
    def sql(self) -> str: ...


_Told = TypeVar("_Told", bound=_Recorded)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a statement is run; ``print`` it.

    ``root`` is the step that gives the result, ``findings`` say in words what is slow and what would mend
    it, and ``text`` is what the engine itself says. ``seconds`` and ``rows`` are there if the statement was
    run.
    """

    root: Step
    findings: tuple[str, ...]
    text: str
    seconds: float | None
    rows: int | None

    def __str__(self) -> str:
        lines = list(_tree(self.root, 0))
        if self.seconds is not None:
            lines.append(f"{self.rows:,} rows in {self.seconds * 1000:,.1f} ms")
        return legible("\n".join([*lines, *(f"! {finding}" for finding in self.findings)]))

    def _repr_html_(self) -> str:
        return as_printed(self)


def explain(executor: Executor, sql: str, params: Params = None, *, analyze: bool = False) -> Plan:
    """The plan of a statement; with ``analyze`` it is run, and what it changed is taken back.

    Raises:
        InvalidQuery: for a statement that has no plan, such as CREATE TABLE.
    """
    native, values = bound(executor, sql, params)
    verb = first_word(sql, executor.engine.lexicon)
    if verb not in HAVE_PLANS:
        raise InvalidQuery(
            f"a statement that begins with {verb[:30] or 'nothing'} has no plan",
            hint=_meant(verb),
        )
    plans = executor.engine.plans
    asked = conditions(native, values, executor.engine.lexicon)
    return _planned(
        executor, lambda run: plans.explain(run, native, values, analyze=analyze), asked, reads=not analyze
    )


def _meant(verb: str) -> str:
    close = get_close_matches(verb, HAVE_PLANS, 1, cutoff=0.75)
    if close and close[0] != verb:
        return f"did you mean {close[0]}?"
    return "plans are of SELECT, INSERT, UPDATE, DELETE and MERGE, without EXPLAIN before them"


def generic(executor: Executor, native: str) -> Plan:
    """The plan of a statement in the driver's text, whatever its values are."""
    asked = conditions(native, (), executor.engine.lexicon)
    return _planned(executor, lambda run: executor.engine.plans.generic(run, native), asked)


def of_tables(executor: Executor, recorded: Iterable[_Told]) -> list[_Told]:
    """Those that are about rows of tables; a server counts all, its own affairs too."""
    lexicon = executor.engine.lexicon
    tables = {table.lower() for table in executor.engine.catalog.tables(executor.run)}

    def names_one(sql: str) -> bool:
        words = (unquote_identifier(token.text).lower() for token in tokens(sql, lexicon) if token.is_code)
        return any(word in tables for word in words)

    return [one for one in recorded if first_word(one.sql, lexicon) in HAVE_PLANS and names_one(one.sql)]


def outline(step: Step) -> str:
    """The steps in one line, those that rows come from after those that they go to."""
    return " < ".join(line.strip() for line in _tree(step, 0))


def _planned(
    executor: Executor, ask: Callable[[Run], Explained], asked: Conditions, *, reads: bool = True
) -> Plan:
    # What only asks for a plan takes no lock that a writer waits for.
    reads = reads and not executor.in_transaction
    try:
        with Transaction(executor, read_only=reads):
            found = ask(executor.send)
            findings = tuple(dict.fromkeys(_findings(executor, found, asked)))
            raise _Done
    except _Done:
        return Plan(found.step, findings, found.text, found.seconds, found.rows)


class _Done(Exception):
    """Ends the transaction, so that nothing the statement changed is kept."""


def _findings(executor: Executor, found: Explained, asked: Conditions) -> Iterator[str]:
    steps = list(_around(found.step))
    # What a LIMIT stops early says nothing of what was expected.
    is_cut = any(step.kind == "limit" for step in steps)
    tables = {name for name in {step.table for step in steps} if name is not None}
    sizes = {
        name: _size(executor, name) for name in tables & set(executor.engine.catalog.tables(executor.run))
    }
    for step in steps:
        size = sizes.get(step.table or "", 0)
        below = max((sizes.get(one.table or "", 0) for one in step.walk()), default=0)
        if step.table in sizes:
            yield from _told(_reads_all(step, size, _wanted(found, step), _advice(executor, step, asked)))
            yield from _told(_lacks_index(step))
        yield from _told(_drops(step), _pairs(step), _arranges(step, _rows_into(step, below)))
        if not is_cut:
            yield from _told(_misjudged(step))
    if asked.skipped >= MANY:
        yield "reads the rows before its OFFSET and drops them: paginate() goes on where the last page ended"


def _told(*findings: str | None) -> Iterator[str]:
    return (finding for finding in findings if finding is not None)


def _around(step: Step, is_repeated: bool = False) -> Iterator[Step]:
    """All steps from the top down; what is below a step that is repeated is repeated too."""
    is_repeated = is_repeated or step.is_repeated
    yield replace(step, is_repeated=is_repeated)
    for below in step.steps:
        yield from _around(below, is_repeated)


def _wanted(found: Explained, step: Step) -> float | None:
    """How many rows of a table were kept, or are expected to be; ``None`` where nobody says."""
    if step.rows is not None or step.estimate is not None:
        return step.rows if step.rows is not None else step.estimate
    return found.rows if step == found.step else None


def _advice(executor: Executor, step: Step, asked: Conditions) -> str | None:
    """What would find the rows of a table that is read whole; ``None`` for those that are not something."""
    assert step.table is not None
    own = {name.lower() for name in executor.describe(step.table).names}
    if not own & asked.plain:
        if anywhere := sorted(own & asked.anywhere):
            return (
                f"no plain index finds a pattern of {', '.join(anywhere)} that begins with anything; "
                "enable_search() finds words"
            )
        if computed := sorted(own & asked.computed):
            names = ", ".join(computed)
            return f"an index of what is computed of {names}, or comparing {names} itself, would find them"
        if own & asked.unequal:
            return None
    return "an index on the columns that the condition compares would find them"


def _size(executor: Executor, table: str) -> int:
    """About how many rows a table has: what the planner believes, or as many as are soon counted."""
    known = executor.engine.upkeep.rough_count(executor.run, table)
    if known is not None:
        return known
    quoted = executor.engine.quote(table)
    return int(executor.scalar(f"SELECT count(*) FROM (SELECT 1 FROM {quoted} LIMIT {MANY}) AS counted"))


def _rows_into(step: Step, below: int) -> float:
    """About how many rows come from below a step."""
    known = [one.rows if one.rows is not None else one.estimate for one in step.steps]
    return max((rows for rows in known if rows is not None), default=below)


def _reads_all(step: Step, size: int, wanted: float | None, advice: str | None) -> str | None:
    if step.kind not in ("scan", "index scan") or advice is None:
        return None
    read = max(size, (step.rows or 0) + (step.removed or 0))
    again = step.is_repeated if step.loops is None else step.loops > 1
    if read < MANY or not (step.is_filtered or again):
        return None
    # An index is no help in finding most of a table.
    if not again and wanted is not None and 2 * wanted >= read:
        return None
    kept = f" to keep {step.rows:,.0f} of them" if step.removed is not None and step.rows is not None else ""
    times = ""
    if again:
        times = f" {step.loops:,} times" if step.loops is not None else " again and again"
    about = "at least" if size == MANY else "about"
    return f"reads every row of {step.table} ({about} {size:,}){times}{kept}: {advice}"


def _drops(step: Step) -> str | None:
    """An index found rows of which most are not wanted; only who was run knows."""
    if step.kind != "search" or step.removed is None or step.rows is None or step.index is None:
        return None
    if step.removed < MANY or step.removed < step.rows:
        return None
    return (
        f"finds {step.rows + step.removed:,.0f} rows of {step.table} by {step.index} and drops "
        f"{step.removed:,.0f} of them again: an index with the other columns of the condition too would not"
    )


def _pairs(step: Step) -> str | None:
    """A join that holds each row of one side against each of the other."""
    if step.kind != "join" or not step.is_filtered or len(step.steps) != 2 or not step.is_nested:
        return None
    sides = [one.estimate if one.loops is None else (one.rows or 0) / max(one.loops, 1) for one in step.steps]
    if None in sides or (sides[0] or 0) * (sides[1] or 0) < MANY:
        return None
    return "compares every pair of rows of a join: an index on the columns that it compares would find them"


def _lacks_index(step: Step) -> str | None:
    if not step.is_temporary_index:
        return None
    columns = (step.by or "").replace("=?", "").replace(" AND ", ", ")
    return (
        f"makes an index on {step.table} ({columns}) for this statement alone, each time it is run: "
        "create_index() would keep one"
    )


def _arranges(step: Step, rows: float) -> str | None:
    """Rows that are sorted, or put together, only to be in an order."""
    by = f" by {step.by}" if step.by else ""
    if step.kind == "sort" and (rows >= MANY or step.is_on_disk):
        where, more = "", ""
        if step.is_on_disk:
            where, more = (
                ", on disk, because they are too many for its memory",
                "; more work_mem would keep them in memory",
            )
        return f"sorts about {rows:,.0f} rows{by}{where}: an index in that order would give them sorted{more}"
    if step.is_on_disk:
        return f"{step.kind} with more rows than fit into its memory, on disk: fewer rows, or more work_mem"
    if step.kind in ("group", "distinct") and step.is_sorting and rows >= MANY:
        doing = "groups" if step.kind == "group" else "makes distinct"
        return (
            f"{doing} about {rows:,.0f} rows by sorting them: an index in that order would give them sorted"
        )
    return None


def _misjudged(step: Step) -> str | None:
    if step.rows is None or step.estimate is None or not step.loops:
        return None
    each = step.rows / step.loops
    if max(each, step.estimate) < MANY or _WRONG * min(each, step.estimate) >= max(each, step.estimate):
        return None
    where = f" in {step.table}" if step.table else f" of a {step.kind}"
    unless = "" if step.table else ", if tables have changed since"
    return (
        f"expected {step.estimate:,.0f} rows{where} and found {each:,.0f}: "
        f"analyze() renews what it expects{unless}"
    )


def _tree(step: Step, depth: int) -> Iterator[str]:
    words: list[str] = [step.kind]
    if step.table is not None:
        words.append(step.table)
    if step.index is not None:
        words.append(f"by {step.index}")
    if step.by is not None:
        words.append(f"({step.by})")
    if step.is_temporary_index:
        words.append("by an index made for it")
    if step.rows is not None:
        words.append(f"- {step.rows:,.0f} rows")
    elif step.estimate is not None:
        words.append(f"- about {step.estimate:,.0f} rows")
    if step.seconds is not None:
        words.append(f"in {step.seconds * 1000:,.1f} ms")
    if step.kind == "other" and step.native:
        words[0] = step.native.lower()
    yield "  " * depth + " ".join(words)
    for below in step.steps:
        yield from _tree(below, depth + 1)
