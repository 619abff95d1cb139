"""EXPLAIN QUERY PLAN, in Holdfast's words. https://www.sqlite.org/eqp.html"""

from __future__ import annotations

import re
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.engines.base import Cursor, Run
from holdfast.engines.dialects import SQLITE
from holdfast.engines.names import quote_identifier, unquote_identifier
from holdfast.engines.plans import Explained, Kind, Rehearsal, Step, Ways
from holdfast.engines.sqltext import Token, first_word, tokens

_ACCESS = re.compile(
    r"(?P<verb>SCAN|SEARCH) (?P<table>.+?)"
    r"(?: USING (?P<temporary>AUTOMATIC )?(?:PARTIAL )?(?:COVERING )?INDEX(?: (?P<index>(?!\().+?))?"
    r"| USING INTEGER PRIMARY KEY| USING PRIMARY KEY| VIRTUAL TABLE INDEX .*?)?"
    r"(?: \((?P<by>[^()]*(?:\([^()]*\)[^()]*)*)\))?(?: LEFT-JOIN)?"
)
_FOR = re.compile(r"USE TEMP B-TREE FOR (?:(?:RIGHT|LAST).*? )?(ORDER BY|GROUP BY|DISTINCT)")
_AFTERWARDS: dict[str, Kind] = {"ORDER BY": "sort", "GROUP BY": "group", "DISTINCT": "distinct"}
_UNION = re.compile(r"COMPOUND QUERY|MERGE \(|MULTI-INDEX OR")
_PART = re.compile(r"INDEX \d+|LEFT|RIGHT|LEFT-MOST SUBQUERY|(?:UNION|INTERSECT|EXCEPT)\b.*")
_SUBQUERY = re.compile(r"(?:CO-ROUTINE|MATERIALIZE|(?:CORRELATED )?(?:SCALAR|LIST) SUBQUERY|REUSE)")
_BEFORE_TABLE = frozenset({"FROM", "JOIN", ",", "UPDATE", "INTO"})
_NAMES = frozenset({"word", "quoted"})
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE"})
_BATCH = 1000
_FAR = 5
_MOST_PLACES = 500
_STOPPED = re.compile(r'(?:near "(.*)": syntax error|unrecognized token: "(?=(.*)"))', re.DOTALL)
# LIKE makes no difference between A and a: https://www.sqlite.org/optoverview.html#the_like_optimization
WAYS = Ways("COLLATE NOCASE")
_Children = Mapping[int, Sequence[tuple[int, str]]]
_Names = Mapping[str, tuple[str, bool]]
"""By the name that a statement gives it, a table's own name and whether it is read under a WHERE."""


def home(run: Run) -> str:
    """The file itself; others may be attached."""
    return "main"


def explain(run: Run, sql: str, params: Sequence[Any], *, analyze: bool) -> Explained:
    """The plan of a statement in the driver's text; ``analyze`` runs it and says how long it took."""
    rows = run(f"EXPLAIN QUERY PLAN\n{sql}", params).fetchall()
    names = _named(sql)
    children: dict[int, list[tuple[int, str]]] = {}
    for number, parent, _, detail in rows:
        children.setdefault(parent, []).append((number, detail))
    step = _level(children, 0, names)
    if (verb := first_word(sql, SQLITE.lexicon)) in _WRITES:
        step = Step("write", verb, steps=(step,))
    text = "\n".join(_lines(children, 0, ""))
    if not analyze:
        return Explained(step, text)
    started = time.perf_counter()
    count = _read(run(sql, params))
    return Explained(step, text, time.perf_counter() - started, count)


def generic(run: Run, sql: str) -> Explained:
    """SQLite's planner does not look at values."""
    marks = sum(token.kind == "mark" for token in tokens(sql, SQLITE.lexicon))
    return explain(run, sql, (None,) * marks, analyze=False)


def seconds(run: Run, sql: str, params: Sequence[Any]) -> float:
    """It runs in this thread, whose time is that of nobody else."""
    started = time.thread_time()
    _read(run(sql, params))
    return time.thread_time() - started


