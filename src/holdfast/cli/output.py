"""How rows are shown: a table on a terminal, aligned text in a pipe, JSON and CSV for machines."""

from __future__ import annotations

import base64
import json
import math
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from datetime import date, time
from decimal import Decimal
from typing import Annotated, Any

import typer

from holdfast.engines.names import printable


def _one_form(ctx: typer.Context, param: typer.CallbackParam, wanted: bool) -> bool:
    if wanted and any(ctx.params.get(name) for name in {"as_json", "as_csv"} - {param.name}):
        raise typer.BadParameter("--json and --csv exclude each other")
    return wanted


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.", callback=_one_form)]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV; NULL is an empty field.", callback=_one_form)]
NUMBERS = (int, float, Decimal)
LEGIBLE, GAP = 8, 2


def show(
    columns: Sequence[str],
    rows: Iterable[Iterable[Any]],
    *,
    title: str | None = None,
    right: Sequence[bool] | None = None,
    marks: bool = False,
) -> None:
    """Print rows for a person; ``right`` aligned are by default the columns of nothing but numbers.

    ``marks`` are words ``**so**``: a terminal shows them in colour instead.
    """
    table = [tuple(row) for row in rows]
    right = right or [
        any(row[at] is not None for row in table)
        and all(row[at] is None or _is_number(row[at]) for row in table)
        for at in range(len(columns))
    ]
    cells = [[shown(value) for value in row] for row in table]
    title = printable(title) if title else None
    if sys.stdout.isatty():
        _show_on_terminal(columns, cells, right, title, marks)
    else:
        _show_plain(columns, cells, right, title)


def _is_number(value: Any) -> bool:
    return isinstance(value, NUMBERS) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """One line of a value, without control characters: a terminal would obey them."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    if hasattr(value, "dtype"):
        return f"<{value.dtype} array {value.shape}>"
    if isinstance(value, bool):
        text = "true" if value else "false"
    else:
        text = _json(value) if isinstance(value, (dict, list)) else str(value)
    return printable(text)


def _show_on_terminal(
    columns: Sequence[str], cells: list[list[str]], right: Sequence[bool], title: str | None, marks: bool
) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if _is_too_wide(columns, cells, console.width):
        _show_records(console, columns, cells, title, marks)
        return
    table = Table(
        title=Text(title, "bold") if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for name, is_right in zip(columns, right, strict=True):
        table.add_column(
            Text(shown(name)),
            justify="right" if is_right else "left",
            overflow="fold",
            header_style="bold",
        )
    for row in cells:
        table.add_row(*(_marked(cell) if marks else Text(cell) for cell in row))
    console.print(table)


def _is_too_wide(columns: Sequence[str], cells: list[list[str]], room: int) -> bool:
    """Whether columns would be so narrow that nobody can read them."""
    if (LEGIBLE + GAP) * len(columns) <= room:
        return False
    widths = [max(map(_width, column)) for column in zip(map(shown, columns), *cells, strict=True)]
    return sum(min(width, LEGIBLE) + GAP for width in widths) > room


def _show_records(
    console: Any, columns: Sequence[str], cells: list[list[str]], title: str | None, marks: bool
) -> None:
    """Each row as lines of names and values."""
    from rich.table import Table
    from rich.text import Text

    if title:
        console.print(Text(title, "bold"))
    for number, row in enumerate(cells, 1):
        console.print(Text(f"row {number}", "dim"))
        grid = Table.grid(padding=(0, GAP))
        grid.add_column(overflow="fold", max_width=console.width // 2)
        grid.add_column(overflow="fold")
        for name, cell in zip(columns, row, strict=True):
            grid.add_row(Text(shown(name), "bold"), _marked(cell) if marks else Text(cell))
        console.print(grid)


def _marked(cell: str) -> Any:
    from rich.text import Text

    parts = enumerate(re.split(r"\*\*(\w+)\*\*", cell))
    return Text.assemble(*((part, "bold yellow" if number % 2 else "") for number, part in parts))


def _show_plain(
    columns: Sequence[str], cells: list[list[str]], right: Sequence[bool], title: str | None
) -> None:
    lines = [[shown(name) for name in columns], *cells]
    widths = [max(_width(line[at]) for line in lines) for at in range(len(columns))]
    lines.insert(1, ["-" * width for width in widths])
    if title:
        print(title)
    for line in lines:
        parts = [
            " " * (width - _width(cell)) + cell if is_right else cell + " " * (width - _width(cell))
            for cell, width, is_right in zip(line, widths, right, strict=True)
        ]
        print("  ".join(parts).rstrip())


def _width(cell: str) -> int:
    if cell.isascii():
        return len(cell)
    from rich.cells import cell_len

    return cell_len(cell)


def panel(title: str, items: Iterable[tuple[str, str]]) -> None:
    """Print names and what belongs to them, on a terminal in a frame."""
    pairs = list(items)
    if not sys.stdout.isatty():
        print(title)
        width = max(len(name) for name, _ in pairs)
        for name, value in pairs:
            print(f"  {name:<{width}}  {value}")
        return
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for name, value in pairs:
        grid.add_row(Text(name, "bold"), Text(value, overflow="fold"))
    Console().print(Panel(grid, title=title, title_align="left", expand=False))


def write(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, as_json: bool, as_csv: bool, **how: Any
) -> None:
    """Print rows for a program, or as :func:`show` does."""
    if as_json:
        write_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif as_csv:
        write_csv(columns, list(rows))
    else:
        show(columns, rows, **how)


def write_json(value: Any) -> None:
    """Print a value as JSON; a list of rows one row a line."""
    if not isinstance(value, list) or not value:
        print(_json(value))
        return
    print("[" + ",\n ".join(map(_json, value)) + "]")


def write_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows as the CSV that ``export`` writes: NULL is an empty field, the empty text is ``""``."""
    from holdfast.io import values

    print(values.line(columns, ","), end="")
    fields = [
        values.writer(name, None, delimiter=",", null="", spreadsheet_safe=False)(column)
        for name, column in zip(columns, zip(*rows, strict=True), strict=bool(rows))
    ]
    for row in zip(*fields, strict=True):
        print(",".join(row))


def write_records(records: Iterable[Any], kind: type, *, as_csv: bool, **more: Any) -> None:
    """Print dataclasses of a kind as JSON or CSV; in CSV what is nested is JSON.

    ``more`` are values that come first in each of them.
    """
    found = [{**more, **asdict(record)} for record in records]
    if not as_csv:
        write_json(found)
        return
    names = [*more, *(field.name for field in fields(kind))]
    write_csv(names, [[nested(record[name]) for name in names] for record in found])


def nested(value: Any) -> Any:
    """A value for a field of CSV: what has parts is JSON."""
    return _json(value) if isinstance(value, (dict, list, tuple)) else value


def _json(value: Any) -> str:
    try:
        return json.dumps(value, default=_jsonable, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_without_nan(value), default=_jsonable, ensure_ascii=False)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(one) for one in value]
    return value


def _jsonable(value: Any) -> Any:
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if hasattr(value, "tolist"):
        return _without_nan(value.tolist())
    return str(value)
