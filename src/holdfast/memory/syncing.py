"""How memories are synced: by their ids, while the numbers of rows stay those of each database.

Truth are a store's rows, its vectors and its history, and of the lists of stores and models what is said of
it. Searches, indexes and kept answers follow on each side by themselves. :mod:`holdfast.sync` asks this
module by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from holdfast.core import indexes, schema
from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.engines.changes import Tracked
from holdfast.errors import SyncError
from holdfast.memory import tables
from holdfast.memory.langgraph import tables as items
from holdfast.memory.rows import Shape
from holdfast.memory.scope import Scope, now
from holdfast.memory.tables import COLUMNS, HISTORY_KEY, MODELS, STORES, Layout
from holdfast.memory.writing import Writer
from holdfast.sync import notes
from holdfast.sync.setup import Lookup, More, Wish

Sides = tuple[Executor, Executor]
_OWNERS = {"user_id", "agent_id"}
_AT_ONCE = 500


def prepare(
    sides: Sides, names: Sequence[str], where: Mapping[str, Any], *, create: bool
) -> tuple[list[str], dict[str, Wish]]:
    """Have both sides have the stores that are named, and say how their tables are synced.

    A name is that of a memory, or of one of its tables, which stands for all of them.

    Raises:
        SyncError: if the two have other models or dimensions, or the filter is on more than the owners.
    """
    known = {layout.table: layout for side in sides for layout in tables.stores(side)}
    chosen: dict[str, Any] = {}
    kept: list[str] = []
    has_items = False
    for name in names:
        found = _meant(sides, name, known)
        if name in (items.ITEMS, items.VECTORS):
            has_items = True
        elif found is None:
            kept.append(name)
        for layout in found or ():
            chosen.setdefault(layout.table, None)
            if name in where:
                chosen[layout.table] = _owners(name, where[name])
    wishes = dict(_wishes_of_stores(sides, [known[table] for table in chosen], chosen, create=create))
    if has_items:
        if {items.ITEMS, items.VECTORS} & where.keys():
            raise SyncError("the items of a store are synced whole", hint="leave their filter out of where=")
        wishes |= _items(sides, create=create)
    return [*kept, *wishes], wishes


def _meant(sides: Sides, name: str, known: Mapping[str, Layout]) -> list[Layout] | None:
    """The stores that a name stands for; ``None`` if it is that of some other table, or of nothing."""
    if name in (STORES, MODELS):
        return list(known.values())
    for layout in known.values():
        if name in (layout.table, layout.vectors, layout.history):
            return [layout]
    if any(schema.table_exists(side, name) for side in sides):
        return None
    return [layout for layout in known.values() if layout.name == name] or None


def _owners(name: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(given["where"], dict) or not given["where"].keys() <= _OWNERS:
        raise SyncError(
            f"the memory {name!r} can be synced by its owners only",
            hint=f"where={{{name!r}: {{'user_id': 'ada'}}}}, or agent_id with it",
        )
    return given


def _wishes_of_stores(
    sides: Sides, layouts: Sequence[Layout], filters: Mapping[str, Any], *, create: bool
) -> Iterator[tuple[str, Wish]]:
    for layout in layouts:
        _agree(sides, layout, create=create)
    if not layouts:
        return
    listed = {"where": {"table_name": sorted({layout.table for layout in layouts} | _synced(sides[0]))}}
    yield STORES, Wish(STORES, ("table_name",), ("model",), listed, can_widen=True)
    yield MODELS, Wish(MODELS, ("table_name", "model"), ("dimension",), listed, can_widen=True)
    for layout in layouts:
        filter = filters[layout.table]
        own = tuple(name for name in COLUMNS if name not in ("user_id", "id"))
        past = (*own, "embedding", "embedding_model", "operation", "ended_at")
        lookup = Lookup("n", layout.table, "n", (("user_id", "user_id"), ("id", "id")))
        plain = More(keeps_images=False)
        # Who has a memory removed does not want to find it in the notes of those who removed it.
        for wish in (
            Wish(
                layout.table,
                ("user_id", "id"),
                own,
                filter,
                plain._replace(latest=("written_at", "expires_at")),
            ),
            Wish(
                layout.vectors,
                ("user_id", "id", "model"),
                ("agent_id", "dimension", "embedding"),
                filter,
                plain._replace(lookups=(lookup,)),
            ),
            Wish(layout.history, tuple(HISTORY_KEY), past, filter, plain),
        ):
            yield wish.name, wish


def _synced(local: Executor) -> set[str]:
    """The stores that are synced already."""
    if not notes.is_there(local, notes.STATE):
        return set()
    names = {entry.name for entry in notes.entries(local)}
    return {layout.table for layout in tables.stores(local) if layout.table in names}


def _agree(sides: Sides, layout: Layout, *, create: bool) -> None:
    """Have both sides have a store, by the same model, with tables that can be synced.

    Raises:
        SyncError: if their models or dimensions are not the same.
    """
    found = [tables.found(side, layout.kind, layout.name) for side in sides]
    for side, there, other in zip(sides, found, reversed(found), strict=True):
        if there is None and other is not None:
            if not create:
                raise SyncError(
                    f"only one side has the memory {layout.name!r}", hint="open it on the other side first"
                )
            tables.ensure(side, layout.kind, layout.name, None, other.model)
    _agree_on_models(sides, layout)
    for side in sides:
        _upgrade(side, layout)
        side.forget()


def _agree_on_models(sides: Sides, layout: Layout) -> None:
    here, there = (tables.dimensions(side, layout) for side in sides)
    if (reason := _misfit(layout, here, there)) is not None:
        raise SyncError(reason, hint="embed one side's again: holdfast.memory.reembed(..., drop_old=True)")
    one, other = (str(side.scalar(f"SELECT {tables.CURRENT_MODEL}", [layout.table])) for side in sides)
    if one == other:
        return
    if here and there:
        raise SyncError(
            f"the current model of {layout.name!r} is {one!r} here and {other!r} at the hub",
            hint="embed one side's again by the other's: holdfast.memory.reembed()",
        )
    # The side without any vector takes the other's.
    side, model = (sides[0], other) if there else (sides[1], one)
    with Transaction(side):
        side.run(f'UPDATE "{STORES}" SET "model" = ? WHERE "table_name" = ?', (model, layout.table))


def _misfit(layout: Layout, here: Mapping[str, int], there: Mapping[str, int]) -> str | None:
    for model in here.keys() & there.keys():
        if here[model] != there[model]:
            return (
                f"the vectors of {layout.name!r} by the model {model!r} have {here[model]} numbers here and "
                f"{there[model]} at the hub"
            )
    return None


def _upgrade(executor: Executor, layout: Layout) -> None:
    """Give a store what its rows are told apart by on two sides, be it of an earlier release."""
    with Transaction(executor):
        past = executor.engine.quote(layout.history)
        if "n" in executor.describe(layout.history).names:
            for name, definition in tables.VERSION.items():
                schema.add_column(executor, layout.history, name, definition)
            executor.run(
                f'UPDATE {past} SET "version" = (SELECT count(*) FROM {past} AS earlier WHERE '
                f'earlier."user_id" = {past}."user_id" AND earlier."id" = {past}."id" '
                f'AND earlier."change" <= {past}."change")'
            )
            indexes.create_index(executor, layout.history, HISTORY_KEY, unique=True)
            schema.drop_column(executor, layout.history, "n")
        indexes.create_index(executor, layout.vectors, ["user_id", "id", "model"], unique=True)


def _items(sides: Sides, *, create: bool) -> dict[str, Wish]:
    """The items of LangGraph's stores, and their vectors."""
    for side in sides:
        if create or schema.table_exists(side, items.VECTORS):
            items.ensure_items(side)
            with Transaction(side):
                # Of an earlier release they do not say whose they are but by a number.
                side.run(
                    f'UPDATE "{items.VECTORS}" SET "agent_id" = (SELECT "key" FROM "{items.ITEMS}" '
                    f'WHERE "{items.ITEMS}"."n" = "{items.VECTORS}"."n") WHERE "agent_id" IS NULL'
                )
                for statement in side.engine.vectors.renumbered(items.VECTORS):
                    side.run(statement)
                indexes.create_index(side, items.VECTORS, ["user_id", "agent_id", "id", "model"], unique=True)
            side.forget()
    own = ("value", "created_at", "updated_at", "ttl", "expires_at")
    lookup = Lookup("n", items.ITEMS, "n", (("namespace", "user_id"), ("key", "agent_id")))
    return {
        items.ITEMS: Wish(
            items.ITEMS,
            ("namespace", "key"),
            own,
            None,
            More(latest=("updated_at", "expires_at"), keeps_images=False),
        ),
        items.VECTORS: Wish(
            items.VECTORS,
            ("user_id", "agent_id", "id", "model"),
            ("dimension", "embedding"),
            None,
            More((lookup,), keeps_images=False),
        ),
    }


