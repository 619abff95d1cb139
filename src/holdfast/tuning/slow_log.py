"""What this process asked of a database: each kind of statement, how often, and how long it took."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from holdfast.core.recording import Kind
from holdfast.engines.sqltext import Lexicon
from holdfast.tuning.fingerprints import fingerprint, is_of_catalogue, without_values

MOST_TEXTS = 1000
MOST_CHARACTERS = 2_000_000
MOST_KINDS = 1000
_LONGEST = 20_000
_BEGINNING = 1000
# How plans are asked for.
_ASIDE = ("EXPLAIN", "PREPARE", "DEALLOCATE")


@dataclass(frozen=True, slots=True)
class Asked:
    """A statement of a workload, one of its kind: its calls, and the rows that they wrote together.

    ``is_fixed`` says that all calls had the same values in the text.
    """

    sql: str
    calls: int
    written: int
    is_fixed: bool

    def and_also(self, other: Asked) -> Asked:
        """Both together."""
        is_fixed = self.is_fixed and other.is_fixed and self.sql == other.sql
        return Asked(self.sql, self.calls + other.calls, self.written + other.written, is_fixed)


class SlowLog:
    """Gathers what an executor counts; no value is ever shown.

    What only looks at the catalogue is left out: most of that Holdfast asks for itself.

    Texts are counted by themselves while there is room. Then the oldest is put to those that differ from it
    in nothing but values, so that a program that writes values into its SQL costs no more memory.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self.forked()

    def forked(self) -> None:
        """Begin anew: what the parent counted is its own, and another thread of it may hold the lock."""
        self.kinds: dict[str, Kind] = {}
        self._gathered: dict[str, Kind] = {}
        self._characters = 0
        self._aside = Kind("")
        self._left_out: set[str] = set()
        self._lock = threading.Lock()

    def kind(self, native: str) -> Kind:
        """That of a text which is not counted yet."""
        if native in self._left_out or self._is_left_out(native):
            return self._aside
        with self._lock:
            if native in self.kinds:
                return self.kinds[native]
            if len(native) > _LONGEST:
                beginning = f"{without_values(native[:_BEGINNING], self._lexicon)} ..."
                return self._gather(Kind(""), beginning)
            self._make_room(len(native))
            self._characters += len(native)
            kind = self.kinds[native] = Kind(native)
            return kind

    def _is_left_out(self, native: str) -> bool:
        if native[:10].upper().startswith(_ASIDE):
            return True
        if len(native) > _LONGEST or not is_of_catalogue(native, self._lexicon):
            return False
        if len(self._left_out) >= MOST_TEXTS:
            self._left_out.clear()
        self._left_out.add(native)
        return True

    def _make_room(self, size: int) -> None:
        while self.kinds and (len(self.kinds) >= MOST_TEXTS or self._characters + size > MOST_CHARACTERS):
            oldest = next(iter(self.kinds))
            kind = self.kinds.pop(oldest)
            self._characters -= len(oldest)
            kind.into = self._gather(kind, fingerprint(oldest, self._lexicon))

    def _gather(self, kind: Kind, name: str) -> Kind:
        gathered = _put(self._gathered, name, kind)
        if len(self._gathered) > MOST_KINDS:
            slowest = sorted(self._gathered.items(), key=lambda item: -item[1].spent)
            self._gathered = dict(slowest[: MOST_KINDS // 2])
        return gathered

    def slowest(self) -> list[tuple[str, Kind]]:
        """Each kind of statement by its fingerprint, those first that took the most time together."""
        with self._lock:
            found: dict[str, Kind] = {}
            for name, kind in self._gathered.items():
                _put(found, name, kind)
            for native, kind in list(self.kinds.items()):
                _put(found, fingerprint(native, self._lexicon), kind)
        return sorted(found.items(), key=lambda item: -item[1].spent)

    def asked(self) -> list[Asked]:
        """One statement of each kind, those first that took the most time together."""
        return [
            Asked(kind.sample, kind.calls, kind.rows, kind.is_fixed)
            for _, kind in self.slowest()
            if kind.sample
        ]


def _put(kinds: dict[str, Kind], name: str, kind: Kind) -> Kind:
    whole = kinds.get(name)
    if whole is None:
        whole = kinds[name] = Kind(kind.sample)
    whole.take_in(kind)
    return whole
