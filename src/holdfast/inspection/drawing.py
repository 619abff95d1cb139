"""The scene as a file: SVG text, or a PNG by matplotlib."""

from __future__ import annotations

import re
import warnings
from html import escape
from io import BytesIO
from typing import Any

from holdfast.errors import MissingDependency
from holdfast.inspection.scene import MARGIN, Scene, Shape, Text

_DPI, _FEWEST_DPI, _WIDTH, _MOST_PIXELS = 200, 100, 3200, 20_000
# Fonts that have what DejaVu Sans lacks, where they are installed.
_WIDE_FONTS = (
    "Noto Sans CJK JP", "Noto Sans JP", "Hiragino Sans", "Yu Gothic", "IPAexGothic", "WenQuanYi Zen Hei",
    "Microsoft YaHei", "PingFang SC", "Malgun Gothic", "Arial Unicode MS", "Noto Sans",
)  # fmt: skip


def svg(picture: Scene) -> str:
    """The scene as an SVG document, whose texts can be searched and edited."""
    width, height = f"{picture.width:.2f}", f"{picture.height:.2f}"
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt" '
        f'viewBox="{-MARGIN} {-MARGIN} {width} {height}" '
        'font-family="DejaVu Sans, Verdana, Geneva, Arial, sans-serif" fill="none">',
        f'<rect x="{-MARGIN}" y="{-MARGIN}" width="{width}" height="{height}" fill="#ffffff"/>',
        *(_svg_text(item) if isinstance(item, Text) else _svg_path(item) for item in picture.items),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _svg_path(shape: Shape) -> str:
    data = " ".join(
        letter + " ".join(f"{x:.2f},{y:.2f}" for x, y in points) for letter, points in shape.steps
    )
    paint = f' fill="{shape.fill}"' if shape.fill else ""
    if shape.stroke:
        paint += f' stroke="{shape.stroke}" stroke-width="{shape.width}"'
    if shape.dashed:
        paint += ' stroke-dasharray="3 2"'
    return f'<path d="{data}"{paint}/>'


def _svg_text(text: Text) -> str:
    style = f' font-size="{text.size}" fill="{text.colour}"'
    style += ' font-weight="bold"' if text.bold else ""
    style += ' font-style="italic"' if text.italic else ""
    style += ' text-anchor="end"' if text.right else ""
    return f'<text x="{text.x:.2f}" y="{text.y:.2f}"{style}>{escape(_visible(text.text))}</text>'


def _visible(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", text)


def png(picture: Scene) -> bytes:
    """The scene as a PNG of 200 dots per inch, fewer where it is large.

    Raises:
        MissingDependency: without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as exc:
        missing = MissingDependency("matplotlib", "plot")
        missing.hint = (
            f"{missing.hint}, or install Graphviz, whose program dot draws it too; "
            "or write .svg, .mmd or .dot, which need nothing"
        )
        raise missing from exc
    # Without pyplot: no window, no global state.
    dpi = max(_FEWEST_DPI, min(_DPI, _WIDTH * 72 / picture.width))
    dpi = min(dpi, _MOST_PIXELS * 72 / max(picture.width, picture.height))
    figure = Figure(figsize=(picture.width / 72, picture.height / 72), dpi=dpi, facecolor="#ffffff")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(-MARGIN, picture.width - MARGIN)
    axes.set_ylim(picture.height - MARGIN, -MARGIN)
    axes.set_axis_off()
    families = _families()
    for order, item in enumerate(picture.items):
        axes.add_artist(_artist(item, order, families))
    file = BytesIO()
    with warnings.catch_warnings():
        # A character that no installed font has is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(file, format="png")
    return file.getvalue()


def _families() -> list[str]:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _WIDE_FONTS if name in installed)]


def _artist(item: Shape | Text, order: int, families: list[str]) -> Any:
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path
    from matplotlib.text import Text as Words

    if isinstance(item, Text):
        font = FontProperties(
            family=families,
            size=item.size,
            weight="bold" if item.bold else "normal",
            style="italic" if item.italic else "normal",
        )
        return Words(
            item.x,
            item.y,
            _visible(item.text),
            color=item.colour,
            horizontalalignment="right" if item.right else "left",
            verticalalignment="baseline",
            fontproperties=font,
            usetex=False,
            parse_math=False,
            zorder=order,
        )
    codes = {"M": Path.MOVETO, "L": Path.LINETO, "C": Path.CURVE4, "Z": Path.CLOSEPOLY}
    points = [point for letter, given in item.steps for point in (given or ((0.0, 0.0),))]
    kinds = [codes[letter] for letter, given in item.steps for _ in (given or (None,))]
    return PathPatch(
        Path(points, kinds),
        facecolor=item.fill or "none",
        edgecolor=item.stroke or "none",
        linewidth=item.width if item.stroke else 0.0,
        linestyle=(0, (3, 2)) if item.dashed else "solid",
        zorder=order,
    )
