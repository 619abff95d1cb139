"""LangGraph's checkpointer on the application's tables."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from sqlalchemy import inspect

import holdfast
from holdfast.agents import crud, migrate, models
from holdfast.agents.bootstrap import bootstrap
from holdfast.errors import Error, MigrationError
from holdfast.memory.langgraph import HoldfastSaver, tables


def put(saver: HoldfastSaver, thread_id: str, checkpoint_ns: str = "") -> Any:
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}}
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"text": "x" * 100_000}
    checkpoint["channel_versions"] = {"text": "1"}
    saved = saver.put(config, checkpoint, {"source": "input", "step": -1}, {"text": "1"})
    saver.put_writes(saved, [("text", "y")], "task")
    return saved


@pytest.fixture
def thread(app: holdfast.Database) -> models.Thread:
    user = crud.users.create(app, {"email": "ada@example.org", "password": "correct horse"})
    team = crud.teams.create(app, {"name": "crew"}, owner_id=user.id)
    return crud.threads.create(app, {}, team_id=team.id)


def test_the_saver_writes_what_the_models_read_and_it_goes_with_its_thread(
    app: holdfast.Database, thread: models.Thread
) -> None:
    with HoldfastSaver(app) as saver:
        saved = put(saver, thread.id)
        found = saver.get_tuple(saved)
        assert found is not None
        assert found.checkpoint["channel_values"] == {"text": "x" * 100_000}
        (row,) = crud.checkpoints.list(app, thread_id=thread.id).rows
        assert row.checkpoint_id == saved["configurable"]["checkpoint_id"]
        assert row.details["step"] == -1
        assert app.count("hf_checkpoint_blobs") == app.count("hf_checkpoint_writes") == 1
        crud.threads.delete(app, thread.id)
        assert app.count("hf_checkpoints") == app.count("hf_checkpoint_blobs") == 0
        assert app.count("hf_checkpoint_writes") == 0
        assert saver.get_tuple(saved) is None


def test_a_checkpoint_of_no_thread_of_the_application_is_refused(app: holdfast.Database) -> None:
    with HoldfastSaver(app) as saver, pytest.raises(Error, match="refers to one that does not exist"):
        put(saver, "nobody's")
    assert app.count("hf_checkpoints") == 0


def test_tables_that_a_saver_made_before_are_named_and_nothing_is_changed(db: holdfast.Database) -> None:
    with HoldfastSaver(db) as saver:
        put(saver, "of no application")
    before = db.get_stats()["rows"]
    with pytest.raises(
        MigrationError, match="hf_checkpoint_blobs, hf_checkpoint_writes, hf_checkpoints"
    ) as caught:
        migrate.upgrade(db, backup=False)
    assert "HoldfastSaver" in str(caught.value.hint)
    assert db.get_stats()["rows"] == before
    for table in tables.COLUMNS:
        db.drop_table(table)
    migrate.upgrade(db, backup=False)
    assert migrate.heads_of(db) == ("0001",)
    with pytest.raises(Error, match="refers to one that does not exist"):
        put(HoldfastSaver(db), "of no application")


def test_tables_of_others_are_named_before_the_first_migration(app: holdfast.Database) -> None:
    with pytest.raises(MigrationError, match="has tables already") as caught:
        migrate.upgrade(app)
    assert "bootstrap" in str(caught.value.hint)
    bootstrap(app, backup=False)
    assert migrate.upgrade(app).revisions == []


def test_the_tables_are_those_that_the_saver_makes(app: holdfast.Database, new_url: Any) -> None:
    with holdfast.connect(new_url()) as other:
        HoldfastSaver(other).setup()
        ours, theirs = inspect(app.engine), inspect(other.engine)
        for table in tables.COLUMNS:
            described = [
                {
                    column["name"]: (column["type"].python_type, column["nullable"])
                    for column in one.get_columns(table)
                }
                for one in (ours, theirs)
            ]
            assert described[0] == described[1]
            keys = [one.get_pk_constraint(table)["constrained_columns"] for one in (ours, theirs)]
            assert keys[0] == keys[1]
            indexes = [{index["name"] for index in one.get_indexes(table)} - {None} for one in (ours, theirs)]
            assert indexes[0] == indexes[1]
