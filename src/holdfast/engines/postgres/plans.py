"""EXPLAIN (FORMAT JSON), in Holdfast's words."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg import RawCursor

from holdfast.engines.base import Cursor, Run
from holdfast.engines.dialects import POSTGRES
from holdfast.engines.names import quote_identifier
from holdfast.engines.plans import Counted, Explained, Imagine, Kind, Rehearsal, Step, Ways
from holdfast.engines.sqltext import first_word, tokens

_KINDS: dict[str, Kind] = {
    "Seq Scan": "scan",
    "Sample Scan": "scan",
    "Tid Scan": "search",
    "Sort": "sort",
    "Incremental Sort": "sort",
    "Aggregate": "group",
    "Group": "group",
    "WindowAgg": "group",
    "Unique": "distinct",
    "Nested Loop": "join",
    "Hash Join": "join",
    "Merge Join": "join",
    "Append": "union",
    "Merge Append": "union",
    "SetOp": "union",
    "BitmapOr": "union",
    "Limit": "limit",
    "Subquery Scan": "subquery",
    "CTE Scan": "subquery",
    "ModifyTable": "write",
    "Result": "values",
    "Values Scan": "values",
}
_INDEXED = ("Index Scan", "Index Only Scan", "Bitmap Index Scan")
_BY = ("Index Cond", "Recheck Cond", "Hash Cond", "Merge Cond", "Join Filter", "Sort Key", "Group Key")
# These only hand rows on.
_PASSING = frozenset({"Gather", "Gather Merge", "Materialize", "Memoize", "Hash", "Bitmap Heap Scan"})
_SIZE = (
    "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
    "WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r'"
)
_PLAIN_COLUMNS = (
    "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 "
    "AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"
)
# A unique one stays unique; what its definition says after the name of the table goes for the copy.
_INDEXES = (
    "SELECT format('CREATE %sINDEX %I ON pg_temp.%s %s', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, "
    "c.relname, $2::text, substr(d.def, strpos(d.def, d.place) + length(d.place))) "
    "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid "
    "JOIN pg_namespace n ON n.oid = t.relnamespace, "
    "LATERAL (SELECT pg_get_indexdef(i.indexrelid) AS def, "
    "format(' %I.%I ', n.nspname, t.relname) AS place) d "
    "WHERE i.indrelid = to_regclass($1) AND i.indisvalid AND strpos(d.def, d.place) > 0 ORDER BY c.relname"
)
_BELIEVED = (
    "SELECT t.reltuples, c.reltuples, f.attname::text, b.n_distinct, f.n_distinct "
    "FROM pg_namespace n JOIN pg_class t ON t.relnamespace = n.oid JOIN pg_class c ON c.relname = t.relname "
    "AND c.relnamespace = pg_my_temp_schema() JOIN pg_stats f ON f.tablename = t.relname "
    "AND f.schemaname = (SELECT nspname FROM pg_namespace WHERE oid = pg_my_temp_schema()) "
    "LEFT JOIN pg_stats b ON b.schemaname = n.nspname AND b.tablename = t.relname AND b.attname = f.attname "
    "WHERE n.nspname = (SELECT current_schema()) AND t.relname = $1"
)
WAYS = Ways(
    beginning="text_pattern_ops",
    contains=(("gin", ""), ("gin", "jsonb_path_ops")),
    pattern=(("gin", "gin_trgm_ops"),),
    extension="pg_trgm",
    elsewhere="connect with ?options=-csearch_path={} in the URL",
)
_HASHED = re.compile(r"hashed (SubPlan \d+)")
_PIECE = 1 << 20
_FAR = 5
_PREPARED = "hf_explained"
GENERIC = "SET LOCAL plan_cache_mode = force_generic_plan"
_LINE = ("Node Type", "Relation Name", "Index Name", "Index Cond", "Filter", "Sort Key")


def home(run: Run) -> str:
    """The first that is there of the search_path."""
    return str(run("SELECT current_schema()::text").fetchall()[0][0])


def explain(run: Run, sql: str, params: Sequence[Any], *, analyze: bool) -> Explained:
    """The plan of a statement in the driver's text; ``analyze`` runs it and says how long each step took."""
    options = "FORMAT JSON, ANALYZE, BUFFERS" if analyze else "FORMAT JSON"
    said = _said(run, f"EXPLAIN ({options})\n{sql}", params)
    plan = said["Plan"]
    seconds = said["Execution Time"] / 1000 if analyze else None
    return Explained(_step(plan), "\n".join(_lines(plan, "")), seconds, _rows(plan) if analyze else None)


