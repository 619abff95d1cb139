"""A column's values all at once: what they have in common is asked of all of them in one go."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from holdfast.types.codec import Codec

NONE = type(None)
Values = Sequence[Any]


def encode_column(codec: Codec, values: Values) -> Values:
    """``values`` as the driver takes them; the same object where they go in as they are.

    The answer is that of ``codec.encode`` for one value after the other, and so is the refusal.
    """
    types = _types(values)
    has_none = NONE in types
    types.discard(NONE)
    if types <= codec.passes:
        return values
    check = _CHECKS.get(codec.kind.name)
    if check is not None and len(types) == 1:
        given = [value for value in values if value is not None] if has_none else values
        if check(codec, types, given):
            return values
    passes, encode = codec.passes | {NONE}, codec.encode
    return [value if type(value) in passes else encode(value) for value in values]


def types_read(values: Values) -> set[type]:
    """The types of values as a driver gives them, among which no text is of a subclass of ``str``."""
    try:
        # A third of the time of asking each, where all are texts.
        return {str} if "".join(values) or values else set()
    except TypeError:
        return _types(values)


def _types(values: Values) -> set[type]:
    types = list(map(type, values))
    # Most columns are of one type, and counting it is quicker than a set of all.
    return {types[0]} if types and types.count(types[0]) == len(types) else set(types)


def _texts(codec: Codec, types: set[type], given: Values) -> bool:
    """Whether all texts are such that no check of the text codec changes or refuses one."""
    kind = codec.kind
    if str not in types or kind.affinity not in ("text", "blob") or kind.fixed:
        return False
    together = "".join(given)
    if not together.isascii():
        try:
            together.encode()
        except UnicodeEncodeError:
            return False
    if "\0" in together:
        return False
    return kind.length is None or max(map(len, given)) <= kind.length


def _floats(codec: Codec, types: set[type], given: Values) -> bool:
    """Whether there is no NaN, and no zero with a sign, in a column of 64 bits."""
    if float not in types or codec.kind.bits == 32:
        return False
    total = sum(given)
    if total != total:
        return False
    return all(given) or all(math.copysign(1.0, value) > 0 for value in given if not value)


_CHECKS: dict[str, Callable[[Codec, set[type], Values], bool]] = {"text": _texts, "float": _floats}
