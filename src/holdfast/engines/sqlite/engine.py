"""The engine, put together; the parts that most programs never use are imported on first use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.engines.base import Engine, Features, TableInfo
from holdfast.engines.dialects import SQLITE
from holdfast.engines.parts import parts
from holdfast.engines.sqlite import catalog, connect
from holdfast.engines.sqlite.errors import translate

if TYPE_CHECKING:
    # So that each is checked to be the part that it stands for.
    from holdfast.engines.sqlite import (
        alter,
        archive,
        blobs,
        bulk,
        changes,
        checks,
        copies,
        documents,
        dump,
        fulltext,
        migrating,
        plans,
        upkeep,
        vectors,
    )
else:
    (
        alter,
        archive,
        blobs,
        bulk,
        changes,
        checks,
        copies,
        documents,
        dump,
        fulltext,
        migrating,
        plans,
        upkeep,
        vectors,
    ) = parts(
        __package__,
        "alter archive blobs bulk changes checks copies documents dump fulltext migrating plans "
        "upkeep vectors",
    )


def _insert_returning(info: TableInfo, names: Sequence[str]) -> list[str]:
    return []


ENGINE = Engine(
    name="sqlite",
    features=Features(
        max_parameters=32_000,
        max_columns=2_000,
        numbered_parameters=False,
        null_order=False,
        binary_collation=None,
        retries_busy=True,
        builds_online="",
        includes_columns=False,
        index_methods=frozenset({"btree"}),
        no_limit="-1",
        like_by_case=None,
        isolation_levels=frozenset({"SERIALIZABLE", "REPEATABLE READ", "READ COMMITTED", "READ UNCOMMITTED"}),
        default_timeout=connect.DEFAULT_TIMEOUT,
        row_locks="",
        writes_in_with=False,
    ),
    lexicon=SQLITE.lexicon,
    ddl=SQLITE.ddl,
    types=SQLITE.types,
    connect=connect,
    catalog=catalog,
    alter=alter,
    upkeep=upkeep,
    plans=plans,
    checks=checks,
    changes=changes,
    dump=dump,
    copies=copies,
    archive=archive,
    fulltext=fulltext,
    bulk=bulk,
    blobs=blobs,
    documents=documents,
    vectors=vectors,
    migrating=migrating,
    translate=translate,
    insert_returning=_insert_returning,
)