def generic(run: Run, sql: str) -> Explained:
    """By a prepared statement, as GENERIC_PLAN came with PostgreSQL 16."""
    numbers = [int(token.text[1:]) for token in tokens(sql, POSTGRES.lexicon) if token.kind == "mark"]
    values = f"({', '.join(['NULL'] * max(numbers))})" if numbers else ""
    run(f"PREPARE {_PREPARED} AS {sql}")
    try:
        run(GENERIC)
        plan = _said(run, f"EXPLAIN (FORMAT JSON) EXECUTE {_PREPARED}{values}", ())["Plan"]
    finally:
        run(f"DEALLOCATE {_PREPARED}")
    return Explained(_step(plan), "\n".join(_lines(plan, "")))


def seconds(run: Run, sql: str, params: Sequence[Any]) -> float:
    """The server's own time, without planning, the way there and back, and the client."""
    return (
        float(_said(run, f"EXPLAIN (FORMAT JSON, ANALYZE, TIMING OFF) {sql}", params)["Execution Time"])
        / 1000
    )


@contextmanager
def rehearsal(raw: Any, tables: Sequence[str], most_rows: int) -> Iterator[Rehearsal]:
    """Temporary tables, which names find before any other, in a transaction that is taken back.

    It writes nothing else, so a connection that only reads may do it too.
    """
    cursor = RawCursor(raw)

    def run(sql: str, params: Sequence[Any] = ()) -> Cursor:
        # What was prepared before means the tables themselves.
        return cursor.execute(sql, params, prepare=False)

    def size() -> int:
        return int(run(_SIZE).fetchall()[0][0] or 0)

    def build(name: str, sql: str) -> None:
        # The name without a schema is the copy's; so is that of its index.
        run(sql)
        _count_computed(run, name)

    run("BEGIN READ WRITE")
    try:
        stale = set()
        for table in tables:
            is_whole = _copy(raw, run, table, most_rows)
            if is_whole and _is_far(run, table):
                stale.add(table)
        yield Rehearsal(run, size, build, frozenset(stale))
    finally:
        run("ROLLBACK")


def _copy(raw: Any, run: Run, table: str, most_rows: int) -> bool:
    """Rows are frozen, so that an index alone can answer as in a table that was vacuumed; true if all are."""
    schema = run("SELECT quote_ident(current_schema())").fetchall()[0][0]
    name = quote_identifier(table)
    run(
        f"CREATE TEMPORARY TABLE {name} "
        f"(LIKE {schema}.{name} INCLUDING ALL EXCLUDING CONSTRAINTS EXCLUDING INDEXES)"
    )
    columns = ", ".join(
        quote_identifier(column) for (column,) in run(_PLAIN_COLUMNS, (f"pg_temp.{name}",)).fetchall()
    )
    known = run(
        "SELECT reltuples FROM pg_class WHERE oid = to_regclass($1)", (f"{schema}.{name}",)
    ).fetchall()
    part = 100 * most_rows / max(float(known[0][0]), 1.0)
    sampled = f" TABLESAMPLE SYSTEM ({part:f}) REPEATABLE (0)" if part < 100 else ""
    source = f"SELECT {columns} FROM {schema}.{name}{sampled} LIMIT {most_rows:d}"
    with tempfile.TemporaryFile(prefix="holdfast-") as spool, RawCursor(raw) as cursor:
        with cursor.copy(f"COPY ({source}) TO STDOUT (FORMAT BINARY)") as rows:
            for piece in rows:
                spool.write(piece)
        spool.seek(0)
        with cursor.copy(f"COPY pg_temp.{name} ({columns}) FROM STDIN (FORMAT BINARY, FREEZE)") as rows:
            while piece := spool.read(_PIECE):
                rows.write(piece)
        count = cursor.rowcount
    for (sql,) in run(_INDEXES, (f"{schema}.{name}", name)).fetchall():
        run(sql)
    run(f"ANALYZE pg_temp.{name}")
    return not sampled and count < most_rows


