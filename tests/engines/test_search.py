"""Full-text search: the same words find the same rows on every engine, whoever wrote them and however."""

from __future__ import annotations

import random
import re
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.engines.words import SEPARATORS, WORD
from holdfast.errors import (
    ColumnNotFound,
    InvalidQuery,
    NotSupported,
    SchemaError,
    TableNotFound,
)
from holdfast.search.fulltext import parse, snippet

DOCS = [
    ("GPT-4 arrives", "The model gpt-4 was announced."),
    ("gpt 4", "Written with a blank."),
    ("gpt4", "Written in one word."),
    ("4 gpt", "The wrong way round."),
    ("GPT-4o and GPT-4.1", "Versions, versions."),
    ("Photo of the day", "Credit: @nasa, #space (2024)"),
    ("NASA's budget", "It's 25.4 billion; up 1.5% on 2023."),
    ("New York", "a new place in york"),
    ("York", "New ideas from old York. The New York Times."),
    ("new", "york"),
    ("Microscopy", "Micrographs of microbes; a microscope's lens"),
    ("Macro", "scope of the macro"),
    ("C++ and C#", "c is a language, so is R"),
    ("The Who", "Who are you? The band the who."),
    ("To be, or not to be", "that is the question"),
    ("it", "IT department and it"),
    ("running", "He runs, she ran, they were running"),
    ("Runner", "The runner's run"),
    ("cats", "A cat sat; cats sit"),
    ("Café", "Le café au lait"),
    ("cafe", "the same without an accent"),
    ("ÉCOLE", "école primaire, ÉLÈVE"),
    ("Straße", "In der Straße; strasse"),
    ("Москва", "Улица в МОСКВЕ, москва"),
    ("Ελλάδα", "ελλάδα και ΕΛΛΆΔΑ"),
    ("日本語", "これは日本語の文です。東京、大阪"),
    ("नमस्ते", "नमस्ते दुनिया।"),
    ("Emoji 😀", "I ❤️ Python 🐍! 👨‍👩‍👧"),
    ("snake_case", "a snake_case_name and camelCaseName"),
    ("e-mail", "write to ann@example.org or visit http://example.org/path?q=1"),
    ("numbers", "1e5 0x1F 007 3.14 -42 1,000,000 10^-3"),
    ("x", "x marks the spot; xx, xxx"),
    ("1980s", "the 1980s and 1990s"),
    ("AND OR NOT", "NEAR and far, AND so on"),
    ("SQL", "'; DROP TABLE docs; --"),
    ("quotes", 'he said "hello world" to \\ her'),
    ("“curly”", "‘single’ – dash — em… « guillemets »"),
    ("m²", "10 m² of H₂O at 20 ℃ costs 5 €"),
    ("tab\tand\nline", "one\r\ntwo\x0bthree\xa0four\u200bfive"),
    (None, "a title that is NULL"),
    ("a body that is NULL", None),
    ("", ""),
]
QUERIES = [
    *("gpt-4", "GPT-4", "gpt 4", '"gpt 4"', "gpt4", "gpt-4o", "gpt*", '"4 gpt"', "-4", "gpt -4"),
    *("@nasa", "nasa", "NASA's", "#space", "2024", "25.4", "1.5%"),
    *(
        "new york",
        '"new york"',
        '"york new"',
        "new -york",
        'york -"new york"',
        "-new york",
        '"new york times"',
    ),
    *("micro*", "microscop*", "Micro* -lens", "micro", "mic*ro", "*", "**", "scope*"),
    *("c++", "c#", "c", "r", "the who", '"the who"', "who", "the", "to be or not to be", "it", '"it it"'),
    *("cat", "cats", "sat sit", "café", "cafe", "CAFÉ", "école", "élève", "eleve", "straße", "strasse"),
    *("москва", "МОСКВА", "ελλάδα", "日本語", "東京", "東*", "नमस्ते", "नमस्*", "😀", "python 🐍", "❤️", "I ❤️"),
    *("snake_case", "snake", "camelcasename", "e-mail", "ann@example.org", "http://example.org/path?q=1"),
    *("1e5", "0x1f", "007", "7", "3.14", "-42", "42", "1,000", "1980s", "10^-3", "x", "xx", "xgpt", "x*"),
    *(
        "AND",
        "AND OR NOT NEAR(",
        "near(far, 2)",
        "OR",
        "'; DROP TABLE docs; --",
        "drop table",
        '"hello world"',
    ),
    *(
        '"hello world',
        'hello"',
        '"',
        '""',
        "''",
        "\\",
        "()",
        ":*",
        "!",
        "&",
        "|",
        "<->",
        "curly",
        "em…",
        "m²",
    ),
    *(
        "h₂o",
        "m",
        "o",
        "20 ℃",
        "one two three",
        "four",
        "five",
        '"four five"',
        '"arrives the"',
        '"that is null"',
    ),
    *(
        "",
        " ",
        "\t\n",
        "null",
        "-",
        "--",
        "- cat",
        "--cat",
        '-"',
        'cat -""',
        "-cat -dog",
        '"sat cats"*',
        '"a c"*',
    ),
    *(
        "quotes : title",
        "title:gpt",
        "{title}:gpt",
        "docs MATCH gpt",
        "^gpt",
        "gpt + 4",
        "a" * 600,
        "%",
        "_",
        "?",
    ),
]
STEMMED = ["run", "runs", "running", "runner", "cat", "cats", "ideas", "idea", "arrive", "arrives", "written"]
STEMMED += ["versions", "version", "costs", "cost", "mark", "ran", "language", "languages", "was", "announce"]


