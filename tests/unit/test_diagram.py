from __future__ import annotations

import math
import re
import sys
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import MissingDependency
from holdfast.inspection import drawing, focus, scene
from holdfast.inspection.diagram import dot, mermaid
from holdfast.inspection.layers import Link, Size
from holdfast.inspection.layout import Layout, arrange
from holdfast.inspection.model import Attribute, Entity, Reference, Schema

SVG = "{http://www.w3.org/2000/svg}"

sizes = st.lists(
    st.builds(Size, st.floats(20, 400), st.floats(20, 900)),
    min_size=1,
    max_size=14,
)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Size], list[Link]]:
    boxes = draw(sizes)
    ends = st.integers(0, len(boxes) - 1)
    links = []
    for start, end in draw(st.lists(st.tuples(ends, ends), max_size=24)):
        ports = draw(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=3))
        heights = [(a * boxes[start].height, b * boxes[end].height) for a, b in ports]
        links.append(Link(start, end, tuple(heights)))
    return boxes, links


def _samples(way: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
    """Points along a way as it is drawn: curves with level ends, and lines, in turn."""
    found = []
    for number, ((x0, y0), (x1, y1)) in enumerate(pairwise(way)):
        for step in range(21):
            t = step / 20
            if number % 2:
                found.append((x0 + (x1 - x0) * t, y0 + (y1 - y0) * t))
            else:
                m, s = (x0 + x1) / 2, 1 - t
                x = s**3 * x0 + 3 * s * s * t * m + 3 * s * t * t * m + t**3 * x1
                found.append((x, s**3 * y0 + 3 * s * s * t * y0 + 3 * s * t * t * y1 + t**3 * y1))
    return found


def _is_one_of(x: float, edges: tuple[float, float]) -> bool:
    return any(math.isclose(x, edge, abs_tol=1e-6) for edge in edges)


def _check(boxes: list[Size], links: list[Link], layout: Layout) -> None:
    assert len(layout.boxes) == len(boxes)
    for size, box in zip(boxes, layout.boxes, strict=True):
        assert box.width >= size.width
        assert box.height == size.height
        assert box.x >= -1e-6
        assert box.y >= -1e-6
        assert box.x + box.width <= layout.width + 1e-6
        assert box.y + box.height <= layout.height + 1e-6
    for one, other in combinations(layout.boxes, 2):
        apart = (
            one.x + one.width <= other.x + 1e-6
            or other.x + other.width <= one.x + 1e-6
            or one.y + one.height <= other.y + 1e-6
            or other.y + other.height <= one.y + 1e-6
        )
        assert apart
    for link, ways in zip(links, layout.ways, strict=True):
        start, end = layout.boxes[link.start], layout.boxes[link.end]
        for (first, last), way in zip(link.ports, ways, strict=True):
            assert math.isclose(way[0][1], start.y + first, abs_tol=1e-6)
            assert math.isclose(way[-1][1], end.y + last, abs_tol=1e-6)
            assert _is_one_of(way[0][0], (start.x, start.x + start.width))
            assert _is_one_of(way[-1][0], (end.x, end.x + end.width))
            for x, y in _samples(way):
                for box in layout.boxes:
                    inside = box.x + 0.01 < x < box.x + box.width - 0.01
                    assert not (inside and box.y + 0.01 < y < box.y + box.height - 0.01)


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_boxes_never_overlap_and_ways_touch_no_box(graph):
    boxes, links = graph
    layout = arrange(boxes, links)
    _check(boxes, links, layout)
    assert layout == arrange(boxes, links)


def test_tables_that_are_referred_to_are_on_the_left():
    layout = arrange(
        [Size(80, 60)] * 4, [Link(0, 1, ((30, 10),)), Link(1, 2, ((30, 10),)), Link(0, 2, ((40, 10),))]
    )
    a, b, c, alone = layout.boxes
    assert c.x < b.x < a.x
    assert b.x > c.x + c.width
    assert alone.y >= max(box.y + box.height for box in (a, b, c)) or alone.x >= a.x + a.width


def test_a_circle_of_references_is_drawn():
    boxes = [Size(80, 60)] * 3
    links = [
        Link(0, 1, ((30, 10),)),
        Link(1, 2, ((30, 10),)),
        Link(2, 0, ((30, 10),)),
        Link(1, 1, ((30, 10),)),
    ]
    layout = arrange(boxes, links)
    _check(boxes, links, layout)
    assert len({box.x for box in layout.boxes}) == 3


def test_ways_that_need_not_cross_do_not():
    # flights(carrier, tailnum, origin) and weather(origin): planes belong between airlines and airports.
    airlines, airports, planes = arrange(
        [Size(94, 54), Size(99, 144), Size(135, 159), Size(161, 324), Size(152, 249)],
        [
            Link(3, 0, ((178, 28),)),
            Link(3, 2, ((208, 28),)),
            Link(3, 1, ((223, 28),)),
            Link(4, 1, ((28, 28),)),
        ],
    ).boxes[:3]
    heights = [airlines.y, planes.y, airports.y]
    assert heights in (sorted(heights), sorted(heights, reverse=True))


def test_a_star_of_many_tables_does_not_become_one_column():
    boxes = [Size(120, 150)] * 41
    layout = arrange(boxes, [Link(number, 0, ((40, 28),)) for number in range(1, 41)])
    _check(boxes, layout=layout, links=[Link(number, 0, ((40, 28),)) for number in range(1, 41)])
    assert layout.height < 4 * layout.width


def test_a_schema_of_hundreds_of_tables_is_laid_out_in_time():
    boxes = [Size(120, 150)] * 300
    links = [Link(n, (n * 7 + k * 13) % n, ((40, 28),)) for n in range(1, 300) for k in range(2)]
    layout = arrange(boxes, links)
    assert len(layout.boxes) == 300


def test_nothing_is_a_sheet_with_nothing_on_it():
    assert arrange([], []) == Layout((), (), 0.0, 0.0)
    assert ET.fromstring(drawing.svg(scene.scene(Schema((), ())))).tag == f"{SVG}svg"
    assert drawing.png(scene.scene(Schema((), ()))).startswith(b"\x89PNG\r\n\x1a\n")


AWKWARD = [
    'a"b',
    "x<y>&z",
    "back\\slash",
    "new\nline",
    "日本語 表",
    "$x$ {y}",
    "50%",
    "select",
    "PK",
    "1st",
    "--",
    "#;`~",
    "\x01",
]


def awkward_schema() -> Schema:
    entities = [
        Entity(
            name,
            (
                Attribute("pk", "NUMERIC(10, 2)", primary_key=True),
                Attribute(name, "", foreign_key=True),
                Attribute("other", "double precision", foreign_key=True),
            ),
        )
        for name in AWKWARD
    ]
    references = [
        Reference(
            name, (name, "other"), AWKWARD[number - 1], ("pk", AWKWARD[number - 1]), optional=number % 2 == 0
        )
        for number, name in enumerate(AWKWARD)
    ]
    return Schema(
        (*entities, Entity("a view", (Attribute("n", ""),), is_view=True), Entity("gone")),
        (*references, Reference("--", ("pk",), "gone", ())),
    )


def _visible(text: str) -> str:
    return re.sub(r"[\x00-\x1f]", "\N{REPLACEMENT CHARACTER}", text)


def test_svg_is_xml_with_every_name_in_it():
    root = ET.fromstring(drawing.svg(scene.scene(awkward_schema())))
    texts = {element.text for element in root.iter(f"{SVG}text")}
    assert {_visible(name) for name in (*AWKWARD, "a view", "gone")} <= texts
    assert "double" in texts
    assert all(float(root.get(side, "0pt").removesuffix("pt")) > 100 for side in ("width", "height"))


def test_png_draws_awkward_names_without_a_warning():
    found = drawing.png(scene.scene(awkward_schema()))
    assert found.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(found) > 10_000


def test_png_leaves_no_trace_in_matplotlib(monkeypatch):
    import matplotlib

    before = dict(matplotlib.rcParams)
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    drawing.png(scene.scene(awkward_schema()))
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules


def test_png_without_matplotlib_says_what_needs_nothing(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    picture = scene.scene(awkward_schema())
    with pytest.raises(MissingDependency, match=r"holdfast\[plot\].*\.svg, \.mmd or \.dot"):
        drawing.png(picture)
    assert drawing.svg(picture)


def test_a_very_wide_table_is_shortened_and_keeps_its_keys():
    attributes = [Attribute(f"c{number}", "REAL") for number in range(500)]
    attributes[400] = Attribute("owner", "INTEGER", foreign_key=True)
    schema = Schema(
        (
            Entity("wide", tuple(attributes)),
            Entity("owners", (Attribute("id", "INTEGER", primary_key=True),)),
        ),
        (Reference("wide", ("owner",), "owners", ("id",)),),
    )
    picture = scene.scene(schema)
    texts = [item.text for item in picture.items if isinstance(item, scene.Text)]
    assert "owner" in texts
    assert "… 440 more" in texts
    assert picture.height < 1100


@pytest.mark.parametrize(("size", "bold"), [(9.0, False), (10.5, True)])
def test_texts_fit_the_room_they_are_given(size, bold):
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    for text in ("sched_dep_time", "flights", "TIMESTAMP", "a_very_long_name_of_a_column", "WWWWW", "müßig"):
        drawn = TextPath((0, 0), text, size=size, prop=font).get_extents()
        room = scene.text_width(text, size, bold=bold)
        assert drawn.x1 <= room + 1.0
        assert room <= drawn.x1 * 1.25 + 2


def test_mermaid_has_every_table_column_and_reference():
    schema = awkward_schema()
    text = mermaid(schema)
    lines = text.splitlines()
    assert lines[0] == "erDiagram"
    assert sum(line.endswith("{") for line in lines) == len(schema.entities)
    edges = [line for line in lines if "}o--" in line]
    assert len(edges) == len(schema.references)
    assert '    "#34;b" }o' not in text
    assert '    "x<y>&z" }o--|| "a#34;b" : "x<y>&z, other"' in lines
    # Quotes come in pairs, so that no name ends its own: every name is escaped.
    assert all(line.count('"') % 2 == 0 for line in lines)
    word = re.compile(r"[A-Za-z_][A-Za-z0-9_()\[\]]*")
    for line in lines:
        if line.startswith("        "):
            kind, name = line.split()[:2]
            assert word.fullmatch(kind)
            assert word.fullmatch(name)
            assert name.upper() not in ("PK", "FK", "UK")


def test_dot_has_every_table_column_and_reference():
    schema = awkward_schema()
    text = dot(schema)
    nodes = re.findall(r"label=<(<TABLE.*?</TABLE>)>\];", text)
    assert len(nodes) == len(schema.entities)
    for entity, node in zip(schema.entities, nodes, strict=True):
        texts = {"".join(cell.itertext()) for cell in ET.fromstring(node).iter("TD")}
        assert {_visible(entity.name), *(_visible(item.name) for item in entity.attributes)} <= texts
    assert text.count(" -> ") == sum(len(item.columns) for item in schema.references)
    assert '"x<y>&z":w1:w -> "a\\"b":e0:e;' in text
    assert '"back\\\\slash":w1:w' in text
    assert '"--":w0:w -> "gone";' in text


def chain() -> Schema:
    """shop_a <- shop_b <- shop_c, ware_d <- shop_c, and two that stand alone."""
    names = ("shop_a", "shop_b", "shop_c", "ware_d", "ware_e", "log")
    key = Attribute("id", "INTEGER", primary_key=True)
    entities = tuple(Entity(name, (key, Attribute("body", "TEXT"))) for name in names)
    pairs = (("shop_b", "shop_a"), ("shop_c", "shop_b"), ("shop_c", "ware_d"), ("shop_c", "shop_c"))
    return Schema(entities, tuple(Reference(a, ("id",), b, ("id",)) for a, b in pairs))


def test_near_goes_both_ways_and_marks_the_middle():
    found = focus.near(chain(), ["shop_b"], 1)
    assert [item.name for item in found.entities] == ["shop_a", "shop_b", "shop_c"]
    assert [item.name for item in found.entities if item.is_central] == ["shop_b"]
    assert len(found.references) == 3
    assert len(focus.near(chain(), ["shop_a"], 3).entities) == 4
    assert focus.near(chain(), ["log"], 5).references == ()


def test_groups_list_their_tables_and_refer_to_each_other():
    found = focus.grouped(chain(), "prefix")
    assert [(item.name, len(item.attributes)) for item in found.entities] == [
        ("shop", 3),
        ("ware", 2),
        ("log", 0),
    ]
    assert found.references == (Reference("shop", ("shop_c",), "ware", ("ware_d",)),)
    assert found.entities[0].attributes[0] == Attribute("shop_a", "2 columns")
    connected = focus.grouped(chain(), "connected")
    assert [item.name for item in connected.entities] == ["around shop_a", "ware_e", "log"]
    assert connected.references == ()
    assert not any(item.is_light for item in (*found.entities, *connected.entities))


def test_what_is_left_out_is_said():
    shown = focus.with_columns(chain(), "keys")
    texts = [item.text for item in scene.scene(shown).items if isinstance(item, scene.Text)]
    assert texts.count("… 1 more") == len(shown.entities)
    assert dot(shown).count("… 1 more") == len(shown.entities)
    bare = scene.scene(focus.with_columns(chain(), "none"))
    assert [item.text for item in bare.items if isinstance(item, scene.Text)] == [
        item.name for item in chain().entities
    ]
    assert not any(item.dashed for item in bare.items if isinstance(item, scene.Shape))