@contextmanager
def rehearsal(raw: Any, tables: Sequence[str], most_rows: int) -> Iterator[Rehearsal]:
    """A copy of the file, which is another file: its locks are nobody's."""
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        copy = sqlite3.connect(Path(folder) / "copy.db", isolation_level=None)
        try:
            raw.backup(copy)
            copy.execute("PRAGMA synchronous = OFF")
            copy.execute(f"PRAGMA trusted_schema = {raw.execute('PRAGMA trusted_schema').fetchone()[0]}")

            def size() -> int:
                pages, free, page = (
                    int(copy.execute(f"PRAGMA {name}").fetchall()[0][0])
                    for name in ("page_count", "freelist_count", "page_size")
                )
                return (pages - free) * page

            def build(name: str, sql: str) -> None:
                copy.execute(sql)
                copy.execute(f"ANALYZE {quote_identifier(name)}")

            believed = _counted(copy)
            copy.execute("ANALYZE")
            true = _counted(copy)
            stale = (table for table in tables if _is_far(believed.get(table, {}), true.get(table, {})))
            yield Rehearsal(copy.execute, size, build, frozenset(stale))
        finally:
            copy.close()


def _counted(raw: sqlite3.Connection) -> dict[str, dict[str, list[int]]]:
    """By table and index, what ANALYZE counted: the rows, and those alike in its first columns."""
    if not raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'").fetchall():
        return {}
    found: dict[str, dict[str, list[int]]] = {}
    for table, index, numbers in raw.execute("SELECT tbl, idx, stat FROM sqlite_stat1"):
        own = [int(number) for number in str(numbers).split() if number.isdigit()]
        found.setdefault(str(table), {})[str(index)] = own
    return found


def _is_far(believed: Mapping[str, Sequence[int]], true: Mapping[str, Sequence[int]]) -> bool:
    return any(
        len(believed.get(index, ())) != len(numbers)
        or any(max(pair) > _FAR * max(min(pair), 1) for pair in zip(believed[index], numbers, strict=True))
        for index, numbers in true.items()
    )


def imagining(run: Run) -> None:
    """Its planner knows no index but what is there."""


def carry_out(run: Run, sql: str, index: str | None) -> None:
    """Nothing is left of what fails; the planner is told what is in a new index, or it guesses."""
    run(sql)
    if index is not None and first_word(sql, SQLITE.lexicon) == "CREATE":
        run(f"ANALYZE {quote_identifier(index)}")


def leftovers(run: Run) -> frozenset[str]:
    """What fails leaves nothing."""
    return frozenset()


def scans(run: Run) -> None:
    """It does not count them."""


def statistics(run: Run) -> None:
    """Nothing outlives the statements."""


def misread(exc: BaseException, sql: str) -> int | None:
    """It names the word at which it stopped; which one of those, that of the shortest text it stops in."""
    text = str(exc)
    if text == "incomplete input":
        return len(sql)
    found = _STOPPED.match(text)
    if found is None:
        return None
    word = found[1] or found[2]
    places = [token.start for token in tokens(sql, SQLITE.lexicon) if token.is_code]
    places = [at for at in places if sql.startswith(word, at)] or [sql.find(word)]
    if len(places) > _MOST_PLACES:
        return None
    with closing(sqlite3.connect(":memory:")) as raw:
        for at in places[:-1]:
            try:
                raw.execute(f"EXPLAIN {sql[: at + len(word)]}")
            except sqlite3.Error as other:
                if str(other) == text:
                    return at
    return places[-1] if places[-1] >= 0 else None


def _read(cursor: Cursor) -> int:
    count = max(cursor.rowcount, 0)
    if cursor.description is not None:
        while batch := cursor.fetchmany(_BATCH):
            count += len(batch)
    return count


def _lines(children: _Children, at: int, indent: str) -> list[str]:
    lines = []
    for number, detail in children.get(at, ()):
        lines += [indent + detail, *_lines(children, number, indent + "  ")]
    return lines