def expected(text: str, rows: list[dict[str, Any]]) -> set[int]:
    """What a search without stemming finds, said independently of any engine."""
    terms = parse(text)
    if all(term.is_excluded for term in terms):
        return set()

    def holds(row: dict[str, Any], term: Any) -> bool:
        words = [word.lower() for word in term.words]
        for column in ("title", "body"):
            have = [word.lower() for word in WORD.findall(row[column] or "")]
            for at in range(len(have) - len(words) + 1):
                part = have[at : at + len(words)]
                if part == words or (
                    term.is_prefix and part[:-1] == words[:-1] and part[-1].startswith(words[-1])
                ):
                    return True
        return False

    return {row["id"] for row in rows if all(holds(row, term) != term.is_excluded for term in terms)}


def ids(found: list[dict[str, Any]]) -> set[int]:
    return {row["id"] for row in found}


def fill(db: holdfast.Database, table: str = "docs", language: str = "simple") -> None:
    db.create_table(table, {"id": "INTEGER PRIMARY KEY", "title": "TEXT", "body": "TEXT"})
    db.enable_search(table, ["title", "body"], language)
    db.insert_many(table, [{"title": title, "body": body} for title, body in DOCS])


def check(db: holdfast.Database, table: str = "docs", *queries: str) -> None:
    """The search finds what a look at the rows finds."""
    rows = db.select(table)
    for query in queries or QUERIES:
        assert ids(db.search(table, query, limit=None)) == expected(query, rows), query


@pytest.fixture
def docs(db: holdfast.Database) -> holdfast.Database:
    fill(db)
    return db


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[holdfast.Database]:
    with holdfast.connect(f"sqlite:///{tmp_path}/elsewhere.sqlite") as other:
        yield other


# What is found


def test_any_text_finds_the_rows_with_its_words(docs: holdfast.Database) -> None:
    assert len(QUERIES) > 100
    check(docs)
    assert docs.count("docs") == len(DOCS)


def test_english_finds_the_same_on_both_engines(db: holdfast.Database, elsewhere: holdfast.Database) -> None:
    fill(db, language="english")
    fill(elsewhere, language="english")
    for query in [*QUERIES, *STEMMED]:
        assert ids(db.search("docs", query, None)) == ids(elsewhere.search("docs", query, None)), query
    assert ids(db.search("docs", "runs")) == {17, 18}
    assert ids(db.search("docs", "cats")) == {19}


def test_where_the_stems_of_english_differ(db: holdfast.Database, engine_name: str) -> None:
    db.create_table("docs", {"id": "INTEGER PRIMARY KEY", "body": "TEXT"})
    db.insert_many("docs", [{"body": "done quickly"}, {"body": "decades, the 1980s"}])
    db.enable_search("docs", "body")
    on_server = engine_name != "sqlite"
    # Every row here stands in docs/differences.md.
    assert ids(db.search("docs", "quick")) == ({1} if on_server else set())
    assert ids(db.search("docs", "1980")) == (set() if on_server else {2})
    assert ids(db.search("docs", "quickly")) == {1}
    assert ids(db.search("docs", "1980s")) == {2}


def test_other_languages_find_the_words_as_they_are(db: holdfast.Database) -> None:
    db.create_table("docs", {"id": "INTEGER PRIMARY KEY", "body": "TEXT"})
    db.insert_many("docs", [{"body": "Die Häuser in Köln"}, {"body": "Ein Hund, gpt-4"}])
    db.enable_search("docs", "body", "german")
    assert ids(db.search("docs", "häuser KÖLN")) == {1}
    assert ids(db.search("docs", '"gpt-4" hund')) == {2}
    db.enable_search("docs", "body", "French")
    assert ids(db.search("docs", "hund")) == {2}


