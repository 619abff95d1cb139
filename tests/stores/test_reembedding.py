"""A store goes over to another model while it is in use, and its search is measured."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from threading import Event, Thread

import numpy as np
import pytest

from holdfast import memory
from holdfast.errors import ConfigurationError, EmbeddingFailed, InvalidQuery
from holdfast.memory import Message, Passage, measure_recall, reembed
from holdfast.memory.embed import HashingEmbedder

TOPICS = ("green tea", "night train", "jazz guitar", "tax law", "forest birds")
OLD, NEW = HashingEmbedder(64), HashingEmbedder(256)


@pytest.fixture
def by_vector(db):
    if db._executor.engine.vectors.kind(db._executor.run) == "BYTEA":
        pytest.skip("this server has no pgvector")


def fill(store, count=40):
    return store.insert_many(
        Passage(f"{TOPICS[n % 5]} and note number {n}", metadata={"n": n}) for n in range(count)
    )


def current(store):
    return [model.name for model in store.models() if model.is_current]


def test_the_old_model_serves_until_the_new_one_is_whole(opened, by_vector):
    store, eve = opened(user_id="ada", embed=OLD), opened(user_id="eve", embed=OLD)
    fill(store)
    eve.insert(Message("user", "a night train"))
    report = reembed(store, NEW, k=5, queries=20, switch=False)
    assert (report.written, report.queries, report.is_switched) == (41, 20, False)
    assert 0.2 < report.overlap < 1
    assert current(store) == ["hashing-64"]
    assert "tea" in store.query("tea")[0].record.text
    report = reembed(store, NEW)
    assert (report.written, report.is_switched, report.dropped) == (0, True, 0)
    later = opened(user_id="eve", embed=NEW)
    assert later.query("train")[0].record.text == "a night train"
    assert np.array_equal(later.get_all()[0].embedding, NEW(["a night train"])[0])
    assert {model.name for model in store.models()} == {"hashing-64", "hashing-256"}


def test_old_vectors_go_if_that_is_wanted(opened, db):
    store = opened(embed=OLD)
    fill(store, 7)
    report = reembed(store, NEW, drop_old=True)
    assert (report.is_switched, report.dropped) == (True, 7)
    assert [model.name for model in store.models()] == ["hashing-256"]


def test_a_worse_model_is_not_taken(opened, by_vector):
    class Blind:
        model = "blind"

        def __call__(self, texts):
            return [[1.0, len(text) % 3 + 1.0] for text in texts]

    store = opened(embed=OLD)
    fill(store)
    report = reembed(store, Blind(), least=0.8, k=5, drop_old=True)
    assert report.overlap < 0.8
    assert (report.is_switched, report.dropped, current(store)) == (False, 0, ["hashing-64"])
    assert "'hashing-64' stays in use" in str(report)


def test_recall_of_what_is_relevant_decides(opened, by_vector):
    store = opened(embed=OLD)
    ids = fill(store)
    relevant = {"tea leaves": ids[0::5], "a train by night": ids[1::5]}
    report = reembed(store, NEW, relevant=relevant, k=8, least=0.5)
    assert report.queries == 2
    assert report.old_recall is not None
    assert report.new_recall >= 0.5
    assert report.overlap is None
    assert report.is_switched


def test_work_that_was_cut_off_goes_on(opened):
    class Failing(HashingEmbedder):
        batch_size, asked = 4, 0

        def __call__(self, texts):
            self.asked += len(texts)
            if self.asked > 8:
                raise EmbeddingFailed("no more")
            return super().__call__(texts)

    store = opened(embed=OLD)
    fill(store, 20)
    with pytest.raises(EmbeddingFailed):
        reembed(store, Failing(256))
    assert current(store) == ["hashing-64"]
    assert reembed(store, NEW).written == 12
    assert current(store) == ["hashing-256"]


SLOW = """
import sys, time
from holdfast import memory
from holdfast.memory.embed import HashingEmbedder

