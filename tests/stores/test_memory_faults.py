"""Faults that fall on a memory: killed writers, several processes, lost connections, bad input."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np
import pytest

import holdfast
import servers
from holdfast import errors, memory
from holdfast.memory import Message, Passage, SQLStore

Open = Callable[..., SQLStore]

WRITER = """
import sys
import holdfast.memory as m
url, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with m.open(url, user_id="ada") as store:
    for batch in range(count):
        store.insert_many(m.Passage(f"{name} {batch} {n}", [batch + 1.0, n + 1.0, 1.0]) for n in range(25))
        print(batch, flush=True)
"""


def writer(url: str, name: str, count: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, url, name, str(count)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def loose_vectors(store: SQLStore) -> int:
    """Vectors without a memory, and memories here without a vector."""
    table = f'"{store.table_name}"'
    vectors = f'"{store.table_name}_vectors"'
    return int(
        store._executor.scalar(
            f"SELECT (SELECT count(*) FROM {vectors} WHERE n NOT IN (SELECT n FROM {table})) + "
            f"(SELECT count(*) FROM {table} WHERE n NOT IN (SELECT n FROM {vectors}))"
        )
    )


@pytest.mark.parametrize("moment", [0, 3])
def test_a_killed_writer_loses_nothing_acknowledged_and_leaves_no_part(url: str, moment: int) -> None:
    memory.open(url, user_id="ada").close()
    with writer(url, "a", 10_000) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(moment + 1)]
        process.kill()
        acknowledged += process.stdout.read().split()
    with memory.open(url, user_id="ada") as store:
        batches: dict[str, int] = {}
        for record in store.get_all():
            assert isinstance(record, Passage)
            assert record.embedding is not None
            batch = record.text.split()[1]
            batches[batch] = batches.get(batch, 0) + 1
        assert set(batches.values()) == {25}
        assert set(acknowledged) <= set(batches)
        assert len(batches) <= len(acknowledged) + 1
        assert loose_vectors(store) == 0
        assert len(store.query_text("a 0 3", top_k=1)) == 1
        store.insert(Passage("goes on", [1, 2, 3]))


def test_two_processes_share_a_store(url: str) -> None:
    memory.open(url, user_id="ada").close()
    both = [writer(url, name, 4) for name in ("one", "two")]
    with memory.open(url, user_id="ada") as store:
        sizes = []
        while any(process.poll() is None for process in both):
            sizes.append(store.size())
            time.sleep(0.02)
        assert [process.wait() for process in both] == [0, 0]
        assert sizes == sorted(sizes)
        assert all(size % 25 == 0 for size in sizes)
        assert store.size() == 200
        assert loose_vectors(store) == 0
    for process in both:
        assert process.stdout is not None
        process.stdout.close()


def test_a_terminated_connection_is_no_end(store: SQLStore, url: str, engine_name: str) -> None:
    if engine_name in ("sqlite", "lance"):
        pytest.skip("it has no server")
    store.insert_many([Passage(f"tea {n}", [1, n]) for n in range(3)])
    end = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    for ask in (
        lambda: store.query_text("tea"),
        lambda: store.get_all(),
        lambda: store.insert(Passage("tea after all", [1, 9])),
        lambda: store.query_text("tea"),
    ):
        with holdfast.connect(url) as other:
            assert other.query(end)
        try:
            ask()
        except errors.ConnectionLost:
            # A write that was cut off is told of, and may be asked for again.
            ask()
    assert store.size() == 4


def test_without_the_right_to_create_the_extension_it_says_what_to_do(new_url: Any, engine_name: str) -> None:
    if engine_name != "embedded":
        pytest.skip("only this server has the extension at hand")
    url = new_url()
    server = servers.embedded_server()
    name = url.rsplit("/", 1)[1]
    role = f"weak_{name}"
    server.create_role(role, None)
    server.execute(servers.SQL("GRANT CREATE ON SCHEMA public TO {}").format(servers.Identifier(role)), name)
    with memory.open(url.replace(f"{server.user}@", f"{role}@"), user_id="ada") as store:
        store.insert(Passage("green tea", [1, 2]))
        with pytest.raises(errors.NotSupported, match="CREATE EXTENSION vector"):
            store.query(vector=[1, 2])
        with pytest.raises(errors.NotSupported, match="pgvector"):
            store.create_vector_index()
        assert len(store.query_text("tea")) == 1
    server.execute(servers.SQL("DROP OWNED BY {}").format(servers.Identifier(role)), name)
    server.execute(servers.SQL("DROP ROLE {}").format(servers.Identifier(role)))


VECTOR = np.ones(3, dtype=np.float32)


@pytest.mark.parametrize(
    ("give", "error", "names"),
    [
        (lambda s: s.insert(Passage("b", np.ones(4, dtype=np.float32))), errors.ValueRefused, "4 numbers"),
        (lambda s: s.insert(Passage("b", [float("nan"), 1, 1])), errors.ValueRefused, "NaN"),
        (lambda s: s.insert(Passage("b", [0, 0, 0])), errors.ValueRefused, "zero"),
        (lambda s: s.insert(Passage("")), errors.ValueRefused, "empty"),
        (lambda s: s.insert(Message("user", "")), errors.ValueRefused, "empty"),
        (lambda s: s.insert(Passage("b", id="7")), errors.ValueRefused, "UUID"),
        (lambda s: s.get("not-a-uuid"), errors.ValueRefused, "UUID"),
        (lambda s: s.get(UUID(int=7)), errors.NotFoundError, "no memory"),
        (lambda s: s.get_all({"n": {"$near": 3}}), errors.InvalidQuery, r"\$near"),
        (lambda s: s.query(vector=np.ones(2)), errors.ValueRefused, "2 numbers"),
        (lambda s: s.query(vector=[0, 0, 0]), errors.ValueRefused, "zero"),
        (lambda s: s.query_text(" "), errors.InvalidQuery, "empty"),
        (lambda s: s.query_text("a", top_k=0), errors.InvalidQuery, "top_k"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    store: SQLStore, give: Callable[[SQLStore], object], error: type[Exception], names: str
) -> None:
    store.insert(Passage("a", VECTOR))
    with pytest.raises(error, match=names):
        give(store)
    assert store.size() == 1
    assert [change.operation for change in store.history(store.get_all()[0].id)] == ["insert"]


def test_what_is_no_place_and_no_embedder_is_named(opened: Open) -> None:
    for place in (3, ""):
        with pytest.raises(errors.ConfigurationError) as caught:
            memory.open(place)  # type: ignore[arg-type]
        assert "folder" not in caught.value.message
    with pytest.raises(errors.ConfigurationError, match="an embedder is a function, not int"):
        opened(name="other", embed=3)


def test_odd_input_is_taken_as_it_is(store: SQLStore) -> None:
    store.insert(Passage("a", VECTOR))
    assert store.get_all({"no_such_field": 1}) == []
    assert len(store.get_all({"no_such_field": None})) == 1
    long = "word " * (2**20 // 5)
    id = store.insert(Passage(long))
    assert getattr(store.get(id), "text") == long  # noqa: B009
    assert [hit.record.id for hit in store.query_text("word")] == [id]


def test_a_table_for_another_dimension_or_model_is_named(opened: Open) -> None:
    class Other:
        model = "other"

        def __call__(self, texts: list[str]) -> list[list[float]]:
            return [[1.0, 2.0, 3.0] for _ in texts]

    opened(name="made").insert(Passage("a", VECTOR))
    with pytest.raises(errors.ConfigurationError, match="'made' holds vectors of 3 numbers, not 8"):
        opened(name="made", dimension=8)
    with pytest.raises(errors.ConfigurationError, match="'made' are of the model 'default', not 'other'"):
        opened(name="made", embed=Other())
