from __future__ import annotations

import sqlite3

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from holdfast.engines.names import check_identifier, quote_identifier, unquote_identifier
from holdfast.engines.sqltext import (
    POSTGRES,
    SQLITE,
    Lexicon,
    bind,
    first_word,
    is_single_statement,
    iter_statements,
    native,
    positional,
    quoted_names,
    split_statements,
    tokens,
)
from holdfast.errors import InvalidIdentifier, InvalidQuery

LEXICONS = pytest.mark.parametrize("lexicon", [SQLITE, POSTGRES], ids=["sqlite", "postgres"])
PIECES = (
    *("'", '"', "`", "[", "]", "--", "/*", "*/", "$", "$$", "$a$", "E'", "\\", "?", "??", ":a", "::", ";"),
    *(
        "BEGIN",
        "ATOMIC",
        "END",
        "CASE",
        "CREATE",
        "TRIGGER",
        "x",
        "1",
        ".5e3",
        "é",
        "(",
        ")",
        " ",
        "\n",
        "\0",
    ),
)
SQLISH = st.text() | st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@LEXICONS
@given(sql=SQLISH)
def test_joined_tokens_are_the_text(lexicon: Lexicon, sql: str) -> None:
    found = list(tokens(sql, lexicon))
    assert "".join(token.text for token in found) == sql
    assert all(sql.startswith(token.text, token.start) and token.text for token in found)


@LEXICONS
@given(pieces=st.lists(SQLISH, max_size=5))
def test_a_split_text_does_not_depend_on_its_chunks(lexicon: Lexicon, pieces: list[str]) -> None:
    sql = "".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("holdfast.engines.sqltext._CHUNK", 1)
        by_character = list(iter_statements(sql, lexicon))
    assert by_character == split_statements(sql, lexicon)
    assert all(statement == statement.strip() and statement for statement in by_character)


@given(texts=st.lists(st.text(), min_size=1, max_size=4))
def test_marks_in_quotes_are_no_marks(texts: list[str]) -> None:
    quoted = ["'" + text.replace("'", "''") + "'" for text in texts]
    sql = "SELECT " + ", ?, ".join(quoted)
    count = len(texts) - 1
    driver, values = bind(sql, [7] * count, lexicon=POSTGRES, numbered=True)
    assert values == [7] * count
    expected = quoted[0] + "".join(f", ${n}, {text}" for n, text in enumerate(quoted[1:], start=1))
    assert driver == "SELECT " + expected


@pytest.mark.parametrize(
    ("sql", "count", "expected"),
    [
        ("a = ? AND b = ?", 2, "a = $1 AND b = $2"),
        ("a LIKE '%?' AND b = ? -- ?\n/* ? */", 1, "a LIKE '%?' AND b = $1 -- ?\n/* ? */"),
        ('"od?d" = ?', 1, '"od?d" = $1'),
        ("data ?? 'k' AND data ??| ?", 1, "data ? 'k' AND data ?| $1"),
        (r"E'it\'s ?' || ?", 1, r"E'it\'s ?' || $1"),
        (r"'back\' || ?", 1, r"'back\' || $1"),
        ("$$ ? $$ || $q$ ? $$ $q$ || ?", 1, "$$ ? $$ || $q$ ? $$ $q$ || $1"),
        ("/* /* ? */ ? */ ?", 1, "/* /* ? */ ? */ $1"),
        ("a[1:2] = ? AND a[lo:hi] = x::int", 1, "a[1:2] = $1 AND a[lo:hi] = x::int"),
        ("LIMIT?OFFSET?", 2, "LIMIT $1 OFFSET $2"),
        ("10 % ? = 0", 1, "10 % $1 = 0"),
        ("tableé$1 = ?", 1, "tableé$1 = $1"),
        ("E'a'\n  'b\\'?' || ?", 1, "E'a'\n  'b\\'?' || $1"),
    ],
)
def test_positions_on_postgres(sql: str, count: int, expected: str) -> None:
    values = list(range(count))
    assert bind(sql, values, lexicon=POSTGRES, numbered=True) == (expected, values)