def _is_far(run: Run, table: str) -> bool:
    """Whether the planner's numbers of a table are others by far than those of its copy, just counted."""
    rows = run(_BELIEVED, (table,)).fetchall()
    if not rows:
        return False
    believed, true = (max(float(count), 0.0) for count in rows[0][:2])
    pairs = [(believed, true)]
    for *_, before, after in rows:
        if after is None:
            continue
        if before is None:
            return True
        # Less than none is a part of the rows.
        pairs.append((_different(before, believed), _different(after, true)))
    return any(max(pair) > _FAR * max(min(pair), 1.0) for pair in pairs)


def _different(number: float, rows: float) -> float:
    return number if number >= 0 else -number * rows


def imagining(run: Run) -> Imagine | None:
    """By the extension HypoPG, where it was created."""
    place = run(
        "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
        "WHERE e.extname = 'hypopg'"
    ).fetchall()
    if not place:
        return None

    @contextmanager
    def imagine(sql: str) -> Iterator[str]:
        made = run(f"SELECT indexrelid, indexname FROM {place[0][0]}.hypopg_create_index($1)", (sql,))
        number, name = made.fetchall()[0]
        try:
            yield str(name)
        finally:
            run(f"SELECT {place[0][0]}.hypopg_drop_index($1)", (number,))

    return imagine


def carry_out(run: Run, sql: str, index: str | None) -> None:
    """An index that is built while others write stays behind, of no use, where that fails."""
    _remove_invalid(run, index)
    try:
        run(sql)
    except BaseException:
        _remove_invalid(run, index)
        raise
    if index is not None and first_word(sql, POSTGRES.lexicon) == "CREATE":
        _count_computed(run, index)


def _count_computed(run: Run, index: str) -> None:
    """What is in a table is known; what an index computes of it is not, until it is counted."""
    rows = run(
        "SELECT indrelid::regclass::text FROM pg_index WHERE indexrelid = to_regclass($1) "
        "AND indexprs IS NOT NULL",
        (quote_identifier(index),),
    ).fetchall()
    for (table,) in rows:
        run(f"ANALYZE {table}")


def _remove_invalid(run: Run, index: str | None) -> None:
    if index is None:
        return
    name = quote_identifier(index)
    if run(
        "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid", (name,)
    ).fetchall():
        run(f"DROP INDEX CONCURRENTLY {name}")


def leftovers(run: Run) -> frozenset[str]:
    """What CREATE INDEX CONCURRENTLY leaves where it fails."""
    rows = run(
        "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE NOT i.indisvalid AND c.relnamespace = current_schema()::regnamespace"
    )
    return frozenset(str(name) for (name,) in rows.fetchall())


def scans(run: Run) -> dict[str, int]:
    """Since the server's statistics were reset."""
    rows = run(
        "SELECT indexrelname::text, idx_scan FROM pg_stat_user_indexes WHERE schemaname = current_schema()"
    )
    return {str(name): int(count) for name, count in rows.fetchall()}


def misread(exc: BaseException, sql: str) -> int | None:
    """The server says it, counted in characters from 1."""
    place = getattr(getattr(exc, "diag", None), "statement_position", None)
    return int(place) - 1 if place is not None and str(place).isdigit() else None


def statistics(run: Run) -> list[Counted] | None:
    """What pg_stat_statements counted of this database, as far as this user may know."""
    place = run(
        "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
        "WHERE e.extname = 'pg_stat_statements'"
    ).fetchall()
    if not place:
        return None
    rows = run(
        "SELECT query, sum(calls)::bigint, sum(total_exec_time)::float8 / 1000, "
        f"max(max_exec_time)::float8 / 1000, sum(rows)::bigint FROM {place[0][0]}.pg_stat_statements "
        "WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND query <> '<insufficient privilege>' GROUP BY query"
    ).fetchall()
    return [
        Counted(str(sql), int(calls), total, worst, int(count)) for sql, calls, total, worst, count in rows
    ]


def _said(run: Run, sql: str, params: Sequence[Any]) -> Mapping[str, Any]:
    given = run(sql, params).fetchall()[0][0]
    (said,) = json.loads(given) if isinstance(given, (str, bytes)) else given
    found: Mapping[str, Any] = said
    hashed = frozenset(_HASHED.findall(json.dumps(said)))
    if hashed:
        _mark_hashed(found["Plan"], hashed)
    return found