def test_no_phrase_reaches_from_one_column_into_the_next(docs: holdfast.Database) -> None:
    docs.insert("docs", {"id": 500, "title": "ends here", "body": "begins there"})
    assert ids(docs.search("docs", '"here begins"')) == set()
    assert ids(docs.search("docs", "here begins")) == {500}


def test_random_texts_are_safe_and_mean_the_same(docs: holdfast.Database) -> None:
    chance = random.Random(20261120)
    alphabet = ["gpt", "4", "new", "york", "the", " ", " ", '"', "*", "-", "(", ")", ":", "'", "\\", "^", "+"]
    alphabet += [
        "NOT ",
        "OR ",
        "é",
        "😀",
        ",",
        "{",
        "}",
        "~",
        "&",
        "|",
        "!",
        "<",
        ">",
        "@",
        "%",
        "?",
        ";",
        "\0",
    ]
    rows = docs.select("docs")
    for _ in range(150):
        text = "".join(chance.choices(alphabet, k=chance.randint(1, 9)))
        assert ids(docs.search("docs", text, limit=None)) == expected(text, rows), repr(text)


def test_a_long_text_is_searched_whole_and_a_longer_one_refused(docs: holdfast.Database) -> None:
    assert docs.search("docs", " ".join(["gpt", *(f"word{n}" for n in range(900))])) == []
    assert ids(docs.search("docs", "gpt " + " ".join(f"-word{n}" for n in range(900)))) == ids(
        docs.search("docs", "gpt")
    )
    with pytest.raises(InvalidQuery, match="1000 words"):
        docs.search("docs", "word " * 1001)


def test_a_separator_is_no_letter_no_digit_and_no_mark_of_one() -> None:
    for first, last in SEPARATORS:
        for code in range(first, last + 1):
            category = unicodedata.category(chr(code))
            letter = (
                category[0] == "L" or category == "Nd" or (category[0] == "M" and not is_for_symbols(code))
            )
            assert not letter, hex(code)


def is_for_symbols(code: int) -> bool:
    return 0x20DD <= code <= 0x20E4 or 0xFE00 <= code <= 0xFE0F


# Ranking and what comes back


def test_rows_come_whole_with_score_and_snippet_the_best_first(docs: holdfast.Database) -> None:
    found = docs.search("docs", "new york", limit=None)
    assert list(found[0]) == ["id", "title", "body", "score", "snippet"]
    assert [row["score"] for row in found] == sorted((row["score"] for row in found), reverse=True)
    assert all(isinstance(row["score"], float) and row["score"] > 0 for row in found)
    assert docs.search("docs", "new york", limit=None) == found
    assert docs.search("docs", "new york", limit=2) == found[:2]
    assert docs.search("docs", "new york", limit=0) == []
    assert docs["docs"].search("new york", 1) == found[:1]


def test_more_of_the_word_ranks_higher_and_ties_go_by_key(db: holdfast.Database) -> None:
    db.create_table("docs", {"id": "INTEGER PRIMARY KEY", "body": "TEXT"})
    db.enable_search("docs", "body")
    db.insert_many("docs", [{"id": n, "body": f"whale number {n:03}"} for n in range(50, 0, -1)])
    db.insert("docs", {"id": 99, "body": "whale whale whale"})
    db.insert_many("docs", [{"body": "nothing here"} for _ in range(100)])
    assert [row["id"] for row in db.search("docs", "whale")] == [99, *range(1, 20)]


def test_where_narrows_what_is_found(docs: holdfast.Database) -> None:
    everything = ids(docs.search("docs", "the", limit=None))
    assert ids(docs.search("docs", "the", None, {"id <": 12})) == {n for n in everything if n < 12}
    assert ids(docs.search("docs", "the", None, "id < ? OR title = ?", [3, "The Who"])) == {
        n for n in everything if n < 3 or n == 14
    }
    assert ids(docs.search("docs", "the", None, "id = :id", {"id": 14})) == {14}
    with pytest.raises(ColumnNotFound):
        docs.search("docs", "the", where={"nope": 1})


def test_a_snippet_marks_the_words_where_most_of_them_are(db: holdfast.Database) -> None:
    db.create_table("docs", {"id": "INTEGER PRIMARY KEY", "title": "TEXT", "body": "TEXT"})
    db.enable_search("docs", ["title", "body"])
    filler = "Nothing to see in this long sentence of many words. " * 20
    db.insert("docs", {"title": "A whale", "body": f"{filler}The white\nwhales, a Whale! {filler}"})
    (row,) = db.search("docs", "whale white")
    assert "The **white** **whales**, a **Whale**! Nothing" in row["snippet"]
    assert row["snippet"].startswith("…")
    assert row["snippet"].endswith("…")
    assert len(row["snippet"]) < 260
    db.insert("docs", {"id": 5, "title": "gpt-4", "body": None})
    assert db.search("docs", "gpt-4")[0]["snippet"] == "**gpt**-**4**"


