"""The agent application over HTTP, with FastAPI. Needs the extra ``server``.

``create_app(settings)`` is the application, ``serve`` runs it.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from holdfast.agents.settings import Settings
from holdfast.errors import MissingDependency

if importlib.util.find_spec("fastapi") is None:
    raise MissingDependency("fastapi", "server")

from holdfast.agents.server.app import create_app

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["create_app", "serve"]


def serve(settings: Settings, *, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Answer requests until it is interrupted.

    Raises:
        ConfigurationError: if ``SECRET_KEY`` is missing.
    """
    import uvicorn

    app: FastAPI = create_app(settings)
    uvicorn.run(app, host=host, port=port)
