"""LangGraph on Holdfast: a checkpointer, on SQLite and on PostgreSQL."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from holdfast.errors import MissingDependency

if TYPE_CHECKING:
    from holdfast.memory.langgraph.saver import HoldfastSaver

__all__ = ["HoldfastSaver"]

_MODULES = {"HoldfastSaver": "saver"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    except ModuleNotFoundError as exc:
        if exc.name is not None and exc.name.startswith("holdfast"):
            raise
        raise MissingDependency("langgraph-checkpoint", "langgraph") from exc
    return getattr(module, name)
