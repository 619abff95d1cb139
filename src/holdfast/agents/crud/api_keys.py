"""API keys of teams: made once, shown once, and kept as a hash."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from holdfast.agents.crud.group import Group
from holdfast.agents.models import ApiKey, ApiKeyCreate, ApiKeyUpdate
from holdfast.database import Database

MARK = "hfk_"
PREFIX = len(MARK) + 6


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key: its row, and the one sight of itself."""

    row: ApiKey
    key: str

    def __repr__(self) -> str:
        return f"<NewKey {self.row.prefix}...>"


class ApiKeys(Group[ApiKey, ApiKeyCreate, ApiKeyUpdate]):
    """API keys."""

    def issue(self, db: Database, new: ApiKeyCreate | Mapping[str, Any], *, team_id: Any) -> NewKey:
        """Make a key for a team. What it is cannot be read again.

        Raises:
            NotFoundError: if there is no such team.
        """
        key = MARK + secrets.token_urlsafe(32)
        row = self.create(db, new, team_id=team_id, prefix=key[:PREFIX], key_hash=_hashed(key))
        return NewKey(row, key)

    def authenticate(self, db: Database, key: str) -> ApiKey | None:
        """The row of a key that is valid now, or ``None``; the team's owner has to be active."""
        row = db.find_one(self.table.name, where={"key_hash": _hashed(key)})
        found = None if row is None else self._read(row)
        if found is None or (found.expires_at is not None and found.expires_at <= datetime.now(UTC)):
            return None
        owners = db.query(
            "SELECT u.is_active FROM teams AS t JOIN users AS u ON u.id = t.owner_id WHERE t.id = ?",
            [found.team_id],
        )
        return found if owners and owners[0]["is_active"] else None


def _hashed(key: str) -> str:
    # A key is as long as its hash and made at random: there is nothing to guess, and no salt to need.
    return hashlib.sha256(key.encode()).hexdigest()


api_keys = ApiKeys(ApiKey, ApiKeyCreate, ApiKeyUpdate)
