"""A user erased, with nothing left in any table, index or file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import holdfast
from conftest import _server
from holdfast import errors, memory
from holdfast.memory import Message, Passage, Source, SQLStore

Open = Callable[..., SQLStore]
SECRETS = [f"zqsecret{n}word" for n in range(8)]


def fill(store: SQLStore, user: str) -> None:
    """Texts in every place where one can be: changed, removed, expired, and in metadata."""
    said = [f"{user} said {word} {word}" for word in SECRETS]
    chance = np.random.default_rng(2)
    ids = store.insert_many(
        [Passage(text, chance.normal(size=8), metadata={"note": f"about {text}"}) for text in said[:5]]
    )
    store.update(replace(store.get(ids[0]), text=f"{said[5]} instead"))
    store.delete({"id": str(ids[1])})
    store.insert(Message("user", said[6]), ttl=1e-6)
    store.insert(Source(said[7]))


def everything(db: holdfast.Database) -> str:
    """All that the tables say, those of the searches too."""
    return "\n".join(repr(db.query(f'SELECT * FROM "{table}"')) for table in db.list_tables())


def test_nothing_is_left_of_who_is_erased(db: holdfast.Database, opened: Open) -> None:
    ada, eve = opened(user_id="ada"), opened(user_id="eve")
    for store in (ada, opened(user_id="ada", agent_id="planner", name="other"), eve):
        fill(store, store.user_id)
    kept = [record.id for record in eve.get_all()]
    report = ada.erase("ada")
    assert report.is_clean, report
    assert sum(report.removed.values()) == 2 * (4 + 6 + 2)
    assert set(report.left.values()) == {0}
    assert ada.size() == 0
    assert ada.query_text(SECRETS[2]) == []
    assert ada.as_of(memory.records._now()) == []
    assert "ada said" not in everything(db)
    assert [record.id for record in eve.get_all()] == kept
    assert len(eve.query_text(SECRETS[2])) == 1
    path = db._executor.target.path
    if path is not None:
        files = b"".join(each.read_bytes() for each in Path(path).parent.glob(f"{Path(path).name}*"))
        assert b"eve said" in files
        assert b"ada said" not in files
        eve.erase("eve")
        files = b"".join(each.read_bytes() for each in Path(path).parent.glob(f"{Path(path).name}*"))
        for word in SECRETS:
            assert word.encode() not in files
    ada.insert(Passage("begins anew"))
    assert ada.size() == 1


def test_who_still_reads_is_told_of(url: str, opened: Open) -> None:
    ada = opened(user_id="ada")
    fill(ada, "ada")
    ada._database._executor.timeout = 2.0
    with memory.open(url, user_id="ada") as other:
        database = other._database
        database.begin_transaction(isolation=None if "sqlite" in url or "lance" in url else "REPEATABLE READ")
        assert other.size() > 0
        try:
            report = ada.erase("ada")
        except errors.Error:
            # The writer's lock, or that of a table, was not to be had: nothing was removed.
            database.rollback()
            report = ada.erase("ada")
            assert report.is_clean
            return
        assert not report.is_clean
        assert report.unfinished
        database.rollback()
        assert ada.erase("ada").is_clean


def test_only_oneself_is_erased_and_not_in_a_transaction(db: holdfast.Database, opened: Open) -> None:
    ada = opened(user_id="ada")
    ada.insert(Passage("stays"))
    with pytest.raises(errors.ValueRefused, match="opened for"):
        ada.erase("eve")
    with pytest.raises(errors.ValueRefused, match="agents"):
        opened(user_id="ada", agent_id="planner").erase("ada")
    with db.transaction(), pytest.raises(errors.TransactionError):
        ada.erase("ada")
    assert ada.size() == 1


def test_nothing_of_who_is_erased_is_left_in_a_servers_files(
    engine_name: str, new_url: Callable[[], str], request: pytest.FixtureRequest
) -> None:
    if engine_name in ("sqlite", "lance"):
        pytest.skip("their files are looked at above")
    with holdfast.connect(new_url()) as db:
        server = _server(engine_name, request.config)
        (folder,) = db.query("SELECT oid::text FROM pg_database WHERE datname = current_database()")
        files = server.cluster.directory / "base" / str(folder["oid"])

        def written() -> bytes:
            server.execute("CHECKPOINT")
            found = []
            for each in files.iterdir():
                with contextlib.suppress(FileNotFoundError):  # the server removes what is not needed any more
                    found.append(each.read_bytes())
            return b"".join(found)

        ada, eve = memory.open(db, user_id="ada"), memory.open(db, user_id="eve")
        for store in (ada, eve):
            store.insert_many([Passage(f"{store.user_id} keeps {word}", doc_id=word) for word in SECRETS])
            fill(store, store.user_id)
        # The planner has samples of texts, and the older ones of these are rows that were removed.
        for _ in range(2):
            db.analyze()
        assert b"ada said" in written()
        assert ada.erase("ada").is_clean
        assert b"ada said" not in written()
        assert b"eve said" in written()
        assert eve.erase("eve").is_clean
        left = written()
        assert [word for word in SECRETS if word.encode() in left] == []
