"""Dates, times and timestamps; SQLite keeps them as ISO text that sorts rightly."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any, TypeVar

from holdfast.errors import ValueRefused
from holdfast.types.codec import Codec, plain, wrong_type
from holdfast.types.kinds import Kind
from holdfast.types.text import kept_as_text, storable

T = TypeVar("T")

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6}0*)?)?")
_ZONE = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
_STAMP = re.compile(rf"{_DATE.pattern}(?:[T ]{_TIME.pattern}{_ZONE})?")


def date_portable(kind: Kind) -> Codec:
    """Store ``YYYY-MM-DD``; stored text that is no date stays text."""
    return _as_text(kind, _date, parse_date)


def date_native(kind: Kind) -> Codec:
    """Let the driver do it."""
    return Codec(kind, frozenset({date}), _date, None)


def time_portable(kind: Kind) -> Codec:
    """Store ``HH:MM:SS[.ffffff]``; stored text that is no time stays text."""
    return _as_text(kind, _time_of(kind), _parse_time)


def time_native(kind: Kind) -> Codec:
    """Hand the driver a time without zone, which PostgreSQL would otherwise drop."""
    return Codec(kind, frozenset(), _time_of(kind), None)


def timestamp_portable(kind: Kind) -> Codec:
    """Store ``YYYY-MM-DD HH:MM:SS[.ffffff]``; text that is no date goes in and stays text."""
    check = _naive_of(kind)

    def encode(value: Any) -> str | None:
        if isinstance(value, str) and parse_timestamp(value) is None:
            return kept_as_text(storable(str.__str__(value)), kind.affinity)
        found = check(value)
        return None if found is None else found.isoformat(" ")

    return Codec(kind, frozenset(), encode, _decode_timestamp)


def timestamp_native(kind: Kind) -> Codec:
    """Hand the driver a datetime without zone."""
    return Codec(kind, frozenset(), _naive_of(kind), None)


def timestamptz_portable(kind: Kind) -> Codec:
    """Store UTC as ``YYYY-MM-DD HH:MM:SS[.ffffff]+00:00``; text without a zone is read as UTC."""
    check = _aware_of(kind)

    def encode(value: Any) -> str | None:
        found = check(value)
        return None if found is None else found.isoformat(" ")

    return Codec(kind, frozenset(), encode, _decode_timestamptz)


def timestamptz_native(kind: Kind) -> Codec:
    """Hand the driver an aware datetime in UTC."""
    return Codec(kind, frozenset(), _aware_of(kind), None)


def parse_timestamp(text: str) -> datetime | None:
    """Return the datetime that ISO ``text`` writes; a date alone is its midnight, as PostgreSQL reads it."""
    return _parse(text, _STAMP, datetime.fromisoformat)


def parse_date(text: str) -> date | None:
    """Return the date that ``text`` writes as ``YYYY-MM-DD``, or ``None``."""
    return _parse(text, _DATE, date.fromisoformat)


def in_utc(value: datetime) -> datetime:
    """Return the aware ``value`` in UTC, or refuse it where that leaves the years 1 to 9999."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueRefused(
            "the time in UTC falls outside the years 1 to 9999", hint="use None for an open end"
        ) from None


def _parse_time(text: str) -> time | None:
    return _parse(text, _TIME, time.fromisoformat)


def _parse(text: str, form: re.Pattern[str], read: Callable[[str], T]) -> T | None:
    if form.fullmatch(text):
        try:
            return read(text)
        except ValueError:
            return None
    return None


def _as_text(kind: Kind, check: Callable[[Any], Any], parse: Callable[[str], Any]) -> Codec:
    def encode(value: Any) -> str | None:
        found = check(value)
        return None if found is None else found.isoformat()

    def decode(value: Any) -> Any:
        if type(value) is str:
            found = parse(value)
            return value if found is None else found
        return value

    return Codec(kind, frozenset(), encode, decode)


def _date(value: Any) -> date | None:
    value = plain(value)
    if value is None:
        return None
    if isinstance(value, str):
        found = parse_date(value)
        if found is None:
            raise ValueRefused("the text is no date", hint="pass a date, or text as YYYY-MM-DD")
        return found
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise wrong_type(value, "a date", "pass value.date(), or declare the column TIMESTAMP")


def _time_of(kind: Kind) -> Callable[[Any], time | None]:
    def encode(value: Any) -> time | None:
        value = plain(value)
        if isinstance(value, str):
            value = _parse_time(value)
            if value is None:
                raise ValueRefused("the text is no time", hint="pass a time, or text as HH:MM:SS")
        if value is None:
            return None
        if not isinstance(value, time):
            raise wrong_type(value, "a time", "pass value.time()")
        if value.tzinfo is not None:
            raise ValueRefused("a time with a zone would lose it", hint="pass value.replace(tzinfo=None)")
        _check_precision(value, kind)
        return value

    return encode


def _naive_of(kind: Kind) -> Callable[[Any], datetime | None]:
    def encode(value: Any) -> datetime | None:
        found = _datetime(value)
        if found is None:
            return None
        if found.tzinfo is not None:
            raise ValueRefused(
                "a datetime with a zone would lose it",
                hint="declare the column TIMESTAMPTZ, or pass value.astimezone(UTC).replace(tzinfo=None)",
            )
        _check_precision(found, kind)
        return found

    return encode


def _aware_of(kind: Kind) -> Callable[[Any], datetime | None]:
    def encode(value: Any) -> datetime | None:
        found = _datetime(value)
        if found is None:
            return None
        if found.utcoffset() is None:
            raise ValueRefused(
                "a datetime without a zone does not say which moment it is",
                hint="declare the column TIMESTAMP, or pass value.replace(tzinfo=UTC) or value.astimezone()",
            )
        _check_precision(found, kind)
        return in_utc(found)

    return encode


def _datetime(value: Any) -> datetime | None:
    if type(value) is datetime:
        return value
    value = plain(value)
    if value is None or isinstance(value, datetime):
        return value
    if isinstance(value, str):
        found = parse_timestamp(value)
        if found is None:
            raise ValueRefused(
                "the text is no timestamp", hint="pass a datetime, or text as YYYY-MM-DD HH:MM:SS[.ffffff]"
            )
        return found
    if isinstance(value, date):
        raise wrong_type(
            value, "a timestamp", "pass datetime.combine(value, time()), or declare the column DATE"
        )
    raise wrong_type(value, "a timestamp", "pass a datetime")


def _check_precision(value: datetime | time, kind: Kind) -> None:
    digits = kind.precision
    if digits is not None and digits < 6 and value.microsecond % 10 ** (6 - digits):
        raise ValueRefused(
            f"the fraction of a second has more than the {digits} digits declared",
            hint="round it, or declare the column without the digits",
        )


def _decode_timestamp(value: Any) -> Any:
    if type(value) is str:
        found = parse_timestamp(value)
        return value if found is None else found
    return value


def _decode_timestamptz(value: Any) -> Any:
    if type(value) is str:
        found = parse_timestamp(value)
        if found is None:
            return value
        # CURRENT_TIMESTAMP of SQLite is UTC and does not say so.
        try:
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except OverflowError:
            return value
    return value
