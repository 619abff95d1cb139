"""The table that every contender works on, and its rows; nothing else is imported for them."""

from __future__ import annotations

from typing import Any

COLUMNS = {
    "id": "INTEGER PRIMARY KEY",
    "name": "TEXT",
    "ts": "TEXT",
    "accuracy": "REAL",
    "parameters": "TEXT",
}
NAMES = tuple(COLUMNS)
POSTGRES_TYPES = ("int8", "text", "text", "float8", "text")

Row = dict[str, Any]


def row(number: int, shift: float = 0.25) -> Row:
    return {
        "id": number,
        "name": f"run {number % 1000}",
        "ts": "2024-05-17T12:30:00",
        "accuracy": number / 4 + shift,
        "parameters": '{"lr": 0.001, "layers": 4, "batch": 32}',
    }


def made(count: int, shift: float = 0.25) -> list[Row]:
    return [row(number, shift) for number in range(1, count + 1)]


def as_dict(found: Any) -> Row:
    """What generated code does for this table."""
    a, b, c, d, e = found
    return {"id": a, "name": b, "ts": c, "accuracy": d, "parameters": e}


def as_dicts(found: Any) -> list[Row]:
    return [{"id": a, "name": b, "ts": c, "accuracy": d, "parameters": e} for a, b, c, d, e in found]
