"""Which format a backup has: its extension says so, here and nowhere else."""

from __future__ import annotations

from pathlib import Path

from holdfast.errors import NotSupported

PLAIN = ".sql"


def check(path: Path) -> None:
    """Refuse an extension that stands for no format.

    Raises:
        NotSupported: naming the one that there is.
    """
    if path.suffix.lower() != PLAIN:
        raise NotSupported(
            f"a backup with the extension {path.suffix!r} cannot be written or read",
            hint=f"name it {path.with_suffix(PLAIN).name}",
        )
