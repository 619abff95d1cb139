"""Pages of a million rows: the last one is what it should be, and prints what it took beside the first."""

from __future__ import annotations

import statistics
import time

import pytest

import holdfast
from holdfast.agents import crud
from holdfast.memory.records import uuid7

ROWS, SIZE, ROUNDS = 1_000_000, 100, 31


@pytest.mark.long
def test_page_10000_of_a_million_rows(app: holdfast.Database, engine_name: str) -> None:
    user = crud.users.create(app, {"email": "ada@example.org", "password": "correct horse"})
    team = crud.teams.create(app, {"name": "crew"}, owner_id=user.id)
    first = crud.threads.create(app, {}, team_id=team.id)
    like = app.get("threads", first.id)
    app.insert_many("threads", ({**like, "id": str(uuid7())} for _ in range(ROWS - 1)))
    app.execute("ANALYZE")
    # A page of all rows but the last ones has the token that 9,999 pages lead to.
    before = app.paginate(
        "threads", crud.threads.key, ROWS - SIZE, where={"team_id": team.id}, columns=crud.threads.key
    )
    seconds: dict[str | None, list[float]] = {None: [], before.next: []}
    for _ in range(ROUNDS):
        for token, found in seconds.items():
            started = time.perf_counter()
            page = crud.threads.list(app, limit=SIZE, after=token, team_id=team.id)
            found.append(time.perf_counter() - started)
            assert len(page.rows) == SIZE
            assert (page.next is None) == (token is not None)
    assert page.rows[0].id > before.rows[-1]["id"]
    one, last = (statistics.median(found) * 1000 for found in seconds.values())
    print(f"\n{engine_name}: page 1 {one:.1f} ms, page {ROWS // SIZE:,} {last:.1f} ms")
