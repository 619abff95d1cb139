"""A profile as text and as HTML."""

from __future__ import annotations

import html
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from holdfast.engines.names import printable
from holdfast.inspection.profile import ColumnProfile, Profile, TableProfile
from holdfast.inspection.report import (
    counted_noun,
    human_size,
    padded,
    rows_text,
    shortened,
    terminal_width,
    text_cells,
)

HEADER = ("column", "type", "null", "distinct", "range", "examples")
_WIDEST = (28, 30, 9, 11, 36, 40)
_NARROW = 72
_LONGEST_VALUE = 24


def text(profile: Profile) -> str:
    """The whole profile, as wide as the terminal; on a narrow one a column of a table takes some lines."""
    width = terminal_width()
    shown = _listed if is_narrow() else _tabulated
    parts = ["\n".join(_filled(headline(profile), width))]
    for table in profile:
        around = [_filled(line, width) for line in (title(table), *notes(table))]
        lines = [*around[0], *shown(table, width), *(line for note in around[1:] for line in note)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def is_narrow() -> bool:
    """Whether the terminal has no room for a table."""
    return terminal_width() < _NARROW


def headline(profile: Profile) -> str:
    """What database it is, and how long it took to look."""
    views = sum(table.is_view for table in profile)
    counts = [counted_noun(len(profile) - views, "table")] + ([counted_noun(views, "view")] if views else [])
    return (
        f"{profile.engine}, {human_size(profile.size)}: {', '.join(counts)}, read in {profile.seconds:.1f} s"
    )


def title(table: TableProfile) -> str:
    """A table's name, size and number of rows, and of how many of them the figures are."""
    noun = "row" if table.rows == 1 else "rows"
    parts = [f"{rows_text(table.rows, table.is_exact)} {noun}"]
    parts += [human_size(table.size)] if table.size is not None else []
    if table.problem is not None:
        much = f"only {table.read:,} read" if table.read else "not read"
        parts.append(f"{much}: {printable(table.problem)}")
    elif table.is_sample:
        parts.append(f"a sample of {table.read:,}" if table.read else "no time to read any")
    return f"{printable(table.name)}: {'view' if table.is_view else 'table'}, {', '.join(parts)}"


def rows(table: TableProfile) -> list[tuple[str, ...]]:
    """One row for each column of a table, under :data:`HEADER`."""
    return [_row(column, table) for column in table.columns]


def _row(column: ColumnProfile, table: TableProfile) -> tuple[str, ...]:
    name, kind = printable(column.name) + "*" * column.primary_key, declared(column)
    if column.problem is not None:
        return name, kind, "", "", "", f"not read: {printable(column.problem)}"
    examples = ", ".join(map(value_text, column.examples))
    return name, kind, _share(column.nulls, table), _distinct(column, table), _range(column), examples


def notes(table: TableProfile) -> list[str]:
    """Keys, indexes and triggers, one a line."""
    lines = [_foreign_key(key) for key in table.foreign_keys]
    for index in table.indexes:
        if not index["primary_key"]:
            columns = ", ".join(printable(name or "(an expression)") for name in index["columns"])
            kind = "unique index" if index["unique"] else "index"
            lines.append(f"{kind} {printable(index['name'])} ({columns}){' partial' * index['partial']}")
    lines += [f"trigger {printable(trigger['name'])}" for trigger in table.triggers]
    return lines


def declared(column: ColumnProfile) -> str:
    """The declared type, what it refers to, and what values there are if they are of several kinds."""
    parts = [printable(column.type)]
    parts += [f"-> {printable(column.references)}"] if column.references else []
    if len(column.types) > 1:
        parts.append(f"({', '.join(f'{number:,} {kind}' for kind, number in column.types.items())})")
    return " ".join(filter(None, parts))


def value_text(value: Any) -> str:
    """A value on one line, shortened."""
    if isinstance(value, datetime):
        value = value.isoformat(" ", "minutes").removesuffix("+00:00")
    elif isinstance(value, (dict, list)):
        value = json.dumps(value, default=str, ensure_ascii=False)
    elif isinstance(value, bytes):
        value = f"<{len(value):,} bytes>"
    elif isinstance(value, bool) or value is None:
        # JSON has a null of its own.
        value = json.dumps(value)
    return shortened(printable(str(value)), _LONGEST_VALUE)


def _share(nulls: int, table: TableProfile) -> str:
    if not table.read:
        return ""
    return f"{100 * nulls / table.read:.1f} %" if table.is_sample and nulls else f"{nulls:,}"


def _distinct(column: ColumnProfile, table: TableProfile) -> str:
    if not table.read or column.distinct is None:
        return ""
    return f"{'>= ' if table.is_sample else ''}{column.distinct:,}"


def _range(column: ColumnProfile) -> str:
    if column.min is None:
        return ""
    low, high = value_text(column.min), value_text(column.max)
    return low if low == high else f"{low} .. {high}"


def _foreign_key(key: Mapping[str, Any]) -> str:
    columns, keys = (", ".join(map(printable, key[part])) for part in ("columns", "keys"))
    rules = [(word, key[rule]) for word, rule in (("on delete", "on_delete"), ("on update", "on_update"))]
    said = "".join(f" {word} {rule.lower()}" for word, rule in rules if rule != "NO ACTION")
    return f"foreign key ({columns}) -> {printable(key['references'])} ({keys}){said}"


def _tabulated(table: TableProfile, width: int) -> Iterator[str]:
    if not table.columns:
        return
    cells = [HEADER, *rows(table)]
    widths = _widths(cells, width)
    for number, row in enumerate(cells):
        parts = (padded(shortened(cell, room), room) for cell, room in zip(row, widths, strict=True))
        yield "  ".join(parts).rstrip()
        if not number:
            yield "  ".join("-" * room for room in widths)


def _widths(cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """As wide as the cells want to be; where that is too wide, the widest give way."""
    widths = [min(most, max(text_cells(row[at]) for row in cells)) for at, most in enumerate(_WIDEST)]
    for _ in range(sum(widths) + 2 * (len(widths) - 1) - width):
        widths[widths.index(max(widths))] -= 1
    return widths


def _listed(table: TableProfile, width: int) -> Iterator[str]:
    for name, kind, nulls, distinct, bounds, examples in rows(table):
        yield from _filled(f"{name} {kind}", width, "  ")
        counts = ", ".join(filter(None, [nulls and f"{nulls} null", distinct and f"{distinct} distinct"]))
        for line in (counts, bounds, examples):
            yield from _filled(line, width, "    ")


def _filled(line: str, width: int, indent: str = "") -> Sequence[str]:
    return textwrap.wrap(line, width, initial_indent=indent, subsequent_indent=f"{indent}  ")


def as_html(profile: Profile) -> str:
    """The profile as HTML tables."""
    parts = [f"<p>{html.escape(headline(profile))}</p>"]
    for table in profile:
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in HEADER)
        body = "".join(
            "<tr>"
            + "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in row)
            + "</tr>"
            for row in rows(table)
        )
        lines = "<br/>".join(map(html.escape, notes(table)))
        parts.append(
            f"<h4>{html.escape(title(table))}</h4>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{lines}</p>"
        )
    return "".join(parts)
