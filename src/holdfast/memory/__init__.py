"""Memory for agents: passages and messages, kept for a user and an agent, on SQLite and on PostgreSQL.

>>> import holdfast.memory
>>> with holdfast.memory.open("agent.db", user_id="ada") as memory:
...     id = memory.insert(holdfast.memory.Passage("Ada drinks tea", metadata={"topic": "drinks"}))
...     memory.get(id).text
'Ada drinks tea'
"""

from __future__ import annotations

import os

from holdfast.database import Database, open_database
from holdfast.memory.advice import Advice
from holdfast.memory.caching import CacheInfo
from holdfast.memory.embed.texts import Embed
from holdfast.memory.erasing import Report
from holdfast.memory.history import Change
from holdfast.memory.lance_store import LanceDBConnector
from holdfast.memory.lance_store import opened as opened_folder
from holdfast.memory.markdown import Loaded, import_markdown
from holdfast.memory.measuring import Recall, measure_recall
from holdfast.memory.memgpt import Imported, import_memgpt
from holdfast.memory.model import get_db_model
from holdfast.memory.models import Model
from holdfast.memory.moving import Moved, copy_memory, export_memory, import_memory
from holdfast.memory.paging import Page
from holdfast.memory.records import Message, Passage, Record, Source
from holdfast.memory.reembedding import Reembedded, reembed
from holdfast.memory.search import Hit, Hits
from holdfast.memory.sql_store import (
    CONNECTORS,
    PostgresStorageConnector,
    SQLiteStorageConnector,
    SQLStore,
)
from holdfast.memory.store import Store

__all__ = [
    "Advice",
    "CacheInfo",
    "Change",
    "Hit",
    "Hits",
    "Imported",
    "LanceDBConnector",
    "Loaded",
    "Message",
    "Model",
    "Moved",
    "Page",
    "Passage",
    "PostgresStorageConnector",
    "Recall",
    "Record",
    "Reembedded",
    "Report",
    "SQLStore",
    "SQLiteStorageConnector",
    "Source",
    "Store",
    "copy_memory",
    "export_memory",
    "get_db_model",
    "get_storage_connector",
    "import_markdown",
    "import_memgpt",
    "import_memory",
    "measure_recall",
    "open",
    "reembed",
]


def open(
    url_or_database: str | os.PathLike[str] | Database,
    *,
    name: str = "memory",
    user_id: str = "default",
    agent_id: str | None = None,
    dimension: int | None = None,
    embed: Embed | None = None,
    refresh_ttl: bool = False,
    cache: bool = False,
) -> SQLStore:
    """Open the memory of that name, or make it: a path or URL as for ``connect``, or a ``Database``.

    ``lancedb:///folder`` is a folder with a SQLite file and Lance tables of its vectors.

    ``name`` is any text. All that is read and written belongs to ``user_id``, and if it is given to
    ``agent_id``. ``embed`` takes a list of texts and gives a vector for each; its attribute ``model`` names
    them. ``dimension`` is that of the first vector if it is left out. With ``refresh_ttl`` a memory that
    ``get`` or ``query`` returns lives as long again as when it was written. With ``cache`` the answers of
    queries are kept until anybody writes; ``cache_info()`` says how often that helps.

    Raises:
        ConfigurationError: if the memory holds vectors of another dimension or model.
        InvalidIdentifier: for a name or a user that is empty.
    """
    return get_storage_connector(
        "passages",
        url_or_database,
        user_id=user_id,
        agent_id=agent_id,
        name=name,
        dimension=dimension,
        embed=embed,
        refresh_ttl=refresh_ttl,
        cache=cache,
    )


def get_storage_connector(
    kind: str,
    url: str | os.PathLike[str] | Database,
    *,
    user_id: str,
    agent_id: str | None = None,
    name: str | None = None,
    dimension: int | None = None,
    embed: Embed | None = None,
    refresh_ttl: bool = False,
    cache: bool = False,
) -> SQLStore:
    """Open a store of a kind: archival_memory, recall_memory, passages or data_sources.

    Stores of two kinds are two stores whatever their names; ``name`` is the kind if it is left out. Else it
    is as :func:`open`.
    """
    folder = None if isinstance(url, Database) else opened_folder(url)
    database = folder or (url if isinstance(url, Database) else open_database(url, {}))
    connector = LanceDBConnector if folder else CONNECTORS[database._executor.engine.name]
    try:
        return connector(
            kind,
            database,
            user_id=user_id,
            agent_id=agent_id,
            name=name,
            dimension=dimension,
            embed=embed,
            refresh_ttl=refresh_ttl,
            cache=cache,
            is_owner=database is not url,
        )
    except BaseException:
        if database is not url:
            database.close()
        raise
