"""An index over vectors, where the backend has one: built when asked, right answers, and advice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import holdfast
from holdfast import errors, memory
from holdfast.memory import Passage, SQLStore

Open = Callable[..., SQLStore]
WIDTH = 32


def texts_like(count: int, width: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vectors as those of texts are: clusters of few dimensions, and noise; and the cluster of each."""
    chance = np.random.default_rng(seed)
    basis, centres = chance.normal(size=(24, width)), chance.normal(size=(40, 24))
    cluster = chance.integers(0, 40, count)
    found = (centres[cluster] + 0.5 * chance.normal(size=(count, 24))) @ basis
    return (found + 0.3 * chance.normal(size=(count, width))).astype(np.float32), cluster


def filled(store: SQLStore, vectors: NDArray[np.float32], cluster: NDArray[np.int64]) -> dict[str, Any]:
    """Write them, each with a place among all that goes with its cluster, and one that does not."""
    count, chance = len(vectors), np.random.default_rng(1)
    places = {"alone": chance.permutation(count), "with": np.empty(count, dtype=np.int64)}
    places["with"][np.argsort(cluster + 0.9 * chance.random(count))] = np.arange(count)
    for start in range(0, count, 5000):
        store.insert_many(
            Passage(
                f"t {n}",
                vectors[n],
                metadata={"n": n, **{key: int(place[n]) for key, place in places.items()}},
            )
            for n in range(start, min(start + 5000, count))
        )
    return places


def recall(
    store: SQLStore, vectors: NDArray[np.float32], asked: NDArray[np.float32], allowed: Any, filters: Any
) -> tuple[float, set[bool]]:
    """How many of the ten nearest are found, and whether the answers say that they are complete."""
    wide = vectors[allowed].astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    found, complete = [], set()
    for one in asked:
        true = set(allowed[np.argsort(-(wide @ one))[:10]].tolist())
        hits = store.query(vector=one, filters=filters)
        complete.add(hits.complete)
        found.append(len(true & {hit.record.metadata["n"] for hit in hits}) / len(true))
    return float(np.mean(found)), complete


def check_recall(store: SQLStore, count: int, width: int, queries: int) -> None:
    vectors, cluster = texts_like(count + queries, width)
    asked, vectors = vectors[count:], vectors[:count]
    places = filled(store, vectors, cluster[:count])
    store.create_vector_index()
    store._executor.run("ANALYZE")
    ways = set()
    for key, place in places.items():
        for share in (0.001, 0.01, 0.1, 0.5, 1.0):
            filters = {key: {"$lt": int(share * count)}} if share < 1 else None
            allowed = np.flatnonzero(place < int(share * count))
            found, complete = recall(store, vectors, asked, allowed, filters)
            assert found >= 0.99, (key, share, found)
            ways |= complete
            if share == 0.001:
                assert complete == {True}
    assert ways == {True, False}


@pytest.fixture
def indexed(store: SQLStore) -> SQLStore:
    """A store of a backend that has indexes over vectors."""
    try:
        store.insert(Passage("first", np.ones(WIDTH, dtype=np.float32)))
        store.drop_vector_index()
    except errors.NotSupported as exc:
        pytest.skip(f"no indexes over vectors here: {exc}")
    store.delete(all_rows=True)
    return store


def test_the_index_misses_nothing_whatever_the_filter_leaves(indexed: SQLStore) -> None:
    check_recall(indexed, 8000, WIDTH, 25)


@pytest.mark.long
def test_the_index_misses_nothing_among_many(indexed: SQLStore) -> None:
    check_recall(indexed, 100_000, WIDTH, 50)


