"""Where the boxes of a diagram go, and the ways between them.

A layered drawing after Sugiyama, Tagawa and Toda (1981): cycles are broken, each box is put into a layer to
the right of all that it refers to, long ways get a place of their own in every layer that they pass, the
order within the layers is improved until few ways cross, and heights are found by weighted isotonic
regression, so that boxes of a layer never overlap. Parts that have nothing to do with each other are packed.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from holdfast.inspection.layers import ASPECT, BOX_GAP, Link, Size, connected, ranks

PASSAGE_GAP, BESIDE_BOX, PART_GAP = 8.0, 14.0, 40.0
PASSAGE = 4.0
LOOP = 26.0
_SWEEPS = 24
_MOST_TRANSPOSED = 80
_STRAIGHT = 8.0
"How much more the inner parts of a long way count, so that it runs level."


@dataclass(frozen=True, slots=True)
class Box:
    """The place of a box; it may be wider than asked for, since those of a layer are equally wide."""

    x: float
    y: float
    width: float
    height: float


Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Layout:
    """Places of the boxes, and for each link one way per port.

    A way is an even number of points: a curve from the first to the second, a line to the third, a curve to
    the fourth, and so on.
    """

    boxes: tuple[Box, ...]
    ways: tuple[tuple[tuple[Point, ...], ...], ...]
    width: float
    height: float


@dataclass(slots=True)
class _Node:
    """A box, or the passage of a long way through a layer (``box`` is None)."""

    box: int | None
    height: float
    layer: int
    y: float = 0.0
    left: list[tuple[_Node, float, float]] = field(default_factory=list)
    right: list[tuple[_Node, float, float]] = field(default_factory=list)
    "Neighbours: the node, the height of the way below our top, and below its top."

    @property
    def weight(self) -> float:
        """How much it matters that this node is where it wishes."""
        inner = any(other.box is None for other, _, _ in (*self.left, *self.right))
        return _STRAIGHT if self.box is None and inner else 1.0


@dataclass(slots=True)
class _Part:
    """One connected part of the schema, laid out by itself."""

    layers: list[list[_Node]]
    chains: dict[int, list[_Node]]
    "For each link its passages, from the start of the link to its end."
    boxes: dict[int, Box] = field(default_factory=dict)
    edges: list[float] = field(default_factory=list)
    "Left and right edge of each layer in turn."
    width: float = 0.0
    height: float = 0.0


def arrange(sizes: Sequence[Size], links: Sequence[Link]) -> Layout:
    """Find a place for every box, and ways that touch no box but their own.

    Boxes that are referred to are on the left; where references go round in a circle, one of them points
    to the right.
    """
    parts = [_lay_out(members, sizes, links) for members in connected(len(sizes), links)]
    offsets, width, height = _pack(parts)
    boxes: dict[int, Box] = {}
    ways: dict[int, tuple[tuple[Point, ...], ...]] = {}
    for part, (dx, dy) in zip(parts, offsets, strict=True):
        for number, box in part.boxes.items():
            boxes[number] = Box(box.x + dx, box.y + dy, box.width, box.height)
        for number, chain in part.chains.items():
            ways[number] = tuple(
                tuple((x + dx, y + dy) for x, y in _way(part, links[number], chain, port))
                for port in links[number].ports
            )
    return Layout(
        tuple(boxes[number] for number in range(len(sizes))),
        tuple(ways[number] for number in range(len(links))),
        width,
        height,
    )


def _lay_out(members: Sequence[int], sizes: Sequence[Size], links: Sequence[Link]) -> _Part:
    own = set(members)
    mine = [number for number, link in enumerate(links) if link.start in own]
    rank = ranks(members, sizes, [links[n] for n in mine if links[n].start != links[n].end])
    nodes = {item: _Node(item, sizes[item].height, rank[item]) for item in members}
    layers: list[list[_Node]] = [[] for _ in range(max(rank.values()) + 1)]
    for item in members:
        layers[rank[item]].append(nodes[item])
    part = _Part(layers, {})
    for number in mine:
        part.chains[number] = _chain(links[number], nodes, layers)
    _order(part.layers)
    _find_heights(part.layers)
    _find_widths(part, sizes, {links[n].start for n in mine if links[n].start == links[n].end})
    return part


def _chain(link: Link, nodes: dict[int, _Node], layers: list[list[_Node]]) -> list[_Node]:
    """Put a passage into every layer that the link crosses, and tell neighbours of each other."""
    first, last = nodes[link.start], nodes[link.end]
    if first is last:
        return []
    step = 1 if last.layer > first.layer else -1
    passages = [_Node(None, PASSAGE, layer) for layer in range(first.layer + step, last.layer, step)]
    for passage in passages:
        layers[passage.layer].append(passage)
    middle = PASSAGE / 2
    for here, there in pairwise([first, *passages, last]):
        for start, end in link.ports:
            ours = start if here is first else middle
            theirs = end if there is last else middle
            (here.right if step > 0 else here.left).append((there, ours, theirs))
            (there.left if step > 0 else there.right).append((here, theirs, ours))
    return passages


# The order within the layers


def _order(layers: list[list[_Node]]) -> None:
    """Sort each layer by the mean place of its neighbours, back and forth; keep the best order.

    Where it ends depends on where it starts, so it starts from either side.
    """
    given = best = _snapshot(layers)
    fewest = _crossings(layers)
    for start in (False, True):
        _restore(layers, given)
        for sweep in range(_SWEEPS):
            if not fewest:
                break
            _transpose(layers)
            found = _crossings(layers)
            if found < fewest:
                best, fewest = _snapshot(layers), found
            rightwards = start if sweep % 2 else not start
            for layer in layers[1:] if rightwards else reversed(layers[:-1]):
                _sort_by_neighbours(layer, layers, rightwards=rightwards)
    _restore(layers, best)


def _restore(layers: list[list[_Node]], order: list[list[_Node]]) -> None:
    for layer, nodes in zip(layers, order, strict=True):
        layer[:] = nodes


def _snapshot(layers: list[list[_Node]]) -> list[list[_Node]]:
    return [list(layer) for layer in layers]


def _places(layer: Sequence[_Node]) -> dict[int, int]:
    return {id(node): place for place, node in enumerate(layer)}


def _ends(node: _Node, places: dict[int, int], *, left: bool) -> list[tuple[float, float]]:
    """For each way of a node to one side: its height here, and its place there."""
    return [
        (ours, places[id(other)] + theirs / (other.height + 1))
        for other, ours, theirs in (node.left if left else node.right)
    ]


def _sort_by_neighbours(layer: list[_Node], layers: list[list[_Node]], *, rightwards: bool) -> None:
    beside = layers[layer[0].layer + (-1 if rightwards else 1)]
    places, own = _places(beside), _places(layer)
    mean = {}
    for node in layer:
        ends = [place for _, place in _ends(node, places, left=rightwards)]
        mean[id(node)] = sum(ends) / len(ends) if ends else own[id(node)] * len(beside) / len(layer)
    layer.sort(key=lambda node: mean[id(node)])


def _crossings(layers: list[list[_Node]]) -> int:
    return sum(_between(layer, _places(before)) for before, layer in pairwise(layers))


def _between(layer: Sequence[_Node], places: dict[int, int]) -> int:
    """How often ways to the layer on the left cross: inversions, counted as they are sorted in."""
    seen: list[float] = []
    count = 0
    for node in layer:
        for _, place in sorted(_ends(node, places, left=True)):
            count += len(seen) - bisect_right(seen, place)
            insort(seen, place)
    return count


def _transpose(layers: list[list[_Node]]) -> None:
    """Exchange neighbours within a layer as long as that removes crossings."""
    for _ in range(4):
        improved = False
        for number, layer in enumerate(layers):
            if len(layer) > _MOST_TRANSPOSED:
                continue
            sides = [(layers[number - 1], True)] if number else []
            sides += [(layers[number + 1], False)] if number + 1 < len(layers) else []
            near = [(_places(side), left) for side, left in sides]
            for place in range(len(layer) - 1):
                upper, lower = layer[place], layer[place + 1]
                if _gain(upper, lower, near) > 0:
                    layer[place], layer[place + 1] = lower, upper
                    improved = True
        if not improved:
            return


def _gain(upper: _Node, lower: _Node, near: list[tuple[dict[int, int], bool]]) -> int:
    gain = 0
    for places, left in near:
        below = [place for _, place in _ends(lower, places, left=left)]
        for _, above in _ends(upper, places, left=left):
            gain += sum((above > place) - (above < place) for place in below)
    return gain


# Heights, widths, ways


def _find_heights(layers: list[list[_Node]]) -> None:
    for layer in layers:
        total = sum(node.height + BOX_GAP for node in layer)
        _settle(layer, [-total / 2 + number for number, _ in enumerate(layer)])
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            left = sweep % 2 == 0 or sweep >= _SWEEPS // 2
            right = sweep % 2 == 1 or sweep >= _SWEEPS // 2
            _settle(layer, [_wish(node, left=left, right=right) for node in layer])
    top = min(node.y for layer in layers for node in layer)
    for layer in layers:
        for node in layer:
            node.y -= top


def _wish(node: _Node, *, left: bool, right: bool) -> float:
    """The height at which the ways of a node would run level."""
    beside = [*(node.left if left else ()), *(node.right if right else ())]
    if not beside:
        return node.y
    weights = [_STRAIGHT if node.box is other.box is None else 1.0 for other, _, _ in beside]
    levels = [other.y + theirs - ours for other, ours, theirs in beside]
    total: float = sum(weight * level for weight, level in zip(weights, levels, strict=True))
    return total / sum(weights)


def _settle(layer: list[_Node], wishes: Sequence[float]) -> None:
    """Heights nearest to the wishes, in order and without overlap (pool adjacent violators)."""
    offsets = [0.0]
    for above, below in pairwise(layer):
        offsets.append(offsets[-1] + above.height + _gap(above, below))
    pools: list[tuple[float, float, int]] = []
    for node, wish, start in zip(layer, wishes, offsets, strict=True):
        level, weight, count = wish - start, node.weight, 1
        while pools and pools[-1][0] >= level:
            other, more, size = pools.pop()
            level = (level * weight + other * more) / (weight + more)
            weight, count = weight + more, count + size
        pools.append((level, weight, count))
    levels = [level for level, _, count in pools for _ in range(count)]
    for node, level, start in zip(layer, levels, offsets, strict=True):
        node.y = level + start


def _gap(above: _Node, below: _Node) -> float:
    passages = (above.box is None) + (below.box is None)
    return (BOX_GAP, BESIDE_BOX, PASSAGE_GAP)[passages]


def _find_widths(part: _Part, sizes: Sequence[Size], loops: set[int]) -> None:
    x = 0.0
    for number, layer in enumerate(part.layers):
        boxes = [node for node in layer if node.box is not None]
        width = max((sizes[node.box].width for node in boxes if node.box is not None), default=0.0)
        part.edges += [x, x + width]
        for node in boxes:
            assert node.box is not None
            part.boxes[node.box] = Box(x, node.y, width, node.height)
        x += width + (LOOP if any(node.box in loops for node in boxes) else 0.0)
        if number + 1 < len(part.layers):
            ways = sum(len(node.right) for node in layer)
            x += min(36.0 + 3.0 * ways, 90.0)
    part.width = x
    part.height = max(node.y + node.height for layer in part.layers for node in layer)


def _way(part: _Part, link: Link, chain: list[_Node], port: tuple[float, float]) -> tuple[Point, ...]:
    start, end = part.boxes[link.start], part.boxes[link.end]
    first, last = start.y + port[0], end.y + port[1]
    if link.start == link.end:
        return ((start.x + start.width, first), (start.x + start.width, last))
    rightwards = end.x > start.x
    points = [(start.x + start.width if rightwards else start.x, first)]
    for node in chain:
        left, right = part.edges[2 * node.layer], part.edges[2 * node.layer + 1]
        level = node.y + node.height / 2
        points += [(left, level), (right, level)] if rightwards else [(right, level), (left, level)]
    points.append((end.x if rightwards else end.x + end.width, last))
    return tuple(points)


def _pack(parts: Sequence[_Part]) -> tuple[list[Point], float, float]:
    """Put the parts on shelves, large ones first: the offset of each, and the size of it all."""
    if not parts:
        return [], 0.0, 0.0
    area = sum((part.width + PART_GAP) * (part.height + PART_GAP) for part in parts)
    room = max(max(part.width for part in parts), (area * ASPECT) ** 0.5)
    offsets: list[Point] = [(0.0, 0.0)] * len(parts)
    x = y = shelf = width = 0.0
    for number in sorted(range(len(parts)), key=lambda n: (-len(parts[n].boxes), -parts[n].height, n)):
        part = parts[number]
        if x and x + part.width > room:
            x, y, shelf = 0.0, y + shelf + PART_GAP, 0.0
        offsets[number] = (x, y)
        x += part.width + PART_GAP
        width = max(width, x - PART_GAP)
        shelf = max(shelf, part.height)
    return offsets, width, y + shelf
