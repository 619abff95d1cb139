"""What becomes of a row that two have changed: pure functions of its images, column by column.

An image is a row as a dict of its columns, or ``None`` where there is no row. ``base`` is what both sides
last agreed upon, ``new`` what the replica made of it, and ``current`` what the hub has by now.

Source of the rule: three-way merge, as S. Khanna, K. Kunal and B. Pierce describe it in "A Formal
Investigation of Diff3", 2007, with a column in the place of a line.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

Image = Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Clash:
    """Two changes of one row that cannot both stay.

    ``columns`` are those that both have changed to something else; empty where one of them removed the row.

    >>> def higher(clash):
    ...     return max(clash.ours, clash.hub, key=lambda row: row["score"]) if clash.columns else clash.hub
    """

    table: str
    key: Mapping[str, Any]
    base: Image
    ours: Image
    hub: Image
    columns: tuple[str, ...]

    @property
    def kind(self) -> str:
        """What the replica did and what had been done at the hub, such as ``"update/delete"``."""
        return f"{_done(self.base, self.ours)}/{_done(self.base, self.hub)}"


Decide = Callable[[Clash], Image]
Policy = str | Decide
"""``"hub"``, ``"delete_wins"``, or a function that is given the clash and returns the row, or ``None``."""
POLICIES = ("hub", "delete_wins")


@dataclass(frozen=True, slots=True)
class Merged:
    """What a row is from now on, and the clash that was decided, if there was one."""

    image: Image
    clash: Clash | None = None


def merge(
    base: Image, new: Image, current: Image, policy: Policy, *, table: str = "", key: Any = None
) -> Merged:
    """Put two changes of a row together; what only one side has changed stays.

    >>> merge({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 3}, "hub").image
    {'a': 2, 'b': 3}
    """
    if alike(new, current) or alike(base, new):
        return Merged(current)
    if alike(base, current):
        return Merged(new)
    columns = _both(base, new, current)
    clash = Clash(table, key or {}, base, new, current, columns)
    if new is None or current is None:
        return Merged(_decided(clash, policy), clash)
    mixed = {
        name: value if base is not None and alike(base[name], new[name]) else new[name]
        for name, value in current.items()
    }
    if not columns:
        return Merged(mixed)
    # What did not clash is settled, whoever wins the rest.
    chosen = _decided(Clash(table, key or {}, base, mixed, current, columns), policy)
    if policy in POLICIES and chosen is not None:
        chosen = {name: chosen[name] if name in columns else value for name, value in mixed.items()}
    return Merged(chosen, clash)


def with_latest(
    base: Image, new: Image, current: Image, names: Collection[str]
) -> tuple[Image, Image, Image]:
    """Have changes of columns in which the greatest value counts be no clash; ``None`` is the greatest.

    Such a change alone does not keep a row that the other side removed.

    >>> with_latest({"a": 1, "end": 5}, {"a": 2, "end": 6}, {"a": 1, "end": 7}, ["end"])[1]
    {'a': 2, 'end': 7}
    """
    if new is None or current is None:
        kept = new or current
        if base is not None and kept is not None and names:
            is_all = alike({**base, **{name: kept[name] for name in names}}, kept)
            return (kept if is_all else base), new, current
        return base, new, current
    latest = {
        name: None if None in (new[name], current[name]) else max(new[name], current[name])
        for name in set(_both(base, new, current)) & set(names)
    }
    return (base, {**new, **latest}, {**current, **latest}) if latest else (base, new, current)


def rebase(base: Image, current: Image, incoming: Image) -> tuple[Image, Image]:
    """Have a row that was changed here take in what the hub sends; return its new base and what it is now.

    Nothing is decided here: where both changed the same, the base stays, and the hub will see the clash.

    >>> rebase({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 3})
    ({'a': 1, 'b': 3}, {'a': 2, 'b': 3})
    """
    if alike(current, incoming) or alike(base, current):
        return incoming, incoming
    if base is None or current is None or incoming is None:
        return base, current
    kept, row = {}, {}
    for name, value in incoming.items():
        is_changed = not alike(base[name], current[name])
        is_clash = is_changed and not alike(base[name], value) and not alike(current[name], value)
        kept[name] = base[name] if is_clash else value
        row[name] = current[name] if is_changed else value
    return kept, row


def alike(one: Any, other: Any) -> bool:
    """Whether two values, or two images, are the same: NaN is itself, and ``True`` is not 1.

    >>> alike({"a": float("nan")}, {"a": float("nan")}), alike({"a": [True]}, {"a": [1]})
    (True, False)
    """
    if type(one) is not type(other):
        if type(one) is bool or type(other) is bool or one is None or other is None:
            return False
        return bool(one == other)
    if type(one) is dict:
        return one.keys() == other.keys() and all(alike(value, other[name]) for name, value in one.items())
    if type(one) is list:
        return len(one) == len(other) and all(map(alike, one, other))
    if type(one) is float:
        return repr(one) == repr(other)
    return bool(one == other)


def _both(base: Image, new: Image, current: Image) -> tuple[str, ...]:
    """The columns that both sides have changed, each to something else."""
    if new is None or current is None:
        return ()
    return tuple(
        name
        for name, value in current.items()
        if not alike(new[name], value)
        and (base is None or not (alike(base[name], value) or alike(base[name], new[name])))
    )


def _decided(clash: Clash, policy: Policy) -> Image:
    if callable(policy):
        return policy(clash)
    if policy == "delete_wins" and clash.ours is None:
        return None
    return clash.hub


def _done(before: Image, after: Image) -> str:
    if after is None:
        return "delete"
    return "insert" if before is None else "update"
