"""Access tokens: JWTs that end by themselves, and with the password that they were given for."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt

from holdfast.agents import crud
from holdfast.agents.models import User
from holdfast.agents.settings import Settings
from holdfast.database import Database
from holdfast.errors import NotFoundError

ALGORITHM = "HS256"


def issue(settings: Settings, user: User) -> str:
    """A token for a user who has just shown the password."""
    now = datetime.now(UTC)
    claims = {
        "sub": str(user.id),
        "iat": now,
        "exp": now + timedelta(minutes=settings.access_token_minutes),
        "mark": _mark(user),
    }
    return jwt.encode(claims, _key(settings), ALGORITHM)


def user_of(settings: Settings, db: Database, token: str) -> User | None:
    """The active user that a token is for; ``None`` if it is not valid, or not any more."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token, _key(settings), [ALGORITHM], options={"require": ["exp", "sub", "mark"]}
        )
        user = crud.users.get(db, UUID(claims["sub"]))
    except (jwt.InvalidTokenError, NotFoundError, ValueError):
        return None
    return user if user.is_active and claims["mark"] == _mark(user) else None


def _key(settings: Settings) -> bytes:
    return hashlib.sha256(settings.require("SECRET_KEY").encode()).digest()


def _mark(user: User) -> str:
    """What is another one once the password is."""
    return hashlib.sha256(user.password_hash.encode()).hexdigest()[:16]