class Slow(HashingEmbedder):
    batch_size, calls = 3, 0

    def __call__(self, texts):
        self.calls += 1
        if self.calls == 3:
            print("two batches are kept", flush=True)
            time.sleep(600)
        return super().__call__(texts)

with memory.open(sys.argv[1]) as store:
    memory.reembed(store, Slow(256))
"""


def test_a_killed_process_leaves_what_it_had_made(url, opened):
    store = opened(embed=OLD)
    fill(store, 20)
    program = subprocess.Popen([sys.executable, "-c", SLOW, url], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stdout.readline().startswith("two batches")
    program.kill()
    program.wait(120)
    program.stdout.close()
    assert current(store) == ["hashing-64"]
    report = reembed(store, NEW)
    assert (report.written, report.is_switched) == (14, True)


def test_what_is_written_meanwhile_is_not_forgotten(url, opened):
    store = opened(embed=OLD)
    fill(store, 10)
    stop, failures = Event(), []

    def write():
        try:
            with memory.open(url, embed=OLD) as other:
                for number in range(1000):
                    if stop.is_set():
                        return
                    other.insert(Passage(f"written meanwhile {number}"))
        except ConfigurationError as exc:
            # The store has gone over: it says so.
            failures.append(exc)

    thread = Thread(target=write)
    thread.start()
    try:
        report = reembed(store, NEW)
    finally:
        stop.set()
        thread.join()
    assert report.is_switched
    counts = {model.name: model.count for model in store.models()}
    assert counts["hashing-256"] >= counts["hashing-64"] >= 10
    assert [one for one in failures if "hashing-256" not in str(one)] == []


def test_what_has_no_vector_yet_gets_one(opened):
    opened(user_id="ada").insert_many([Passage("tea"), Message("user", "train")])
    report = reembed(opened(user_id="ada"), OLD)
    assert (report.old, report.written, report.is_switched) == (None, 2, True)
    assert "in use" in str(report)
    opened(user_id="ada").insert(Passage("without"))
    assert reembed(opened(user_id="ada"), OLD).written == 1
    assert all(record.embedding is not None for record in opened(user_id="ada").get_all())


def test_a_changed_text_gets_another_vector(opened):
    store = opened(embed=OLD)
    (id,) = store.insert_many([Passage("tea")])
    reembed(store, NEW, switch=False)
    store.update(replace(store.get(id), text="coffee", embedding=None))
    assert reembed(store, NEW).written == 1
    assert np.array_equal(opened(embed=NEW).get(id).embedding, NEW(["coffee"])[0])


@pytest.mark.parametrize(
    ("options", "error"),
    [({"least": 2}, InvalidQuery), ({"k": 0}, InvalidQuery), ({"queries": 0}, InvalidQuery)],
)
def test_bad_input_writes_nothing(opened, options, error):
    store = opened(embed=OLD)
    fill(store, 3)
    with pytest.raises(error):
        reembed(store, NEW, **options)
    with pytest.raises(ConfigurationError, match="model"):
        reembed(store, lambda texts: NEW(texts))
    assert [model.name for model in store.models()] == ["hashing-64"]


def test_recall_is_that_of_the_search(opened, by_vector, monkeypatch):
    store = opened(user_id="ada", embed=OLD)
    fill(store, 60)
    opened(user_id="eve", embed=OLD).insert(Passage("green tea of eve's"))
    found = measure_recall(store, k=7, queries=20)
    assert (found.recall, found.queries, found.vectors, found.k) == (1.0, 20, 60, 7)
    real = store._leg.nearest

    class Losing:
        def nearest(self, among, vector, count):
            answer = real(among, vector, count)
            return replace(answer, leg=answer.leg[: count // 2])

    store._leg = Losing()
    assert 0.3 < measure_recall(store, k=6, queries=20).recall < 0.6


def test_recall_without_vectors_is_refused(opened):
    with pytest.raises(InvalidQuery, match="no vectors"):
        measure_recall(opened())
