"""The application over real HTTP, in a thread of this process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

import servers
from holdfast.agents.server import create_app
from holdfast.agents.settings import Settings
from holdfast.settings import resolve

SECRET = "a-secret-key-for-the-tests"
PASSWORD = "correct horse battery"


@contextmanager
def served(url: str, **options: object) -> Iterator[str]:
    """Where it answers while the block runs."""
    settings = Settings(resolve(url, **options), secret_key=SecretStr(SECRET))
    with running(create_app(settings)) as place:
        yield place


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    # Listening already: a free port that is told to a server may be somebody else's by then.
    with socket.create_server((servers.HOST, 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield f"http://{servers.HOST}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


class Client(httpx.Client):
    """A client that logs in, and is as patient as a busy machine needs."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"timeout": 120, **options})

    def login(self, email: str, password: str = PASSWORD) -> Client:
        answer = self.post("/login", data={"username": email, "password": password})
        assert answer.status_code == 200, answer.text
        self.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return self


def made(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def everything(client: Client) -> dict[str, str]:
    """A row of every group, and its path."""
    team = made(client.post("/teams", json={"name": "crew"}))
    member = made(client.post(f"/teams/{team['id']}/members", json={"name": "worker"}))
    skill = made(client.post("/skills", json={"name": "search"}))
    thread = made(client.post(f"/teams/{team['id']}/threads", json={}))
    message = made(
        client.post(
            f"/threads/{thread['id']}/messages",
            json={"role": "user", "content": "hello", "member_id": member["id"]},
        )
    )
    upload = made(client.post("/uploads", json={"name": "notes.txt"}))
    key = made(client.post(f"/teams/{team['id']}/api-keys", json={"label": "ci"}))
    assert client.put(f"/members/{member['id']}/skills/{skill['id']}").status_code == 204
    rows = {"teams": team, "members": member, "skills": skill, "threads": thread, "messages": message}
    rows |= {"uploads": upload, "api-keys": key}
    return {name: f"/{name}/{row['id']}" for name, row in rows.items()}
