"""Writing a file so that its name holds the old content or all of the new, never a part."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from holdfast.errors import ConfigurationError, Error


@contextmanager
def publishing(target: Path | TextIO, encoding: str = "utf-8") -> Iterator[TextIO]:
    """A text file that takes the name ``target`` when the block ends well; a stream is written as it is.

    Raises:
        ConfigurationError: if nothing can be written there; what was there is as it was.
    """
    if not isinstance(target, Path):
        yield target
        target.flush()
        return
    path = target.resolve()
    if path.is_dir():
        raise ConfigurationError(f"{target} is a folder", hint="name a file in it")
    beside = path.with_name(f".{path.name[:80]}.{secrets.token_hex(6)}.tmp")
    try:
        with beside.open("x", encoding=encoding, newline="") as file:
            if path.exists():
                beside.chmod(path.stat().st_mode & 0o7777)
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync_folder(path.parent)
    except Error:
        # Some of ours are OSErrors by kind, such as a lost connection; they are not about the file.
        raise
    except OSError as exc:
        raise ConfigurationError(
            f"{target} cannot be written: {exc.strerror}", hint="check the path, its rights and the space"
        ) from exc
    finally:
        beside.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename last; not every system can open a folder, nor sync one."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
