"""The database of an application of agents: its models, and what is done with them."""

from __future__ import annotations

import importlib.util

from holdfast.errors import MissingDependency

if importlib.util.find_spec("sqlmodel") is None:
    raise MissingDependency("sqlmodel", "agents")
