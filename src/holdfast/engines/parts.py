"""The parts of an engine that most programs never use, imported when something of them is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Part:
    """Stands in the place of a module."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)

    def __repr__(self) -> str:
        return f"<part {self._name}>"


def parts(package: str, names: str) -> tuple[Part, ...]:
    """The modules of a package, in the order of their names."""
    return tuple(Part(f"{package}.{name}") for name in names.split())
