"""The engine, put together; the parts that most programs never use are imported on first use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.engines.base import Engine, Features, TableInfo
from holdfast.engines.dialects import POSTGRES
from holdfast.engines.names import quote_identifier
from holdfast.engines.parts import parts
from holdfast.engines.postgres import catalog, connect
from holdfast.engines.postgres.errors import translate

if TYPE_CHECKING:
    # So that each is checked to be the part that it stands for.
    from holdfast.engines.postgres import (
        alter,
        archive,
        blobs,
        bulk,
        changes,
        checks,
        columnar,
        copies,
        documents,
        dump,
        fulltext,
        migrating,
        packing,
        plans,
        upkeep,
        vectorindex,
        vectors,
    )
    from holdfast.engines.writing import Load, Packer
else:
    (
        alter,
        archive,
        blobs,
        bulk,
        changes,
        checks,
        columnar,
        copies,
        documents,
        dump,
        fulltext,
        migrating,
        packing,
        plans,
        upkeep,
        vectorindex,
        vectors,
    ) = parts(
        __package__,
        "alter archive blobs bulk changes checks columnar copies documents dump fulltext "
        "migrating packing plans upkeep vectorindex vectors",
    )


def _insert_returning(info: TableInfo, names: Sequence[str]) -> list[str]:
    """Move a key's sequence past a value given by hand, so that the next generated one is free.

    It costs no statement of its own. SQLite does so by itself.
    """
    moved = []
    for column in info.columns:
        if column.sequence and column.name in names:
            name = quote_identifier(column.name)
            text = column.sequence.replace("'", "''")
            sequence = f"'{text}'::regclass"
            moved.append(
                f"CASE WHEN {name} > coalesce(pg_sequence_last_value({sequence}), 0) "
                f"THEN setval({sequence}, {name}) END"
            )
    return moved


def _packer(load: Load, least: int) -> Packer:
    return packing.packer(load, least)


ENGINE = Engine(
    name="postgres",
    features=Features(
        max_parameters=65_000,
        max_columns=1_600,
        numbered_parameters=True,
        null_order=True,
        binary_collation="C",
        retries_busy=False,
        builds_online="CONCURRENTLY ",
        includes_columns=True,
        index_methods=frozenset({"btree", "hash", "gin", "gist", "spgist", "brin", "hnsw", "ivfflat"}),
        no_limit="ALL",
        like_by_case="LIKE",
        isolation_levels=frozenset({"SERIALIZABLE", "REPEATABLE READ", "READ COMMITTED", "READ UNCOMMITTED"}),
        default_timeout=connect.DEFAULT_TIMEOUT,
        row_locks=" FOR UPDATE",
        writes_in_with=True,
    ),
    lexicon=POSTGRES.lexicon,
    ddl=POSTGRES.ddl,
    types=POSTGRES.types,
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
    columnar=columnar,
    vector_index=vectorindex,
    packer=_packer,
)