def _mark_hashed(node: dict[str, Any], names: frozenset[str]) -> None:
    """Only the condition that asks for a subplan says that it is run once and its rows are kept."""
    for one in node.get("Plans", ()):
        one["Is Hashed"] = one.get("Subplan Name") in names
        _mark_hashed(one, names)


def _rows(plan: Mapping[str, Any]) -> int:
    """How many rows came out, or were written."""
    if plan["Node Type"] == "ModifyTable" and not plan["Actual Rows"]:
        plan = plan["Plans"][0]
    return round(float(plan["Actual Rows"]))


def _step(node: Mapping[str, Any]) -> Step:
    below = [_step(one) for one in node.get("Plans", ())]
    name, loops = node["Node Type"], node.get("Actual Loops")
    if name in _PASSING and below and node.get("Parent Relationship") != "SubPlan":
        return _passed_on(node, below)
    removed = node.get("Rows Removed by Filter", node.get("Rows Removed by Join Filter"))
    by = next((node[key] for key in _BY if key in node), None)
    return Step(
        _kind(node),
        name,
        node.get("Relation Name"),
        node.get("Index Name"),
        _without_values(", ".join(by) if isinstance(by, list) else by),
        node.get("Plan Rows"),
        None if loops is None else node["Actual Rows"] * loops,
        None if removed is None else removed * (loops or 1),
        loops,
        None if loops is None else node["Actual Total Time"] * loops / 1000,
        is_filtered="Filter" in node or "Join Filter" in node,
        is_repeated=node.get("Parent Relationship") == "SubPlan" and not node.get("Is Hashed"),
        is_nested=name == "Nested Loop",
        is_on_disk=node.get("Sort Space Type") == "Disk" or node.get("Hash Batches", 1) > 1,
        steps=tuple(below),
    )


def _passed_on(node: Mapping[str, Any], below: list[Step]) -> Step:
    """The one step below, with what this one knows of its table."""
    if node["Node Type"] != "Bitmap Heap Scan" or len(below) != 1:
        return below[0] if len(below) == 1 else Step("other", node["Node Type"], steps=tuple(below))
    step, own = below[0], node
    loops = own.get("Actual Loops")
    return Step(
        "search",
        own["Node Type"],
        own.get("Relation Name"),
        step.index,
        step.by or _without_values(own.get("Recheck Cond")),
        own.get("Plan Rows"),
        None if loops is None else own["Actual Rows"] * loops,
        own.get("Rows Removed by Filter"),
        loops,
        None if loops is None else own["Actual Total Time"] * loops / 1000,
        is_filtered="Filter" in own,
        steps=step.steps,
    )


def _kind(node: Mapping[str, Any]) -> Kind:
    name = node["Node Type"]
    if name in _INDEXED:
        return "search" if "Index Cond" in node else "index scan"
    return _KINDS.get(name, "other")


def _without_values(condition: str | None) -> str | None:
    """The text of a condition, with a ``?`` for each value in it."""
    if condition is None:
        return None
    kinds = {"string", "number"}
    text = "".join(
        "?" if token.kind in kinds else token.text for token in tokens(condition, POSTGRES.lexicon)
    )
    return text[1:-1] if text.startswith("(") and text.endswith(")") and ") " not in text else text


def _lines(node: Mapping[str, Any], indent: str) -> list[str]:
    said = [f"{key}: {node[key]}" for key in _LINE[3:] if key in node]
    place = " on ".join(str(node[key]) for key in ("Node Type", "Relation Name") if key in node)
    using = f" using {node['Index Name']}" if "Index Name" in node else ""
    cost = f"(cost={node['Startup Cost']:.2f}..{node['Total Cost']:.2f} rows={node['Plan Rows']})"
    if "Actual Total Time" in node:
        cost += (
            f" (actual time={node['Actual Total Time']:.3f} ms rows={node['Actual Rows']} "
            f"loops={node['Actual Loops']})"
        )
    lines = [f"{indent}{place}{using}  {cost}", *(f"{indent}    {line}" for line in said)]
    for one in node.get("Plans", ()):
        lines += _lines(one, indent + "  ")
    return lines