def test_a_snippet_of_one_endless_word_is_still_short() -> None:
    text = "x" * 5000
    assert len(snippet([(text, [])])) <= 202
    assert snippet([("", [])]) == ""
    assert snippet([]) == ""
    assert snippet([("a b", [(0, 1)]), ("b a b", [(0, 1), (4, 5)])]) == "**b** a **b**"


def test_columns_named_score_and_snippet_keep_their_values(db: holdfast.Database) -> None:
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "score": float, "snippet": "TEXT", "rank": "TEXT"})
    db.enable_search("runs", ["snippet", "rank"])
    db.insert("runs", {"id": 1, "score": 0.5, "snippet": "the text", "rank": "r"})
    (row,) = db.search("runs", "text")
    assert (row["score"], row["snippet"]) == (0.5, "the text")
    assert row["search_score"] > 0
    assert row["search_snippet"] == "the **text**"


# Kept true


def test_every_way_of_writing_keeps_it_true(docs: holdfast.Database) -> None:
    key = docs.insert("docs", {"title": "fresh", "body": "newly inserted gpt"})
    assert key == len(DOCS) + 1
    check(docs, "docs", "fresh", "gpt")
    docs.update("docs", {"title": "stale"}, {"id": key})
    check(docs, "docs", "fresh", "stale", "gpt")
    docs.update("docs", {"id": 900}, {"id": key})
    check(docs, "docs", "stale", "gpt")
    docs.upsert("docs", {"id": 900, "title": "upserted"})
    check(docs, "docs", "stale", "upserted", "gpt")
    docs.insert_many("docs", [{"id": 900, "title": "replaced"}], on_conflict="replace")
    check(docs, "docs", "upserted", "replaced", "gpt")
    docs.insert_many("docs", [{"id": 900, "title": "ignored"}], on_conflict="ignore")
    check(docs, "docs", "ignored", "replaced")
    docs.update_many("docs", [{"id": 900, "body": "many"}])
    check(docs, "docs", "many", "replaced")
    docs.execute("UPDATE docs SET title = NULL WHERE id = 900")
    check(docs, "docs", "replaced", "many")
    assert docs.delete("docs", {"id": 900}) == 1
    check(docs)
    docs.delete("docs", all_rows=True)
    assert docs.search("docs", "gpt") == []


def test_random_writes_keep_it_true(docs: holdfast.Database) -> None:
    chance = random.Random(7)
    words = ["alpha", "beta", "gamma", "delta", "gpt-4"]
    docs.create_index("docs", "title", unique=True, where="id > 1000")
    for _ in range(120):
        row = {"id": chance.randint(1, 30), "title": " ".join(chance.choices(words, k=2))}
        action = chance.choice(["upsert", "replace", "ignore", "update", "delete", "move"])
        if action == "upsert":
            docs.upsert("docs", row)
        elif action in ("replace", "ignore"):
            docs.insert_many("docs", [row], on_conflict=action)
        elif action == "update":
            docs.update("docs", {"body": row["title"]}, {"id": row["id"]})
        elif action == "delete":
            docs.delete("docs", {"id": row["id"]})
        elif not docs.exists("docs", {"id": row["id"] + 40}):
            docs.update("docs", {"id": row["id"] + 40}, {"id": row["id"]})
        check(docs, "docs", "alpha", "beta gamma", "gpt-4")


def test_replace_fires_no_delete_trigger_on_sqlite(db: holdfast.Database, engine_name: str) -> None:
    if engine_name != "sqlite":
        pytest.skip("INSERT OR REPLACE is SQLite's own")
    db.create_table("docs", {"id": "INTEGER PRIMARY KEY", "title": "TEXT UNIQUE", "body": "TEXT"})
    db.enable_search("docs", ["title", "body"], "simple")
    db.insert_many("docs", [{"title": f"t{n}", "body": f"old {n}"} for n in (1, 2, 3)])
    db.execute("INSERT OR REPLACE INTO docs (id, title, body) VALUES (1, 't1', 'changed')")
    db.execute("INSERT OR REPLACE INTO docs (id, title, body) VALUES (9, 't2', 'moved')")
    db.execute("UPDATE OR REPLACE docs SET title = 't9' WHERE id = 3")
    db.execute("UPDATE OR REPLACE docs SET id = 9 WHERE id = 3")
    db.execute("INSERT OR IGNORE INTO docs (id, title, body) VALUES (1, 't8', 'ignored')")
    db.execute("INSERT INTO docs (id, title, body) VALUES (2, 't2', 'two')")
    check(db, "docs", "old", "changed", "moved", "ignored", "two", "t1", "t2", "t9", "t8", "1", "3")


