"""Migrations: up, down and up again on databases with rows, in two branches, and what goes wrong."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from agents.test_models import a_user, counts, saved
from holdfast import errors
from holdfast.agents import bootstrap, drift, migrate, offline
from holdfast.agents.models import metadata
from holdfast.agents.project import Project
from holdfast.engines.sqltext import split_statements

NOTES = """
    def upgrade() -> None:
        op.create_table(
            "notes",
            sa.Column("id", sa.Integer(), primary_key=True),
            sa.Column("body", sa.String(), nullable=False),
            sa.Column("rank", sa.Integer(), server_default=sa.text("7")),
        )


    def downgrade() -> None:
        op.drop_table("notes")
"""


UNMODELLED = ["the table notes is not in the models"]


def written(project: Project, revision: str, body: str, *, after: str | None = None) -> None:
    """A migration of the project's own branch."""
    head = textwrap.dedent(
        f'''
        """{revision} of the test"""

        import sqlalchemy as sa
        from alembic import op

        revision = "{revision}"
        down_revision = {after!r}
        branch_labels = {("app",) if after is None else None!r}
        depends_on = None
        '''
    )
    project.migrations.mkdir(exist_ok=True)
    text = head + textwrap.dedent(body)
    (project.migrations / f"{revision}.py").write_text(text, encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    return Project.at(folder)


def test_up_down_and_up_again_with_rows(db: holdfast.Database, project: Project) -> None:
    done = migrate.upgrade(db, project=project)
    assert [one.branch for one in done.revisions] == ["holdfast"]
    assert done.backup is None  # there was nothing to keep
    saved(db, a_user())
    before = counts(db)
    assert all(before.values())
    assert drift.check(db, project=project) == []
    db.create_table("mine", {"id": "INTEGER PRIMARY KEY"})
    db.insert("mine", {"id": 1})

    undone = migrate.downgrade(db, "base", project=project)
    assert set(db.list_tables()) == {"mine", "alembic_version"}
    assert undone.backup is not None
    assert undone.warnings

    migrate.upgrade(db, project=project)
    assert drift.check(db, project=project) == []
    assert counts(db) == dict.fromkeys(before, 0)
    db.restore_database(undone.backup, keep_old=False)
    assert counts(db) == before
    assert db.count("mine") == 1


def test_an_upgrade_twice_does_nothing(db: holdfast.Database, project: Project) -> None:
    migrate.upgrade(db, project=project)
    again = migrate.upgrade(db, project=project)
    assert (again.revisions, again.backup) == ([], None)
    assert not list(project.folder.glob("**/*before-migration*"))


def test_no_backup(db: holdfast.Database, project: Project) -> None:
    db.create_table("mine", {"id": int})
    assert migrate.upgrade(db, project=project, backup=False).backup is None
    assert not (project.folder / "backups").exists()


def test_two_branches_go_each_its_way(db: holdfast.Database, project: Project) -> None:
    written(project, "n1", NOTES)
    migrate.upgrade(db, project=project)
    assert {one.id for one in migrate.current(db, project=project)} == {"0001", "n1"}
    db.insert("notes", {"id": 1, "body": "a"})

    migrate.downgrade(db, "base", project=project, backup=False)
    assert db.select("notes") == [{"id": 1, "body": "a", "rank": 7}]
    assert [one.id for one in migrate.current(db, project=project)] == ["n1"]

    migrate.upgrade(db, project=project, backup=False)
    migrate.downgrade(db, "app@base", project=project, backup=False)
    assert not db.table_exists("notes")
    assert [one.id for one in migrate.current(db, project=project)] == ["0001"]
    assert drift.check(db, project=project)[0] == "revision n1 (app): n1 of the test has not run"


def test_ours_do_not_go_while_the_projects_need_them(db: holdfast.Database, project: Project) -> None:
    written(project, "n1", NOTES)
    path = project.migrations / "n1.py"
    path.write_text(path.read_text().replace("depends_on = None", 'depends_on = "0001"'))
    migrate.upgrade(db, project=project)
    with pytest.raises(errors.MigrationError, match="n1") as caught:
        migrate.downgrade(db, "base", project=project)
    assert "app@base" in str(caught.value.hint)
    assert db.table_exists("users")
    migrate.downgrade(db, "app@base", project=project)
    migrate.downgrade(db, "base", project=project)
    assert not db.table_exists("users")


def test_a_branch_that_others_depend_on_goes_on(db: holdfast.Database, project: Project) -> None:
    simple = """
        def upgrade() -> None:
            op.create_table("{0}", sa.Column("id", sa.Integer(), primary_key=True))


        def downgrade() -> None:
            op.drop_table("{0}")
    """
    written(project, "a1", simple.format("a1"))
    written(project, "b1", simple.format("b1"))
    b1 = project.migrations / "b1.py"
    text = b1.read_text().replace("depends_on = None", 'depends_on = "a1"').replace("('app',)", "('other',)")
    b1.write_text(text)
    migrate.upgrade(db, project=project)
    written(project, "a2", simple.format("a2"), after="a1")
    dialect = db.engine.dialect.name
    assert "a2" in offline.sql(dialect, "b1:heads", project=project)
    assert [one.id for one in migrate.upgrade(db, project=project).revisions] == ["a2"]
    assert {one.id for one in migrate.current(db, project=project)} == {"0001", "a2", "b1"}
    applied(db, offline.sql(dialect, "heads:other@base", project=project))
    assert {one.id for one in migrate.current(db, project=project)} == {"0001", "a2"}
    assert not db.table_exists("b1")
    migrate.upgrade(db, project=project)
    migrate.downgrade(db, "other@-1", project=project)
    migrate.downgrade(db, "app@base", project=project)
    migrate.downgrade(db, "base", project=project)
    assert db.list_tables() == ["alembic_version"]
    assert db.count("alembic_version") == 0


def test_so_many_steps(db: holdfast.Database, project: Project) -> None:
    with pytest.raises(errors.MigrationError, match="not go so far"):
        migrate.upgrade(db, "+9", project=project)
    assert [one.id for one in migrate.upgrade(db, "+1", project=project).revisions] == ["0001"]
    written(project, "n1", NOTES)
    with pytest.raises(errors.MigrationError, match="which branch") as caught:
        migrate.upgrade(db, "+1", project=project)
    assert "app@+1" in str(caught.value.hint)
    assert [one.id for one in migrate.upgrade(db, "app@+1", project=project).revisions] == ["n1"]
    assert [one.id for one in migrate.downgrade(db, "app@-1", project=project).revisions] == ["n1"]
    assert [one.id for one in migrate.current(db, project=project)] == ["0001"]


ALTERED = """
    def upgrade() -> None:
        op.add_column("notes", sa.Column("tag", sa.String(20), server_default="x", nullable=False))
        with op.batch_alter_table("notes") as batch:
            batch.alter_column("rank", new_column_name="place")
            batch.alter_column("body", type_=sa.Text(), existing_type=sa.String(), server_default="none")
            batch.create_unique_constraint("uq_notes_place", ["place"])
            batch.create_check_constraint("ck_notes_place", "place > 0")
        op.add_column("notes", sa.Column("user_id", sa.String()))
        op.add_column("notes", sa.Column("parent", sa.Integer()))
        op.create_foreign_key(
            "fk_notes_parent", "notes", "notes", ["parent"], ["id"], ondelete="SET NULL"
        )
        op.create_index("ix_notes_parent", "notes", ["parent"])


    def downgrade() -> None:
        op.drop_index("ix_notes_parent", "notes")
        op.drop_constraint("fk_notes_parent", "notes", type_="foreignkey")
        op.drop_column("notes", "parent")
        op.drop_column("notes", "user_id")
        with op.batch_alter_table("notes") as batch:
            batch.drop_constraint("ck_notes_place", type_="check")
            batch.drop_constraint("uq_notes_place", type_="unique")
            batch.alter_column("body", server_default=None, existing_type=sa.Text())
            batch.alter_column("place", new_column_name="rank")
            batch.drop_column("tag")
"""


def test_altering_a_table_keeps_its_rows_triggers_and_views(db: holdfast.Database, project: Project) -> None:
    written(project, "n1", NOTES)
    migrate.upgrade(db, project=project)
    db.create_table("marks", {"id": int, "note": "INTEGER REFERENCES notes (id) ON DELETE CASCADE"})
    for number in range(1, 4):
        db.insert("notes", {"id": number, "body": f"b{number}", "rank": number * 10})
        db.insert("marks", {"id": number, "note": number})
    db.execute("CREATE VIEW bodies AS SELECT id, body FROM notes")
    db.create_table("log", {"what": str})
    if db.engine.dialect.name == "sqlite":
        db.execute("CREATE TRIGGER logs AFTER INSERT ON notes BEGIN INSERT INTO log VALUES (new.body); END")
    else:
        # PostgreSQL does not change the type of a column that a view shows.
        db.execute("DROP VIEW bodies")
        db.execute("CREATE VIEW bodies AS SELECT id FROM notes")
        db.execute(
            "CREATE FUNCTION logged() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN INSERT INTO log VALUES (new.body); RETURN new; END'"
        )
        db.execute("CREATE TRIGGER logs AFTER INSERT ON notes FOR EACH ROW EXECUTE FUNCTION logged()")

    written(project, "n2", ALTERED, after="n1")
    done = migrate.upgrade(db, project=project)
    assert [one.id for one in done.revisions] == ["n2"]
    assert db.count("marks") == 3
    assert db.get("notes", 2) == {
        "id": 2,
        "body": "b2",
        "place": 20,
        "tag": "x",
        "user_id": None,
        "parent": None,
    }
    db.update("notes", {"parent": 2}, {"id": 3})
    with pytest.raises(errors.ForeignKeyViolation):
        db.update("notes", {"parent": 99}, {"id": 3})
    with pytest.raises(errors.CheckViolation):
        db.insert("notes", {"id": 8, "body": "no", "place": -1})
    with pytest.raises(errors.UniqueViolation):
        db.insert("notes", {"id": 8, "body": "no", "place": 10})
    db.insert("notes", {"id": 9, "body": "new", "place": 90})
    assert db.select("log") == [{"what": "new"}]
    assert db.count("bodies") == 4

    migrate.downgrade(db, "n1", project=project)
    assert db.get("notes", 9) == {"id": 9, "body": "new", "rank": 90}
    assert db.count("marks") == 3
    migrate.upgrade(db, project=project)
    db.insert("notes", {"id": 10, "body": "last", "place": 100})
    assert db.count("log") == 2
    db.delete("notes", {"id": 1})
    assert db.count("marks") == 2


@pytest.mark.parametrize(
    "body",
    [
        'op.execute("INSERT INTO nowhere VALUES (1)")',
        "raise RuntimeError('half-way')",
        'op.create_table("kept", sa.Column("id", sa.Integer()))',
    ],
    ids=["database", "python", "taken"],
)
def test_a_migration_that_fails_half_way_leaves_nothing(
    db: holdfast.Database, project: Project, body: str
) -> None:
    written(project, "n1", NOTES)
    migrate.upgrade(db, project=project)
    db.insert("notes", {"id": 1, "body": "a"})
    db.create_table("kept", {"id": int})
    failing = f"""
        def upgrade() -> None:
            op.create_table("half", sa.Column("id", sa.Integer(), primary_key=True))
            op.execute("DELETE FROM notes")
            op.add_column("notes", sa.Column("more", sa.Integer(), unique=True))
            {body}


        def downgrade() -> None:
            pass
    """
    written(project, "n2", failing, after="n1")
    with pytest.raises(errors.MigrationError, match="n2 of the test") as caught:
        migrate.upgrade(db, project=project)
    assert "as it was before" in str(caught.value.hint)
    assert not db.table_exists("half")
    assert db.select("notes") == [{"id": 1, "body": "a", "rank": 7}]
    assert {one.id for one in migrate.current(db, project=project)} == {"0001", "n1"}
    (project.migrations / "n2.py").unlink()
    assert migrate.upgrade(db, project=project).revisions == []


def test_the_steps_before_one_that_fails_stay(db: holdfast.Database, project: Project) -> None:
    written(project, "n1", NOTES)
    written(project, "n2", "def upgrade() -> None:\n    1 / 0\n", after="n1")
    with pytest.raises(errors.MigrationError, match="n2"):
        migrate.upgrade(db, project=project)
    assert db.table_exists("notes")
    assert drift.check(db, project=project)[0].startswith("revision n2")


def applied(db: holdfast.Database, sql: str) -> None:
    """What another program does with a script."""
    raw = db._executor.driver_connection()
    for statement in split_statements(sql, db._executor.engine.lexicon):
        raw.execute(statement)
    db._executor.forget()


def test_written_sql_makes_the_same_schema(
    db: holdfast.Database, project: Project, new_url: Callable[[], str]
) -> None:
    dialect = db.engine.dialect.name
    written(project, "n1", NOTES)
    written(project, "n2", ALTERED, after="n1")
    migrate.upgrade(db, project=project)
    with holdfast.connect(new_url()) as other:
        applied(other, offline.sql(dialect, project=project))
        assert drift.check(other, project=project) == drift.check(db, project=project)
        assert shape(other) == shape(db)
        assert migrate.heads_of(other) == migrate.heads_of(db)
        other.insert("notes", {"id": 1, "body": "a", "place": 5})
        applied(other, offline.sql(dialect, "n2:n1", project=project))
        assert other.get("notes", 1) == {"id": 1, "body": "a", "rank": 5}
        applied(other, offline.sql(dialect, "n1:n2", project=project))
        assert shape(other) == shape(db)
        applied(other, offline.sql(dialect, "app:app@base", project=project))
        applied(other, offline.sql(dialect, "holdfast:base", project=project))
        assert other.list_tables() == ["alembic_version"]
        assert other.count("alembic_version") == 0
        applied(other, offline.sql(dialect, ":heads", project=project))
        assert shape(other) == shape(db)


def shape(db: holdfast.Database) -> dict[str, object]:
    look = holdfast.inspect(db)
    return {
        table: (
            [(column["name"], column["type"], column["nullable"]) for column in db.get_columns(table)],
            sorted(index["name"] for index in db.list_indexes(table)),
            sorted(map(str, look.get_foreign_keys(table))),
        )
        for table in db.list_tables()
    }


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_sql_of_nothing_and_of_unknown_things(project: Project, dialect: str) -> None:
    assert "nothing to do" in offline.sql(dialect, "heads:heads", project=project)
    for span in ("nope", "base:nope", "nope:heads"):
        with pytest.raises(errors.MigrationError, match="nope"):
            offline.sql(dialect, span, project=project)
    with pytest.raises(errors.ConfigurationError, match="oracle"):
        offline.sql("oracle", project=project)


def test_unknown_revisions_are_named(db: holdfast.Database, project: Project) -> None:
    written(project, "n1", NOTES)
    with pytest.raises(errors.MigrationError, match="'0009'") as caught:
        migrate.upgrade(db, "0009", project=project)
    assert "0001" in str(caught.value.hint)
    migrate.upgrade(db, project=project)
    (project.migrations / "n1.py").unlink()
    for call in (migrate.upgrade, migrate.current, drift.check):
        with pytest.raises(errors.MigrationError, match="'n1'") as caught:
            call(db, project=project)  # type: ignore[operator]
        assert str(project.migrations) in str(caught.value.hint)
    assert db.table_exists("notes")


def test_what_was_edited_by_hand_is_named(db: holdfast.Database, project: Project) -> None:
    migrate.upgrade(db, project=project)
    db.table("teams").drop_column("description")
    db.table("users").add_column("nickname", str)
    db.execute("DROP INDEX ix_messages_member_id")
    db.table("uploads").alter_column("media_type", nullable=True)
    db.table("hf_checkpoints").alter_column("written_at", type="SMALLINT")
    db.drop_table("hf_checkpoint_writes")
    db.create_table("mine", {"id": int})
    found = "\n".join(drift.check(db, project=project))
    for said in (
        "teams.description is missing",
        "users.nickname is not in the models",
        "ix_messages_member_id of messages is missing",
        "uploads.media_type: nullable is nullable, in the models it is not null",
        "hf_checkpoints.written_at: type is SMALLINT, in the models it is BIGINT",
        "the table hf_checkpoint_writes is missing",
    ):
        assert said in found
    assert "mine" not in found
    assert "hf_search" not in found


def test_a_search_is_no_difference(db: holdfast.Database, project: Project) -> None:
    migrate.upgrade(db, project=project)
    db.enable_search("messages", "content")
    assert drift.check(db, project=project) == []


def test_a_lock_that_cannot_be_had_is_said(url: str, project: Project) -> None:
    options = {"timeout": 0.3} if url.startswith("sqlite") else {}
    with holdfast.connect(url, **options) as db, holdfast.connect(url) as other:
        written(project, "n1", NOTES)
        migrate.upgrade(db, project=project)
        more = """
            def upgrade() -> None:
                op.add_column("notes", sa.Column("more", sa.Integer()))


            def downgrade() -> None:
                op.drop_column("notes", "more")
        """
        written(project, "n2", more, after="n1")
        with other.transaction():
            other.insert("notes", {"id": 1, "body": "held"})
            with pytest.raises(errors.DatabaseBusy):
                migrate.upgrade(db, project=project, locks=0.2, retries=1, backup=False)
        assert [one.id for one in migrate.upgrade(db, project=project).revisions] == ["n2"]
        assert db.get("notes", 1)["more"] is None


def test_a_lock_is_tried_for_again(url: str, project: Project) -> None:
    with holdfast.connect(url) as db:
        migrate.upgrade(db, project=project)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with holdfast.connect(url) as other, other.transaction():
            other.insert("skills", {**skill(), "name": "held"})
            held.set()
            done.wait(1.0)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(120)
    with holdfast.connect(url) as db:
        migrate.downgrade(db, "base", project=project, locks=0.1, retries=50, backup=False)
        assert not db.table_exists("skills")
    holder.join()


def skill() -> dict[str, object]:
    from holdfast.agents.models import Skill

    return Skill(name="x").model_dump()


def test_two_processes_at_once(url: str, project: Project) -> None:
    written(project, "n1", NOTES)
    command = [sys.executable, "-m", "holdfast", "agents", "init", "--url", url]
    (project.folder / ".env").write_text(
        "FIRST_SUPERUSER=ada@example.org\nFIRST_SUPERUSER_PASSWORD=correct horse\n"
    )
    running = [
        subprocess.Popen(
            command, cwd=project.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=600) for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert sum(out.count("ran 0001") for out, _ in said) == 1
    assert sum(out.count("ran n1") for out, _ in said) == 1
    assert sum(out.count("was created") for out, _ in said) == 1
    with holdfast.connect(url) as db:
        assert drift.check(db, project=project) == UNMODELLED
        assert db.count("users", {"is_superuser": True}) == 1
        assert db.count("skills") == 3


def test_another_process_may_have_made_the_tables_since_the_revisions_were_read(
    url: str, db: holdfast.Database, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = migrate.heads_of

    def read_before_the_other(reading: holdfast.Database) -> tuple[str, ...]:
        found = read(reading)
        monkeypatch.setattr(migrate, "heads_of", read)
        with holdfast.connect(url) as other:
            assert migrate.upgrade(other, project=project).revisions
        return found

    monkeypatch.setattr(migrate, "heads_of", read_before_the_other)
    done = migrate.upgrade(db, project=project)
    assert (done.revisions, done.backup) == ([], None)
    assert drift.check(db, project=project) == []


SLOW = """
    import pathlib
    import time


    def upgrade() -> None:
        op.create_table("half", sa.Column("id", sa.Integer(), primary_key=True))
        op.execute("DELETE FROM notes")
        op.add_column("notes", sa.Column("more", sa.Integer(), unique=True))
        pathlib.Path("reached").touch()
        time.sleep(600)
"""


def test_a_process_that_is_killed_in_a_migration_leaves_nothing(url: str, project: Project) -> None:
    written(project, "n1", NOTES)
    with holdfast.connect(url) as db:
        migrate.upgrade(db, project=project)
        db.insert("notes", {"id": 1, "body": "a"})
    written(project, "n2", SLOW, after="n1")
    command = [sys.executable, "-m", "holdfast", "agents", "migrate", "upgrade", "--url", url, "--no-backup"]
    with subprocess.Popen(
        command, cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        deadline = time.monotonic() + 300
        while not (project.folder / "reached").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        running.kill()
    assert (project.folder / "reached").exists()
    (project.migrations / "n2.py").unlink()
    with holdfast.connect(url) as db:
        assert migrate.upgrade(db, project=project).revisions == []
        assert {one.id for one in migrate.current(db, project=project)} == {"0001", "n1"}
        assert db.select("notes") == [{"id": 1, "body": "a", "rank": 7}]
        assert not db.table_exists("half")


def test_what_locks_or_loses_is_said_before(db: holdfast.Database, project: Project) -> None:
    written(project, "n1", NOTES)
    assert migrate.upgrade(db, project=project).warnings == []
    more = """
        def upgrade() -> None:
            op.create_index("ix_notes_rank", "notes", ["rank"])
            op.alter_column("notes", "rank", type_=sa.BigInteger(), existing_type=sa.Integer())


        def downgrade() -> None:
            op.drop_column("notes", "body")
    """
    written(project, "n2", more, after="n1")
    told: list[str] = []
    up = migrate.upgrade(db, project=project, tell=told.append)
    down = migrate.downgrade(db, "n1", project=project)
    words = {
        "sqlite": (["written anew", "read all"], ["go, with their values"]),
        "postgresql": (["changing-column-type", "require-concurrent-index-creation"], ["ban-drop-column"]),
    }[db.engine.dialect.name]
    assert all(any(word in line for line in up.warnings) for word in words[0])
    assert any(words[1][0] in line for line in down.warnings)
    assert told[: len(up.warnings)] == [f"warning: {line}" for line in up.warnings]


def test_not_inside_a_transaction(db: holdfast.Database, project: Project) -> None:
    with pytest.raises(errors.Error), db.transaction():
        migrate.upgrade(db, project=project)
    assert db.list_tables() == []


def test_bootstrap_makes_what_is_missing(db: holdfast.Database, project: Project) -> None:
    metadata.create_all(db.engine, tables=[metadata.tables["users"]])
    saved_user = a_user()
    db.insert("users", {**saved_user.model_dump()})
    done = bootstrap.bootstrap(db, project=project)
    assert set(done.created) == set(metadata.tables) - {"users"}
    assert [one.id for one in done.revisions] == ["0001"]
    assert done.backup is not None
    assert db.count("users") == 1
    assert drift.check(db, project=project) == []
    assert migrate.upgrade(db, project=project).revisions == []
    assert bootstrap.bootstrap(db, project=project).created == []


def test_bootstrap_refuses_tables_that_differ(db: holdfast.Database, project: Project) -> None:
    db.create_table("users", {"id": "INTEGER PRIMARY KEY", "email": str})
    with pytest.raises(errors.SchemaError, match="password_hash is missing"):
        bootstrap.bootstrap(db, project=project)
    assert db.list_tables() == ["users"]
