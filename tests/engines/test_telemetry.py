"""Spans of OpenTelemetry: by its conventions, and without a value."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import db_attributes as incubating
from opentelemetry.semconv.attributes import db_attributes, error_attributes, server_attributes
from opentelemetry.trace import SpanKind, StatusCode

import holdfast
from holdfast.engines.sqltext import POSTGRES, SQLITE
from holdfast.errors import InvalidQuery, UniqueViolation
from holdfast.tuning.telemetry import described

SECRET = "a-secret-value"


class Spans:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def taken(self):
        found = self.exporter.get_finished_spans()
        self.exporter.clear()
        return found


@pytest.fixture
def spans() -> Iterator[Spans]:
    made = Spans()
    yield made
    made.provider.shutdown()


def test_each_statement_is_a_span_by_the_conventions(db, spans):
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "model": str})
    db.trace_queries(tracer_provider=spans.provider)
    db.insert("runs", {"id": 1, "model": SECRET})
    spans.taken()
    db.query(f"SELECT model FROM runs WHERE id > ? AND model = '{SECRET}'", [0])
    (span,) = spans.taken()
    assert (span.name, span.kind) == ("SELECT runs", SpanKind.CLIENT)
    assert span.attributes["db.system.name"] == db.url.partition(":")[0].partition("+")[0]
    assert span.attributes["db.operation.name"] == "SELECT"
    assert span.attributes["db.collection.name"] == "runs"
    assert span.attributes["db.query.summary"] == "SELECT runs"
    assert span.attributes["db.query.text"] == "SELECT model FROM runs WHERE id > ? AND model = ?"
    assert ("server.address" in span.attributes) == (db._target.host is not None)
    assert span.end_time >= span.start_time
    assert span.status.status_code is StatusCode.UNSET


def test_every_name_is_one_of_the_conventions(db, spans):
    known = {
        value
        for module in (db_attributes, error_attributes, server_attributes, incubating)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }
    deprecated = {"db.system", "db.name", "db.statement", "db.operation", "db.sql.table", "db.user"}
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "model": str})
    db.trace_queries(tracer_provider=spans.provider)
    db.insert_many("runs", [{"id": n, "model": SECRET} for n in range(3)])
    db.execute("SELECT * FROM runs")
    db.executemany("DELETE FROM runs WHERE id = ?", [(1,), (2,)])
    list(db.stream("runs"))
    with pytest.raises(UniqueViolation):
        db.insert("runs", {"id": 0, "model": SECRET})
    found = spans.taken()
    told = {name for span in found for name in span.attributes}
    assert told >= {
        "db.system.name",
        "db.operation.name",
        "db.query.text",
        "db.collection.name",
        "error.type",
    }
    assert told <= known - deprecated
    (asked,) = [span for span in found if span.attributes["db.query.text"] == "SELECT * FROM runs"]
    assert asked.attributes["db.response.returned_rows"] == 3
    assert all(isinstance(span.attributes.get("server.port", 1), int) for span in found)


def test_no_value_is_in_any_span(db, spans):
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "model": str})
    db.trace_queries(tracer_provider=spans.provider)
    db.insert_many("runs", [{"model": SECRET}, {"model": f"{SECRET}2"}])
    db.upsert("runs", {"id": 1, "model": SECRET})
    db.update("runs", {"model": SECRET}, where="model = ?", params=[SECRET])
    db.select("runs", where={"model": SECRET})
    list(db.stream("runs", where={"model": SECRET}))
    with pytest.raises(UniqueViolation):
        db.execute(f"INSERT INTO runs (id, model) VALUES (1, '{SECRET}')")
    found = spans.taken()
    assert len(found) >= 6
    assert SECRET not in "".join(span.to_json() for span in found)


def test_an_error_is_told_by_its_kind(db, spans):
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY"})
    db.trace_queries(tracer_provider=spans.provider)
    with pytest.raises(InvalidQuery):
        db.execute("SELECT FROM WHERE")
    span = spans.taken()[-1]
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "holdfast.errors.InvalidQuery"
    assert span.attributes["db.response.status_code"] in ("42601", "SQLITE_ERROR")
    assert span.events == ()


def test_a_stream_is_one_span_and_is_ended_when_it_is_left(db, spans):
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY"})
    db.insert_many("runs", [{"id": n} for n in range(1, 101)])
    db.trace_queries(tracer_provider=spans.provider)
    assert len(list(db.stream("SELECT id FROM runs"))) == 100
    assert spans.taken()[-1].attributes["db.response.returned_rows"] == 100
    begun = db.stream("SELECT id FROM runs", batch_size=10)
    next(begun)
    begun.close()
    assert spans.taken()[-1].name == "SELECT runs"


def test_it_goes_together_with_the_slow_log_and_ends(db, spans):
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY"})
    plain = db._executor.send
    db.record_queries()
    db.trace_queries(tracer_provider=spans.provider)
    db.insert("runs", {"id": 1})
    assert spans.taken()
    assert db.slow_queries()
    db.record_queries(False)
    db.insert("runs", {"id": 2})
    assert spans.taken()
    db.trace_queries(False)
    db.insert("runs", {"id": 3})
    assert spans.taken() == ()
    assert db._executor.send == plain


@pytest.mark.parametrize(
    ("sql", "summary", "collection"),
    [
        ("INSERT INTO runs VALUES (1)", "INSERT runs", "runs"),
        ("SELECT * FROM a JOIN b ON a.id = b.id WHERE x = 'y'", "SELECT a b", None),
        ('DELETE FROM "two words"', "DELETE two words", "two words"),
        ("CREATE TABLE IF NOT EXISTS t (a text)", "CREATE t", "t"),
        ("SELECT 1", "SELECT", None),
        ("", "SQL", None),
        ("SELECT * FROM (SELECT 1)", "SELECT", None),
    ],
)
@pytest.mark.parametrize("lexicon", [SQLITE, POSTGRES])
def test_a_summary_names_the_verb_and_the_tables(sql, summary, collection, lexicon):
    found = described(sql, lexicon)
    assert found["db.query.summary"] == summary
    assert found.get("db.collection.name") == collection


def test_a_database_that_is_not_traced_imports_nothing_of_it():
    code = (
        "import sys, holdfast\n"
        "db = holdfast.connect(':memory:')\n"
        "db.execute('SELECT 1')\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_it_can_be_asked_for_when_connecting():
    with holdfast.connect(":memory:", telemetry=True) as db:
        assert "send" in vars(db._executor)