def test_rows_that_went_unseen_take_no_place_among_the_best(db: holdfast.Database, engine_name: str) -> None:
    if engine_name != "sqlite":
        pytest.skip("INSERT OR REPLACE is SQLite's own")
    db.execute("CREATE TABLE docs (id INTEGER PRIMARY KEY, slug TEXT UNIQUE, body TEXT)")
    db.enable_search("docs", "body")
    for number in range(1, 9):
        db.execute("INSERT INTO docs VALUES (?, 'best', 'needle needle needle')", [number * 2 - 1])
        db.execute("REPLACE INTO docs VALUES (?, 'best', 'needle in the hay')", [number * 2])
        db.execute("UPDATE docs SET slug = ? WHERE slug = 'best'", [f"kept {number}"])
    expected = [2, 4, 6, 8, 10, 12, 14, 16]
    for limit in (None, 20, 8, 3, 1, 0):
        assert [row["id"] for row in db.search("docs", "needle", limit)] == expected[:limit]


@pytest.mark.parametrize("kind", ["INTEGER", "TEXT"])
def test_the_best_are_the_same_with_any_limit(db: holdfast.Database, kind: str) -> None:
    db.create_table("docs", {"id": f"{kind} PRIMARY KEY", "body": "TEXT"})
    noise = random.Random(3)
    words = ["needle", "needles", "hay", "stack", "straw"]
    keys = noise.sample(range(1000, 2000), 300)
    key = int if kind == "INTEGER" else str
    db.insert_many("docs", ({"id": key(one), "body": " ".join(noise.choices(words, k=5))} for one in keys))
    db.enable_search("docs", "body")
    for text in ("needle", "needle*", "s*", "needle -hay", '"hay stack"'):
        every = db.search("docs", text, None)
        assert sorted(every, key=lambda row: (-row["score"], row["id"])) == every
        for limit in (1, 7, 20, 299, 400):
            assert db.search("docs", text, limit) == every[:limit]


def test_imports_keep_it_true(docs: holdfast.Database, tmp_path: Path) -> None:
    path = tmp_path / "more.csv"
    path.write_text('id,title,body\n700,imported,"gpt-4, again"\n701,another,\n')
    docs.import_from_csv("docs", path)
    check(docs, "docs", "imported", "gpt-4", "another")
    pd = pytest.importorskip("pandas")
    docs.from_dataframe(pd.DataFrame({"id": [800], "title": ["framed gpt"]}), "docs", "append")
    check(docs, "docs", "framed", "gpt")


@contextmanager
def undone(db: holdfast.Database) -> Iterator[None]:
    """A transaction that does not take place."""
    db.begin_transaction()
    try:
        yield
    finally:
        db.rollback()


def test_it_is_part_of_the_transaction(docs: holdfast.Database) -> None:
    with undone(docs):
        docs.insert("docs", {"id": 600, "title": "unfinished"})
        check(docs, "docs", "unfinished")
    check(docs, "docs", "unfinished", "gpt")
    with undone(docs):
        docs.disable_search("docs")
    check(docs)
    docs.disable_search("docs")
    with undone(docs):
        docs.enable_search("docs", "title")
        assert ids(docs.search("docs", "fresh")) == set()
        docs.insert("docs", {"id": 601, "title": "fresh"})
        assert ids(docs.search("docs", "fresh")) == {601}
    with pytest.raises(SchemaError):
        docs.search("docs", "gpt")


def test_it_outlives_the_connection_and_others_write_too(url: str) -> None:
    with holdfast.connect(url) as db:
        fill(db)
    with holdfast.connect(url) as db, holdfast.connect(url, read_only=True) as reader:
        check(reader)
        db.insert("docs", {"title": "second connection"})
        check(reader, "docs", "second")


def test_a_search_that_another_connection_enables_is_kept_true_here(url: str) -> None:
    with holdfast.connect(url) as early, holdfast.connect(url) as late:
        early.create_table("docs", {"id": "INTEGER PRIMARY KEY", "title": "TEXT", "body": "TEXT"})
        early.insert("docs", {"title": "before"})
        late.enable_search("docs", ["title", "body"], "simple")
        early.insert("docs", {"title": "after"})
        early.insert_many("docs", [{"title": "after more"}])
        check(early, "docs", "before", "after", "more")
        check(late, "docs", "before", "after", "more")


def test_vacuum_leaves_it_true(docs: holdfast.Database) -> None:
    docs.delete("docs", {"id <": 10})
    docs.vacuum()
    docs.optimize()
    check(docs)


# Backups


