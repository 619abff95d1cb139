"""What a database holds, in figures and as a table to print."""

from __future__ import annotations

import html
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.executor import Executor
from holdfast.engines.base import TableInfo
from holdfast.engines.names import printable
from holdfast.inspection.reading import counted, describe_view, row_counts

WIDTH, NARROWEST = 100, 40
SECONDS = 10.0
"As long as rows are counted before they are estimated."
_LONGEST_NAME = 32
_MOST_LINES = 6


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """A column: its declared type, whether it is in the primary key, and the table it refers to."""

    name: str
    type: str
    primary_key: bool
    references: str | None

    def __str__(self) -> str:
        text = f"{printable(self.name)}{'*' if self.primary_key else ''} {printable(self.type)}".rstrip()
        return f"{text} -> {printable(self.references)}" if self.references else text


@dataclass(frozen=True, slots=True)
class TableSummary:
    """A table with its number of rows, or a view, whose rows are not counted.

    They are estimated where not ``is_exact``, and ``None`` if nothing is known.
    """

    name: str
    rows: int | None
    columns: tuple[ColumnSummary, ...]
    is_view: bool = False
    is_exact: bool = True


@dataclass(frozen=True, slots=True)
class Summary:
    """The tables and views of a database; ``print`` it, or let a notebook show it.

    ``size`` is in bytes. ``elsewhere`` names other schemas of a PostgreSQL database that have tables, which
    are not looked at; ``options=-csearch_path%3DNAME`` in the URL has a connection work in one of them.
    """

    engine: str
    size: int
    tables: tuple[TableSummary, ...]
    elsewhere: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """The rows of all tables together."""
        return sum(table.rows or 0 for table in self.tables)

    def _headline(self) -> str:
        views = sum(table.is_view for table in self.tables)
        counts = [counted_noun(len(self.tables) - views, "table")]
        counts += [counted_noun(views, "view")] if views else []
        is_exact = all(table.is_exact for table in self.tables)
        counts += [("" if is_exact else "about ") + counted_noun(self.rows, "row")]
        return f"{self.engine}, {human_size(self.size)}: {', '.join(counts)}"

    def __str__(self) -> str:
        headline = textwrap.wrap(self._headline(), terminal_width())
        if not self.tables:
            return "\n".join([*headline, *self._elsewhere()])
        width = terminal_width()
        longest = min(_LONGEST_NAME, width // 2 - 6)
        names = [shortened(printable(table.name), longest) for table in self.tables]
        rows = [_row_count(table) for table in self.tables]
        first = max(map(text_cells, [*names, "table"]))
        second = max(map(len, [*rows, "rows"]))
        room = width - first - second - 4
        lines = [*headline, "", f"{padded('table', first)}  {'rows':>{second}}  columns"]
        lines.append(f"{'-' * first}  {'-' * second}  {'-' * room}")
        for table, name, count in zip(self.tables, names, rows, strict=True):
            wrapped = _wrapped([str(column) for column in table.columns], room)
            lines.append(f"{padded(name, first)}  {count:>{second}}  {wrapped[0]}".rstrip())
            lines += [" " * (first + second + 4) + line for line in wrapped[1:]]
        if any(column.primary_key for table in self.tables for column in table.columns):
            lines += ["", "* primary key, -> foreign key"]
        return "\n".join([*lines, *self._elsewhere()])

    def _elsewhere(self) -> list[str]:
        if not self.elsewhere:
            return []
        names = ", ".join(map(printable, self.elsewhere))
        told = f"not shown: schema{'s' * (len(self.elsewhere) > 1)} {names}; with "
        return ["", *textwrap.wrap(f"{told}options=-csearch_path%3DNAME in the URL one is", terminal_width())]

    def _repr_html_(self) -> str:
        """The same as an HTML table, which Jupyter shows."""
        body = "".join(
            f"<tr><td>{html.escape(table.name)}</td><td style='text-align:right'>{_row_count(table)}</td>"
            f"<td style='text-align:left'>{_html_columns(table.columns)}</td></tr>"
            for table in self.tables
        )
        return (
            f"<p>{html.escape(self._headline())}</p><table><thead><tr><th>table</th><th>rows</th>"
            f"<th style='text-align:left'>columns</th></tr></thead><tbody>{body}</tbody></table>"
        )


def summary(executor: Executor) -> Summary:
    """The tables with their columns and numbers of rows, then the views."""
    catalog, upkeep = executor.engine.catalog, executor.engine.upkeep
    names, views = catalog.tables(executor.run), catalog.views(executor.run)
    counts = counted(executor, names, SECONDS)
    tables = [
        TableSummary(
            name,
            counts[name].rows,
            _columns(executor.describe(name), executor),
            is_exact=counts[name].is_exact,
        )
        for name in names
    ]
    tables += [
        TableSummary(name, None, _columns(describe_view(executor, name), executor), is_view=True)
        for name in views
    ]
    return Summary(
        upkeep.version(executor.run),
        upkeep.size(executor.run),
        tuple(tables),
        tuple(catalog.elsewhere(executor.run)),
    )


def stats(executor: Executor) -> dict[str, Any]:
    """The figures: ``size`` in bytes, ``table_count``, ``tables`` (rows of each), ``rows``, and more.

    ``index_count`` counts the indexes somebody made, not those that keep a constraint.
    """
    catalog, upkeep = executor.engine.catalog, executor.engine.upkeep
    counts = row_counts(executor, catalog.tables(executor.run))
    return {
        "size": upkeep.size(executor.run),
        "table_count": len(counts),
        "tables": counts,
        "rows": sum(counts.values()),
        "index_count": sum(not index["constraint"] for index in catalog.indexes(executor.run, None)),
        "view_count": len(catalog.views(executor.run)),
        "engine": upkeep.version(executor.run),
    }


def _columns(info: TableInfo | None, executor: Executor) -> tuple[ColumnSummary, ...]:
    if info is None:
        return ()
    keys = [] if info.is_view else executor.engine.catalog.foreign_keys(executor.run, info.name)
    target = {column: key["references"] for key in reversed(keys) for column in key["columns"]}
    return tuple(
        ColumnSummary(column.name, column.type, column.primary_key, target.get(column.name))
        for column in info.columns
    )


def human_size(size: int) -> str:
    """Bytes for people, in powers of 1024.

    >>> human_size(12_345_678)
    '11.8 MB'
    """
    if size < 1024:
        return counted_noun(size, "byte")
    units = ["kB", "MB", "GB", "TB"]
    amount, unit = size / 1024, units.pop(0)
    while amount >= 999.95 and units:
        amount, unit = amount / 1024, units.pop(0)
    return f"{amount:,.1f} {unit}"


def text_cells(text: str) -> int:
    """How many cells of a terminal ``text`` takes."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def counted_noun(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _row_count(table: TableSummary) -> str:
    return "view" if table.is_view else rows_text(table.rows, table.is_exact)


def rows_text(rows: int | None, is_exact: bool) -> str:
    """A number of rows; an estimated one has a tilde."""
    return "?" if rows is None else f"{'' if is_exact else '~'}{rows:,}"


def terminal_width() -> int:
    """As wide as the terminal where that is what is written to, and at most as wide as a page."""
    if not sys.stdout.isatty():
        return WIDTH
    return max(NARROWEST, min(WIDTH, shutil.get_terminal_size().columns))


def padded(text: str, cells: int) -> str:
    return text + " " * (cells - text_cells(text))


def shortened(text: str, cells: int) -> str:
    if text_cells(text) <= cells:
        return text
    while text_cells(text) > cells - 3:
        text = text[:-1]
    return text + "..."


def _wrapped(items: Sequence[str], room: int) -> list[str]:
    """The items with commas in lines of ``room`` cells; what does not fit is counted at the end."""
    lines = [""]
    for number, item in enumerate(items):
        text = shortened(item, room - 1) + ("," if number + 1 < len(items) else "")
        rest = f"... {len(items) - number} more"
        last = len(lines) == _MOST_LINES
        reserve = len(rest) + 1 if last and number + 1 < len(items) else 0
        if lines[-1] and text_cells(lines[-1]) + 1 + text_cells(text) + reserve > room:
            if last:
                lines[-1] = f"{shortened(lines[-1], room - len(rest) - 1)} {rest}"
                break
            lines.append("")
        lines[-1] += f" {text}" if lines[-1] else text
    return lines


def _html_columns(columns: Iterable[ColumnSummary]) -> str:
    return ", ".join(
        f"<b>{html.escape(column.name)}</b>" if column.primary_key else html.escape(column.name)
        for column in columns
    )
