"""Files that are written whole or not at all, and packed with gzip or zstd where their name says so."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from holdfast.errors import ConfigurationError, Error, ImportFailed, MissingDependency
from holdfast.folders import replacing

PACKED = (".gz", ".zst")
_BEGINNINGS = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}
_FAST_GZIP = 6


@contextmanager
def publishing(target: Path | TextIO, encoding: str = "utf-8") -> Iterator[TextIO]:
    """A text file that takes the name ``target`` when the block ends well; a stream is written as it is.

    A name that ends in ``.gz`` or ``.zst`` is packed so.

    Raises:
        ConfigurationError: if nothing can be written there; what was there is as it was.
    """
    if not isinstance(target, Path):
        yield target
        target.flush()
        return
    with (
        publishing_bytes(target) as raw,
        _packing(raw, target.suffix) as packed,
        io.TextIOWrapper(packed, encoding=encoding, newline="") as text,
    ):
        yield text


@contextmanager
def publishing_bytes(target: Path | BinaryIO) -> Iterator[BinaryIO]:
    """As :func:`publishing`, for bytes, which are written as they are."""
    if not isinstance(target, Path):
        yield target
        target.flush()
        return
    try:
        with replacing(target) as beside, beside.open("xb") as file:
            if target.exists():
                beside.chmod(target.stat().st_mode & 0o7777)
            # A duplicate, because libraries close what they are given.
            with os.fdopen(os.dup(file.fileno()), "wb") as given:
                yield given
    except IsADirectoryError as exc:
        raise ConfigurationError(f"{target} is a folder", hint="name a file in it") from exc
    except Error:
        # Some of ours are OSErrors by kind, such as a lost connection; they are not about the file.
        raise
    except OSError as exc:
        raise ConfigurationError(
            f"{target} cannot be written: {exc.strerror or 'the system refuses it'}",
            hint="check the path, its rights and the space",
        ) from exc


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked if its name ends in ``.gz`` or ``.zst``.

    Raises:
        ImportFailed: if it cannot be read, or what was packed is damaged or cut short.
    """
    try:
        with path.open("rb") as file, _unpacking(file, path.suffix) as plain:
            yield plain
    except Error:
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise _damaged(path, path.suffix) from exc
    except OSError as exc:
        if exc.errno is None:
            raise _damaged(path, path.suffix) from exc
        raise ImportFailed(f"{path} cannot be read: {exc.strerror}", hint="check the path") from exc


@contextmanager
def unpacked(stream: Any) -> Iterator[Any]:
    """What a stream of bytes holds, unpacked if it begins as gzip or zstd does.

    Raises:
        ImportFailed: if what was packed is damaged or cut short.
    """
    begin = stream.peek(4)[:4] if hasattr(stream, "peek") else b""
    suffix = next((known for mark, known in _BEGINNINGS.items() if begin.startswith(mark)), "")
    if not suffix:
        yield stream
        return
    try:
        with _unpacking(stream, suffix) as plain:
            yield plain
    except Error:
        raise
    except (EOFError, zlib.error, OSError) as exc:
        if getattr(exc, "errno", None) is not None:
            raise
        raise _damaged(getattr(stream, "name", "the stream"), suffix) from exc


def _damaged(name: object, suffix: str) -> ImportFailed:
    kind = "gzip" if suffix.lower() == ".gz" else "zstd"
    return ImportFailed(f"{name} is damaged, cut short, or not {kind}", hint=f"write it again with {kind}")


def _packing(raw: BinaryIO, suffix: str) -> AbstractContextManager[Any]:
    if suffix.lower() == ".gz":
        return gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=_FAST_GZIP, mtime=0)
    if suffix.lower() == ".zst":
        return cast(AbstractContextManager[Any], _arrow().CompressedOutputStream(raw, "zstd"))
    return contextlib.nullcontext(raw)


def _unpacking(raw: BinaryIO, suffix: str) -> AbstractContextManager[Any]:
    if suffix.lower() == ".gz":
        return gzip.GzipFile(fileobj=raw, mode="rb")
    if suffix.lower() == ".zst":
        return io.BufferedReader(_arrow().CompressedInputStream(raw, "zstd"))
    return contextlib.nullcontext(raw)


def _arrow() -> Any:
    try:
        import pyarrow
    except ImportError as exc:
        raise MissingDependency("pyarrow", "frames") from exc
    return pyarrow