def test_a_backup_brings_the_search_back(
    docs: holdfast.Database, new_url: Callable[[], str], tmp_path: Path
) -> None:
    path = docs.backup_database(tmp_path / "all.sql")
    docs.verify_backup(path)
    with holdfast.connect(new_url()) as other:
        assert set(other.restore_database(path).tables) == {"docs"}
        check(other)
        other.insert("docs", {"title": "written after"})
        check(other, "docs", "after")
    docs.insert("docs", {"title": "gone again"})
    docs.restore_database(path)
    check(docs)
    docs.insert("docs", {"title": "written after"})
    check(docs, "docs", "after", "again", "gone")


@pytest.mark.parametrize("whole", [True, False])
def test_a_restored_table_is_searchable(
    docs: holdfast.Database, new_url: Callable[[], str], tmp_path: Path, whole: bool
) -> None:
    path = tmp_path / "docs.sql"
    docs.backup_database(path) if whole else docs.backup_table("docs", path)
    docs.update("docs", {"title": "overwritten"}, all_rows=True)
    docs.restore_table("docs", path)
    check(docs)
    docs.insert("docs", {"title": "written after"})
    check(docs, "docs", "after", "overwritten")
    with holdfast.connect(new_url()) as other:
        other.restore_table("docs", path)
        check(other)
        other.insert("docs", {"title": "written after"})
        check(other, "docs", "after")


def test_a_backup_from_before_takes_the_search_away(docs: holdfast.Database, tmp_path: Path) -> None:
    docs.disable_search("docs")
    path = docs.backup_database(tmp_path / "all.sql")
    docs.enable_search("docs", "title")
    docs.restore_database(path)
    with pytest.raises(SchemaError, match="not enabled"):
        docs.search("docs", "gpt")
    docs.insert("docs", {"title": "still writable"})
    docs.enable_search("docs", ["title", "body"], "simple")
    check(docs)


# The schema


def test_nothing_of_it_is_seen_in_the_schema(docs: holdfast.Database) -> None:
    assert docs.list_tables() == ["docs"]
    assert [column["name"] for column in docs.get_columns("docs")] == ["id", "title", "body"]
    assert list(docs.select("docs", limit=1)[0]) == ["id", "title", "body"]
    assert docs.query("SELECT * FROM docs WHERE id = 1")[0].keys() == {"id", "title", "body"}
    assert docs.get_stats()["table_count"] == 1
    assert [index for index in docs.list_indexes() if not index["primary_key"]] == []
    assert {index["table"] for index in docs.list_indexes()} <= {"docs"}


def test_it_follows_new_names(docs: holdfast.Database) -> None:
    docs.rename_table("docs", "papers")
    docs.rename_column("papers", "body", "full text")
    docs.insert("papers", {"id": 800, "title": "renamed", "full text": "gpt-4 too"})
    assert 800 in ids(docs.search("papers", "gpt-4"))
    assert ids(docs.search("papers", "renamed")) == {800}
    docs.enable_search("papers", ["title", "full text"], "simple")
    docs.rename_column("papers", "id", "number")
    docs.update("papers", {"title": "changed"}, {"number": 800})
    assert docs.search("papers", "renamed") == []
    assert docs.search("papers", "changed")[0]["number"] == 800
    fill(docs)
    check(docs)
    docs.drop_table("papers")
    check(docs)
    assert docs.list_tables() == ["docs"]


def test_other_changes_of_the_table_keep_it_true(docs: holdfast.Database) -> None:
    docs.add_column("docs", "extra", "INTEGER")
    docs.alter_column("docs", "title", default="'untitled'")
    docs.insert("docs", {"body": "with a default gpt"})
    check(docs, "docs", "untitled", "gpt")
    docs.drop_column("docs", "extra")
    docs.upsert("docs", {"id": 1, "title": "altered"})
    check(docs)
    check(docs, "docs", "altered")


def test_a_searched_column_cannot_be_dropped(docs: holdfast.Database) -> None:
    with pytest.raises(SchemaError, match="disable_search"):
        docs.drop_column("docs", "title")
    check(docs)
    docs.disable_search("docs")
    docs.drop_column("docs", "title")


def test_dropping_the_table_drops_the_search(docs: holdfast.Database, engine_name: str) -> None:
    docs.drop_table("docs")
    if engine_name == "sqlite":
        assert docs.query("SELECT name FROM sqlite_master WHERE name LIKE 'hf%'") == []
    assert docs.list_tables() == []
    with pytest.raises(TableNotFound):
        docs.search("docs", "gpt")
    docs.create_table("docs", {"id": "INTEGER PRIMARY KEY", "title": "TEXT"})
    with pytest.raises(SchemaError, match="not enabled"):
        docs.search("docs", "gpt")
    docs.enable_search("docs", "title")
    assert docs.search("docs", "gpt") == []


