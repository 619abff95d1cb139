"""The diagram as a scene: shapes and texts, each in its place."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from holdfast.inspection.layers import Link, Size
from holdfast.inspection.layout import LOOP, Box, Layout, Point, arrange
from holdfast.inspection.model import Attribute, Entity, Schema

# All lengths are in points (1/72 inch).
ROW, HEADER, PADDING, MARGIN = 15.0, 21.0, 8.0, 18.0
MOST_ROWS = 60
_TITLE, NAME, _TYPE, _MARK = 10.5, 9.0, 8.0, 6.5
_ARROW, _CORNER = 6.5, 3.5

_INK, _GREY, _LINE, _RULE = "#1c2733", "#6b7785", "#8796a6", "#e8edf2"
_HEAD, _CENTRE = "#dde6f0", "#ffe2a8"
# After Okabe and Ito (2008), darkened for thin lines on white: told apart by colour-blind readers too.
_COLOURS = ("#0068a5", "#b4520a", "#00785a", "#96477f", "#7a6a00", "#3a8fc2", "#6a4c93", "#4d5966")

# Widths of the printable ASCII characters in DejaVu Sans, in thousandths of the font size.
_WIDTHS = (
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636, 636, 636,
    636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632, 575, 775, 752,
    295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390,
    838, 500, 500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612, 635, 635, 411,
    521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
)  # fmt: skip
_BOLDER = 1.13

Step = tuple[Literal["M", "L", "C", "Z"], tuple[Point, ...]]


@dataclass(frozen=True, slots=True)
class Shape:
    """A closed or open path of lines and cubic curves."""

    steps: tuple[Step, ...]
    fill: str | None = None
    stroke: str | None = None
    width: float = 0.8
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; ``x`` is its left end, or its right one, and ``y`` its baseline."""

    x: float
    y: float
    text: str
    size: float
    colour: str = _INK
    bold: bool = False
    italic: bool = False
    right: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """What is drawn, in order, and the size of the sheet."""

    items: tuple[Shape | Text, ...]
    width: float
    height: float


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """How wide ``text`` will be, exactly for plain ASCII and rather too wide for the rest.

    >>> round(text_width("flights", 10), 1)
    30.9
    """
    thousandths = 0
    for letter in text:
        if " " <= letter <= "~":
            thousandths += _WIDTHS[ord(letter) - 32]
        elif not unicodedata.combining(letter):
            thousandths += 1050 if unicodedata.east_asian_width(letter) in "WF" else 850
    return thousandths / 1000 * size * (_BOLDER if bold else 1.0)


@dataclass(frozen=True, slots=True)
class _Card:
    """A table as it is drawn: the rows shown, how many are left out, and the widths of its columns."""

    entity: Entity
    rows: tuple[Attribute, ...]
    omitted: int
    marks: float
    names: float
    types: float

    @property
    def size(self) -> Size:
        inner = self.marks + self.names + (self.types + 14 if self.types else 0)
        title = text_width(self.entity.name, _TITLE, bold=not self.entity.is_light)
        lines = len(self.rows) + bool(self.omitted)
        return Size(max(inner, title, 60.0) + 2 * PADDING, HEADER + lines * ROW + (3 if lines else 0))

    def port(self, column: str | None) -> float:
        """The height of the middle of a column's row below the top, of the header's where it is not shown."""
        for number, item in enumerate(self.rows):
            if item.name == column:
                return HEADER + number * ROW + ROW / 2
        return HEADER / 2


def scene(schema: Schema) -> Scene:
    """Lay the schema out and say what is to be drawn."""
    cards = [_card(entity) for entity in schema.entities]
    place = {entity.name: number for number, entity in enumerate(schema.entities)}
    links = []
    for item in schema.references:
        start, end = cards[place[item.table]], cards[place[item.target]]
        keys = [*item.keys, *[None] * len(item.columns)][: len(item.columns)]
        ports = tuple((start.port(c), end.port(k)) for c, k in zip(item.columns, keys, strict=True))
        links.append(Link(place[item.table], place[item.target], tuple(dict.fromkeys(ports))))
    layout = arrange([card.size for card in cards], links)
    boxes = [shape for card, box in zip(cards, layout.boxes, strict=True) for shape in _table(card, box)]
    items = (*_wires(links, layout), *boxes)
    return Scene(items, layout.width + 2 * MARGIN, layout.height + 2 * MARGIN)


def _card(entity: Entity) -> _Card:
    rows = [item for item in entity.attributes if item.marks][:MOST_ROWS]
    others = [item for item in entity.attributes if not item.marks]
    shown = {item.name for item in (*rows, *others[: MOST_ROWS - len(rows)])}
    kept = tuple(item for item in entity.attributes if item.name in shown)
    marks = max((text_width(_marks(item), _MARK, bold=True) for item in kept), default=0.0)
    return _Card(
        entity,
        kept,
        len(entity.attributes) - len(kept) + (entity.omitted if kept else 0),
        marks + 6 if marks else 0.0,
        max((text_width(item.name, NAME, bold=item.primary_key) for item in kept), default=0.0),
        max((text_width(short_type(item.type), _TYPE) for item in kept), default=0.0),
    )


def _marks(item: Attribute) -> str:
    return " ".join(item.marks)


def short_type(text: str) -> str:
    """A declared type as it fits into a diagram.

    >>> short_type("TIMESTAMP(3) WITH TIME ZONE")
    'timestamptz(3)'
    """
    folded = " ".join(text.split()).lower()
    folded = re.sub(r"^(time|timestamp)(\(\d+\))? with time zone", r"\1tz\2", folded)
    folded = folded.replace(" without time zone", "").replace("character varying", "varchar")
    folded = folded.replace("double precision", "double")
    return folded if len(folded) <= 24 else folded[:23] + "…"


