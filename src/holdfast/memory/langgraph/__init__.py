"""LangGraph on Holdfast: a checkpointer and a store, on SQLite and on PostgreSQL."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from holdfast.errors import MissingDependency

if TYPE_CHECKING:
    from holdfast.memory.langgraph.saver import HoldfastSaver
    from holdfast.memory.langgraph.store import HoldfastStore

__all__ = ["HoldfastSaver", "HoldfastStore"]

_MODULES = {"HoldfastSaver": "saver", "HoldfastStore": "store"}


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
