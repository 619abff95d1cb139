"""Which formats of backups there are: an extension says which, here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from holdfast.backup import own, plain, portable
from holdfast.backup.manifest import Manifest
from holdfast.core.executor import Executor
from holdfast.core.progress import Advance
from holdfast.engines.base import Engine
from holdfast.engines.copying import Content
from holdfast.errors import NotSupported


class Source(Protocol):
    """An open backup that is whole; ``manifest`` is ``None`` if another program wrote it."""

    @property
    def path(self) -> Path: ...
    @property
    def manifest(self) -> Manifest | None: ...
    @property
    def left_behind(self) -> Sequence[str]:
        """What ``load`` could not carry, each with the reason."""
        ...

    @property
    def size(self) -> int:
        """What ``load`` advances by in all."""
        ...

    def load(
        self, executor: Executor, table: str | None, advance: Advance | None
    ) -> Mapping[str, Content] | None:
        """Put all tables, or one, in the place of those here; part of the caller's transaction.

        What the tables must hold then, if it is known.
        """
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file: how it is written beside its place, and opened after all of it was checked."""

    extensions: tuple[str, ...]
    write: Callable[..., None]
    opened: Callable[..., AbstractContextManager[Source]]
    is_portable: bool = False
    "Whether every engine can read what another one wrote."


# Written out, because the engines may not be installed that write them.
OWN = (".db", ".sqlite", ".sqlite3", ".dump")
_PLAIN = Format((".sql",), plain.write, plain.opened)
_PORTABLE = Format((".hfz",), portable.write, portable.opened, is_portable=True)


def format_of(path: Path, engine: Engine) -> Format:
    """The format that the extension of ``path`` stands for.

    Raises:
        NotSupported: naming those that ``engine`` has.
    """
    formats = (_PLAIN, _PORTABLE, Format(engine.copies.extensions, own.write, own.opened))
    known = {extension: form for form in formats for extension in form.extensions}
    form = known.get(path.suffix.lower())
    if form is None:
        raise NotSupported(
            f"a backup with the extension {path.suffix!r} cannot be written or read here",
            hint=f"name it {path.with_suffix(_PLAIN.extensions[0]).name}; known: {', '.join(known)}",
        )
    return form


def opened(path: Path, identity: Path | None = None) -> AbstractContextManager[Source]:
    """Open a backup of whatever engine, after all of it was checked.

    Raises:
        NotSupported: if the extension is none of a backup's.
        BackupError: if it is not what it should be.
    """
    suffix = path.suffix.lower()
    if suffix in _PLAIN.extensions:
        return plain.opened(path, unverified=False)
    if suffix in _PORTABLE.extensions:
        return portable.opened(path, unverified=False, identity=identity)
    if suffix in OWN:
        return own.opened(path, unverified=False)
    raise NotSupported(f"{path} has no extension of a backup's")
