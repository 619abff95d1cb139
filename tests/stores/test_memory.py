"""Records, verbs, tenants and pages of memories."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

import holdfast
from holdfast import errors, memory
from holdfast.memory import Message, Passage, Source, SQLStore, records

Open = Callable[..., SQLStore]
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def many(count: int, **fields: Any) -> list[Passage]:
    return [
        Passage(f"text {n}", created_at=NOON + timedelta(seconds=n), metadata={"n": n}, **fields)
        for n in range(count)
    ]


# Records


def test_a_record_comes_back_as_it_went_in(store: SQLStore) -> None:
    given = [
        Passage(
            "naïve \U0001f980 % _ ' \" \\ text",
            [0.1, -2.5, 3e-8],
            data_source="notes",
            doc_id="d-1",
            metadata={"n": 1, "f": 2.0, "big": 1e22, "deep": {"a": [1, None, True, "x"]}, "": 0, "a.b": "c"},
            created_at=datetime(1969, 7, 20, 20, 17, 40, 123456, tzinfo=UTC),
        ),
        Message("user", "What is tea?", model="m", user="Ada", embedding=[1, 2, 3]),
        Message("assistant", "", tool_calls=[{"name": "look", "args": {"q": 1.5}}], tool_call_id="c1"),
        Source("notes.md"),
    ]
    for record in given:
        assert store.insert(record) == record.id
    found = [store.get(record.id) for record in given]
    assert found == [replace(record, user_id="ada") for record in given]
    first = found[0]
    assert isinstance(first, Passage)
    assert first.embedding is not None
    assert first.embedding.dtype == np.float32
    assert not first.embedding.flags.writeable
    assert type(first.metadata["big"]) is float
    assert type(first.metadata["n"]) is int
    assert type(first.id) is UUID
    assert first.created_at.tzinfo is not None


def test_ids_made_later_sort_later() -> None:
    ids = [records.uuid7() for _ in range(2000)]
    assert all(each.version == 7 and each.variant == "specified in RFC 4122" for each in ids)
    assert len(set(ids)) == len(ids)
    stamps = [each.int >> 80 for each in ids]
    assert stamps == sorted(stamps)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Passage(""),
        lambda: Passage("  \n"),
        lambda: Passage(None),
        lambda: Passage("a\0b"),
        lambda: Passage("\ud800"),
        lambda: Passage("a", [0, 0, 0]),
        lambda: Passage("a", [1, float("nan")]),
        lambda: Passage("a", [1, float("inf")]),
        lambda: Passage("a", [1, 1e60]),
        lambda: Passage("a", [1e-30, 1e-30]),
        lambda: Passage("a", [1e30, 1e30]),
        lambda: Passage("a", []),
        lambda: Passage("a", [[1, 2]]),
        lambda: Passage("a", ["x"]),
        lambda: Passage("a", id="no uuid"),
        lambda: Passage("a", id=7),
        lambda: Passage("a", metadata=[1]),
        lambda: Passage("a", metadata={"x": float("nan")}),
        lambda: Passage("a", metadata={1: "x"}),
        lambda: Passage("a", metadata={"x": (1, 2)}),
        lambda: Passage("a", metadata={"x": "\0"}),
        lambda: Passage("a", created_at=datetime(2026, 1, 1)),
        lambda: Message("user", ""),
        lambda: Message("", "text"),
        lambda: Message("user", "text", tool_calls={"a": 1}),
        lambda: Source(""),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_record_that_would_not_come_back_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(errors.ValueRefused) as refused:
        make()
    assert "1e60" not in str(refused.value)


def test_a_long_text_is_kept(store: SQLStore) -> None:
    text = "tea and words " * 80_000
    id = store.insert(Passage(text))
    assert store.get(id).text == text  # type: ignore[union-attr]


# Names


def test_a_name_is_any_text_and_is_never_merged_with_another(opened: Open) -> None:
    names = [
        "my data",
        "my-data",
        "My Data",
        "\U0001f980",
        "x" * 1000,
        "x" * 999,
        'a"b; DROP TABLE t',
        "memory",
    ]
    stores = [opened(name=name) for name in names]
    assert len({each.table_name for each in stores}) == len(names)
    for number, each in enumerate(stores):
        each.insert(Passage(f"text {number}"))
    assert [opened(name=name).size() for name in names] == [1] * len(names)
    assert [each.name for each in stores] == names
    assert stores[0].list_loaded_data() == sorted(names)


@pytest.mark.parametrize("name", ["", "  ", "x" * 1001, "a\0b", "\ud800", None, 7])
def test_a_name_that_cannot_be_is_refused(opened: Open, name: Any) -> None:
    with pytest.raises(errors.Error) as refused:
        memory.get_storage_connector("passages", opened()._database, user_id="a", name=name or "")
    assert isinstance(refused.value, errors.InvalidIdentifier)
    with pytest.raises(errors.InvalidIdentifier):
        opened(user_id=name)


def test_the_kinds_of_stores(db: holdfast.Database, opened: Open) -> None:
    stores = {
        kind: memory.get_storage_connector(kind, db, user_id="ada", agent_id=agent)
        for kind, agent in (
            ("archival_memory", "bot"),
            ("recall_memory", "bot"),
            ("passages", None),
            ("data_sources", None),
        )
    }
    assert {each.name for each in stores.values()} == set(stores)
    stores["archival_memory"].insert(Passage("an agent's own"))
    stores["passages"].insert_many([Passage("a", data_source="b.md"), Passage("b", data_source="a.md")])
    assert stores["passages"].list_loaded_data() == ["passages"]
    assert stores["passages"].list_data_sources() == ["a.md", "b.md"]
    assert memory.get_storage_connector("passages", db, user_id="eve").list_loaded_data() == []
    with pytest.raises(errors.ConfigurationError, match="unknown kind"):
        memory.get_storage_connector("passage", db, user_id="ada")


def test_a_connector_is_of_its_own_kind_of_database(db: holdfast.Database) -> None:
    store = memory.open(db)
    classes = (memory.SQLiteStorageConnector, memory.PostgresStorageConnector)
    (other,) = [each for each in classes if not isinstance(store, each)]
    with pytest.raises(errors.ConfigurationError):
        other("passages", db)


def test_a_url_opens_and_closes_a_database_of_its_own(url: str) -> None:
    with memory.open(url) as store:
        id = store.insert(Passage("kept"))
        store.save()
    with pytest.raises(errors.ClosedError):
        store.get(id)
    with memory.open(url) as store:
        assert store.get(str(id)).id == id


# Verbs


def test_a_known_id_is_refused_or_replaced(store: SQLStore) -> None:
    first = Passage("first", [1, 2], metadata={"n": 1})
    store.insert(first)
    with pytest.raises(errors.AlreadyExists, match="exists_ok"):
        store.insert(replace(first, text="second"))
    assert store.get(first.id).text == "first"  # type: ignore[union-attr]
    second = Passage("second", [3, 4], id=first.id)
    assert store.insert(second, exists_ok=True) == first.id
    assert store.get(first.id) == replace(second, user_id="ada")
    assert store.upsert(replace(second, text="third", embedding=None)) == first.id
    assert store.get(first.id).embedding is None  # type: ignore[union-attr]
    assert store.size() == 1


def test_update_changes_what_is_there(store: SQLStore) -> None:
    one, two = Passage("one"), Passage("two")
    store.insert_many([one, two])
    store.update(replace(one, metadata={"n": 2}))
    assert store.get(one.id).metadata == {"n": 2}  # type: ignore[union-attr]
    with pytest.raises(errors.NotFoundError):
        store.update(Passage("three"))
    with pytest.raises(errors.AlreadyExists):
        store.update(replace(one, text="two"))
    assert store.get(one.id).text == "one"  # type: ignore[union-attr]


def test_a_passage_of_the_same_text_is_one_row_and_messages_are_never_merged(store: SQLStore) -> None:
    first = store.insert(Passage("same"))
    assert store.insert(Passage("same")) == first
    new = Passage("new")
    assert store.insert_many([Passage("same"), new, Passage("new")]) == [first, new.id, new.id]
    store.insert_many([Message("user", "same"), Message("user", "same")])
    assert store.size() == 4


def test_many_are_written_or_none(store: SQLStore) -> None:
    known = Passage("known")
    store.insert(known)
    with pytest.raises(errors.AlreadyExists) as failure:
        store.insert_many([*many(5), replace(known, text="other")])
    assert failure.value.row_number == 6
    assert store.size() == 1
    with pytest.raises(errors.ValueRefused) as refused:
        store.insert_many([Passage("a", [1, 2]), Passage("b", [1, 2, 3])])
    assert refused.value.row_number == 2
    with pytest.raises(errors.ValueRefused, match="Passage"):
        store.insert_many([Passage("a"), "b"])  # type: ignore[list-item]
    with pytest.raises(errors.ValueRefused):
        store.insert_many(Passage("a"))  # type: ignore[arg-type]
    assert store.size() == 1
    assert store.insert_many([]) == []
    vectors = [Passage(f"v {n}", [n, 1, 2]) for n in range(300)]
    assert store.insert_many(iter(vectors)) == [each.id for each in vectors]
    assert store.get_all({"text": "v 299"})[0].embedding.tolist() == [299, 1, 2]  # type: ignore[union-attr]


def test_a_memory_has_one_dimension(opened: Open) -> None:
    store = opened(name="m")
    assert store.dimension is None
    store.insert(Passage("a", [1, 2, 3]))
    assert opened(name="m").dimension == 3
    with pytest.raises(errors.ValueRefused, match="2 numbers"):
        store.insert(Passage("b", [1, 2]))
    with pytest.raises(errors.ConfigurationError, match="3 numbers, not 4"):
        opened(name="m", dimension=4)
    with pytest.raises(errors.ConfigurationError):
        opened(name="n", dimension=0)
    with pytest.raises(errors.ValueRefused, match="have 4"):
        opened(name="n", dimension=4).insert(Passage("b", [1, 2]))


def test_texts_are_embedded_once_and_outside_of_the_transaction(db: holdfast.Database, opened: Open) -> None:
    calls: list[list[str]] = []

    class Lengths:
        model = "lengths"

        def __call__(self, texts: list[str]) -> list[list[float]]:
            assert not db._executor.in_transaction
            calls.append(texts)
            return [[len(text), 1.0] for text in texts]

    store = opened(embed=Lengths())
    given = [Passage("abc"), Passage("defgh", [9, 9]), Source("s"), Message("assistant", "", tool_calls=[1])]
    ids = store.insert_many(given)
    assert calls == [["abc"]]
    assert [getattr(store.get(id), "embedding", "none") is None for id in ids] == [False, False, False, True]
    with pytest.raises(errors.ConfigurationError, match="of the model 'lengths'"):
        opened(embed=lambda texts: [[1.0, 2.0] for _ in texts])
    assert opened().dimension == 2
    with pytest.raises(errors.ValueRefused, match="vectors for 1 text"):
        opened(name="n", embed=lambda texts: []).insert(Passage("a"))


def test_delete_takes_what_it_is_told(store: SQLStore) -> None:
    store.insert_many(many(10))
    for filters in (None, {}):
        with pytest.raises(errors.WhereRequired):
            store.delete(filters)
    assert store.delete({"n": 0}) == 1
    assert store.delete({"n": {"$gte": 7}}) == 3
    assert store.size() == 6
    assert store.delete(all_rows=True) == 6
    assert store.get_all() == []


def test_an_unknown_id_is_told(store: SQLStore) -> None:
    with pytest.raises(errors.NotFoundError):
        store.get(uuid4())
    with pytest.raises(errors.ValueRefused, match="UUID"):
        store.get("7")


def test_memories_by_date(store: SQLStore) -> None:
    given = many(5)
    store.insert_many(given)
    found = store.query_date(given[1].created_at, given[3].created_at)
    assert [record.id for record in found] == [record.id for record in given[1:4]]
    assert store.query_date(NOON + timedelta(days=1)) == []
    assert len(store.query_date(end=given[1].created_at, filters={"n": 0})) == 1
    with pytest.raises(errors.ValueRefused, match="zone"):
        store.query_date(datetime(2026, 1, 1))


def test_a_memory_shares_the_transaction_of_its_database(db: holdfast.Database, store: SQLStore) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    db.begin_transaction()
    store.insert(Passage("gone", [1, 2]))
    store.insert_many(many(20))
    db.insert("t", {"id": 1})
    assert store.size() == 21
    db.rollback()
    assert store.size() == db.count("t") == 0
    with db.transaction():
        store.insert(Passage("kept", [1, 2, 3]))
        db.insert("t", {"id": 1})
    assert store.size() == db.count("t") == 1


def test_a_memory_made_in_a_transaction_that_failed_is_made_again(
    db: holdfast.Database, opened: Open
) -> None:
    db.begin_transaction()
    store = opened(name="new")
    store.insert(Passage("gone", [1, 2]))
    db.rollback()
    store.insert(Passage("kept", [1, 2, 3]))
    assert store.size() == 1


def test_the_model_of_a_table(db: holdfast.Database, store: SQLStore) -> None:
    store.insert_many(many(3))
    model = memory.get_db_model(store.table_name)
    assert memory.get_db_model(store.table_name) is model
    with Session(db.engine) as session:
        found = session.scalars(select(model).where(model.text == "text 2")).one()
        assert (found.metadata_, found.created_at) == ({"n": 2}, NOON + timedelta(seconds=2))


# Tenants


def test_nothing_reaches_what_is_anothers(opened: Open) -> None:
    ada, eve = opened(user_id="ada"), opened(user_id="eve")
    secret = Passage("Ada's secret", [1, 2], data_source="diary", metadata={"n": 1})
    ada.insert(secret)
    eve.insert_many([Passage("Eve's own"), Passage("Ada's secret")])
    assert eve.size() == 2
    with pytest.raises(errors.NotFoundError):
        eve.get(secret.id)
    tricks: list[dict[str, Any]] = [
        {"user_id": "ada"},
        {"$or": [{"user_id": "ada"}, {"n": 1}]},
        {"$or": [{}, {"user_id": "ada"}]},
        {"$not": {"user_id": "eve"}},
        {"id": secret.id},
        {"n": 1},
        {"user_id": {"$in": ["ada", "eve"]}},
    ]
    for trick in tricks:
        assert all(record.user_id == "eve" for record in eve.get_all(trick)), trick
        assert eve.size(trick) == len(eve.get_all(trick))
    page = ada.page(limit=1)
    assert all(record.user_id == "eve" for record in eve.page(page.next or None))
    with pytest.raises(errors.ValueRefused, match="user_id"):
        eve.insert(Passage("x", user_id="ada"))
    with pytest.raises(errors.NotFoundError):
        eve.update(replace(secret, text="changed"))
    assert eve.insert(replace(secret, text="Eve's"), exists_ok=True) == secret.id
    assert eve.list_data_sources() == ["diary"]
    for trick in tricks:
        eve.delete(trick)
    eve.delete(all_rows=True)
    eve.delete_table()
    assert ada.get_all() == [replace(secret, user_id="ada")]
    ada.delete_table()
    assert ada.size() == 0


def test_an_agent_has_its_own_part_of_a_users_memories(opened: Open) -> None:
    user, bot, cat = (
        opened(user_id="u"),
        opened(user_id="u", agent_id="bot"),
        opened(user_id="u", agent_id="cat"),
    )
    mine = Passage("mine")
    bot.insert(mine)
    cat.insert(Passage("mine"))
    assert (user.size(), bot.size(), cat.size(), user.size({"agent_id": "cat"})) == (2, 1, 1, 1)
    with pytest.raises(errors.NotFoundError):
        cat.get(mine.id)
    with pytest.raises(errors.AlreadyExists):
        cat.insert(replace(mine, text="cat's"), exists_ok=True)
    with pytest.raises(errors.ValueRefused, match="agent_id"):
        cat.insert(Passage("x", agent_id="bot"))
    bot.insert(Source("of the bot"))
    assert len(bot.get_all()) == 2
    assert cat.delete(all_rows=True) == 1
    assert user.size() == 2
    assert user.list_loaded_data() == []


# Pages


@pytest.mark.parametrize("reverse", [False, True])
def test_pages_show_every_surviving_memory_once_while_others_write(store: SQLStore, reverse: bool) -> None:
    given = [Passage(f"text {n}", created_at=NOON + timedelta(seconds=n // 7)) for n in range(60)]
    store.insert_many(given)
    seen: list[UUID] = []
    after, doomed = None, set()
    for turn in range(100):
        page = store.page(after, limit=7, reverse=reverse)
        seen += [record.id for record in page]
        unseen = [record.id for record in given if record.id not in seen]
        for id in [*seen[-2:-1], *unseen[3:4]]:
            doomed.add(id)
            store.delete({"id": id})
        store.insert(Passage(f"new {turn}", created_at=NOON - timedelta(days=1)))
        after = page.next
        if after is None:
            break
    originals = [record.id for record in given]
    assert len(seen) == len(set(seen))
    assert set(originals) - doomed <= set(seen)
    order = [id for id in seen if id in originals]
    wanted = sorted(
        (record for record in given if record.id in order), key=lambda r: (r.created_at, str(r.id))
    )
    assert order == [record.id for record in (reversed(wanted) if reverse else wanted)]


def test_pages_end(store: SQLStore) -> None:
    store.insert_many(many(6))
    assert [len(page) for page in store.get_all_paginated(page_size=4)] == [4, 2]
    assert [len(page) for page in store.get_all_paginated(page_size=3)] == [3, 3]
    assert [len(page) for page in store.get_all_paginated({"n": {"$lt": 5}}, page_size=2)] == [2, 2, 1]
    assert store.page().next is None
    assert len(store.get_all()) == 6
    assert len(store.get_all(limit=2)) == 2
    for wrong in ("x", "", "bm9uZQ==", 7):
        with pytest.raises(errors.InvalidQuery):
            store.page(wrong)  # type: ignore[arg-type]
    for limit in (0, -1, "x"):
        with pytest.raises(errors.InvalidQuery):
            store.page(limit=limit)  # type: ignore[arg-type]


# Others at the same time


def test_threads_insert_the_same_texts(store: SQLStore) -> None:
    found: list[list[UUID]] = []

    def work() -> None:
        found.append([store.insert(Passage(f"text {n}")) for n in range(15)])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert found[0] == found[1] == found[2]
    assert store.size() == 15


def test_threads_make_the_same_memory(url: str) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with memory.open(url, name="shared") as store:
                store.insert(Passage(f"text {number}", [number + 1, 2]))
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with memory.open(url, name="shared") as store:
        assert store.size() == 4
