"""The reader of CSV text, against the standard library's where both can tell."""

from __future__ import annotations

import csv
import io
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.errors import ImportFailed
from holdfast.io import records as records_module
from holdfast.io.guess import TextGuess
from holdfast.io.records import Quoted, Unclosed, open_source, records
from holdfast.io.values import line


def read(text: str, delimiter: str = ",") -> list[list[str | None]]:
    return [record.fields for record in records(io.StringIO(text, newline=""), delimiter)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n", [["a", "b"]]),
        ("a,b", [["a", "b"]]),
        ("a,b\r\nc,d\r\n", [["a", "b"], ["c", "d"]]),
        ("a\rb\r", [["a"], ["b"]]),
        (',""\n', [[None, ""]]),
        ('"",\n', [["", None]]),
        ('"a""b"\n', [['a"b']]),
        ('""""\n', [['"']]),
        ('"a\nb",c\n', [["a\nb", "c"]]),
        ('"a\r\n\r\nb",c\r\n', [["a\r\n\r\nb", "c"]]),
        ('"a","b\nc","d"\n', [["a", "b\nc", "d"]]),
        ('"a\n""b"",\nc","d\ne"\n', [['a\n"b",\nc', "d\ne"]]),
        ('5" pipe,x\n', [['5" pipe', "x"]]),
        ("a\u2028b,\x0bc\n", [["a\u2028b", "\x0bc"]]),
        ("\n", [[None]]),
        ("", []),
    ],
)
def test_reads_what_is_written(text, expected):
    assert read(text) == expected


def test_an_open_quote_is_an_error_that_names_its_line():
    with pytest.raises(Unclosed) as caught:
        read('a,b\nc,"d\ne\n')
    assert caught.value.line == 2


def test_text_behind_a_quote_is_a_fault():
    (record,) = records(['"a"b,c\n'])
    assert record.fault is not None


def test_lines_are_those_where_records_begin():
    found = [record.line for record in records(io.StringIO('a\n"b\nc"\nd\n', newline=""))]
    assert found == [1, 2, 4]


FIELD = st.none() | st.text(st.sampled_from(list('a,"\n\r;é\ufeff \u2028')), max_size=6)


@given(st.lists(st.lists(FIELD, min_size=2, max_size=4), max_size=6), st.sampled_from(",;\t"))
def test_what_is_written_is_read(rows, delimiter):
    text = "".join(line(fields, delimiter) for fields in rows)
    assert read(text, delimiter) == rows


@given(st.lists(st.lists(st.text(st.sampled_from(list('a,"\n\ré'))), min_size=2, max_size=4), max_size=6))
def test_agrees_with_the_standard_library(rows):
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    mine = [[field or "" for field in fields] for fields in read(text.getvalue())]
    assert mine == list(csv.reader(io.StringIO(text.getvalue(), newline="")))


def test_quoted_fields_of_a_batch_leave_the_null_of_others_alone(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,NA\n"2","NA"\n3,NA\n')
    with open_source(path, null="NA") as source:
        (batch,) = source.batches(2)
    rows = [record.fields for record in batch.records()]
    assert rows == [["1", None], ["2", "NA"], ["3", None]]
    assert batch.lines == [2, 3, 4]
    assert type(rows[1][1]) is Quoted


@given(
    st.text(st.sampled_from(list('a1,"\n\rNA')), max_size=60), st.sampled_from(["", "NA"]), st.integers(1, 3)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
def test_the_fast_ways_read_what_the_slow_one_reads(tmp_path, text, null, width):
    path = tmp_path / "a.csv"
    path.write_text("h\n" + text, newline="")

    def found() -> list[object]:
        with open_source(path, null=null) as source:
            try:
                batches = list(source.batches(width))
            except ImportFailed as exc:
                return [str(exc)]
        bad = [record for batch in batches for record in batch.bad]
        return [[record for batch in batches for record in batch.records()], bad]

    with mock.patch.object(records_module, "_LINES", 8):
        quick = found()
        with (
            mock.patch.object(records_module._Block, "plain", return_value=None),
            mock.patch.object(records_module._Block, "quoted", return_value=None),
        ):
            careful = found()
    assert quick == careful


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1", "-2", "0"], "INTEGER"),
        (["9223372036854775807"], "INTEGER"),
        (["9223372036854775808"], "TEXT"),
        (["007"], "TEXT"),
        (["+1"], "TEXT"),
        (["-0"], "TEXT"),
        (["1_000"], "TEXT"),
        ([" 1"], "TEXT"),
        (["١"], "TEXT"),
        (["1", "2.5"], "REAL"),
        (["1e5"], "TEXT"),
        (["1e-05", "2.5e+20"], "REAL"),
        (["1.50", "2.25"], "REAL"),
        (["1.9", "1.10"], "TEXT"),
        (["0.12345678901234567890"], "TEXT"),
        (["1e+999"], "TEXT"),
        (["nan"], "TEXT"),
        (["NA", "1"], "TEXT"),
        (["true", "False"], "BOOLEAN"),
        (["yes"], "TEXT"),
        (["2024-02-29"], "DATE"),
        (["2023-02-29"], "TEXT"),
        (["2024-01-01 10:00", "2024-01-01T10:00:00.5"], "TIMESTAMP"),
        (["2024-01-01 10:00:00Z"], "TIMESTAMPTZ"),
        (["2024-01-01", "2024-01-01 10:00:00"], "TEXT"),
        (["2024-01-01 10:00:00.123456789"], "TEXT"),
        ([], "TEXT"),
    ],
)
def test_a_type_is_guessed_only_where_the_text_comes_back(texts, expected):
    together, apart = TextGuess(), TextGuess()
    together.add(texts)
    for text in texts:
        apart.add([text])
    assert (together.result(), apart.result()) == (expected, expected)


def test_large_integers_do_not_become_floats():
    guess = TextGuess()
    guess.add(["9007199254740993"])
    guess.add(["0.5"])
    assert guess.result() == "TEXT"
