"""How a statement is run, in the same words on every engine, with what makes it slow."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from holdfast.core.executor import Executor
from holdfast.core.query import Params, bound
from holdfast.core.transaction import Transaction
from holdfast.engines.base import Run
from holdfast.engines.plans import Explained, Step
from holdfast.engines.sqltext import first_word
from holdfast.errors import InvalidQuery

MANY = 10_000
"""Fewer rows than this are read or sorted without a word."""
_WRONG = 10
_HAVE_PLANS = frozenset(
    {"SELECT", "WITH", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"}
)


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
        return "\n".join([*lines, *(f"! {finding}" for finding in self.findings)])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def explain(executor: Executor, sql: str, params: Params = None, *, analyze: bool = False) -> Plan:
    """The plan of a statement; with ``analyze`` it is run, and what it changed is taken back.

    Raises:
        InvalidQuery: for a statement that has no plan, such as CREATE TABLE.
    """
    native, values = bound(executor, sql, params)
    verb = first_word(sql, executor.engine.lexicon)
    if verb not in _HAVE_PLANS:
        raise InvalidQuery(
            f"a statement that begins with {verb[:30] or 'nothing'} has no plan",
            hint=_meant(verb),
        )
    plans = executor.engine.plans
    return _planned(
        executor, lambda run: plans.explain(run, native, values, analyze=analyze), reads=not analyze
    )


def _meant(verb: str) -> str:
    close = get_close_matches(verb, _HAVE_PLANS, 1, cutoff=0.75)
    if close and close[0] != verb:
        return f"did you mean {close[0]}?"
    return "plans are of SELECT, INSERT, UPDATE, DELETE and MERGE, without EXPLAIN before them"


def generic(executor: Executor, native: str) -> Plan:
    """The plan of a statement in the driver's text, whatever its values are."""
    return _planned(executor, lambda run: executor.engine.plans.generic(run, native))


def outline(step: Step) -> str:
    """The steps in one line, those that rows come from after those that they go to."""
    return " < ".join(line.strip() for line in _tree(step, 0))


def _planned(executor: Executor, ask: Callable[[Run], Explained], *, reads: bool = True) -> Plan:
    # What only asks for a plan takes no lock that a writer waits for.
    reads = reads and not executor.in_transaction
    try:
        with Transaction(executor, read_only=reads):
            found = ask(executor.send)
            findings = tuple(_findings(executor, found.step))
            raise _Done
    except _Done:
        return Plan(found.step, findings, found.text, found.seconds, found.rows)


class _Done(Exception):
    """Ends the transaction, so that nothing the statement changed is kept."""


def _findings(executor: Executor, root: Step) -> Iterator[str]:
    said = set()
    steps = root.walk()
    # What a LIMIT stops early says nothing of what was expected.
    is_cut = any(step.kind == "limit" for step in steps)
    sizes = {name: _size(executor, name) for name in {step.table for step in steps} if name is not None}
    for step in steps:
        size = sizes.get(step.table or "", 0)
        below = max((sizes.get(one.table or "", 0) for one in step.walk()), default=0)
        for finding in (
            _reads_all(step, size),
            _lacks_index(step),
            _sorts(step, _rows_into(step, below)),
            None if is_cut else _misjudged(step),
        ):
            if finding is not None and finding not in said:
                said.add(finding)
                yield finding


def _size(executor: Executor, table: str) -> int:
    """About how many rows a table has: what the planner believes, or as many as are soon counted."""
    if table not in executor.engine.catalog.tables(executor.run):
        return 0
    known = executor.engine.upkeep.rough_count(executor.run, table)
    if known is not None:
        return known
    quoted = executor.engine.quote(table)
    return int(executor.scalar(f"SELECT count(*) FROM (SELECT 1 FROM {quoted} LIMIT {MANY}) AS counted"))


def _rows_into(step: Step, below: int) -> float:
    """About how many rows come from below a step."""
    known = [one.rows if one.rows is not None else one.estimate for one in step.steps]
    return max((rows for rows in known if rows is not None), default=below)


def _reads_all(step: Step, size: int) -> str | None:
    if step.kind not in ("scan", "index scan") or step.table is None:
        return None
    read = max(size, (step.rows or 0) + (step.removed or 0))
    again = (step.loops or 1) > 1 or step.is_repeated
    if read < MANY or not (step.is_filtered or again):
        return None
    kept, times = "", ""
    if step.removed is not None and step.rows is not None:
        if step.removed < step.rows:
            return None
        kept = f" to keep {step.rows:,.0f} of them"
    if again:
        times = f" {step.loops:,} times" if (step.loops or 1) > 1 else " again and again"
    about = "at least" if size == MANY else "about"
    return (
        f"reads every row of {step.table} ({about} {size:,}){times}{kept}: an index on the columns that the "
        "condition compares would find them"
    )


def _lacks_index(step: Step) -> str | None:
    if not step.is_temporary_index:
        return None
    columns = (step.by or "").replace("=?", "").replace(" AND ", ", ")
    return (
        f"makes an index on {step.table} ({columns}) for this statement alone, each time it is run: "
        "create_index() would keep one"
    )


def _sorts(step: Step, rows: float) -> str | None:
    if step.is_on_disk:
        return f"{step.kind} with more rows than fit into its memory, on disk: fewer rows, or more work_mem"
    if step.kind != "sort" or rows < MANY:
        return None
    by = f" by {step.by}" if step.by else ""
    return f"sorts about {rows:,.0f} rows{by}: an index in that order would give them sorted"


def _misjudged(step: Step) -> str | None:
    if step.rows is None or step.estimate is None or not step.loops:
        return None
    each = step.rows / step.loops
    if max(each, step.estimate) < MANY or _WRONG * min(each, step.estimate) >= max(each, step.estimate):
        return None
    where = f" in {step.table}" if step.table else ""
    return (
        f"expected {step.estimate:,.0f} rows{where} and found {each:,.0f}: analyze() renews what it expects"
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
