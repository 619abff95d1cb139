"""A database as MemGPT's db.py makes it, on both engines, and what becomes of it here."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import BIGINT, BINARY, CHAR, JSON, Column, DateTime, MetaData, String, Table, insert
from sqlalchemy.dialects import postgresql

import holdfast
from holdfast.errors import AlreadyExists, ImportFailed, InvalidQuery
from holdfast.memory import Passage, import_memgpt
from holdfast.memory.embed import HashingEmbedder

USER, AGENT, OTHER_AGENT = uuid4(), uuid4(), uuid4()
WIDTH = 4096
EMBED = HashingEmbedder(64)
NOON = datetime(2024, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


class MemGPT:
    """The tables of db.py, and rows written as its types write them."""

    def __init__(self, db: holdfast.Database) -> None:
        self.db, self.is_sqlite = db, db.engine.dialect.name == "sqlite"
        uuid = CHAR() if self.is_sqlite else postgresql.UUID(as_uuid=True)
        common = [("id", uuid), ("user_id", uuid), ("agent_id", uuid), ("text", String())]
        ends = [
            ("embedding", self._vector_type()),
            ("embedding_dim", BIGINT()),
            ("embedding_model", String()),
            ("created_at", DateTime(timezone=True)),
        ]
        passage = [("doc_id", uuid), ("data_source", String()), ("metadata_", JSON())]
        message = [(name, String()) for name in ("role", "model", "name", "tool_call_id")]
        metadata = MetaData()
        self.tables = {
            name: Table(
                name,
                metadata,
                *(Column(each, kind, primary_key=each == "id") for each, kind in [*common, *more, *ends]),
            )
            for name, more in (
                ("memgpt_archival_memory_agent", passage),
                ("memgpt_passages", passage),
                ("memgpt_recall_memory_agent", [*message, ("tool_calls", JSON())]),
            )
        }
        metadata.create_all(db.engine)
        self.has_vectors = self.is_sqlite or not isinstance(self._vector_type(), BINARY)

    def _vector_type(self):
        if self.is_sqlite:
            return BINARY()
        if self.db.query("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"):
            from pgvector.sqlalchemy import Vector

            self.db.execute("CREATE EXTENSION IF NOT EXISTS vector")
            return Vector(WIDTH)
        return String()

    def vector(self, text, dtype=np.float32):
        padded = np.pad(EMBED([text])[0], (0, WIDTH - 64)).astype(dtype)
        if self.is_sqlite:
            return base64.b64encode(padded.tobytes())
        return padded.tolist() if not isinstance(self._vector_type(), String) else None

    def add(self, table, text, *, dtype=np.float32, **values):
        row = {"id": uuid4(), "user_id": USER, "agent_id": AGENT, "text": text, "created_at": NOON, **values}
        if values.get("embedding", ...) is ... and text:
            row |= {
                "embedding": self.vector(text, dtype),
                "embedding_dim": 64,
                "embedding_model": "hashing-64",
            }
        ids = [name for name, value in row.items() if isinstance(value, UUID)]
        given = {name: str(value) if self.is_sqlite and name in ids else value for name, value in row.items()}
        if self.is_sqlite and given["created_at"] is not None:
            given["created_at"] = given["created_at"].replace(tzinfo=None)
        with self.db.engine.begin() as connection:
            connection.execute(insert(self.tables[table]).values(given))
        return row["id"]


@pytest.fixture
def memgpt(new_url):
    with holdfast.connect(new_url()) as db:
        yield MemGPT(db)


ARCHIVE, LOADED, RECALL = "memgpt_archival_memory_agent", "memgpt_passages", "memgpt_recall_memory_agent"


def test_passages_and_messages_come_whole(memgpt, opened):
    document = uuid4()
    tea = memgpt.add(
        ARCHIVE, "Ada drinks tea ☕", metadata_={"n": 1, "deep": [None, 1.5]}, data_source="notes"
    )
    page = memgpt.add(
        LOADED, "A page of a book", agent_id=None, doc_id=document, created_at=NOON + timedelta(1)
    )
    call = {"id": "call-1", "tool_call_type": "function", "function": {"name": "send", "arguments": "{}"}}
    asked = memgpt.add(RECALL, "hello", role="user", name="Ada", model="gpt-4")
    called = memgpt.add(RECALL, None, role="assistant", tool_calls=[call], agent_id=OTHER_AGENT)
    told = memgpt.add(RECALL, "done", role="tool", tool_call_id="call-1", created_at=None)
    store = opened(user_id="ada", embed=EMBED)
    done = import_memgpt(store, memgpt.db)
    assert str(done) == "2 passages, 3 messages"
    found = store.get(tea)
    assert (found.text, found.metadata, found.data_source) == (
        "Ada drinks tea ☕",
        {"n": 1, "deep": [None, 1.5]},
        "notes",
    )
    assert (found.user_id, found.agent_id, found.created_at) == ("ada", str(AGENT), NOON)
    assert (store.get(page).agent_id, store.get(page).doc_id) == (None, str(document))
    assert (store.get(asked).role, store.get(asked).user, store.get(asked).model) == ("user", "Ada", "gpt-4")
    assert (store.get(called).tool_calls, store.get(called).text) == ([call], "")
    assert store.get(told).tool_call_id == "call-1"
    if memgpt.vector("x") is not None:
        assert np.array_equal(found.embedding, EMBED(["Ada drinks tea ☕"])[0])
        assert [(model.name, model.dimension) for model in store.models()] == [("hashing-64", 64)]
    else:
        assert found.embedding is None
    assert store.query("tea", mode="text")[0].record.id == tea


def test_what_passages_of_one_text_said_is_not_lost(memgpt, opened):
    first = memgpt.add(ARCHIVE, "the same", metadata_={"n": 1})
    second = memgpt.add(
        ARCHIVE, "the same", metadata_={"n": 2}, data_source="b", created_at=NOON + timedelta(1)
    )
    memgpt.add(ARCHIVE, "the same", agent_id=OTHER_AGENT)
    memgpt.add(ARCHIVE, "  ")
    memgpt.add(RECALL, None, role="user")
    store = opened(user_id="ada")
    done = import_memgpt(store, memgpt.db)
    assert (done.passages, done.merged, done.empty) == (2, 1, 2)
    (other,) = store.get(first).metadata["duplicates"]
    assert (other["id"], other["metadata"], other["data_source"]) == (str(second), {"n": 2}, "b")


def test_one_user_of_several(memgpt, opened):
    stranger = uuid4()
    memgpt.add(ARCHIVE, "mine")
    memgpt.add(ARCHIVE, "a stranger's", user_id=stranger)
    store = opened(user_id="ada")
    with pytest.raises(InvalidQuery, match="2 users"):
        import_memgpt(store, memgpt.db)
    with pytest.raises(InvalidQuery, match="not that one"):
        import_memgpt(store, memgpt.db, user=str(uuid4()))
    import_memgpt(store, memgpt.db, user=str(stranger))
    assert [record.text for record in store.get_all()] == ["a stranger's"]


def test_a_second_import_writes_nothing(memgpt, opened):
    memgpt.add(ARCHIVE, "mine")
    store = opened(user_id="ada")
    store.insert(Passage("there already"))
    import_memgpt(store, memgpt.db)
    memgpt.add(ARCHIVE, "new")
    with pytest.raises(AlreadyExists):
        import_memgpt(store, memgpt.db)
    assert store.size() == 2


def test_it_is_read_by_its_address(memgpt, opened):
    memgpt.add(ARCHIVE, "mine")
    url = memgpt.db.engine.url.render_as_string(hide_password=False)
    if memgpt.is_sqlite:
        assert import_memgpt(opened(), url).passages == 1


def test_vectors_that_were_stored_in_double_precision(memgpt, opened):
    if not memgpt.is_sqlite:
        pytest.skip("pgvector has float32 alone")
    id = memgpt.add(ARCHIVE, "mine", dtype=np.float64)
    store = opened(user_id="ada", embed=EMBED)
    import_memgpt(store, memgpt.db)
    assert np.array_equal(store.get(id).embedding, EMBED(["mine"])[0])


@pytest.mark.parametrize(
    "values",
    [
        {"embedding": b"no base64!", "embedding_dim": 64},
        {"embedding": base64.b64encode(np.ones(WIDTH, dtype=np.float32)), "embedding_dim": 64},
        {"metadata_": {"n": 1}, "id": "7"},
    ],
    ids=["no vector", "too long", "no id"],
)
def test_a_row_that_cannot_be_read_brings_nothing(memgpt, opened, values):
    if not memgpt.is_sqlite:
        pytest.skip("this server refuses such rows itself")
    memgpt.add(ARCHIVE, "good")
    memgpt.add(ARCHIVE, "bad", **values)
    store = opened(user_id="ada")
    with pytest.raises(ImportFailed):
        import_memgpt(store, memgpt.db)
    assert store.size() == 0


def test_a_database_of_another_program_is_refused(opened, db):
    with pytest.raises(ImportFailed, match="MemGPT"):
        import_memgpt(opened(), db)