def test_a_table_dropped_by_another_program_leaves_nothing_in_the_way(docs: holdfast.Database) -> None:
    docs.execute("DROP TABLE docs")
    fill(docs)
    check(docs)


def test_awkward_names(db: holdfast.Database) -> None:
    for table in ('we"ird. näme', "select", "x" * 63, "it's; --", "a_insert"):
        db.create_table(
            table, {"i d": "INTEGER PRIMARY KEY", 'te"xt': "TEXT", "rank": "VARCHAR(40)", "new": "TEXT"}
        )
        db.enable_search(table, ['te"xt', "rank", "new"])
        db.insert(table, {"i d": 7, 'te"xt': "gpt-4", "rank": "first", "new": "old"})
        assert db.search(table, "first gpt-4 old", where={"new": "old"})[0]["i d"] == 7
        db.enable_search(table, "rank")
        assert db.search(table, "gpt-4") == []
        db.delete(table, {"i d": 7})
        assert db.search(table, "first") == []
        db.disable_search(table)


# Settings and misuse


def test_enabling_again(docs: holdfast.Database) -> None:
    docs.enable_search("docs", ["body", "title"], "simple")
    check(docs)
    docs["docs"].enable_search("title", "simple")
    assert ids(docs.search("docs", "announced")) == set()
    assert ids(docs.search("docs", "arrives")) == {1}
    docs.enable_search("docs", "title", "english")
    assert ids(docs.search("docs", "arrive")) == {1}
    docs.disable_search("docs")
    docs["docs"].disable_search()
    with pytest.raises(SchemaError, match=re.escape("db.enable_search('docs', ['title', 'body'])")):
        docs.search("docs", "arrives")


def test_misuse(docs: holdfast.Database) -> None:
    docs.create_table("other", {"id": "INTEGER PRIMARY KEY", "n": int, "note": "TEXT", "data": "JSONB"})
    docs.execute("CREATE VIEW seen AS SELECT * FROM docs")
    with pytest.raises(TableNotFound, match="docs"):
        docs.enable_search("dosc", "title")
    with pytest.raises(TableNotFound):
        docs.search("dosc", "gpt")
    with pytest.raises(TableNotFound):
        docs.disable_search("dosc")
    with pytest.raises(ColumnNotFound, match="title"):
        docs.enable_search("docs", ["titel"])
    for column in ("n", "data", "id"):
        with pytest.raises(InvalidQuery, match="note"):
            docs.enable_search("other", ["note", column])
    with pytest.raises(InvalidQuery):
        docs.enable_search("other", [])
    with pytest.raises(InvalidQuery, match="english"):
        docs.enable_search("other", "note", "englisch")
    with pytest.raises(InvalidQuery, match="view"):
        docs.enable_search("seen", "title")
    for text in (None, 5, b"gpt", ["gpt"]):
        with pytest.raises(InvalidQuery):
            docs.search("docs", text)  # type: ignore[arg-type]
    for limit in (-1, "5", 1.5, True):
        with pytest.raises(InvalidQuery):
            docs.search("docs", "gpt", limit)  # type: ignore[arg-type]
    check(docs)
    assert docs.list_tables() == ["docs", "other"]


KEYED = {
    "a text": {"columns": {"id": "TEXT PRIMARY KEY", "body": "TEXT"}},
    "two columns": {"columns": {"a": int, "id": "VARCHAR(20)", "body": "TEXT"}, "primary_key": ["a", "id"]},
    "a uuid": {"columns": {"id": "UUID PRIMARY KEY", "body": "TEXT"}},
}


@pytest.mark.parametrize("kind", KEYED)
def test_any_primary_key_will_do(
    db: holdfast.Database, new_url: Callable[[], str], tmp_path: Path, kind: str
) -> None:
    def key(number: int) -> dict[str, Any]:
        values = {"a text": f"k'{number}é", "two columns": f"K{number}", "a uuid": uuid.UUID(int=number)}
        return {"id": values[kind]} | ({"a": number % 2} if kind == "two columns" else {})

    def found(text: str, place: holdfast.Database = db) -> set[Any]:
        return {row["id"] for row in place.search("named", text)}

    def named(*numbers: int) -> set[Any]:
        return {key(number)["id"] for number in numbers}

    db.create_table("named", **KEYED[kind])
    db.insert("named", {**key(1), "body": "before gpt-4"})
    db.enable_search("named", "body")
    db.enable_search("named", "body")
    db.insert_many("named", [{**key(n), "body": f"number {n}"} for n in range(2, 9)])
    assert found("gpt-4") == named(1)
    assert db.search("named", "gpt-4")[0]["snippet"] == "before **gpt**-**4**"
    db.delete("named", key(2))
    db.vacuum()
    db.upsert("named", {**key(3), "body": "upserted"}, key=["a", "id"] if kind == "two columns" else "id")
    db.insert_many("named", [{**key(4), "body": "replaced"}], on_conflict="replace")
    db.update("named", key(99) | {"body": "moved"}, key(5))
    assert found("number") == named(6, 7, 8)
    assert found("upserted") == named(3)
    assert found("replaced") == named(4)
    assert found("moved") == named(99)
    assert [row["body"] for row in db.search("named", "number", where={"body": "number 7"})] == ["number 7"]
    path = db.backup_table("named", tmp_path / "named.sql")
    db.rename_column("named", "body", "text")
    db.rename_table("named", "renamed")
    db.insert("renamed", {**key(100), "text": "renamed"})
    assert [row["id"] for row in db.search("renamed", "renamed")] == [key(100)["id"]]
    with holdfast.connect(new_url()) as other:
        other.restore_table("named", path)
        other.delete("named", key(7))
        assert found("number", other) == named(6, 8)
    db.disable_search("renamed")
    assert db.list_tables() == ["renamed"]


