"""Dicts from tuples: the same by every way, whatever the columns are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast.core.shapes import Shape, shape

NAMES = ("id", "__class__", 'x": print()}#', "日本", "", "v0", "rows", "d1", "\\\n'")


def _double(value: Any) -> Any:
    return value * 2


@pytest.mark.parametrize("width", [0, 1, 2, 9, 16, 24, 25, 300])
@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1500])
def test_rows_are_those_of_zip(width: int, count: int) -> None:
    names = tuple(NAMES[i] if i < len(NAMES) else f"c{i}" for i in range(width))
    made = Shape(names, tuple(_double if i % 3 == 1 else None for i in range(width)))
    tuples = [tuple(None if (r + c) % 5 == 0 else r + c for c in range(width)) for r in range(count)]
    wanted = [
        {
            name: value * 2 if value is not None and c % 3 == 1 else value
            for c, (name, value) in enumerate(zip(names, values, strict=True))
        }
        for values in tuples
    ]
    assert made.rows(iter(tuples)) == wanted
    assert [made.row(values) for values in tuples] == wanted
    assert made.tuples(tuples) == [tuple(row.values()) for row in wanted]
    assert made.rows(tuples) == wanted, "another time, when the code may be built"
    assert all(list(row) == list(names) for row in made.rows(tuples)), "in the order of the columns"


@pytest.mark.parametrize("read", [Shape.rows, lambda made, tuples: [made.row(tuples[0])]])
def test_a_row_with_too_many_or_too_few_values_is_never_taken(read: Callable[..., Any]) -> None:
    for values in [(1,), (1, 2, 3)]:
        with pytest.raises(ValueError):
            read(Shape(("a", "b"), (None, None)), [values] * 600)


def test_few_rows_many_times_are_many() -> None:
    made = Shape(("a",), (None,))
    for _ in range(200):
        assert made.rows([(1,)] * 9) == [{"a": 1}] * 9
    assert made._built is not None


def test_a_shape_is_made_once() -> None:
    assert shape(("a", "b"), (None, _double)) is shape(("a", "b"), (None, _double))
    assert shape(("a", "b"), (None, None)) is not shape(("a", "b"), (None, _double))
