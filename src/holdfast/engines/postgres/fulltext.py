"""Full-text search on PostgreSQL: a GIN index on an expression, so that the table stays as it was.

Text is cut into words by ``engines/words.py`` before PostgreSQL's own parser sees it. In languages that are
searched alike on both engines, each word goes in with an ``x`` before it: to the parser it is then a plain
word whatever it was ("4", "1e5"), to the dictionary no stop word ("the", "who"), and for the stemmer, which
works at the end of a word, the same word as before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from holdfast.engines.base import Run, TableInfo
from holdfast.engines.names import MAX_BYTES
from holdfast.engines.names import quote_identifier as quote
from holdfast.engines.searching import Marked, Matching, SearchIndex, Term
from holdfast.engines.words import WORD, separator_class

PREFIX = "hf_search_"
# A tsvector holds a megabyte: more text could make the row's own INSERT fail.
LONGEST_TEXT = 250_000
# Stands between two columns, so that no phrase is found across.
_BETWEEN = "zqzqz"
_ALIKE = frozenset({"english", "simple"})
# A database in the C locale has no lower case beyond ASCII; one of these collations knows it.
_COLLATIONS = ("default", "pg_c_utf8", "und-x-icu", "C.utf8")


def find(run: Run, table: str) -> SearchIndex | None:
    """The search of a table, read from its index."""
    found = run(
        "SELECT c.relname::text, pg_get_expr(i.indexprs, i.indrelid), "
        "ARRAY(SELECT a.attname::text FROM pg_attribute AS a WHERE a.attrelid = i.indrelid "
        "AND EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass "
        "AND d.objid = i.indexrelid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid "
        "AND d.refobjsubid = a.attnum) ORDER BY a.attnum) "
        "FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid "
        "WHERE i.indrelid = to_regclass(?) AND left(c.relname::text, 10) = 'hf_search_' "
        "AND i.indexprs IS NOT NULL ORDER BY 1",
        (quote(table),),
    ).fetchall()
    for name, expression, columns in found:
        language = re.match(r"to_tsvector\('(\w+)'::regconfig", expression)
        if language:
            return SearchIndex(table, tuple(columns), language[1], name, expression=expression)
    return None


def create(run: Run, info: TableInfo, columns: Sequence[str], language: str) -> None:
    """Make the index."""
    collation = _collation(run)
    between = f" || ' {_BETWEEN} ' || "
    text = between.join(_words(f"coalesce({quote(c)}, '')", collation, language) for c in columns)
    sql = f"CREATE INDEX {quote(_free_name(run, info.name))} ON {quote(info.name)} USING gin "
    run(f"{sql}(to_tsvector('{language}'::regconfig, left({text}, {LONGEST_TEXT})))")


def _collation(run: Run) -> str:
    known = run(
        "SELECT collname::text FROM pg_collation WHERE collname = ANY(?::text[])", (list(_COLLATIONS),)
    )
    names = {name for (name,) in known.fetchall()}
    for name in _COLLATIONS:
        if name in names and run(f"SELECT lower('É' COLLATE {quote(name)}) = 'é'").fetchall()[0][0]:
            return name
    return "default"


def _free_name(run: Run, table: str) -> str:
    for number in count(1):
        end = f"_{number}" if number > 1 else ""
        name = (PREFIX + table).encode()[: MAX_BYTES - len(end)].decode(errors="ignore") + end
        if not run("SELECT 1 WHERE to_regclass(?) IS NOT NULL", (quote(name),)).fetchall():
            return name
    raise AssertionError


def _words(text: str, collation: str, language: str) -> str:
    """SQL for the words of ``text``, in lower case and one blank apart."""
    start = _start(language)
    lowered = f"lower(({text})::text COLLATE {quote(collation)})"
    words = f"regexp_replace({lowered}, '{separator_class()}+', ' {start}', 'g')"
    return f"'{start}' || {words}" if start else words


def _start(language: str) -> str:
    return "x" if language in _ALIKE else ""


def drop(run: Run, table: str) -> None:
    """Take the search off a table, if it has one."""
    index = find(run, table)
    if index is not None:
        run(f"DROP INDEX {quote(index.name)}")


def matching(
    index: SearchIndex, terms: Sequence[Term], best: int | None = None, *, any_word: bool = False
) -> Matching:
    """The rows that match; the expression is the catalogue's, so that the planner knows the index by it."""
    query, given = _asked(index), [_query(index, terms, any_word)]
    return Matching(
        (f"ts_rank_cd({index.expression}, {query})", given),
        (quote(index.table), []),
        (f"{index.expression} @@ {query}", given),
    )


def _asked(index: SearchIndex) -> str:
    collation = re.search(r'COLLATE ("[^"]+"|\w+)', index.expression)
    assert collation is not None
    return f"to_tsquery('{index.language}'::regconfig, lower(?::text COLLATE {collation[1]}))"


def _query(index: SearchIndex, terms: Sequence[Term], any_word: bool = False) -> str:
    wanted = [_phrase(index, term) for term in terms if not term.is_excluded]
    excluded = ["!" + _phrase(index, term) for term in terms if term.is_excluded]
    return " & ".join([f"({' | '.join(wanted)})", *excluded] if any_word else wanted + excluded)


def _phrase(index: SearchIndex, term: Term) -> str:
    start = _start(index.language)
    words = [f"'{start}{word}'" for word in term.words]
    if term.is_prefix:
        words[-1] += ":*"
    return f"({' <-> '.join(words)})"


def marked(
    run: Run,
    index: SearchIndex,
    terms: Sequence[Term],
    rows: Sequence[Mapping[str, Any]],
) -> list[list[Marked]]:
    """The searched columns of each row; the server is given their words and says which of them match."""
    texts = [str(row[column] or "")[:LONGEST_TEXT] for row in rows for column in index.columns]
    start, asked = _start(index.language), _asked(index)
    given = [" ".join(start + word for word in WORD.findall(text)) for text in texts]
    lowered = asked.partition(", ")[2][:-1].replace("?::text", "given.words")
    answers = run(
        f"SELECT ts_headline('{index.language}'::regconfig, {lowered}, {asked}, "
        '\'HighlightAll=true, StartSel="<", StopSel=">"\') '
        "FROM unnest(?::text[]) WITH ORDINALITY AS given (words, place) ORDER BY given.place",
        (_query(index, terms), given),
    ).fetchall()
    every = [_spans(text, answer) for text, (answer,) in zip(texts, answers, strict=True)]
    width = len(index.columns)
    return [every[at : at + width] for at in range(0, len(every), width)]


def _spans(text: str, answer: str) -> Marked:
    marks = [word.startswith("<") for word in answer.split(" ")]
    words = WORD.finditer(text)
    return text, [found.span() for found, is_marked in zip(words, marks, strict=False) if is_marked]