def test_a_replaced_key_in_another_case_on_sqlite(db: holdfast.Database, engine_name: str) -> None:
    if engine_name != "sqlite":
        pytest.skip("NOCASE and INSERT OR REPLACE are SQLite's own")
    db.execute("CREATE TABLE named (k TEXT PRIMARY KEY NOT NULL COLLATE NOCASE, body TEXT) WITHOUT ROWID")
    db.enable_search("named", "body")
    db.insert("named", {"k": "A", "body": "old"})
    db.execute("INSERT OR REPLACE INTO named (k, body) VALUES ('a', 'new')")
    assert db.search("named", "old") == []
    assert [row["k"] for row in db.search("named", "new")] == ["a"]


def test_a_table_without_a_primary_key(db: holdfast.Database, engine_name: str) -> None:
    db.create_table("bare", {"body": "TEXT"})
    if engine_name == "sqlite":
        db.execute("CREATE TABLE holes (k TEXT PRIMARY KEY, body TEXT)")
        for table in ("bare", "holes"):
            with pytest.raises(NotSupported, match="primary key"):
                db.enable_search(table, "body")
        return
    db.enable_search("bare", "body")
    db.insert_many("bare", [{"body": "found here"}] * 2)
    assert [row["body"] for row in db.search("bare", "found")] == ["found here"] * 2


def test_long_texts(docs: holdfast.Database) -> None:
    words = " ".join(f"w{n}" for n in range(400_000))
    docs.insert("docs", {"id": 999, "title": "needle", "body": words})
    docs.insert("docs", {"id": 998, "title": "endless", "body": "y" * 3_000_000})
    assert ids(docs.search("docs", "needle w17000")) == {999}
    assert ids(docs.search("docs", "endless")) == {998}
    assert len(docs.search("docs", "w17000")[0]["snippet"]) < 260


# Speed


def test_a_search_of_many_rows_uses_the_index(db: holdfast.Database, engine_name: str) -> None:
    db.create_table("docs", {"id": "INTEGER PRIMARY KEY", "body": "TEXT"})
    db.insert_many("docs", ({"body": f"word{n % 1000} common number {n}"} for n in range(100_000)))
    db.enable_search("docs", "body")
    assert ids(db.search("docs", "word7 99007")) == {99008}
    executor = db._executor
    seen: list[str] = []
    run = executor.rows

    def spy(sql: str, params: Any = ()) -> Any:
        explain = "EXPLAIN QUERY PLAN " if engine_name == "sqlite" else "EXPLAIN "
        seen.extend(str(row) for row in run(explain + sql, params))
        return run(sql, params)

    executor.rows = spy  # type: ignore[method-assign]
    db.search("docs", "word7 99007")
    plan = "\n".join(seen)
    if engine_name == "sqlite":
        assert "VIRTUAL TABLE INDEX" in plan
        assert "SEARCH docs USING INTEGER PRIMARY KEY" in plan
    else:
        assert "Bitmap Index Scan on hf_search_docs" in plan
        assert "Seq Scan" not in plan


def test_a_phrase_after_very_many_of_its_words(db: holdfast.Database, engine_name: str) -> None:
    db.create_table("docs", {"id": "INTEGER PRIMARY KEY", "body": "TEXT"})
    for times in (254, 300):
        db.insert("docs", {"id": times, "body": "the cat sat on a mat. " * times + "At last the zebra came."})
    db.enable_search("docs", ["body"])
    exact = engine_name == "sqlite"  # docs/differences.md: a tsvector keeps 256 positions of a word
    assert sorted(row["id"] for row in db.search("docs", '"the zebra"')) == ([254, 300] if exact else [254])
    assert sorted(row["id"] for row in db.search("docs", "the zebra")) == [254, 300]