def _level(children: _Children, at: int, names: _Names) -> Step:
    """What stands side by side is a loop in a loop, and then what is done with its rows."""
    loops: list[Step] = []
    afterwards: list[tuple[Kind, str]] = []
    for number, detail in children.get(at, ()):
        if found := _FOR.match(detail):
            afterwards.append((_AFTERWARDS[found[1]], detail))
        else:
            step = _step(children, number, detail, names)
            inner = any(one.table is not None for one in loops) and step.table is not None
            loops.append(replace(step, is_repeated=True) if inner else step)
    step = loops[0] if len(loops) == 1 else Step("join" if loops else "other", "", steps=tuple(loops))
    for kind, native in afterwards:
        step = Step(kind, native, is_sorting=kind != "sort", steps=(step,))
    return step


def _step(children: _Children, at: int, detail: str, names: _Names) -> Step:
    if "CONSTANT ROW" in detail:
        return Step("values", detail)
    if _UNION.match(detail):
        parts = (_step(children, number, one, names) for number, one in children.get(at, ()))
        return Step("union", detail, steps=tuple(parts))
    below = (_level(children, at, names),) if at in children else ()
    if found := _ACCESS.fullmatch(detail):
        return replace(_access(found, names), steps=below)
    if _SUBQUERY.match(detail):
        return Step("subquery", detail, is_repeated="CORRELATED" in detail, steps=below)
    if len(below) == 1 and _PART.fullmatch(detail):
        return below[0]
    return Step("other", detail, steps=below)


def _access(found: re.Match[str], names: _Names) -> Step:
    given = unquote_identifier(found["table"])
    table, is_filtered = names.get(given.lower(), (given, None))
    kind: Kind = "search"
    if found["verb"] == "SCAN" and ("VIRTUAL TABLE" not in found[0] or found[0].endswith("INDEX 0:")):
        kind = "index scan" if found["index"] else "scan"
    return Step(
        kind,
        found[0],
        table,
        found["index"],
        found["by"],
        is_filtered=is_filtered,
        is_temporary_index=bool(found["temporary"]),
    )


def _named(sql: str) -> dict[str, tuple[str, bool]]:
    """The tables of a statement, as far as a look at its words can tell."""
    found: dict[str, tuple[str, bool]] = {}
    for scope in _scopes([token for token in tokens(sql, SQLITE.lexicon) if token.is_code]):
        is_filtered = _is_filtered([token.text.upper() for token in scope])
        ends = [None, None]
        for before, name, after, last in zip(
            scope, scope[1:], [*scope[2:], *ends], [*scope[3:], *ends], strict=False
        ):
            if before.text.upper() not in _BEFORE_TABLE or name.kind not in _NAMES:
                continue
            table = unquote_identifier(name.text)
            alias = last if after is not None and after.text.upper() == "AS" else after
            if alias is not None and alias.kind in _NAMES:
                found[unquote_identifier(alias.text).lower()] = table, is_filtered
            found.setdefault(table.lower(), (table, is_filtered))
    return found


def _is_filtered(words: Sequence[str]) -> bool:
    """Whether rows are compared with something, and not only asked whether others belong to them."""
    if "WHERE" not in words:
        return False
    after = words[words.index("WHERE") + 1 :]
    return not after or not set(after) <= {"NOT", "EXISTS"}


def _scopes(words: Sequence[Token]) -> Iterator[list[Token]]:
    """The words of each SELECT by itself, without those of the ones in it."""
    open_ones: list[list[Token]] = [[]]
    for word in words:
        if word.text == "(":
            open_ones.append([])
        elif word.text == ")" and len(open_ones) > 1:
            yield open_ones.pop()
        elif word.text.upper() in {"UNION", "INTERSECT", "EXCEPT"}:
            yield open_ones[-1]
            open_ones[-1] = []
        else:
            open_ones[-1].append(word)
    yield from open_ones
