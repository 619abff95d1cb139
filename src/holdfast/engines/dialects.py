"""What an engine's SQL and types are read by, known by its name: its driver need not be installed."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.engines import sqltext
from holdfast.engines import target as targets
from holdfast.engines.sqltext import Lexicon
from holdfast.engines.target import Target
from holdfast.types import Storage, TypeMap


@dataclass(frozen=True, eq=False)
class Dialect:
    """How an engine writes its text, spells its columns and keeps its values."""

    lexicon: Lexicon
    ddl: Target
    types: TypeMap


SQLITE = Dialect(sqltext.SQLITE, targets.SQLITE, TypeMap(Storage.PORTABLE))
POSTGRES = Dialect(sqltext.POSTGRES, targets.POSTGRES, TypeMap(Storage.NATIVE))
BY_NAME = {"sqlite": SQLITE, "postgres": POSTGRES}
