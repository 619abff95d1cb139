"""The files that a project begins with: a server to start with Docker, and what `.env` has to say."""

from __future__ import annotations

from pathlib import Path

from holdfast.errors import ConfigurationError

FILES = ("compose.yaml", ".env.example")
_TEMPLATES = Path(__file__).with_name("templates")


def scaffold(folder: Path) -> tuple[list[Path], list[Path]]:
    """Write the files that are not there yet; return those that were written, and those that stayed.

    Raises:
        ConfigurationError: if the folder cannot be made or written to.
    """
    written, kept = [], []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            path = folder / name
            text = (_TEMPLATES / name.lstrip(".")).read_text(encoding="utf-8")
            try:
                with path.open("x", encoding="utf-8") as file:
                    file.write(text)
                written.append(path)
            except FileExistsError:
                kept.append(path)
    except OSError as exc:
        raise ConfigurationError(
            f"{exc.filename or folder} cannot be written: {exc.strerror}", hint="name a folder of your own"
        ) from exc
    return written, kept
