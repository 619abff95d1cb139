"""The HTTP application: logging in, health, and the routes of every group."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Annotated

import anyio.to_thread
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import BaseModel

from holdfast._version import __version__
from holdfast.agents import crud
from holdfast.agents.server import problems, tokens
from holdfast.agents.server.access import Db
from holdfast.agents.server.routes import routers
from holdfast.agents.settings import Settings
from holdfast.database import Database, open_target
from holdfast.errors import ConnectionFailed

THREADS = 16
"""How many requests are answered at once; each thread keeps a connection."""
PATIENCE = 2.0


class Opened:
    """The database, opened when it is first asked for: the application starts while that is away."""

    def __init__(self, settings: Settings) -> None:
        # A caller would rather ask again than wait.
        options = {"reconnect_timeout": PATIENCE, **settings.target.options}
        self._target = replace(settings.target, options=options)
        self._lock = threading.Lock()
        self._database: Database | None = None

    def get(self) -> Database:
        with self._lock:
            if self._database is None:
                self._database = open_target(self._target)
            return self._database

    def close(self) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None


class Token(BaseModel):
    """What logging in gives."""

    access_token: str
    token_type: str = "bearer"  # noqa: S105 - its kind
    expires_in: int


class HealthOut(BaseModel):
    """How the database does; ``retries`` counts what was tried again since the start."""

    status: str = "ok"
    engine: str
    seconds: float
    pool: dict[str, int | None]
    retries: dict[str, int]
    last_error: str | None
    last_error_at: datetime | None


def create_app(settings: Settings) -> FastAPI:
    """The application; ``SECRET_KEY`` must have been given.

    Raises:
        ConfigurationError: if it was not.
    """
    settings.require("SECRET_KEY")
    app = FastAPI(title="Holdfast agents", version=__version__, lifespan=_lifespan)
    app.state.settings = settings
    app.state.opened = Opened(settings)
    problems.install(app)
    app.post(
        "/login", tags=["login"], response_model=Token, responses=problems.responses(400, 401, 413, 422, 503)
    )(login)
    app.get("/health", tags=["health"], response_model=HealthOut, responses=problems.responses(503))(health)
    for router in routers():
        app.include_router(router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield
    app.state.opened.close()


def login(request: Request, db: Db, form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> Token:
    """Show address and password, and get a token for the header ``Authorization: Bearer ...``."""
    user = crud.users.authenticate(db, form.username, form.password)
    if user is None:
        raise HTTPException(401, "address or password is wrong", {"WWW-Authenticate": "Bearer"})
    settings: Settings = request.app.state.settings
    token = tokens.issue(settings, user)
    return Token(access_token=token, expires_in=settings.access_token_minutes * 60)


def health(db: Db) -> HealthOut:
    """Whether the database answers, in how many seconds, and what had to be tried again."""
    found = db.health()
    if found.seconds is None:
        raise ConnectionFailed("the database does not answer")
    error = found.last_error or {}
    return HealthOut(
        engine=found.engine,
        seconds=found.seconds,
        pool=found.pool,
        retries=found.retries,
        last_error=error.get("type"),
        last_error_at=error.get("at"),
    )
