"""Making dicts of a driver's tuples, as fast as Python can.

A dict display whose keys are constants takes half to two thirds of the time of ``dict(zip(names, values))``.
Only code can be a display, so it is built here for each list of columns, as a tree and never from text: a
column's name is a constant in it and its decoder a variable, so that nothing a database holds becomes Python.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain, islice
from types import CodeType, FunctionType
from typing import Any

Decode = Callable[[Any], Any] | None
Tuples = Iterable[Sequence[Any]]

# Building the code costs what it saves on some hundred rows, and with more columns it saves nothing.
_WORTH = 500
_WIDEST = 24


class Shape:
    """The names of columns, and for each what makes its value of the driver's, if anything has to."""

    __slots__ = ("_built", "_decoded", "_left", "decoders", "names")

    def __init__(self, names: tuple[str, ...], decoders: tuple[Decode, ...]) -> None:
        self.names = names
        self.decoders = decoders
        self._decoded = [(i, names[i], decode) for i, decode in enumerate(decoders) if decode is not None]
        self._built: Callable[[Tuples], list[dict[str, Any]]] | None = None
        self._left = _WORTH

    def row(self, values: Sequence[Any]) -> dict[str, Any]:
        """One row as a dict."""
        row = dict(zip(self.names, values, strict=True))
        for _, name, decode in self._decoded:
            if (value := row[name]) is not None:
                row[name] = decode(value)
        return row

    def rows(self, tuples: Tuples) -> list[dict[str, Any]]:
        """Rows as dicts, taken from ``tuples`` one by one."""
        if self._built is None:
            if len(self.names) > _WIDEST:
                return [self.row(values) for values in tuples]
            tuples, left = iter(tuples), self._left
            first = list(islice(tuples, left))
            if len(first) < left:
                self._left = left - len(first)
                return [self.row(values) for values in first]
            self._built = _displays(self.names, self.decoders)
            tuples = chain(first, tuples)
        return self._built(tuples)

    def columns(self, tuples: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
        """One sequence of values for each column; there is one row at least."""
        columns: list[Sequence[Any]] = list(zip(*tuples, strict=True))
        for place, _, decode in self._decoded:
            columns[place] = [None if value is None else decode(value) for value in columns[place]]
        return columns

    def tuples(self, tuples: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """The same rows with their values decoded."""
        # Column by column: most columns need no decoding, and are not looked at.
        return list(zip(*self.columns(tuples), strict=True)) if tuples and self._decoded else tuples


@lru_cache(maxsize=1024)
def shape(names: tuple[str, ...], decoders: tuple[Decode, ...]) -> Shape:
    """The shape with these columns, the same one each time."""
    return Shape(names, decoders)


def _displays(names: Sequence[str], decoders: Sequence[Decode]) -> Callable[[Tuples], list[dict[str, Any]]]:
    """``lambda rows: [{"a": v0, "b": None if v1 is None else d1(v1)} for v0, v1 in rows]``."""
    values = [_value(place, decode) for place, decode in enumerate(decoders)]
    taken: ast.expr = ast.Tuple([ast.Name(f"v{i}", ast.Store()) for i in range(len(names))], ast.Store())
    loop = ast.comprehension(target=taken, iter=ast.Name("rows", ast.Load()), ifs=[], is_async=0)
    display = ast.Dict([ast.Constant(name) for name in names], values)
    arguments = ast.arguments(
        posonlyargs=[], args=[ast.arg("rows")], kwonlyargs=[], kw_defaults=[], defaults=[]
    )
    tree = ast.Expression(ast.Lambda(arguments, ast.ListComp(display, [loop])))
    module = compile(ast.fix_missing_locations(tree), "<rows>", "eval", dont_inherit=True)
    (code,) = (constant for constant in module.co_consts if isinstance(constant, CodeType))
    return FunctionType(code, {f"d{place}": decode for place, decode in enumerate(decoders)})


def _value(place: int, decode: Decode) -> ast.expr:
    value = ast.Name(f"v{place}", ast.Load())
    if decode is None:
        return value
    is_null = ast.Compare(value, [ast.Is()], [ast.Constant(None)])
    return ast.IfExp(is_null, ast.Constant(None), ast.Call(ast.Name(f"d{place}", ast.Load()), [value], []))
