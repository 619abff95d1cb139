"""Values on a command line that are of their type already: nothing need be imported to say so."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any


class Given:
    """What makes the value of a parameter of what was given.

    Typer has Pydantic do that for each, a text included, and importing Pydantic takes longer than the rest of
    a short command. It is asked where there is something to be checked.
    """

    def __init__(self, param: Any, usual: Callable[[], Any]) -> None:
        self._usual = usual
        kind = param.type_descriptor
        self._is_list = param.multiple or param.nargs == -1
        self._type = str if kind.annotation == list[str] else kind.annotation
        self._is_plain = isinstance(self._type, type) and kind.parameter_info.parser is None

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value, as Typer makes it."""
        if self._is_plain and value is None:
            return () if self._is_list else None
        if self._is_plain and self._is_list and isinstance(value, (list, tuple)):
            if all(type(one) is self._type for one in value):
                return list(value)
        elif self._is_plain and type(value) is self._type:
            return value
        return self._usual().coerce(value, param=param, ctx=ctx)


def as_given(params: list[Any]) -> list[Any]:
    """Have values made by :class:`Given`, where Typer is one that uses Pydantic."""
    for param in params:
        if usual := getattr(type(param), "get_runtime_param", None):
            vars(param)["get_runtime_param"] = partial(Given, param, partial(usual, param))
    return params
