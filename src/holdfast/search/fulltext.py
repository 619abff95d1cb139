"""Searching the text of a table by words: what is asked for, which rows match, and where in them."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from holdfast.core.executor import Executor
from holdfast.core.rows import count_argument, reading_of
from holdfast.core.schema import altering
from holdfast.core.where import Params, Where, condition, order_sql, orders
from holdfast.engines.base import TableInfo
from holdfast.engines.searching import Marked, Matching, SearchIndex, Term
from holdfast.engines.words import WORD
from holdfast.errors import ColumnNotFound, InvalidQuery, SchemaError, did_you_mean

# What every PostgreSQL from 14 on can stem, and "simple", which takes words as they are.
LANGUAGES = (
    *("english", "simple", "arabic", "armenian", "basque", "catalan", "danish", "dutch", "finnish", "french"),
    *("german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali"),
    *("norwegian", "portuguese", "romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish"),
    "yiddish",
)
# PostgreSQL leaves longer words out of its index; so nobody finds one.
LONGEST_WORD = 500
MOST_WORDS = 1000
SNIPPET, LEAD = 200, 60
_TERM = re.compile(r'(?:(?<!\S)(-)(?=\S))?(?:"([^"]*)"(\*)?|([^\s"]+))')


def enable(executor: Executor, table: str, columns: str | Sequence[str], language: str = "english") -> None:
    """Make a table searchable by the words of its text columns, or change by which."""
    info = executor.describe(table)
    if info.is_view:
        raise InvalidQuery(f"{table!r} is a view, which keeps no text of its own", hint="search its tables")
    names = _text_columns(info, columns)
    if not isinstance(language, str) or language.lower() not in LANGUAGES:
        raise InvalidQuery(
            f"unknown language {language!r}", hint=did_you_mean(str(language), LANGUAGES, "languages")
        )
    fulltext = executor.engine.fulltext
    found = fulltext.find(executor.run, table)
    if found is not None and (found.columns, found.language) == (names, language.lower()):
        return
    with altering(executor) as run:
        fulltext.drop(run, table)
        fulltext.create(run, info, names, language.lower())


def _text_columns(info: TableInfo, columns: str | Sequence[str]) -> tuple[str, ...]:
    given = [columns] if isinstance(columns, str) else list(columns)
    if not given:
        raise InvalidQuery("a search needs at least one column", hint=f"columns: {', '.join(info.names)}")
    for name in given:
        if not isinstance(name, str):
            raise ColumnNotFound(f"a column's name is a text, not {type(name).__name__}")
        column = info.column(name)
        if column.codec.kind.name != "text":
            texts = [each.name for each in info.columns if each.codec.kind.name == "text"]
            raise InvalidQuery(
                f"{info.name}.{name} is {column.type}, and only text can be searched",
                hint=f"text columns: {', '.join(texts) or 'none'}",
            )
    return tuple(name for name in info.names if name in given)


def disable(executor: Executor, table: str) -> None:
    """Take the search off a table; without one, do nothing."""
    executor.describe(table)
    if executor.engine.fulltext.find(executor.run, table) is not None:
        with altering(executor) as run:
            executor.engine.fulltext.drop(run, table)


def search(
    executor: Executor,
    table: str,
    text: str,
    limit: int | None = 20,
    where: Where = None,
    params: Params = None,
) -> list[dict[str, Any]]:
    """The rows that hold all that ``text`` asks for, the best first."""
    info = executor.describe(table)
    index = _enabled(executor, info)
    terms = parse(text)
    least = None if limit is None else count_argument("limit", limit)
    condition_text, values = condition(executor, info, where, params)
    wanted = [term for term in terms if not term.is_excluded]
    if not wanted or any(len(word) > LONGEST_WORD for term in wanted for word in term.words):
        return []
    matching = executor.engine.fulltext.matching
    # One more shows whether it would have done as well as the last.
    more = None if least is None else least + 1
    parts = matching(index, terms, None if condition_text else more)
    tuples = _found(executor, info, parts, condition_text, values, more)
    if parts.is_cut and not _is_settled(tuples, least, parts):
        tuples = _found(executor, info, matching(index, terms), condition_text, values, least)
    tuples = tuples[:least]
    rows = reading_of(executor, info).rows([found[:-1] for found in tuples])
    if not rows:
        return []
    marked = executor.engine.fulltext.marked(executor.run, index, wanted, rows)
    for row, found, texts in zip(rows, tuples, marked, strict=True):
        # A column of the table keeps its name and its value.
        row["search_score" if "score" in info.names else "score"] = float(found[-1])
        row["search_snippet" if "snippet" in info.names else "snippet"] = snippet(texts)
    return rows


def _is_settled(tuples: list[Any], least: int | None, parts: Matching) -> bool:
    """Whether the first ``least`` of a cut answer are those of the whole one."""
    if not least or len(tuples) <= least:
        return least == 0
    return parts.is_by_key or bool(tuples[least - 1][-1] != tuples[least][-1])


def _found(
    executor: Executor,
    info: TableInfo,
    parts: Matching,
    condition_text: str,
    values: Sequence[Any],
    least: int | None,
) -> list[Any]:
    """The rows that match and satisfy the condition, their scores last, the best first."""
    plan = reading_of(executor, info)
    sql = f"SELECT {plan.listing}, {parts.score[0]} FROM {parts.source[0]} WHERE {parts.condition[0]}"
    given = [*parts.score[1], *parts.source[1], *parts.condition[1], *values]
    sql += f" AND ({condition_text})" if condition_text else ""
    sql += f" ORDER BY {len(plan.columns) + 1} DESC{_ties(executor, info)}"
    if least is not None:
        sql += " LIMIT ?"
        given.append(least)
    return executor.rows(sql, given)


def _ties(executor: Executor, info: TableInfo) -> str:
    if info.primary_key:
        return ", " + order_sql(executor, info, orders(executor, info, list(info.primary_key)))
    return "".join(f", {each}" for each in executor.engine.upkeep.row_locator(executor.run, info))


def _enabled(executor: Executor, info: TableInfo) -> SearchIndex:
    index = executor.engine.fulltext.find(executor.run, info.name)
    if index is None:
        texts = [column.name for column in info.columns if column.codec.kind.name == "text"]
        raise SchemaError(
            f"the search of {info.name!r} is not enabled",
            hint=f"db.enable_search({info.name!r}, [{', '.join(map(repr, texts))}])",
        )
    return index


def parse(text: str) -> list[Term]:
    """What a text asks for: words, ``"phrases"``, ``begin*`` and ``-excluded``; any text means something.

    >>> parse('gpt-4 "new york" micro* -old')[0]
    Term(words=('gpt', '4'), is_prefix=False, is_excluded=False)
    """
    if not isinstance(text, str):
        raise InvalidQuery(f"a search is a text, not {type(text).__name__}")
    terms = []
    for found in _TERM.finditer(text):
        minus, phrase, star, plain = found.groups()
        words = tuple(WORD.findall(plain if phrase is None else phrase))
        if words:
            terms.append(Term(words, bool(star) or (plain or "").endswith("*"), bool(minus)))
    if sum(len(term.words) for term in terms) > MOST_WORDS:
        raise InvalidQuery(f"a search takes at most {MOST_WORDS} words", hint="search for the telling ones")
    return [
        term
        for term in terms
        if not (term.is_excluded and any(len(word) > LONGEST_WORD for word in term.words))
    ]


def snippet(texts: Sequence[Marked]) -> str:
    """The part of a row's text with the most matching words in it, which are marked ``**so**``."""
    best, text, spans, start = -1, "", [], 0
    for candidate, found in texts:
        ends = [end for _, end in found]
        for number, (first, _) in enumerate(found or [(0, 0)]):
            begin = _begin(candidate, first)
            inside = bisect_right(ends, begin + SNIPPET) - number if found else 0
            if inside > best:
                best, text, spans, start = inside, candidate, found, begin
    end = _end(text, start, max((last for _, last in spans if last <= start + SNIPPET), default=start))
    parts, at = ["…" if start else ""], start
    for first, last in spans:
        if first >= start and last <= end:
            parts += [text[at:first], "**", text[first:last], "**"]
            at = last
    parts += [text[at:end], "…" if end < len(text) else ""]
    return " ".join("".join(parts).split())


def _begin(text: str, first: int) -> int:
    """Where a snippet begins that leads up to a match: at the start of the text, or after a blank."""
    if first <= LEAD:
        return 0
    blank = text.find(" ", first - LEAD, first)
    return blank + 1 if blank >= 0 else first


def _end(text: str, start: int, least: int) -> int:
    if len(text) <= start + SNIPPET:
        return len(text)
    blank = text.rfind(" ", max(start, least), start + SNIPPET)
    return blank if blank >= 0 else max(start + SNIPPET, least)