def _wires(links: Sequence[Link], layout: Layout) -> Iterator[Shape]:
    """The ways to each table in its own colour, with a pale edge by which a way over another is followed."""
    courses: dict[int, list[tuple[tuple[Step, ...], Point]]] = {}
    for link, ways in zip(links, layout.ways, strict=True):
        draw = _loop if link.start == link.end else _course
        courses.setdefault(link.end, []).extend((draw(way), way[-1]) for way in ways)
    for number, group in enumerate(courses.values()):
        colour = _COLOURS[number % len(_COLOURS)]
        yield from (Shape(steps, stroke="#ffffff", width=3.2) for steps, _ in group)
        yield from (Shape(steps, stroke=colour, width=1.1) for steps, _ in group)
        yield from (Shape(_head(steps[-1][1][-1], tip), fill=colour) for steps, tip in group)


def _rounded(x: float, y: float, width: float, height: float) -> tuple[Step, ...]:
    r = min(_CORNER, width / 2, height / 2)
    k = r * 0.45
    right, bottom = x + width, y + height
    return (
        ("M", ((x + r, y),)),
        ("L", ((right - r, y),)),
        ("C", ((right - k, y), (right, y + k), (right, y + r))),
        ("L", ((right, bottom - r),)),
        ("C", ((right, bottom - k), (right - k, bottom), (right - r, bottom))),
        ("L", ((x + r, bottom),)),
        ("C", ((x + k, bottom), (x, bottom - k), (x, bottom - r))),
        ("L", ((x, y + r),)),
        ("C", ((x, y + k), (x + k, y), (x + r, y))),
        ("Z", ()),
    )


def _header(box: Box) -> tuple[Step, ...]:
    """The top of a box, round only above."""
    r, k = _CORNER, _CORNER * 0.45
    x, y, right, bottom = box.x, box.y, box.x + box.width, box.y + HEADER
    return (
        ("M", ((x, bottom),)),
        ("L", ((x, y + r),)),
        ("C", ((x, y + k), (x + k, y), (x + r, y))),
        ("L", ((right - r, y),)),
        ("C", ((right - k, y), (right, y + k), (right, y + r))),
        ("L", ((right, bottom),)),
        ("Z", ()),
    )


def _table(card: _Card, box: Box) -> Iterator[Shape | Text]:
    outline = _rounded(box.x, box.y, box.width, box.height)
    yield Shape(outline, fill="#ffffff")
    if card.rows or card.omitted:
        if not card.entity.is_light:
            yield Shape(_header(box), fill=_CENTRE if card.entity.is_central else _HEAD)
        level = box.y + HEADER
        yield Shape((("M", ((box.x, level),)), ("L", ((box.x + box.width, level),))), stroke=_LINE, width=0.6)
    yield Text(
        box.x + PADDING,
        box.y + HEADER / 2 + _TITLE * 0.36,
        card.entity.name,
        _TITLE,
        _GREY if card.entity.is_light else _INK,
        bold=not card.entity.is_light,
        italic=card.entity.is_light,
    )
    for number, item in enumerate(card.rows):
        yield from _row(card, box, box.y + HEADER + number * ROW, item, first=number == 0)
    if card.omitted:
        y = box.y + HEADER + len(card.rows) * ROW + ROW / 2 + _TYPE * 0.36
        yield Text(box.x + PADDING + card.marks, y, f"… {card.omitted} more", _TYPE, _GREY, italic=True)
    yield Shape(outline, stroke=_LINE, width=0.8, dashed=card.entity.is_light)


def _row(card: _Card, box: Box, top: float, item: Attribute, *, first: bool) -> Iterator[Shape | Text]:
    if not first:
        ends = ((box.x + PADDING / 2, top), (box.x + box.width - PADDING / 2, top))
        yield Shape((("M", ends[:1]), ("L", ends[1:])), stroke=_RULE, width=0.5)
    middle = top + ROW / 2
    if item.marks:
        yield Text(box.x + PADDING, middle + _MARK * 0.36, _marks(item), _MARK, _GREY, bold=True)
    name = Text(
        box.x + PADDING + card.marks,
        middle + NAME * 0.36,
        item.name,
        NAME,
        _GREY if card.entity.is_light else _INK,
        bold=item.primary_key,
    )
    yield name
    if item.type:
        right = box.x + box.width - PADDING
        yield Text(right, middle + _TYPE * 0.36, short_type(item.type), _TYPE, _GREY, right=True)


def _loop(way: Sequence[Point]) -> tuple[Step, ...]:
    (x, y), (_, tip) = way
    # A column that refers to itself gets a loop of some height.
    start = y + 7.0 if y == tip else y
    bend = x + LOOP * 1.15
    return ("M", ((x, start),)), ("C", ((bend, start), (bend, tip), (x + _ARROW, tip)))


def _course(way: Sequence[Point]) -> tuple[Step, ...]:
    """Curves and lines in turn, up to where the arrow's head begins."""
    (tip_x, tip_y), before = way[-1], way[-2]
    points = [*way[:-1], (tip_x - math.copysign(_ARROW, tip_x - before[0]), tip_y)]
    steps: list[Step] = [("M", (points[0],))]
    for number, ((x0, y0), (x1, y1)) in enumerate(pairwise(points)):
        middle = (x0 + x1) / 2
        curve: Step = ("C", ((middle, y0), (middle, y1), (x1, y1)))
        steps.append(("L", ((x1, y1),)) if number % 2 else curve)
    return tuple(steps)


def _head(base: Point, tip: Point) -> tuple[Step, ...]:
    (x, y), half = base, _ARROW * 0.45
    return ("M", (tip,)), ("L", ((x, y - half),)), ("L", ((x, y + half),)), ("Z", ())
