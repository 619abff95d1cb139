"""Power cuts: what a program wrote and synced is recorded, and the disks that a cut could leave are built.

``strace`` notes every write, sync and change of a name below a folder. A disk after a cut holds what was
synced; of the rest, each sector of each write may be there or not, and so may each name. This is the method
of ALICE (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014), with sectors drawn by chance
instead of all orders of a file system's own steps.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).parents[1]
SECTOR = 512
FOLDER = 0
"""What a name stands for that is no file's."""
_CALLS = (
    *("openat", "open", "creat", "close", "lseek", "read", "write", "pwrite64", "writev", "pwritev"),
    *("fsync", "fdatasync", "ftruncate", "truncate", "fallocate", "rename", "renameat", "renameat2"),
    *("unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "link", "linkat", "symlink", "symlinkat"),
    *("sendfile", "copy_file_range"),
)
# Nobody here uses these below the folder; one that did would have to be understood first.
_NOT_KNOWN = ("writev", "pwritev", "truncate", "link", "linkat", "symlink", "symlinkat", "sendfile")


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes put into a file."""

    file: int
    at: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Size:
    """A file made longer or shorter."""

    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """A file whose bytes so far are on the disk."""

    file: int


@dataclass(frozen=True, slots=True)
class Names:
    """Names that stand for other files from now on, or for none; all of them change at once."""

    changes: tuple[tuple[str, int | None], ...]
    folder: str
    "Whose sync makes it last."


@dataclass(frozen=True, slots=True)
class SyncNames:
    """A folder whose names so far are on the disk."""

    folder: str


@dataclass(frozen=True, slots=True)
class Told:
    """What was acknowledged."""

    text: str


Event = Write | Size | Sync | Names | SyncNames | Told
Disk = dict[str, bytes]
"""Files by their paths below the folder."""


def record(folder: Path, command: list[str]) -> list[Event]:
    """Run a program that works below ``folder`` and writes what it acknowledges to its standard output.

    What is replayed must be what is there afterwards, or the recording has a hole.
    """
    log = folder.with_name(folder.name + ".strace")
    trace = ["strace", "-qq", "-y", "-xx", "-s", str(1 << 24), "-o", str(log), "-e", "signal=none"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)])}
    subprocess.run(
        [*trace, "-e", f"trace={','.join('?' + call for call in _CALLS)}", sys.executable, *command],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=300,
    )
    with log.open() as lines:
        events = list(_Recorder(str(folder)).events(lines))
    log.unlink()
    here = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    replayed = disk(events)
    assert {name for name in here if not name.endswith("-shm")} == replayed.keys()
    assert all(replayed[name] == here[name] for name in replayed), "a write was not recorded"
    return events


_LINE = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass
class _Recorder:
    """Reads the lines of strace; files are known by numbers, because their names change."""

    folder: str
    names: dict[str, int] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)
    "Where the next write of each descriptor goes."
    made: int = 0

    def events(self, lines: Iterator[str]) -> Iterator[Event]:
        for line in lines:
            if (found := _LINE.match(line)) and int(found[3]) >= 0:
                call, arguments, result = found[1], found[2], int(found[3])
                yield from self._event(call, _unescaped(arguments), arguments, result)

    def _event(self, call: str, plain: str, raw: str, result: int) -> Iterator[Event]:
        if call == "write" and plain.startswith("1<"):
            yield Told(_data(raw).decode().strip())
            return
        if not self._concerns(plain, raw):
            return
        assert call not in _NOT_KNOWN, f"{call} below the folder"
        step: Callable[[str, str, int], Iterator[Event]] | None = getattr(self, f"_{call}", None)
        if step is not None:
            yield from step(plain, raw, result)

    def _concerns(self, plain: str, raw: str) -> bool:
        """Whether a call is about the folder, and not about SQLite's shared memory, which no cut leaves."""
        paths = [_bytes(text) for text in _TEXT.findall(raw[:20_000])] if not plain[0].isdigit() else []
        about = plain + " ".join(path.decode("latin-1") for path in paths)
        return self.folder in about and "-shm" not in about

    def _below(self, path: str) -> str:
        return os.path.relpath(path, self.folder)

    def _file(self, plain: str) -> tuple[int, int | None]:
        """The descriptor that a call begins with, and the number of its file, if it still has a name."""
        found = re.match(r"(\d+)<(.*?)>(\(deleted\))?(?:,|$)", plain)
        assert found, plain
        return int(found[1]), None if found[3] else self.names.get(self._below(found[2]))

    def _openat(self, plain: str, raw: str, result: int) -> Iterator[Event]:
        path = self._path(raw, 0)
        self.places[result] = 0
        if "O_TMPFILE" in plain or os.path.basename(path).endswith("-shm"):
            return
        if "O_CREAT" in plain and path not in self.names:
            self.made += 1
            self.names[path] = self.made
            yield Names(((path, self.made),), os.path.dirname(path))
        elif "O_TRUNC" in plain:
            yield Size(self.names[path], 0)

    def _path(self, raw: str, number: int) -> str:
        """The n-th path that a call names, below the folder."""
        texts = _TEXT.findall(raw)
        path = _bytes(texts[number]).decode()
        if not path.startswith("/"):
            bases = re.findall(r"(?:\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})+|[^>]*)>", raw)
            path = os.path.join(_unescaped(bases[number if len(bases) > number else 0]), path)
        return self._below(os.path.realpath(os.path.dirname(path)) + "/" + os.path.basename(path))

    def _write(self, plain: str, raw: str, result: int) -> Iterator[Event]:
        descriptor, file = self._file(plain)
        at = self.places.get(descriptor, 0)
        self.places[descriptor] = at + result
        if file is not None:
            yield Write(file, at, _data(raw)[:result])

    def _read(self, plain: str, raw: str, result: int) -> Iterator[Event]:
        descriptor, _ = self._file(plain)
        self.places[descriptor] = self.places.get(descriptor, 0) + result
        yield from ()

    def _lseek(self, plain: str, raw: str, result: int) -> Iterator[Event]:
        self.places[self._file(plain)[0]] = result
        yield from ()

    def _pwrite64(self, plain: str, raw: str, result: int) -> Iterator[Event]:
        file = self._file(plain)[1]
        if file is not None:
            yield Write(file, int(raw.rpartition(",")[2]), _data(raw)[:result])

    def _fsync(self, plain: str, raw: str, result: int) -> Iterator[Event]:
        file = self._file(plain)[1]
        if file is not None:
            yield Sync(file)
        elif "(deleted)" not in plain:
            yield SyncNames(self._below(plain.partition("<")[2].rpartition(">")[0]).removeprefix("."))

    _fdatasync = _fsync

    def _ftruncate(self, plain: str, raw: str, result: int) -> Iterator[Event]:
        file = self._file(plain)[1]
        if file is not None:
            yield Size(file, int(raw.rpartition(",")[2]))

    def _unlink(self, plain: str, raw: str, result: int) -> Iterator[Event]:
        path = self._path(raw, 0)
        if "AT_REMOVEDIR" in plain or self.names.pop(path, None) is not None:
            yield Names(((path, None),), os.path.dirname(path))

    _unlinkat = _unlink

    def _rename(self, plain: str, raw: str, result: int) -> Iterator[Event]:
        old, new = self._path(raw, 0), self._path(raw, 1)
        self.names[new] = self.names.pop(old)
        yield Names(((old, None), (new, self.names[new])), os.path.dirname(new))

    _renameat = _renameat2 = _rename

    def _mkdir(self, plain: str, raw: str, result: int) -> Iterator[Event]:
        path = self._path(raw, 0)
        if path != ".":
            yield Names(((path, FOLDER),), os.path.dirname(path))

    def _rmdir(self, plain: str, raw: str, result: int) -> Iterator[Event]:
        path = self._path(raw, 0)
        yield Names(((path, None),), os.path.dirname(path))


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _unescaped(text: str) -> str:
    """With the paths of descriptors as they are, and without what is between quotes."""
    return re.sub(
        r"<((?:\\x[0-9a-f]{2})+)>", lambda found: f"<{_bytes(found[1]).decode()}>", _TEXT.sub('""', text)
    )


def _data(raw: str) -> bytes:
    found = _TEXT.search(raw)
    assert found
    return _bytes(found[1])


# What a cut can leave


def disk(events: list[Event], chance: random.Random | None = None) -> Disk:
    """The files after these events: as a program sees them, or, with ``chance``, as a cut may leave them."""
    contents: dict[int, bytearray] = {}
    names: dict[str, int | None] = {}
    lasting = None if chance is None else _Lasting(events, chance)
    for number, event in enumerate(events):
        if isinstance(event, Write):
            content = contents.setdefault(event.file, bytearray())
            for start, end in [(0, len(event.data))] if lasting is None else lasting.parts(number, event):
                _put(content, event.at + start, event.data[start:end])
        elif isinstance(event, Size) and (lasting is None or lasting.keeps(number, event.file)):
            content = contents.setdefault(event.file, bytearray())
            del content[event.size :]
            content.extend(bytes(event.size - len(content)))
        elif isinstance(event, Names) and (lasting is None or lasting.keeps(number, event.folder)):
            names.update(event.changes)
    return {
        name: bytes(contents.get(file, b""))
        for name, file in names.items()
        if file and all(names.get(str(parent)) == FOLDER for parent in list(Path(name).parents)[:-1])
    }


def _put(content: bytearray, at: int, data: bytes) -> None:
    content.extend(bytes(max(0, at - len(content))))
    content[at : at + len(data)] = data


class _Lasting:
    """Which events a cut leaves: those before a sync of their file or folder, and others by chance."""

    def __init__(self, events: list[Event], chance: random.Random) -> None:
        self._chance = chance
        self._synced: dict[int | str, int] = {}
        for number, event in enumerate(events):
            if isinstance(event, Sync):
                self._synced[event.file] = number
            elif isinstance(event, SyncNames):
                self._synced[event.folder] = number
        # Nothing, all or some of what was not synced; and of a write all of it, or each sector by itself.
        self._share = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        self._is_torn = chance.random() < 0.7
        # A journal of a file system keeps the order of names; one without it need not.
        self._names_until = chance.randrange(len(events) + 1) if chance.random() < 0.5 else None

    def keeps(self, number: int, where: int | str) -> bool:
        if number < self._synced.get(where, -1):
            return True
        if isinstance(where, str) and self._names_until is not None:
            return number < self._names_until
        return self._chance.random() < self._share

    def parts(self, number: int, event: Write) -> Iterator[tuple[int, int]]:
        """From where to where the bytes of a write are there."""
        if number < self._synced.get(event.file, -1) or not self._is_torn:
            if self.keeps(number, event.file):
                yield 0, len(event.data)
            return
        start = 0
        while start < len(event.data):
            end = min(len(event.data), start + SECTOR - (event.at + start) % SECTOR)
            if self._chance.random() < self._share:
                yield start, end
            start = end


@dataclass(frozen=True)
class Cut:
    """A disk after a cut, and what had been acknowledged before it."""

    folder: Path
    told: tuple[str, ...]


def cuts(events: list[Event], times: int, seed: str, folder: Path) -> Iterator[Cut]:
    """Disks of so many cuts at random moments, each in a folder of its own."""
    for number in range(times):
        chance = random.Random(f"{seed} {number}")
        before = events[: chance.randrange(len(events) + 1)]
        here = folder / f"cut{number}"
        _lay_out(disk(before, chance), here)
        yield Cut(here, tuple(event.text for event in before if isinstance(event, Told)))


def _lay_out(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder.mkdir(parents=True, exist_ok=True)
