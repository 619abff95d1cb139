"""Full-text search on FTS5: a table of its own with a copy of the text, kept true by triggers.

The copy is what keeps it true. An index without one (``content=``) has to be told the old text whenever a row
goes, and SQLite fires no delete trigger for a row that INSERT OR REPLACE puts away. With the copy a row that
went unseen stays behind, finds no row to join, and is put away itself when its key comes again.

An INTEGER PRIMARY KEY is the number of the row in the FTS5 table too. In other tables VACUUM may change the
numbers of rows, so keys are kept beside the text, with an index on the content of the FTS5 table.

The settings need no table: the language is in the names of the FTS5 table's columns, and the columns are in
the text of its triggers, where SQLite renames them with the table's own.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import count
from typing import Any

from holdfast.engines.base import Run, TableInfo
from holdfast.engines.names import unquote_identifier
from holdfast.engines.searching import Marked, Matching, SearchIndex, Term
from holdfast.engines.sqltext import SQLITE, tokens
from holdfast.engines.words import MARKS_OF_SYMBOLS, WORD
from holdfast.errors import NotSupported

PREFIX = "hf_search_"
_WORDS = f"unicode61 remove_diacritics 0 categories 'L* M* Nd' separators '{MARKS_OF_SYMBOLS}'"
_STEMMED = {"english": "porter "}
_NUMBER = ("rowid",)
_TRIGGERS = ("insert", "update", "delete")


def _quote(name: str) -> str:
    # A table's name may be as long as a name can be, and this one is longer.
    return '"' + name.replace('"', '""') + '"'


def find(run: Run, table: str) -> SearchIndex | None:
    """The search of a table, read from its triggers."""
    found = run(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE "
        "AND name LIKE 'hf\\_search\\_%\\_insert' ESCAPE '\\'",
        (table,),
    ).fetchall()
    if not found:
        return None
    trigger, sql = found[0]
    name = trigger.removesuffix("_insert")
    own = [column for (column,) in run("SELECT name FROM pragma_table_info(?)", (name,)).fetchall()]
    # DELETE ... new.key ...; INSERT ... VALUES (new.key, ..., new.column, ...)
    kept_as = tuple(column for column in own if column.startswith("key_")) or _NUMBER
    given, width = _new_columns(sql), len(kept_as)
    language = own[-1].rpartition("_")[0]
    return SearchIndex(table, tuple(given[2 * width :]), language, name, tuple(given[:width]), kept_as)


def _new_columns(sql: str) -> list[str]:
    code = [token for token in tokens(sql, SQLITE) if token.is_code]
    return [
        unquote_identifier(code[at + 2].text)
        for at, token in enumerate(code[:-2])
        if token.text.lower() == "new" and code[at + 1].text == "."
    ]


def create(run: Run, info: TableInfo, columns: Sequence[str], language: str) -> None:
    """Make the FTS5 table, fill it and keep it true.

    Raises:
        NotSupported: if nothing lasting tells the table's rows apart.
    """
    if not info.primary_key or (
        info.rowid_key is None and any(info.column(name).nullable for name in info.primary_key)
    ):
        raise NotSupported(
            f"{info.name!r} has no primary key without NULLs, which SQLite's full-text search needs",
            hint="give the table one, such as an INTEGER PRIMARY KEY",
        )
    if not run("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchall():
        raise NotSupported("this SQLite was built without FTS5", hint="use a Python whose SQLite has it")
    name = _free_name(run, info.name)
    keys = tuple(f"key_{number}" for number in range(len(info.primary_key)))
    kept_as = _NUMBER if info.rowid_key is not None else keys
    index = SearchIndex(info.name, tuple(columns), language, name, info.primary_key, kept_as)
    own = [f"{key} UNINDEXED" for key in kept_as if kept_as != _NUMBER] + _texts(index)
    run(f'CREATE VIRTUAL TABLE {_quote(name)} USING fts5({", ".join(own)}, tokenize="{_tokenizer(index)}")')
    for sql in [*_fill(index), *_triggers(index)]:
        run(sql)


def _free_name(run: Run, table: str) -> str:
    """A name for the search; what is left of one whose table another program dropped goes away."""
    for number in count(1):
        name = PREFIX + table + (f"_{number}" if number > 1 else "")
        held = run("SELECT sql FROM sqlite_master WHERE name = ? COLLATE NOCASE", (name,)).fetchall()
        if not held:
            return name
        kept = run("SELECT 1 FROM sqlite_master WHERE name = ? COLLATE NOCASE", (name + "_insert",))
        if not kept.fetchall() and re.match("CREATE VIRTUAL TABLE", held[0][0] or "", re.IGNORECASE):
            run(f"DROP TABLE {_quote(name)}")
            return name
    raise AssertionError


def _tokenizer(index: SearchIndex) -> str:
    return f"{_STEMMED.get(index.language, '')}{_WORDS}"


def _texts(index: SearchIndex) -> list[str]:
    return [f"{index.language}_{number}" for number in range(len(index.columns))]


def _own(index: SearchIndex) -> str:
    """The FTS5 table with its columns, the keys first."""
    return f"{_quote(index.name)} ({', '.join([*index.kept_as, *_texts(index)])})"


def _content_keys(index: SearchIndex) -> list[str]:
    """The keys as FTS5 names them in the table of its content."""
    return [f"c{number}" for number in range(len(index.keys))]


def _fill(index: SearchIndex) -> list[str]:
    given = ", ".join(map(_quote, (*index.keys, *index.columns)))
    fill = f"INSERT INTO {_own(index)} SELECT {given} FROM {_quote(index.table)}"
    if index.kept_as == _NUMBER:
        return [fill]
    on = f"{_quote(index.name + '_content')} ({', '.join(_content_keys(index))})"
    return [fill, f"CREATE INDEX {_quote(index.name + '_keys')} ON {on}"]


def _triggers(index: SearchIndex) -> list[str]:
    # Not INSERT OR REPLACE: inside a trigger the conflict clause of the statement that fired it rules.
    keys, columns = [_quote(each) for each in index.keys], [_quote(each) for each in index.columns]
    put = f"INSERT INTO {_own(index)} VALUES "
    put += f"({', '.join(f'new.{column}' for column in (*keys, *columns))}); "
    insert, update, delete = (_quote(f"{index.name}_{event}") for event in _TRIGGERS)
    on = f"ON {_quote(index.table)} BEGIN"
    old, new = (_gone(index, keys, of) for of in ("old", "new"))
    return [
        f"CREATE TRIGGER {insert} AFTER INSERT {on} {new}{put}END",
        f"CREATE TRIGGER {update} AFTER UPDATE OF {', '.join((*keys, *columns))} {on} {old}{new}{put}END",
        f"CREATE TRIGGER {delete} AFTER DELETE {on} {old}END",
    ]


def _gone(index: SearchIndex, keys: Sequence[str], of: str) -> str:
    """Remove what is kept of the row ``old`` or ``new``."""
    gone = f"DELETE FROM {_quote(index.name)} WHERE rowid "
    if index.kept_as == _NUMBER:
        return f"{gone}= {of}.{keys[0]}; "
    pairs = zip(_content_keys(index), keys, strict=True)
    # The left side has the collation.
    same = " AND ".join(f"{of}.{key} = {own}" for own, key in pairs)
    return f"{gone}IN (SELECT id FROM {_quote(index.name + '_content')} WHERE {same}); "


def drop(run: Run, table: str) -> None:
    """Take the search off a table, if it has one."""
    index = find(run, table)
    if index is not None:
        for event in _TRIGGERS:
            run(f"DROP TRIGGER IF EXISTS {_quote(f'{index.name}_{event}')}")
        run(f"DROP TABLE IF EXISTS {_quote(index.name)}")


def making(run: Run, table: str) -> list[str]:
    """The statements that make a table's search again, but for its triggers, which are the table's."""
    index = find(run, table)
    if index is None:
        return []
    ((sql,),) = run("SELECT sql FROM sqlite_master WHERE name = ?", (index.name,)).fetchall()
    return [sql, *_fill(index)]


def matching(
    index: SearchIndex, terms: Sequence[Term], best: int | None = None, *, any_word: bool = False
) -> Matching:
    """The rows that match, the FTS5 table first.

    The best of them are told without a look at the table. Some may be of rows that have gone unseen, so that
    they are fewer; and only where the number of a row is its key are equal ones in the order of the key.
    """
    name = _quote(index.name)
    keys = "".join(f", {own} AS hf_search_key_{number}" for number, own in enumerate(index.kept_as))
    found = f"SELECT -bm25({name}) AS hf_search_score{keys} FROM {name} WHERE {name} MATCH ?"
    given: list[Any] = [_query(terms, any_word)]
    if best is not None:
        found += " ORDER BY 1 DESC, rowid LIMIT ?"
        given.append(best)
    # SQLite keeps the order of a CROSS JOIN.
    source = f"({found}) AS hf_search_found CROSS JOIN {_quote(index.table)}"
    same = " AND ".join(
        f"{_quote(index.table)}.{_quote(key)} = hf_search_key_{number}"
        for number, key in enumerate(index.keys)
    )
    return Matching(
        ("hf_search_score", []), (source, given), (same, []), best is not None, index.kept_as == _NUMBER
    )


def _query(terms: Sequence[Term], any_word: bool = False) -> str:
    wanted = (" OR " if any_word else " AND ").join(_phrase(term) for term in terms if not term.is_excluded)
    excluded = " OR ".join(_phrase(term) for term in terms if term.is_excluded)
    return f"({wanted}) NOT ({excluded})" if excluded else wanted


def _phrase(term: Term) -> str:
    # A word holds no quotation mark.
    return f'"{" ".join(term.words)}"' + (" *" if term.is_prefix else "")


def marked(
    run: Run,
    index: SearchIndex,
    terms: Sequence[Term],
    rows: Sequence[Mapping[str, Any]],
) -> list[list[Marked]]:
    """The searched columns of each row, from a table of these rows alone: the index may match very many."""
    border = f"\ue000{secrets.token_hex(8)}\ue000"
    texts, places = ", ".join(_texts(index)), range(len(index.columns))
    given = [[str(row[column] or "") for column in index.columns] for row in rows]
    with closing(sqlite3.connect(":memory:")) as raw:
        raw.execute(f'CREATE VIRTUAL TABLE found USING fts5({texts}, tokenize="{_tokenizer(index)}")')
        marks = ", ".join("?" for _ in places)
        raw.executemany(
            f"INSERT INTO found (rowid, {texts}) VALUES (?, {marks})",
            ((number, *values) for number, values in enumerate(given)),
        )
        highlights = ", ".join(f"highlight(found, {at}, ?, ?)" for at in places)
        found = raw.execute(
            f"SELECT rowid, {highlights} FROM found WHERE found MATCH ?",
            (*([border, border] * len(places)), _query(terms)),
        ).fetchall()
    known = {number: [_spans(str(text), border) for text in values] for number, *values in found}
    return [known.get(number) or [(text, []) for text in given[number]] for number in range(len(rows))]


def _spans(text: str, border: str) -> Marked:
    plain, spans = "", []
    for number, part in enumerate(text.split(border)):
        if number % 2:
            # A phrase is marked from its first word to its last.
            spans += [(len(plain) + m.start(), len(plain) + m.end()) for m in WORD.finditer(part)]
        plain += part
    return plain, spans
