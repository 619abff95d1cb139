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
    archives_decimals: bool
    """Archives hold decimals as text; otherwise text in such a column is a text that is stored there."""


SQLITE = Dialect(sqltext.SQLITE, targets.SQLITE, TypeMap(Storage.PORTABLE), False)
POSTGRES = Dialect(sqltext.POSTGRES, targets.POSTGRES, TypeMap(Storage.NATIVE), True)
BY_NAME = {"sqlite": SQLITE, "postgres": POSTGRES}
