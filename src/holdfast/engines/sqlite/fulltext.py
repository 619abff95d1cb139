"""Full-text search on FTS5: a table of its own with a copy of the text, kept true by triggers.

The copy is what keeps it true. An index without one (``content=``) has to be told the old text whenever a row
goes, and SQLite fires no delete trigger for a row that INSERT OR REPLACE puts away. With the copy a row that
went unseen stays behind, finds no row to join, and is put away itself when its number comes again.

The settings need no table: the language is in the names of the FTS5 table's columns, and the columns are in
the text of its triggers, where SQLite renames them with the table's own.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from holdfast.engines.base import Marked, Matching, Run, SearchIndex, TableInfo, Term
from holdfast.engines.names import unquote_identifier
from holdfast.engines.sqltext import SQLITE, tokens
from holdfast.engines.words import MARKS_OF_SYMBOLS, WORD
from holdfast.errors import NotSupported

PREFIX = "hf_search_"
_WORDS = f"unicode61 remove_diacritics 0 categories 'L* M* Nd' separators '{MARKS_OF_SYMBOLS}'"
_STEMMED = {"english": "porter "}
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
    # DELETE ... new.key; INSERT ... VALUES (new.key, new.column, ...)
    key, _, *columns = _new_columns(sql)
    own = run("SELECT name FROM pragma_table_info(?)", (name,)).fetchall()
    return SearchIndex(table, tuple(columns), own[0][0].rpartition("_")[0], name, key)


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
        NotSupported: if the table's rows have no lasting number.
    """
    if info.rowid_key is None:
        raise NotSupported(
            f"rows of {info.name!r} have no lasting number, which SQLite's full-text search needs",
            hint="give the table an INTEGER PRIMARY KEY; its present key can stay as UNIQUE",
        )
    if not run("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchall():
        raise NotSupported("this SQLite was built without FTS5", hint="use a Python whose SQLite has it")
    name = _free_name(run, info.name)
    words = f"{_STEMMED.get(language, '')}{_WORDS}"
    own = [f"{language}_{number}" for number in range(len(columns))]
    run(f'CREATE VIRTUAL TABLE {_quote(name)} USING fts5({", ".join(own)}, tokenize="{words}")')
    run(_fill(name, own, info.name, info.rowid_key, columns))
    for sql in _triggers(name, own, info.name, _quote(info.rowid_key), [_quote(each) for each in columns]):
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


def _fill(name: str, own: Sequence[str], table: str, key: str, columns: Sequence[str]) -> str:
    given = ", ".join(map(_quote, (key, *columns)))
    return f"INSERT INTO {_quote(name)} (rowid, {', '.join(own)}) SELECT {given} FROM {_quote(table)}"


def _triggers(name: str, own: Sequence[str], table: str, key: str, columns: Sequence[str]) -> list[str]:
    # Not INSERT OR REPLACE: inside a trigger the conflict clause of the statement that fired it rules.
    gone = f"DELETE FROM {_quote(name)} WHERE rowid = "
    put = f"INSERT INTO {_quote(name)} (rowid, {', '.join(own)}) VALUES "
    put += f"(new.{key}, {', '.join(f'new.{column}' for column in columns)})"
    insert, update, delete = (_quote(f"{name}_{event}") for event in _TRIGGERS)
    on = f"ON {_quote(table)} BEGIN"
    return [
        f"CREATE TRIGGER {insert} AFTER INSERT {on} {gone}new.{key}; {put}; END",
        f"CREATE TRIGGER {update} AFTER UPDATE OF {key}, {', '.join(columns)} {on} "
        f"{gone}old.{key}; {gone}new.{key}; {put}; END",
        f"CREATE TRIGGER {delete} AFTER DELETE {on} {gone}old.{key}; END",
    ]


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
    own = [f"{index.language}_{number}" for number in range(len(index.columns))]
    return [sql, _fill(index.name, own, table, index.detail, index.columns)]


def matching(index: SearchIndex, terms: Sequence[Term]) -> Matching:
    """The rows that match, the FTS5 table first; its name in front of the text is its ``bm25``."""
    name = _quote(index.name)
    found = (
        f"(SELECT rowid AS hf_search_key, -bm25({name}) AS hf_search_score FROM {name} WHERE {name} MATCH ?)"
    )
    # SQLite keeps the order of a CROSS JOIN.
    source = f"{found} AS hf_search_found CROSS JOIN {_quote(index.table)}"
    key = f"{_quote(index.table)}.{_quote(index.detail)}"
    return Matching(("hf_search_score", []), (source, [_query(terms)]), (f"{key} = hf_search_key", []))


def _query(terms: Sequence[Term]) -> str:
    wanted = " AND ".join(_phrase(term) for term in terms if not term.is_excluded)
    excluded = " OR ".join(_phrase(term) for term in terms if term.is_excluded)
    return f"({wanted}) NOT ({excluded})" if excluded else wanted


def _phrase(term: Term) -> str:
    # A word holds no quotation mark.
    return f'"{" ".join(term.words)}"' + (" *" if term.is_prefix else "")


def marked(
    run: Run, index: SearchIndex, terms: Sequence[Term], rows: Sequence[Mapping[str, Any]]
) -> list[list[Marked]]:
    """The searched columns of each row, from the search's own copy."""
    name, border = _quote(index.name), f"\ue000{secrets.token_hex(8)}\ue000"
    texts = ", ".join(f"highlight({name}, {place}, ?, ?)" for place in range(len(index.columns)))
    keys = [row[index.detail] for row in rows]
    found = run(
        f"SELECT rowid, {texts} FROM {name} WHERE {name} MATCH ? "
        "AND rowid IN (SELECT value FROM json_each(?))",
        (*([border, border] * len(index.columns)), _query(terms), json.dumps(keys)),
    ).fetchall()
    by_key = {key: [_spans(str(text or ""), border) for text in values] for key, *values in found}
    return [by_key.get(key, []) for key in keys]


def _spans(text: str, border: str) -> Marked:
    plain, spans = "", []
    for number, part in enumerate(text.split(border)):
        if number % 2:
            # A phrase is marked from its first word to its last.
            spans += [(len(plain) + m.start(), len(plain) + m.end()) for m in WORD.finditer(part)]
        plain += part
    return plain, spans
