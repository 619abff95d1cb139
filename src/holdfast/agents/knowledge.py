"""A table of a project whose rows are found by meaning and by words: its texts lie in a memory beside it.

A row and its memory have the same id, and are written in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlmodel import Session, SQLModel, col, select

import holdfast.memory
from holdfast.database import Database
from holdfast.errors import AlreadyExists, ConfigurationError, NotFoundError, NotSupported
from holdfast.memory import Passage, SQLStore

T = TypeVar("T", bound=SQLModel)
Embed = Callable[[Sequence[str]], Any]
SHARED = "shared"
"""Whose the texts of knowledge are, which belongs to nobody."""
_SCALARS = (str, int, float, bool)
_PAGE = 500


@dataclass(frozen=True)
class Found(Generic[T]):
    """A row that was found; ``score`` is the higher the better, ``why`` says where it comes from."""

    row: T
    score: float
    why: str


class Knowledge(Generic[T]):
    """The rows of ``model``, which has an ``id`` and a ``text``, and the search over them.

    Where the model has a ``user_id`` the rows are a user's own, and every call needs ``user_id``.
    ``embed`` takes a list of texts and gives a vector for each; without one the search is by words.
    """

    def __init__(self, model: type[T], *, embed: Embed | None = None) -> None:
        self.model, self.embed = model, embed
        self.name = str(model.__tablename__)
        self.is_owned = "user_id" in model.model_fields
        self._stores: WeakKeyDictionary[Database, dict[str, SQLStore]] = WeakKeyDictionary()

    def add(
        self, db: Database, data: SQLModel | Mapping[str, Any], *, user_id: UUID | str | None = None
    ) -> T:
        """Write a row with its text, both or neither, and return the row.

        Raises:
            AlreadyExists: if there is a row of that text.
        """
        values = dict(data) if isinstance(data, Mapping) else data.model_dump()
        if self.is_owned:
            values["user_id"] = self._owner(user_id)
        row = self.model.model_validate(values)
        return self._write(db, row, self._vector(self._text(row)))

    def update(
        self, db: Database, id: UUID, changes: SQLModel | Mapping[str, Any], *, user_id: Any = None
    ) -> T:
        """Change the fields that were given, with the text's vector.

        Raises:
            NotFoundError: if there is no such row (of that user).
        """
        given = dict(changes) if isinstance(changes, Mapping) else changes.model_dump(exclude_unset=True)
        row = self.get(db, id, user_id=user_id)
        row.sqlmodel_update(self.model.model_validate({**row.model_dump(), **given}).model_dump())
        return self._write(db, row, self._vector(self._text(row)), is_new=False)

    def get(self, db: Database, id: UUID, *, user_id: Any = None) -> T:
        """The row of that id.

        Raises:
            NotFoundError: if there is none (of that user).
        """
        with Session(db.engine, expire_on_commit=False) as session:
            row = session.get(self.model, id)
            if row is None or (self.is_owned and getattr(row, "user_id", None) != self._owner(user_id)):
                raise NotFoundError(f"there is no row of that id in {self.name!r}")
            session.expunge(row)
            return row

    def remove(self, db: Database, id: UUID, *, user_id: Any = None) -> None:
        """Remove a row and its text."""
        row = self.get(db, id, user_id=user_id)
        with db.transaction():
            with Session(db.engine) as session:
                session.delete(row)
                session.commit()
            self._store(db, user_id).delete({"id": str(id)})

    def search(
        self,
        db: Database,
        text: str | None = None,
        top_k: int = 10,
        *,
        vector: Any = None,
        filters: Any = None,
        mode: str | None = None,
        user_id: Any = None,
    ) -> list[Found[T]]:
        """The rows nearest to a text or a vector, the best first.

        ``filters`` are on the fields of the model; ``mode`` is ``"vector"``, ``"text"`` or ``"hybrid"``,
        which it is by default where there is an embedder and the database compares vectors. A row that was
        deleted past this class is not found.
        """
        hits = self._hits(db, text, vector, top_k, filters, mode, user_id)
        ids = [hit.record.id for hit in hits]
        with Session(db.engine, expire_on_commit=False) as session:
            key = col(getattr(self.model, "id"))  # noqa: B009 - any SQLModel, of which mypy knows no id
            found = session.exec(select(self.model).where(key.in_(ids))).all() if ids else []
            rows = {getattr(row, "id", None): row for row in found}
            session.expunge_all()
        return [Found(rows[hit.record.id], hit.score, hit.why) for hit in hits if hit.record.id in rows]

    def _hits(
        self,
        db: Database,
        text: str | None,
        vector: Any,
        top_k: int,
        filters: Any,
        mode: str | None,
        owner: Any,
    ) -> Any:
        store = self._store(db, owner)
        if mode is not None or self.embed is None or text is None:
            return store.query(text, vector, top_k, filters, mode)
        try:
            return store.query(text, vector, top_k, filters, "hybrid")
        except NotSupported:
            # A server without pgvector compares no vectors; its words are there.
            return store.query(text, None, top_k, filters, "text")

    def rebuild(self, db: Database) -> int:
        """Make the texts of the search anew from the rows, after others wrote to the table; return how many.

        Memories of rows that are gone go too.
        """
        with Session(db.engine, expire_on_commit=False) as session:
            rows = session.exec(select(self.model)).all()
            session.expunge_all()
        owners = {str(getattr(row, "user_id", SHARED)) for row in rows} or {SHARED}
        vectors: list[Any] = [None] * len(rows)
        if self.embed is not None:
            for start in range(0, len(rows), _PAGE):
                part = rows[start : start + _PAGE]
                vectors[start : start + _PAGE] = self.embed([self._text(row) for row in part])
        with db.transaction():
            for owner in owners:
                self._store(db, owner).delete(all_rows=True)
            for row, vector in zip(rows, vectors, strict=True):
                owner = str(getattr(row, "user_id", SHARED))
                self._store(db, owner).insert(self._passage(row, vector))
        return len(rows)

    def _write(self, db: Database, row: T, vector: Any, *, is_new: bool = True) -> T:
        store = self._store(db, getattr(row, "user_id", None))
        with db.transaction():
            with Session(db.engine, expire_on_commit=False) as session:
                kept = session.merge(row)
                session.commit()
                session.expunge(kept)
            passage = self._passage(kept, vector)
            if (store.insert(passage) if is_new else store.update(passage)) != passage.id:
                raise AlreadyExists(f"there is a row of that text in {self.name!r}")
        return kept

    def _passage(self, row: T, vector: Any) -> Passage:
        fields = row.model_dump(exclude={"id", "text", "user_id"})
        values = {name: value for name, value in fields.items() if isinstance(value, _SCALARS)}
        return Passage(self._text(row), vector, getattr(row, "id"), metadata=values)  # noqa: B009

    def _text(self, row: T) -> str:
        text: str = getattr(row, "text")  # noqa: B009
        return text

    def _vector(self, text: str) -> Any:
        return None if self.embed is None else self.embed([text])[0]

    def _owner(self, user_id: UUID | str | None) -> UUID:
        if user_id is None:
            raise ConfigurationError(f"rows of {self.name!r} belong to a user", hint="give user_id=")
        return user_id if isinstance(user_id, UUID) else UUID(user_id)

    def _store(self, db: Database, user_id: UUID | str | None) -> SQLStore:
        owner = str(self._owner(user_id)) if self.is_owned else SHARED
        stores = self._stores.setdefault(db, {})
        if owner not in stores:
            stores[owner] = holdfast.memory.open(db, name=self.name, user_id=owner, embed=self.embed)
        return stores[owner]