@pytest.mark.parametrize(
    ("sql", "params", "expected", "values"),
    [
        ("a = :a AND b = :b OR c = :a", {"a": 1, "b": 2}, "a = $1 AND b = $2 OR c = $1", [1, 2]),
        ("a = :a::int AND b[1:2] = b[lo:hi]", {"a": 1}, "a = $1::int AND b[1:2] = b[lo:hi]", [1]),
        ("f(x := :a)", {"a": 1}, "f(x := $1)", [1]),
        ("':a' \":a\" = :a", {"a": 1}, "':a' \":a\" = $1", [1]),
        ("data ? 'k' AND data ?? :key", {"key": "k"}, "data ? 'k' AND data ? $1", ["k"]),
        ("a IN (:é, :b1)", {"b1": 1, "é": 2}, "a IN ($1, $2)", [2, 1]),
    ],
)
def test_names_on_postgres(sql: str, params: dict[str, object], expected: str, values: list[object]) -> None:
    assert bind(sql, params, lexicon=POSTGRES, numbered=True) == (expected, values)


def test_a_fragment_by_name_becomes_one_by_position() -> None:
    sql = "a ? 'k' AND b ?? 'k' AND c = :x::int OR d = :x"
    assert positional(sql, {"x": 1}, lexicon=POSTGRES) == (
        "a ?? 'k' AND b ?? 'k' AND c = ?::int OR d = ?",
        [1, 1],
    )
    assert native(positional(sql, {"x": 1}, lexicon=POSTGRES)[0], lexicon=POSTGRES, numbered=True) == (
        "a ? 'k' AND b ? 'k' AND c = $1::int OR d = $2"
    )
    assert positional("a = ? AND b = '??'", [1], lexicon=SQLITE) == ("a = ? AND b = '??'", [1])


def test_bound_text_runs_on_sqlite() -> None:
    con = sqlite3.connect(":memory:")
    sql = """SELECT [a?], `b:x`, :x || 'y?' /* ? /* */ || ':x', "c""?"
             FROM (SELECT 1 [a?], 2 `b:x`, 3 "c""?")"""
    text, values = bind(sql, {"x": "v"}, lexicon=SQLITE, numbered=False)
    assert con.execute(text, values).fetchall() == [(1, 2, "vy?:x", 3)]
    text, values = bind(sql.replace(":x ||", "? ||"), ["v"], lexicon=SQLITE, numbered=False)
    assert con.execute(text, values).fetchall() == [(1, 2, "vy?:x", 3)]
    con.close()


def test_without_values_the_text_of_an_operator_stays() -> None:
    assert bind("SELECT a ?? 'k', $1", None, lexicon=POSTGRES, numbered=True) == ("SELECT a ? 'k', $1", [])
    assert bind("SELECT 1", (), lexicon=SQLITE, numbered=False) == ("SELECT 1", [])


@LEXICONS
@pytest.mark.parametrize(
    ("sql", "params", "said"),
    [
        ("a = ?", None, "1 ? marks, and 0 values"),
        ("a = ?", [], "1 ? marks, and 0 values"),
        ("a = ?", ["secret", 2], "1 ? marks, and 2 values"),
        ("a = 1", ["secret"], "0 ? marks, and 1 values"),
        ("a = :a", ["secret"], "as a dict"),
        ("a = ?", {"a": "secret"}, ":name"),
        ("a = :a AND b = :b", {"a": "secret"}, "no value was given for :b"),
        ("a = :a", {"a": "secret", "c": "secret"}, "no mark for the given 'c'"),
        ("a = 1", {1: "secret"}, "no mark for the given 'int'"),
        ("a = ?", "secret", "not str"),
        ("a = ?", b"secret", "not bytes"),
        ("a = ?", {"secret"}, "not set"),
        ("a = ?1", ["secret"], "?1"),
    ],
)
def test_marks_and_values_that_do_not_fit(lexicon: Lexicon, sql: str, params: object, said: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        bind(sql, params, lexicon=lexicon, numbered=lexicon is POSTGRES)  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("lexicon", "sql", "params"),
    [
        (SQLITE, "a = ? AND b = :b", [1]),
        (SQLITE, "a = ? AND b = :b", {"b": 1}),
        (SQLITE, "a = :b", None),
        (SQLITE, "a = @b AND c = ?", [1]),
        (SQLITE, "a = $b", [1]),
        (POSTGRES, "a = $1", [1]),
        (POSTGRES, "a = $2 AND b = ?", [1]),
    ],
)
def test_mixed_styles_are_refused(lexicon: Lexicon, sql: str, params: object) -> None:
    with pytest.raises(InvalidQuery):
        bind(sql, params, lexicon=lexicon, numbered=lexicon is POSTGRES)  # type: ignore[arg-type]


