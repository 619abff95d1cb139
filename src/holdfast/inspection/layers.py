"""Which layer of a diagram each box goes into."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

BOX_GAP, CHANNEL, ASPECT = 22.0, 70.0, 1.5


@dataclass(frozen=True, slots=True)
class Size:
    """What a box needs."""

    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Link:
    """A way from box ``start`` to box ``end``: pairs of heights below the tops of the two boxes."""

    start: int
    end: int
    ports: tuple[tuple[float, float], ...]


def connected(count: int, links: Iterable[Link]) -> list[list[int]]:
    """The connected parts, in the order of their first boxes."""
    root = list(range(count))

    def find(item: int) -> int:
        while root[item] != item:
            root[item] = root[root[item]]
            item = root[item]
        return item

    for link in links:
        first, second = sorted((find(link.start), find(link.end)))
        root[second] = first
    groups: dict[int, list[int]] = defaultdict(list)
    for item in range(count):
        groups[find(item)].append(item)
    return list(groups.values())


def ranks(members: Sequence[int], sizes: Sequence[Size], links: Sequence[Link]) -> dict[int, int]:
    """The layer of each box: to the right of all that it refers to, circles apart."""
    targets: dict[int, list[int]] = defaultdict(list)
    for link in links:
        if link.end not in targets[link.start]:
            targets[link.start].append(link.end)
    parents = _without_circles(members, targets)
    children: dict[int, list[int]] = defaultdict(list)
    for item, found in parents.items():
        for parent in found:
            children[parent].append(item)
    rank: dict[int, int] = {}
    waiting = {item: len(parents[item]) for item in members}
    ready = [item for item in members if not waiting[item]]
    for item in ready:
        rank[item] = 1 + max((rank[parent] for parent in parents[item]), default=-1)
        for child in children[item]:
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    for item in reversed(ready):
        # Nearer to those that refer to it, unless that makes more ways longer than shorter.
        if len(children[item]) > len(parents[item]):
            rank[item] = min(rank[child] for child in children[item]) - 1
    _spread(members, sizes, rank, children)
    used = {layer: number for number, layer in enumerate(sorted(set(rank.values())))}
    return {item: used[layer] for item, layer in rank.items()}


def _without_circles(members: Sequence[int], targets: dict[int, list[int]]) -> dict[int, list[int]]:
    """The references as parents, where one of each circle is turned round (depth-first search)."""
    referred = {end for ends in targets.values() for end in ends}
    parents: dict[int, list[int]] = {item: [] for item in members}
    state: dict[int, int] = {}
    for root in sorted(members, key=lambda item: (item in referred, -len(targets.get(item, ())))):
        if root in state:
            continue
        state[root] = 1
        stack: list[tuple[int, Iterator[int]]] = [(root, iter(targets.get(root, ())))]
        while stack:
            item, rest = stack[-1]
            end = next(rest, None)
            if end is None:
                state[item] = 2
                stack.pop()
                continue
            low, high = (end, item) if state.get(end) == 1 else (item, end)
            if high not in parents[low]:
                parents[low].append(high)
            if end not in state:
                state[end] = 1
                stack.append((end, iter(targets.get(end, ()))))
    return parents


def _spread(
    members: Sequence[int],
    sizes: Sequence[Size],
    rank: dict[int, int],
    children: dict[int, list[int]],
) -> None:
    """Share a layer that is much too tall among several: the many tables that refer to one."""
    area = sum((sizes[item].width + CHANNEL) * (sizes[item].height + BOX_GAP) for item in members)
    most = max(2.0 * (area / ASPECT) ** 0.5, 900.0)
    layer = 1
    while layer <= max(rank.values()):
        here = [item for item in members if rank[item] == layer]
        height = sum(sizes[item].height + BOX_GAP for item in here)
        # At least one box stays, so that every round has less to share.
        for item in reversed(here[1:]):
            if height > most and not children[item]:
                rank[item] += 1
                height -= sizes[item].height + BOX_GAP
        layer += 1