def test_nothing_is_built_unasked_and_what_is_built_is_used(indexed: SQLStore, opened: Open) -> None:
    vectors, cluster = texts_like(3000, WIDTH)
    filled(indexed, vectors, cluster)
    table = f"{indexed.table_name}_vectors"
    count = f"SELECT count(*) FROM pg_indexes WHERE tablename = '{table}' AND indexdef LIKE '%hnsw%'"
    assert indexed._executor.scalar(count) == 0
    assert indexed.query(vector=vectors[5]).complete
    name = indexed.create_vector_index(m=8, ef_construction=32)
    assert indexed._executor.scalar(count) == 1
    assert indexed.create_vector_index() == name
    hits = indexed.query(vector=vectors[5])
    assert not hits.complete
    assert [hit.distance for hit in hits] == sorted(hit.distance for hit in hits)
    assert hits[0].distance == pytest.approx(0, abs=1e-6)
    one = ",".join("1" * WIDTH)
    asked = f"(\"embedding\"::halfvec({WIDTH})) <=> ('[{one}]'::halfvec({WIDTH}))"
    plan = indexed._executor.rows(
        f'EXPLAIN SELECT "n" FROM "{table}" WHERE "model" = \'default\' ORDER BY {asked} LIMIT 5'
    )
    assert name in str(plan)
    eve = opened(user_id="eve")
    mine = eve.insert(Passage("eve's", vectors[5]))
    assert [hit.record.id for hit in eve.query(vector=vectors[5])] == [mine]
    assert mine not in [hit.record.id for hit in indexed.query(vector=vectors[5])]
    indexed.insert(Passage("short-lived", vectors[5] * 2), ttl=1e-6)
    assert "short-lived" not in [hit.record.text for hit in indexed.query(vector=vectors[5], top_k=3)]
    indexed.drop_vector_index()
    assert indexed._executor.scalar(count) == 0
    assert indexed.query(vector=vectors[5]).complete


def test_each_model_has_its_own_index(indexed: SQLStore) -> None:
    vectors, cluster = texts_like(600, WIDTH)
    filled(indexed, vectors, cluster)
    models, other = indexed._models(), "it's \\ another"
    models.add(other, [(text, np.ones(7, dtype=np.float32) + text.n) for text in models.missing(other)])
    names = {indexed.create_vector_index(), indexed.create_vector_index(other)}
    assert len(names) == 2
    models.switch(other, partly=True)
    assert len(indexed.query(vector=np.ones(7))) == 10
    indexed.drop_vector_index()
    indexed.drop_vector_index("default")
    assert indexed._executor.scalar("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%hnsw%'") == 0


def test_an_index_is_built_in_a_transaction_and_goes_with_it(
    indexed: SQLStore, db: holdfast.Database
) -> None:
    vectors, cluster = texts_like(100, WIDTH)
    filled(indexed, vectors, cluster)
    db.begin_transaction()
    indexed.create_vector_index()
    assert len(indexed.query(vector=vectors[1])) == 10
    db.rollback()
    assert indexed.query(vector=vectors[1]).complete
    assert db.query("SELECT count(*) AS n FROM pg_indexes WHERE indexdef LIKE '%hnsw%'")[0]["n"] == 0


def test_advice_is_measured_and_leaves_nothing(store: SQLStore) -> None:
    with pytest.raises(errors.ConfigurationError, match="nothing to measure"):
        store.advise_index()
    vectors, cluster = texts_like(700, WIDTH)
    filled(store, vectors, cluster)
    before = store._database.list_tables()
    advice = store.advise_index(k=5, queries=10, sample=500)
    assert (advice.measured, advice.count) == (500, 700)
    assert advice.ways[0].name == "exact"
    for way in advice.ways:
        assert way.recall >= 0.95
        assert way.milliseconds > 0
    assert [way.bytes > 0 for way in advice.ways[1:]] in ([], [True, True])
    assert "no index is needed" in str(advice)
    assert store._database.list_tables() == before
    if len(advice.ways) > 1:
        assert advice.ways[2].bytes < advice.ways[1].bytes
        assert store.query(vector=vectors[0]).complete


def test_what_cannot_be_indexed_says_why(store: SQLStore, opened: Open) -> None:
    for m, effort in ((1, 64), (True, 64), (16, 5000), (40, 64)):
        with pytest.raises(errors.InvalidQuery, match=r"m is|ef_construction"):
            store.create_vector_index(m=m, ef_construction=effort)
    with pytest.raises(
        (errors.ConfigurationError, errors.NotSupported), match=r"no vectors|no indexes|pgvector"
    ):
        store.create_vector_index()
    wide = opened(name="wide")
    wide.insert(Passage("a", np.ones(4001, dtype=np.float32)))
    with pytest.raises(errors.NotSupported, match=r"4001 numbers|no indexes|pgvector"):
        wide.create_vector_index()
    with pytest.raises(errors.InvalidQuery, match="no vectors of the model"):
        wide.create_vector_index("nobody's")


def test_the_index_of_another_process_is_found_and_lost_without_harm(indexed: SQLStore, url: str) -> None:
    vectors, cluster = texts_like(700, WIDTH)
    filled(indexed, vectors, cluster)
    assert indexed.query(vector=vectors[3]).complete
    with memory.open(url, user_id="ada") as other:
        other.create_vector_index()
        assert not other.query(vector=vectors[3]).complete
        indexed.drop_vector_index()
        assert other.query(vector=vectors[3])[0].distance == pytest.approx(0, abs=1e-6)