TRIGGER = """CREATE TEMP TRIGGER "a;b" AFTER INSERT ON t WHEN new.a > 0 BEGIN
  UPDATE t SET a = CASE WHEN a > 1 THEN ';' ELSE 'END' END; -- END;
  DELETE FROM t WHERE a = 'x;';
END"""
FUNCTION = """CREATE FUNCTION f(a int) RETURNS int LANGUAGE SQL BEGIN ATOMIC
  SELECT CASE WHEN a > 1 THEN 1 ELSE 2 END; SELECT 3;
END"""
DOLLAR = "CREATE FUNCTION g() RETURNS int AS $body$ BEGIN; RETURN 1; END; $body$ LANGUAGE plpgsql"


@pytest.mark.parametrize(
    ("lexicon", "statements"),
    [
        (SQLITE, ["SELECT 1", TRIGGER, "SELECT ';', \";\", [;], `;` /* ; */", "SELECT 2 -- ;"]),
        (SQLITE, ["BEGIN", "CREATE TABLE trigger (begin, a)", "COMMIT"]),
        (POSTGRES, ["SELECT 1", FUNCTION, DOLLAR, "CREATE FUNCTION h() BEGIN ATOMIC END", "SELECT E'\\';'"]),
        (POSTGRES, ["BEGIN", "/* ; /* ; */ ; */ SELECT $$;$$", "CREATE TRIGGER t EXECUTE FUNCTION f()", "X"]),
    ],
)
def test_split(lexicon: Lexicon, statements: list[str]) -> None:
    text = ";\n".join(statements)
    assert split_statements(text, lexicon) == statements
    assert split_statements(f" ;;-- nothing\n;{text}\n;\n/* end */", lexicon) == statements


def test_a_split_dump_makes_the_same_database() -> None:
    first, second = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    first.executescript(
        """CREATE TABLE t (a INTEGER PRIMARY KEY, "b;" TEXT);
        INSERT INTO t VALUES (1, 'x;'), (2, 'it''s
        END;');
        CREATE TRIGGER tr AFTER UPDATE ON t BEGIN SELECT CASE WHEN 1 THEN 2 END; SELECT ';'; END;"""
    )
    for statement in iter_statements((line + "\n" for line in first.iterdump()), SQLITE):
        second.execute(statement)
    assert list(second.iterdump()) == list(first.iterdump())
    first.close()
    second.close()


def test_splitting_a_long_statement_is_not_quadratic() -> None:
    lines = ["SELECT '", *["it''s a line;\n"] * 200_000, "'; SELECT 2"]
    assert [len(statement) for statement in iter_statements(lines, SQLITE)] == [9 + 200_000 * 14, 8]


@LEXICONS
def test_single_statement(lexicon: Lexicon) -> None:
    assert is_single_statement("SELECT 1; -- done;", lexicon)
    assert is_single_statement("SELECT ';'", lexicon)
    assert not is_single_statement("SELECT 1; DROP TABLE t", lexicon)
    assert not is_single_statement("-- nothing\n;", lexicon)


@pytest.mark.parametrize(
    ("sql", "verb"),
    [
        ("  -- c\n select 1", "SELECT"),
        ("((VALUES (1)))", "VALUES"),
        ("with a as (select 1) delete from t", "WITH"),
        ("", ""),
        ("'select'", ""),
        ("/* unfinished", ""),
    ],
)
def test_first_word(sql: str, verb: str) -> None:
    assert first_word(sql, SQLITE) == verb


def test_a_nested_comment_hides_the_verb_only_where_comments_nest() -> None:
    sql = "/* /* */ DELETE FROM t; */ SELECT 1"
    assert first_word(sql, SQLITE) == "DELETE"
    assert first_word(sql, POSTGRES) == "SELECT"


def test_quoted_names() -> None:
    sql = """SELECT "a", "b""c", 'd "e"', [f], `g` -- "h"\n FROM "t" """
    assert quoted_names(sql, SQLITE) == ["a", 'b"c', "t"]


@given(
    st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=15)
)
def test_a_quoted_name_comes_back(name: str) -> None:
    assert unquote_identifier(quote_identifier(name)) == name
    assume(not name.lower().startswith("sqlite_"))
    con = sqlite3.connect(":memory:")
    con.execute(f"CREATE TABLE {quote_identifier(name)} (a)")
    assert con.execute("SELECT name FROM sqlite_master").fetchall() == [(name,)]
    con.close()


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 64, "é" * 32, "\ud800", None, 3, b"a"])
def test_impossible_names_are_refused(name: object) -> None:
    with pytest.raises(InvalidIdentifier):
        check_identifier(name)  # type: ignore[arg-type]
    assert check_identifier("x" * 63) == "x" * 63
