"""A server that crashed gives numbers of transactions again: another's COMMIT is not taken for ours."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
import servers
from holdfast.engines.postgres.commit import Ticket, fate, ticket


@pytest.fixture
def server() -> Iterator[servers.Server]:
    """One of its own: what is done to it here is done to no other."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-test-"))
    folder.chmod(0o755)
    try:
        made = servers.server_in(folder)
    except LookupError as exc:
        pytest.skip(str(exc))
    if not (made.bin / "pg_resetwal").exists():
        made.destroy()
        pytest.skip("there is no pg_resetwal")
    yield made
    made.destroy()
    shutil.rmtree(folder)


def lost(url: str) -> Ticket:
    """What a transaction is known by whose connection is gone before its COMMIT came anywhere."""
    with holdfast.connect(url) as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"}, if_not_exists=True)
        db.execute("CHECKPOINT")
        db.begin_transaction()
        db.insert("t", {"v": "never kept"})
        found = ticket(db._executor.driver_connection())
        assert found is not None
        db.rollback()
    return found


def crash_and_give_again(server: servers.Server, number: str) -> None:
    """A crash that loses what had been written down of the numbers up to this one."""
    server.stop("immediate")
    done = server.cluster.run("pg_resetwal", "-f", "-x", number, "-D", ".")
    assert done.returncode == 0, done.stderr
    server.start()


def test_a_number_that_was_given_again_decides_nothing(server: servers.Server) -> None:
    url = server.url()
    ours = lost(url)
    crash_and_give_again(server, ours.number)
    with holdfast.connect(url) as db:
        taken = None
        while taken is None or int(taken) < int(ours.number):
            with db.transaction():
                db.insert("t", {"v": "another's"})
                taken = db.query("SELECT pg_current_xact_id()::text AS number")[0]["number"]
        assert taken == ours.number, "the number was given again"
        raw = db._executor.driver_connection()
        (status,) = db.query("SELECT pg_xact_status(CAST(? AS xid8)) AS it", [ours.number])
        assert status == {"it": "committed"}, "which is what a resolver would be told that asked no further"
        assert fate(raw, ours) is None
        assert db.select("t", "v") == [{"v": "another's"}]


def test_without_a_crash_the_number_says_it(server: servers.Server) -> None:
    ours = lost(server.url())
    with holdfast.connect(server.url()) as db:
        assert fate(db._executor.driver_connection(), ours) is False
