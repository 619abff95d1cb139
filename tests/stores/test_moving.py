"""Memories that move: from backend to backend, into files and back, and from MemGPT."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from holdfast import memory
from holdfast.errors import (
    AlreadyExists,
    ConfigurationError,
    Error,
    ImportFailed,
)
from holdfast.memory import Message, Passage, Source, copy_memory, export_memory, import_memory
from holdfast.memory.embed import HashingEmbedder
from holdfast.memory.embed.texts import vectors_of

EMBED = HashingEmbedder(64)


@pytest.fixture
def elsewhere(tmp_path):
    """Open a memory in a SQLite file, as often as is asked."""
    opened = []

    def open(name="elsewhere", **options):
        opened.append(memory.open(tmp_path / f"{name}.db", **options))
        return opened[-1]

    yield open
    for store in opened:
        store.close()


def fill(store):
    """All there can be: kinds, agents, changes, deletions, undoing, a second model, a time to live."""
    passages = [
        Passage(f"passage {n} ☕", metadata={"n": n, "f": 1e22, "deep": [1.0, {"x": None}]}, doc_id=f"d{n}")
        for n in range(6)
    ]
    ids = store.insert_many(
        [
            *passages,
            replace(passages[0], id=memory.records.uuid7(), agent_id="planner"),
            Message("assistant", "", tool_calls=[{"id": "c1", "function": {"arguments": "{}"}}], model="gpt"),
            Message("user", "hello", user="Ada", created_at=datetime(1999, 1, 2, 3, 4, 5, 6, UTC)),
            Source("a book"),
        ]
    )
    store.update(replace(store.get(ids[1]), text="changed", embedding=None))
    store.delete({"n": 2})
    store.undo(ids[2])
    store.delete({"n": 3})
    store.insert(Passage("short lived"), ttl=timedelta(hours=5))
    models = store._models()
    missing = models.missing("second")
    models.add("second", [(text, vectors_of(HashingEmbedder(32), [text.text])[0]) for text in missing])
    return ids


def all_of(store, ids):
    """Everything that a caller can see of a store, but for its owner."""

    def bare(record):
        return record and replace(record, user_id=None)

    return {
        "now": [bare(record) for record in store.get_all()],
        "then": [[(c.operation, bare(c.record), c.at) for c in store.history(id)] for id in ids],
        "models": [(m.name, m.dimension, m.is_current) for m in store.models()],
    }


def test_everything_comes_along_there_and_back(opened, elsewhere):
    source = opened(user_id="ada", embed=EMBED)
    ids = fill(source)
    opened(user_id="eve", embed=EMBED).insert_many([Passage("eve's own"), Passage("passage 1 ☕")])
    there, back = elsewhere(user_id="bob", name="x"), opened(user_id="cy", name="back")
    first = copy_memory(source, there)
    assert copy_memory(there, back) == first
    assert all_of(source, ids) == all_of(there, ids) == all_of(back, ids)
    assert (first.memories, first.changes) == (10, 4)
    assert first.vectors == len(source._executor.rows(f"SELECT 1 FROM {source._shape().vectors}")) - 2
    assert there.size({"text": {"$like": "%eve%"}}) == 0
    # What was not yet over goes on there.
    assert back.undo(ids[3]).text == "passage 3 ☕"
    again = memory.open(back._database, user_id="cy", name="back", embed=EMBED)
    assert again.insert(Passage("passage 4 ☕")) == ids[4]
    assert again.size() == 11


def test_a_copy_is_searched_at_once(opened, elsewhere):
    there = elsewhere(embed=EMBED)
    there.insert_many([Passage("trains to Lyon"), Passage("green tea")])
    target = opened(user_id="ada", embed=EMBED)
    copy_memory(there, target)
    assert target.query("tea", mode="text")[0].record.text == "green tea"
    if target._shape().layout.vector_kind != "BYTEA":
        assert target.query("train", mode="hybrid")[0].record.text == "trains to Lyon"


def test_what_has_expired_stays_behind(store, elsewhere):
    store.insert(Passage("gone"), ttl=0.000001)
    store.insert(Passage("here"))
    assert copy_memory(store, elsewhere()).memories == 1


def test_one_agent_alone(opened, elsewhere):
    opened(user_id="ada").insert_many([Passage("mine"), Passage("its own", agent_id="planner")])
    target = elsewhere()
    copy_memory(opened(user_id="ada", agent_id="planner"), target)
    assert [(record.text, record.agent_id) for record in target.get_all()] == [("its own", "planner")]
    other = elsewhere(name="other", agent_id="other")
    with pytest.raises(Error, match="another agent"):
        copy_memory(target, other)
    assert other.size() == 0


def test_nothing_is_added_to_what_is_there(opened, elsewhere):
    source, target = elsewhere(), opened(user_id="ada")
    source.insert(Passage("tea"))
    id = target.insert(Passage("coffee"))
    with pytest.raises(AlreadyExists, match="already"):
        copy_memory(source, target)
    target.delete({"id": str(id)})
    with pytest.raises(AlreadyExists, match="already"):
        copy_memory(source, target)
    assert target.size() == 0
    assert copy_memory(source, opened(user_id="eve")).memories == 1


def test_a_target_for_another_model_is_refused(opened, elsewhere):
    source = elsewhere(embed=EMBED)
    source.insert(Passage("tea"))
    target = opened(embed=HashingEmbedder(32))
    with pytest.raises(ConfigurationError, match="hashing-64"):
        copy_memory(source, target)
    assert target.size() == 0


def test_a_copy_that_is_not_what_was_sent_is_not_kept(opened, elsewhere, monkeypatch):
    source, target = elsewhere(), opened(user_id="ada")
    source.insert_many([Passage("a"), Passage("b")])
    real = memory.carrying._write_memories
    monkeypatch.setattr(memory.carrying, "_write_memories", lambda store, read: real(store, read[1:]))
    with pytest.raises(Error, match="not what was sent"):
        copy_memory(source, target)
    assert target.size() == 0


def test_a_copy_takes_part_in_a_transaction(opened, elsewhere, db):
    source, target = elsewhere(), opened(user_id="ada")
    source.insert(Passage("tea"))
    db.begin_transaction()
    copy_memory(source, target)
    db.rollback()
    assert target.size() == 0
    with db.transaction():
        copy_memory(source, target)
        copy_memory(target, opened(user_id="ada", name="beside"))
    assert (target.size(), opened(user_id="ada", name="beside").size()) == (1, 1)


def test_a_file_brings_everything_back(opened, elsewhere, tmp_path):
    source = opened(user_id="ada", embed=EMBED)
    ids = fill(source)
    for ending in (".jsonl", ".jsonl.gz", ".hfz"):
        path = tmp_path / f"memory{ending}"
        written = export_memory(source, path)
        back = opened(user_id=f"cy{ending}", name="back")
        assert import_memory(back, path) == written
        assert all_of(source, ids) == all_of(back, ids)


def test_the_same_memory_gives_the_same_file_on_every_backend(opened, elsewhere, tmp_path):
    source, there = opened(user_id="ada", embed=EMBED), elsewhere(user_id="ada", embed=EMBED)
    fill(source)
    copy_memory(source, there)
    export_memory(source, tmp_path / "one.jsonl")
    export_memory(there, tmp_path / "other.jsonl")
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "other.jsonl").read_bytes()


@pytest.fixture
def exported(elsewhere, tmp_path):
    source = elsewhere("source", embed=EMBED)
    fill(source)
    export_memory(source, tmp_path / "good.jsonl")
    return (tmp_path / "good.jsonl").read_bytes()


def test_a_file_that_is_cut_anywhere_brings_nothing(store, exported, tmp_path):
    path = tmp_path / "cut.jsonl"
    lines = exported.splitlines(keepends=True)
    for cut in [
        *(b"".join(lines[:n]) for n in range(len(lines))),
        exported[:-1],
        exported[: len(exported) // 2],
    ]:
        path.write_bytes(cut)
        with pytest.raises(ImportFailed):
            import_memory(store, path)
        assert store.size() == 0


def _changed(number, change):
    def make(data):
        lines = data.splitlines(keepends=True)
        entry = json.loads(lines[number])
        change(entry)
        lines[number] = json.dumps(entry).encode() + b"\n"
        return b"".join(lines)

    return make


WRONG = {
    "text": _changed(1, lambda entry: entry["memory"].update(text="another")),
    "no text": _changed(1, lambda entry: entry["memory"].pop("text")),
    "number": _changed(1, lambda entry: entry["memory"].update(text=5)),
    "kind": _changed(1, lambda entry: entry["memory"].update(kind="thought")),
    "id": _changed(1, lambda entry: entry["memory"].update(id="7")),
    "time": _changed(1, lambda entry: entry["memory"].update(created_at="yesterday")),
    "no zone": _changed(1, lambda entry: entry["memory"].update(created_at="2024-01-01T00:00:00")),
    "field": _changed(1, lambda entry: entry["memory"].update(user_id="eve")),
    "metadata": _changed(1, lambda entry: entry["memory"].update(metadata=[1])),
    "vector": _changed(1, lambda entry: entry["vectors"].update({"hashing-64": "AAAA"})),
    "zeros": _changed(1, lambda entry: entry["vectors"].update({"hashing-64": "A" * 340 + "AA=="})),
    "model": _changed(1, lambda entry: entry["vectors"].update({"other": entry["vectors"]["hashing-64"]})),
    "vectors": _changed(1, lambda entry: entry.update(vectors=[])),
    "entry": _changed(1, lambda entry: entry.clear()),
    "twice": lambda data: data.replace(data.splitlines(True)[1], data.splitlines(True)[1] * 2),
    "order": lambda data: b"".join(
        [
            *data.splitlines(True)[:1],
            *data.splitlines(True)[2:3],
            *data.splitlines(True)[1:2],
            *data.splitlines(True)[3:],
        ]
    ),
    "end": _changed(-1, lambda entry: entry["end"].update(memories=1)),
    "no json": lambda data: data.replace(b'{"memory"', b"{memory", 1),
    "head": _changed(0, lambda entry: entry.update(holdfast_memory=99)),
    "models": _changed(0, lambda entry: entry.update(models={"hashing-64": "many"})),
    "dimension": _changed(0, lambda entry: entry.update(models={"hashing-64": 3})),
    "other": lambda data: b'{"a": 1}\n',
    "empty": lambda data: b"",
    "bytes": lambda data: data.replace(b"passage", b"\xff\xfe", 1),
}


def test_a_file_with_a_fault_brings_nothing(store, exported, tmp_path):
    for fault, make in WRONG.items():
        path = tmp_path / f"{fault}.jsonl"
        path.write_bytes(make(exported))
        with pytest.raises((ImportFailed, AlreadyExists)) as raised:
            import_memory(store, path)
        assert "passage 0" not in str(raised.value), fault
        assert store.size() == 0, fault


def test_a_name_says_how_it_is_written(store, tmp_path):
    for path in ("memory.csv", "memory", "memory.gz"):
        with pytest.raises(ConfigurationError, match="ending"):
            export_memory(store, tmp_path / path)
        with pytest.raises(ConfigurationError, match="ending"):
            import_memory(store, tmp_path / path)
    with pytest.raises(ImportFailed, match="cannot be read"):
        import_memory(store, tmp_path / "nothere.jsonl")
    (tmp_path / "bad.jsonl.gz").write_bytes(gzip.compress(b"x" * 1000)[:-20])
    with pytest.raises(ImportFailed):
        import_memory(store, tmp_path / "bad.jsonl.gz")


def test_memory_stays_flat(opened, elsewhere, tmp_path):
    source = elsewhere(embed=HashingEmbedder(256))
    chance = np.random.default_rng(1)
    for start in range(0, 4000, 1000):
        source.insert_many(
            Passage(f"{start + n} " + "word " * 50, embedding=chance.normal(size=256)) for n in range(1000)
        )
    target = opened(user_id="ada")
    tracemalloc.start()
    try:
        copy_memory(source, target)
        export_memory(target, tmp_path / "big.jsonl.gz")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # All of it is 4 MiB of vectors, 5 in base64, and as much again read and written.
    assert peak < 12 << 20
