"""Rows as an HTML table, and texts as they are printed, for a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from numbers import Number
from typing import Any

MOST_ROWS = 20
_LONGEST = 200


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], note: str) -> str:
    """The table, with a line below it; nothing in a value becomes HTML."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    foot = f"<p><small>{html.escape(note)}</small></p>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{foot}"


def as_printed(answer: object) -> str:
    """What ``print`` shows of an answer, line by line."""
    return f"<pre>{html.escape(str(answer))}</pre>"


def _cell(value: Any) -> str:
    is_number = isinstance(value, Number) and not isinstance(value, bool)
    return f"<td style='text-align:{'right' if is_number else 'left'}'>{_text(value)}</td>"


def _text(value: Any) -> str:
    if value is None:
        return "<i>NULL</i>"
    if isinstance(value, bytes):
        return f"<i>{len(value):,} bytes</i>"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"<i>{value.dtype} array {value.shape}</i>"
    text = str(value)
    return html.escape(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")