# Before a round


def check(sides: Sides, names: Iterable[str]) -> dict[str, str]:
    """Pause a memory that has got its first vectors of one model on both sides, in two lengths."""
    known, found = set(names), dict[str, str]()
    for layout in tables.stores(sides[0]):
        if layout.table not in known:
            continue
        reason = _misfit(layout, *(tables.dimensions(side, layout) for side in sides))
        if reason is not None:
            mine = (MODELS, layout.table, layout.vectors, layout.history)
            found |= dict.fromkeys(
                mine, f"{reason}; embed one side's again: holdfast.memory.reembed(..., drop_old=True)"
            )
    return found


def settle(sides: Sides, names: Iterable[str]) -> None:
    """Have passages that were never sent make way for those with the same text that the hub has.

    That is what inserting one there would do. What they were stays in the history, which is synced.
    """
    local, hub = sides
    logs = {e.name: Tracked(e.name, e.number, (), ()).log for e in notes.entries(local)}
    stores = {layout.table: layout for layout in tables.stores(local)}
    for name in names:
        if name in stores:
            _make_way(local, hub, stores[name], logs[name])


def _make_way(local: Executor, hub: Executor, layout: Layout, log: str) -> None:
    table = local.engine.quote(layout.table)
    unsent = local.rows(
        f'SELECT t."user_id", t."id", t."digest" FROM {local.engine.quote(log)} AS l JOIN {table} AS t '
        f'ON t."user_id" = l."k0" AND t."id" = l."k1" WHERE l."had" = 0 AND t."digest" IS NOT NULL'
    )
    unsent.sort()
    for user_id, rows in groupby(unsent, itemgetter(0)):
        ids = {digest: id for _, id, digest in rows}
        for start in range(0, len(ids), _AT_ONCE):
            some = dict(islice(ids.items(), start, start + _AT_ONCE))
            if doubles := _doubles(hub, layout, user_id, some):
                with Transaction(local):
                    writer = Writer(local, Shape(local, layout), Scope(user_id, None))
                    writer.delete((f'{table}."id" IN ({", ".join("?" * len(doubles))})', doubles))


def _doubles(hub: Executor, layout: Layout, user_id: str, ids: Mapping[str, str]) -> list[str]:
    """Those of some passages, by digest, whose texts the hub has under another id.

    What has expired there goes first.
    """
    at, table = now(), hub.engine.quote(layout.table)
    found = hub.rows(
        f'SELECT "digest", "id", "n", "expires_at" FROM {table} '
        f'WHERE "user_id" = ? AND "digest" IN ({", ".join("?" * len(ids))})',
        [user_id, *ids],
    )
    others = [row for row in found if ids[row[0]] != row[1]]
    expired = [n for _, _, n, ends in others if ends is not None and ends <= at]
    if expired:
        there = tables.found(hub, layout.kind, layout.name) or layout
        with Transaction(hub):
            Writer(hub, Shape(hub, there), Scope(user_id, None)).forget(expired)
    return [ids[digest] for digest, _, n, _ in others if n not in expired]
