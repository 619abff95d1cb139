"""Users, their passwords, and who logs in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.agents.crud import passwords
from holdfast.agents.crud.group import Group, checked
from holdfast.agents.models import Changes, User, UserCreate, UserUpdate
from holdfast.database import Database
from holdfast.errors import IntegrityError, NotFoundError


class Users(Group[User, UserCreate, UserUpdate]):
    """Users; a password comes in as it is, and is kept as its hash. One superuser always stays."""

    def update(self, db: Database, key: Any, changes: UserUpdate | Mapping[str, Any]) -> User:
        shape = checked(self.changes, changes)
        with db.transaction():
            if False in (shape.given.get("is_superuser"), shape.given.get("is_active")):
                self._keep_a_superuser(db, self.get(db, key))
            return super().update(db, key, shape)

    def delete(self, db: Database, key: Any) -> None:
        with db.transaction():
            self._keep_a_superuser(db, self.get(db, key))
            super().delete(db, key)

    def _keep_a_superuser(self, db: Database, user: User) -> None:
        """Refuse to go on if that user is the last active superuser, whoever else changes others now."""
        if not (user.is_superuser and user.is_active):
            return
        locks = db._executor.engine.features.row_locks
        rows = db.query(
            f"SELECT id FROM users WHERE is_superuser = ? AND is_active = ? ORDER BY id{locks}", [True, True]
        )
        if len(rows) == 1:
            raise IntegrityError(
                "the last active superuser stays", hint="make another user a superuser before"
            )

    def values(self, shape: UserCreate | UserUpdate) -> dict[str, Any]:
        found = shape.given if isinstance(shape, Changes) else shape.model_dump()
        password = found.pop("password", None)
        return found if password is None else {**found, "password_hash": passwords.hashed(password)}

    def by_email(self, db: Database, email: str) -> User:
        """The user of that address, in any case.

        Raises:
            NotFoundError: if there is none.
        """
        row = db.find_one(self.table.name, where={"email": email.lower()})
        if row is None:
            raise NotFoundError("there is no user of that email")
        return self._read(row)

    def authenticate(self, db: Database, email: str, password: str) -> User | None:
        """The active user with that address and password, or ``None``.

        An address that nobody has takes as long as a wrong password. A hash that was made with weaker
        parameters than those of today is made anew.
        """
        try:
            user = self.by_email(db, email)
        except NotFoundError:
            user = None
        is_right = passwords.is_right(password, user.password_hash if user else None)
        if user is None or not is_right or not user.is_active:
            return None
        if passwords.is_outdated(user.password_hash):
            user.password_hash = passwords.hashed(password)
            db.update(self.table.name, {"password_hash": user.password_hash}, {"id": user.id})
        return user


users = Users(User, UserCreate, UserUpdate)
