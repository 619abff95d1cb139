"""Indexes over vectors on PostgreSQL: HNSW over halves of the numbers, for one model of a table."""

from __future__ import annotations

import hashlib

from holdfast.engines.base import Fragment, Run
from holdfast.engines.names import quote_identifier as quote
from holdfast.engines.nearest import VectorIndex, VectorTarget
from holdfast.engines.postgres.documents import literal
from holdfast.errors import NotSupported

LONGEST = {True: 4000, False: 2000}
"""How many numbers pgvector can index, as halves or as they are."""
# Candidates are found by halves and ranked again by the numbers themselves: more of them, and none is missed.
_LEAST_CANDIDATES, _PER_HIT = 100, 4
_WIDEST = 1000
# HNSW looks at so many rows until a filter has left it enough; then it gives up.
_MOST_SCANNED = 20_000


def name(target: VectorTarget) -> str:
    """The name of the index of a model, the same each time."""
    return f"{target.table[:40]}_{hashlib.sha256(target.model.encode()).hexdigest()[:12]}_hnsw"


def find(run: Run, target: VectorTarget) -> VectorIndex | None:
    """The index of a model, if it is there and ready."""
    rows = run(
        "SELECT c.reltuples FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid "
        "WHERE i.indrelid = to_regclass(?) AND c.relname = ? AND i.indisvalid AND i.indisready",
        (quote(target.table), name(target)),
    ).fetchall()
    return VectorIndex(name(target), max(float(rows[0][0]), 0.0)) if rows else None


def create(run: Run, target: VectorTarget, index: VectorIndex, *, beside: bool) -> None:
    """Build it anew; ``beside`` the writers, which then do not wait, but not in a transaction.

    Raises:
        NotSupported: if the vectors have too many numbers.
    """
    if target.dimension > LONGEST[index.is_halved]:
        raise NotSupported(
            f"vectors of {target.dimension} numbers cannot be indexed, only up to {LONGEST[index.is_halved]}",
            hint="without an index all are compared",
        )
    # What an interrupted building left is there under that name, and answers nothing.
    drop(run, target, beside=beside)
    kind = "halfvec" if index.is_halved else "vector"
    try:
        run(
            f"CREATE INDEX {_concurrently(beside)}{quote(index.name)} ON {quote(target.table)} "
            f"USING hnsw (({_as(kind, quote('embedding'), target)}) {kind}_cosine_ops) "
            f"WITH (m = {index.links:d}, ef_construction = {index.effort:d}) "
            f'WHERE "model" = {literal(target.model)}'
        )
    except BaseException:
        if beside:
            drop(run, target, beside=True)
        raise


def drop(run: Run, target: VectorTarget, *, beside: bool) -> None:
    """Remove the index of a model, if there is one."""
    run(f"DROP INDEX {_concurrently(beside)}IF EXISTS {_qualified(run, target)}")


def size(run: Run, index: VectorIndex) -> int:
    """How many bytes it takes."""
    return int(run("SELECT pg_relation_size(to_regclass(?))", (quote(index.name),)).fetchall()[0][0])


def share(run: Run, table: str, condition: Fragment, percent: float) -> float:
    """The part of a table's rows that satisfies a condition, from a sample of so many percent.

    The planner's own guess is worth nothing for conditions on documents.
    """
    sql, given = condition
    among = "" if percent >= 100 else f" TABLESAMPLE SYSTEM ({percent:f})"
    found, seen = run(
        f"SELECT count(*) FILTER (WHERE {sql}), count(*) FROM {table}{among}", given
    ).fetchall()[0]
    return found / seen if seen else 0.0


def nearest(
    target: VectorTarget, index: VectorIndex, source: str, condition: Fragment, asked: str, count: int
) -> Fragment:
    """A statement for numbers and distances, the nearest first, and whether the index gave all it was asked.

    Its settings hold for itself alone, or in a transaction until that ends. The index is asked only when
    they are made, as its scan depends on them.
    """
    own, (sql, given) = quote(target.table), condition
    candidates = max(_PER_HIT * count, _LEAST_CANDIDATES)
    kind = "halfvec" if index.is_halved else "vector"
    settings = {
        "hnsw.ef_search": min(candidates, _WIDEST),
        "hnsw.iterative_scan": "relaxed_order",
        "hnsw.max_scan_tuples": _MOST_SCANNED,
    }
    made = " AND ".join(
        f"set_config('{key}', '{value}', true) IS NOT NULL" for key, value in settings.items()
    )
    return (
        f'WITH "asked" AS MATERIALIZED (SELECT {made} AS "ready", ?::vector AS "vector") '
        f'SELECT "found"."n", "found"."embedding" <=> "asked"."vector", count(*) OVER () = {candidates:d} '
        'FROM "asked", LATERAL ('
        f'SELECT {own}."n", {own}."id", {own}."embedding" FROM {source} '
        f'WHERE "asked"."ready" AND {own}."model" = {literal(target.model)} AND {sql} '
        f"ORDER BY {_as(kind, own + '.' + quote('embedding'), target)} <=> "
        f'{_as(kind, quote("asked") + "." + quote("vector"), target)} LIMIT {candidates:d}) AS "found" '
        'ORDER BY 2, "found"."id" LIMIT ?',
        [asked, *given, count],
    )


def _as(kind: str, column: str, target: VectorTarget) -> str:
    return f"({column}::{kind}({target.dimension:d}))"


def _concurrently(beside: bool) -> str:
    return "CONCURRENTLY " if beside else ""


def _qualified(run: Run, target: VectorTarget) -> str:
    """The name of an index with the schema of its table, where it is."""
    rows = run(
        "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.oid = to_regclass(?)",
        (quote(target.table),),
    ).fetchall()
    return f"{quote(rows[0][0])}.{quote(name(target))}" if rows else quote(name(target))
