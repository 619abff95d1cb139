"""The application over real HTTP: who sees what, pages, problems, and a database that goes away."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from served import PASSWORD, SECRET, Client, everything, made, served

import holdfast
import servers
from holdfast.agents import crud, models
from holdfast.agents.server import create_app, tokens
from holdfast.agents.settings import Settings
from holdfast.errors import ConfigurationError
from holdfast.memory.records import uuid7
from holdfast.settings import resolve

BOSS, ADA, BOB = "boss@example.org", "ada@example.org", "bob@example.org"


@dataclass
class Site:
    """The application with a superuser and two users, each with a client that has logged in."""

    place: str
    db: holdfast.Database
    boss: Client
    ada: Client
    bob: Client
    nobody: Client


@pytest.fixture
def site(app: holdfast.Database, url: str) -> Iterator[Site]:
    for email in (BOSS, ADA, BOB):
        crud.users.create(app, {"email": email, "password": PASSWORD, "is_superuser": email == BOSS})
    with served(url) as place:
        clients = [Client(base_url=place) for _ in range(4)]
        for client, email in zip(clients, (BOSS, ADA, BOB), strict=False):
            client.login(email)
        yield Site(place, app, *clients)
        for client in clients:
            client.close()


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem that an answer is."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["title"]
    return found


CHANGES: dict[str, dict[str, Any]] = {
    "api-keys": {"label": "new"},
    "uploads": {"status": "ready"},
    "messages": {"content": "bye"},
    "threads": {"title": "new"},
    "skills": {"description": "new"},
    "members": {"temperature": 1.5},
    "teams": {"description": "new"},
}


def test_owners_see_their_own_rows_only_and_superusers_all(site: Site) -> None:
    paths = everything(site.ada)
    for name, path in paths.items():
        seen = site.ada.get(path)
        assert seen.status_code == 200
        assert seen.json() == site.boss.get(path).json()
        refused(site.bob.get(path), 404)
        refused(site.bob.patch(path, json=CHANGES[name]), 404)
        refused(site.bob.delete(path), 404)
        refused(site.nobody.get(path), 401)
        assert seen.json() == site.ada.get(path).json()
    for listed, count in (("/teams", 1), ("/skills", 1), ("/uploads", 1)):
        assert len(site.ada.get(listed).json()["data"]) == count
        assert site.bob.get(listed).json()["data"] == []
        assert len(site.boss.get(listed).json()["data"]) == count
    for below in (f"{paths['teams']}/members", f"{paths['threads']}/messages", f"{paths['teams']}/api-keys"):
        assert len(site.ada.get(below).json()["data"]) == 1
        refused(site.bob.get(below), 404)
    refused(site.bob.get(f"{paths['threads']}/checkpoints"), 404)
    assert len(site.ada.get(f"{paths['members']}/skills").json()["data"]) == 1
    refused(site.bob.get(f"{paths['members']}/skills"), 404)
    refused(site.bob.post(f"{paths['teams']}/members", json={"name": "spy"}), 404)


def test_rows_are_changed_and_deleted_over_http(site: Site) -> None:
    paths = everything(site.ada)
    for name, change in CHANGES.items():
        before = site.ada.get(paths[name]).json()
        after = site.ada.patch(paths[name], json=change)
        assert after.status_code == 200, after.text
        assert {**before, **change, "updated_at": after.json()["updated_at"]} == after.json()
        assert site.ada.delete(paths[name]).status_code == 204
        refused(site.ada.get(paths[name]), 404)
    assert {site.db.count(table) for table in models.metadata.tables if table != "users"} == {0}


def test_no_answer_holds_a_hash_or_a_password(site: Site) -> None:
    paths = everything(site.ada)
    hashes = [row["password_hash"] for row in site.db.select("users")]
    hashes += [row["key_hash"] for row in site.db.select("api_keys")]
    listed = ["/users", "/users/me", "/teams", f"{paths['teams']}/api-keys"]
    for path in [*paths.values(), *listed]:
        text = site.boss.get(path).text
        assert not [one for one in (*hashes, PASSWORD) if one in text]
    wrong = site.boss.post("/users", json={"email": "x", "password": "secret-value"})
    assert "secret-value" not in wrong.text
    assert {tuple(one["where"]) for one in refused(wrong, 422)["faults"]} == {("body", "email")}


def test_users_change_themselves_but_not_their_rights(site: Site) -> None:
    me = site.ada.get("/users/me").json()
    path = f"/users/{me['id']}"
    assert site.ada.patch(path, json={"full_name": "Ada L."}).json()["full_name"] == "Ada L."
    refused(site.ada.patch(path, json={"is_superuser": True}), 403)
    refused(site.ada.get("/users"), 403)
    refused(site.ada.post("/users", json={"email": "x@example.org", "password": PASSWORD}), 403)
    refused(site.bob.get(path), 404)
    taken = refused(site.ada.patch(path, json={"email": BOB.upper()}), 409)
    assert "email" in taken["detail"]
    assert site.boss.patch(path, json={"is_active": False}).status_code == 200
    refused(site.ada.get("/users/me"), 401)
    assert site.boss.delete(path).status_code == 204
    assert site.boss.get("/users", params={"count": True}).json()["count"] == 2


def test_the_last_superuser_stays(site: Site) -> None:
    me = f"/users/{site.boss.get('/users/me').json()['id']}"
    for answer in (
        site.boss.delete(me),
        site.boss.patch(me, json={"is_superuser": False}),
        site.boss.patch(me, json={"is_active": False}),
    ):
        assert "last active superuser" in refused(answer, 409)["detail"]
    ada = f"/users/{site.ada.get('/users/me').json()['id']}"
    assert site.boss.patch(ada, json={"is_superuser": True}).status_code == 200
    assert site.boss.delete(me).status_code == 204
    assert site.ada.get("/users").status_code == 200


def test_managed_skills_are_for_all_to_see_and_for_superusers_to_change(site: Site) -> None:
    skill = crud.skills.create(site.db, {"name": "recall"}, owner_id=None)
    path = f"/skills/{skill.id}"
    assert [one["name"] for one in site.ada.get("/managed-skills").json()["data"]] == ["recall"]
    assert site.ada.get(path).status_code == 200
    refused(site.ada.patch(path, json={"description": "mine"}), 403)
    refused(site.ada.delete(path), 403)
    assert site.boss.patch(path, json={"description": "ours"}).status_code == 200


def test_an_api_key_acts_for_its_team_alone(site: Site) -> None:
    paths, other = everything(site.ada), everything(site.bob)
    key = made(site.ada.post(f"{paths['teams']}/api-keys", json={"label": "robot"}))
    assert key["key"].startswith(key["prefix"])
    assert "key" not in site.ada.get(f"/api-keys/{key['id']}").json()
    with Client(base_url=site.place, headers={"X-API-Key": key["key"]}) as robot:
        assert robot.get(paths["teams"]).status_code == 200
        thread = made(robot.post(f"{paths['teams']}/threads", json={"title": "by a robot"}))
        made(robot.post(f"/threads/{thread['id']}/messages", json={"role": "assistant", "content": "hi"}))
        for path in (other["teams"], other["threads"], other["members"], f"{other['teams']}/threads"):
            refused(robot.get(path), 404)
        for path in ("/users/me", "/users", "/teams", "/uploads", f"{paths['teams']}/api-keys"):
            refused(robot.get(path), 403)
        refused(robot.get(paths["api-keys"]), 403)
        refused(robot.patch(paths["teams"], json={"name": "the robot's"}), 403)
        refused(robot.delete(paths["teams"]), 403)
        refused(robot.delete(other["teams"]), 404)
        assert site.ada.get(paths["teams"]).json()["name"] != "the robot's"
        for is_active, status in ((False, 401), (True, 200)):
            site.db.update("users", {"is_active": is_active}, {"email": ADA})
            assert robot.get(paths["teams"]).status_code == status
        assert site.ada.delete(f"/api-keys/{key['id']}").status_code == 204
        refused(robot.get(paths["teams"]), 401)


def test_pages_and_counts(site: Site) -> None:
    for number in range(5):
        made(site.ada.post("/teams", json={"name": f"t{number}"}))
    page = site.ada.get("/teams", params={"limit": 2, "count": True}).json()
    assert page["count"] == 5
    names = [team["name"] for team in page["data"]]
    while page["next"]:
        page = site.ada.get("/teams", params={"limit": 2, "after": page["next"]}).json()
        names += [team["name"] for team in page["data"]]
    assert names == [f"t{number}" for number in range(5)]
    refused(site.ada.get("/teams", params={"after": "nonsense"}), 422)
    refused(site.ada.get("/teams", params={"limit": 0}), 422)


def test_tokens_end(site: Site) -> None:
    user = crud.users.by_email(site.db, ADA)
    settings = Settings(resolve("x.db"), secret_key=create_secret())
    claims = jwt.decode(tokens.issue(settings, user), options={"verify_signature": False})
    past = {**claims, "exp": datetime.now(UTC) - timedelta(seconds=1)}
    other = {**claims, "sub": str(uuid7())}
    key = tokens._key(settings)
    for token in (
        jwt.encode(past, key, "HS256"),
        jwt.encode(other, key, "HS256"),
        jwt.encode({**claims, "sub": "x"}, key, "HS256"),
        jwt.encode(claims, b"0" * 32, "HS256"),
        jwt.encode(claims, None, "none"),
        "nonsense",
    ):
        refused(site.nobody.get("/users/me", headers={"Authorization": f"Bearer {token}"}), 401)
    assert site.ada.get("/users/me").status_code == 200
    site.ada.patch(f"/users/{user.id}", json={"password": "another password"})
    refused(site.ada.get("/users/me"), 401)
    for email, password in ((ADA, PASSWORD), ("nobody@example.org", PASSWORD), ("x", "y")):
        answer = site.nobody.post("/login", data={"username": email, "password": password})
        assert refused(answer, 401)["detail"] == "address or password is wrong"
        assert answer.headers["www-authenticate"] == "Bearer"


def create_secret() -> Any:
    from pydantic import SecretStr

    return SecretStr(SECRET)


def test_wrong_requests_are_problems(site: Site) -> None:
    refused(site.nobody.get("/nothing"), 404)
    refused(site.nobody.put("/login"), 405)
    refused(site.ada.get("/teams/no-uuid"), 422)
    refused(site.ada.post("/teams", json={"nome": "x"}), 422)
    refused(site.ada.post("/teams", json={"name": "a\0b"}), 422)
    refused(site.ada.post("/teams", content=b"{", headers={"Content-Type": "application/json"}), 422)
    refused(site.ada.post("/skills", json={"name": "x", "definition": {"a": "\0"}}), 422)
    large = {"Content-Type": "application/json"}
    refused(site.ada.post("/uploads", content=b" " * 5 * 2**20, headers=large), 413)
    made(site.ada.post("/teams", json={"name": "crew"}))
    assert "name" in refused(site.ada.post("/teams", json={"name": "crew"}), 409)["detail"]


def test_health_says_how_the_database_does(site: Site, engine_name: str) -> None:
    found = site.nobody.get("/health").json()
    assert found["status"] == "ok"
    assert found["engine"] == site.db.health().engine
    assert set(found["retries"]) >= {"reconnects", "busy"}
    assert site.nobody.get("/openapi.json").json()["info"]["title"] == "Holdfast agents"


def test_without_its_tables_it_says_what_to_do(url: str) -> None:
    with served(url) as place, Client(base_url=place) as client:
        answer = client.post("/login", data={"username": ADA, "password": PASSWORD})
        assert "holdfast agents init" in refused(answer, 503)["detail"]


def test_without_a_secret_key_it_does_not_start() -> None:
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        create_app(Settings(resolve("x.db")))


@pytest.fixture
def own_server(engine_name: str) -> Iterator[servers.Server]:
    """A server of this test's own, to be stopped."""
    programs = servers.debian_bin() or servers.embedded.bin_directory()
    if engine_name != "debian" or programs is None:
        pytest.skip("one server is enough")
    server = servers._new(programs, password="secret")
    yield server
    server.destroy()


