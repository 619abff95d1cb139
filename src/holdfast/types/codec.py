"""The shape of a codec, and what every codec needs: refusals, and plain Python values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from holdfast.errors import ValueRefused
from holdfast.types.kinds import Kind

if TYPE_CHECKING:
    import numpy as np

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Codec:
    """How one kind of column takes and gives values.

    Values whose exact type is in ``passes``, and ``None``, go to the driver without a call. ``encode``
    turns any other value into the driver's, or raises ``ValueRefused``, whose message holds neither the
    value nor the column's name. ``decode`` is ``None`` where the driver's own value is right; it accepts
    ``None``.
    """

    kind: Kind
    passes: frozenset[type]
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any] | None


def wrong_type(value: object, column: str, hint: str) -> ValueRefused:
    """Build the refusal of a value whose type does not belong in ``column``."""
    name = type(value).__name__
    article = "an" if name[:1].lower() in "aeio" else "a"
    return ValueRefused(f"{article} {name} cannot go into {column} column", hint=hint)


def plain(value: Any) -> Any:
    """Reduce a NumPy scalar or a pandas value to plain Python; ``NaT`` and ``NA`` to ``None``.

    Arrays and everything else are returned as they are. Neither library is imported for any other value.

    Raises:
        ValueRefused: if the value is finer or larger than Python's own type can hold.
    """
    library = type(value).__module__.partition(".")[0]
    if library == "numpy":
        return _from_numpy(value)
    if library == "pandas":
        return _from_pandas(value)
    return value


def _from_numpy(value: Any) -> Any:
    import numpy as np

    if isinstance(value, (np.datetime64, np.timedelta64)):
        return None if np.isnat(value) else _numpy_moment(value)
    if not isinstance(value, np.generic):
        return value
    item = value.item()
    if isinstance(item, np.floating):
        if item == item and float(item) != item:
            raise ValueRefused(
                f"a {type(value).__name__} is more exact than a 64-bit float",
                hint="round it with float(value)",
            )
        return float(item)
    return item


def _numpy_moment(value: np.datetime64 | np.timedelta64) -> date | timedelta:
    import numpy as np

    family = "datetime64" if isinstance(value, np.datetime64) else "timedelta64"
    item: object = value.item()
    if isinstance(item, int):
        try:
            micro = value.astype(f"{family}[us]")
            item = micro.item() if micro == value else None
        except (OverflowError, TypeError):
            item = None
    if isinstance(item, (date, timedelta)):
        return item
    raise ValueRefused(
        f"a {family} that is finer than a microsecond, or outside the years 1 to 9999",
        hint=f"round it with value.astype('{family}[us]')",
    )


def _from_pandas(value: Any) -> Any:
    if type(value).__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, (datetime, timedelta)):
        if getattr(value, "nanosecond", 0) or getattr(value, "nanoseconds", 0):
            raise ValueRefused(
                f"a {type(value).__name__} that is finer than a microsecond",
                hint="round it with value.round('us')",
            )
        convert = "to_pydatetime" if isinstance(value, datetime) else "to_pytimedelta"
        return getattr(value, convert)()
    return value