def test_while_the_database_is_away_it_says_so_and_then_goes_on(own_server: servers.Server) -> None:
    url = own_server.url()
    own_server.stop()
    with served(url, reconnect_timeout=0.2) as place, Client(base_url=place) as client:
        first = client.get("/health")
        assert refused(first, 503)["detail"]
        assert int(first.headers["retry-after"]) > 0
        own_server.start()
        with holdfast.connect(url) as db:
            models.metadata.create_all(db.engine)
            crud.users.create(db, {"email": ADA, "password": PASSWORD})
        client.login(ADA)
        made(client.post("/teams", json={"name": "before"}))
        own_server.stop("immediate")
        for answer in (
            client.get("/teams"),
            client.post("/teams", json={"name": "lost"}),
            client.get("/health"),
        ):
            assert refused(answer, 503)["title"] == "Service Unavailable"
            assert "retry-after" in answer.headers
        own_server.start()
        assert [team["name"] for team in client.get("/teams").json()["data"]] == ["before"]
        made(client.post("/teams", json={"name": "after"}))
        assert client.get("/health").json()["last_error"]


@pytest.mark.long
def test_a_crash_of_the_database_under_load_loses_nothing_that_was_acknowledged(
    own_server: servers.Server,
) -> None:
    with holdfast.connect(own_server.url()) as db:
        models.metadata.create_all(db.engine)
        crud.users.create(db, {"email": ADA, "password": PASSWORD})
    kept: list[str] = []
    statuses: Counter[int] = Counter()
    ends = time.monotonic() + 12

    def work(number: int, place: str) -> None:
        with Client(base_url=place) as client:
            client.login(ADA)
            for one in itertools.count():
                name = f"{number} {one}"
                answer = client.post("/teams", json={"name": name})
                statuses[answer.status_code] += 1
                if answer.status_code == 201:
                    kept.append(name)
                if time.monotonic() > ends and answer.status_code == 201:
                    return

    with served(own_server.url()) as place, ThreadPoolExecutor(4) as pool:
        done = [pool.submit(work, number, place) for number in range(4)]
        time.sleep(3)
        own_server.restart("immediate")
        for one in done:
            one.result()
    with holdfast.connect(own_server.url()) as db:
        there = {row["name"] for row in db.select("teams", "name")}
    print(dict(statuses), len(kept), len(there))
    assert set(statuses) <= {201, 503}
    assert set(kept) <= there
    # An answer that was lost may have been kept.
    assert len(there) - len(kept) <= statuses[503]


def test_the_description_names_every_problem(tmp_path: Path) -> None:
    app = create_app(Settings(resolve(tmp_path / "x.db"), secret_key=create_secret()))
    described = json.loads(json.dumps(app.openapi()))
    assert len(described["paths"]) > 20
    for path, operations in described["paths"].items():
        for operation in operations.values():
            assert "503" in operation["responses"], path
            faults = {status for status in operation["responses"] if status >= "400"}
            for status in faults:
                assert list(operation["responses"][status]["content"]) == ["application/problem+json"]
