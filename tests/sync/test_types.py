"""Values come over exactly, whichever way they go, or their row is set aside."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast.sync import Sync

COLUMNS = {
    "id": "UUID PRIMARY KEY",
    "whole": "BIGINT",
    "real": "DOUBLE PRECISION",
    "word": "TEXT",
    "flag": "BOOLEAN",
    "exact": "NUMERIC(20,4)",
    "day": "DATE",
    "hour": "TIME",
    "at": "TIMESTAMP",
    "moment": "TIMESTAMPTZ",
    "tree": "JSON",
    "raw": "BLOB",
    "other": "UUID",
}
ROWS: list[dict[str, Any]] = [
    {
        "whole": 2**63 - 1,
        "real": 0.1 + 0.2,
        "word": "naïve ☃ 'quoted' \"twice\"",
        "flag": True,
        "exact": Decimal("1234567.8900"),
        "day": date(1, 1, 1),
        "hour": time(23, 59, 59, 999999),
        "at": datetime(9999, 12, 31, 23, 59, 59, 999999),
        "moment": datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
        "tree": {"a": [1, 2.5, None, True, {"b": "c"}], "e": 1e22},
        "raw": bytes(range(256)),
        "other": uuid.UUID(int=2**128 - 1),
    },
    {"whole": -(2**63), "real": 5e-324, "word": "", "flag": False, "raw": b"", "tree": []},
    {"real": float("inf"), "word": "a\tb\n", "exact": Decimal("-0.0001"), "tree": "text", "flag": None},
    {"tree": 3, "raw": np.arange(12, dtype=">i4").reshape(3, 4)},
    {},
]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("start", ["here", "at the hub", "later"])
def test_all_types_come_over(start: str, local: holdfast.Database, hub: holdfast.Database) -> None:
    sides = (hub, local) if start == "at the hub" else (local, hub)
    source, target = sides
    source.create_table("things", COLUMNS)
    rows = [{"id": uuid.UUID(int=number), **row} for number, row in enumerate(ROWS, 1)]
    if start != "later":
        source.insert_many("things", rows)
    sync = Sync(local, hub)
    sync.enable()
    sync.run()
    if start == "later":
        source.insert_many("things", rows)
        sync.run()
    assert sync.status().quarantined == ()
    found = target.select("things", order_by="id")
    assert len(found) == len(ROWS)
    for row, wanted in zip(found, source.select("things", order_by="id"), strict=True):
        assert [name for name in COLUMNS if not same(row[name], wanted[name])] == []
    # What came over is what it was: nothing goes back, and no run finds anything to do.
    assert sync.run().pushed == 0
    assert sync.conflicts() == []


def test_types_of_postgres_alone(opened: Callable[[str], holdfast.Database]) -> None:
    local, hub = opened("postgres"), opened("postgres")
    local.execute(
        "CREATE TABLE things (id text PRIMARY KEY, many int[], span interval, net inet, small real, "
        "days daterange, plain json)"
    )
    sync = Sync(local, hub)
    sync.enable()
    local.execute(
        "INSERT INTO things VALUES ('a', '{1,2,NULL}', '1 month 2 days', '10.0.0.1/8', 0.1, "
        "'[2026-01-01,2026-02-01)', '{\"b\": 1, \"b\": 2}'), ('b', NULL, NULL, NULL, 'NaN', NULL, NULL)"
    )
    assert sync.run().quarantined == 0
    text = "SELECT things::text AS row FROM things ORDER BY id"
    assert hub.query(text) == local.query(text)
    hub.execute("UPDATE things SET many = '{4}', span = '1 mon' WHERE id = 'b'")
    assert sync.run().pulled == 1
    assert hub.query(text) == local.query(text)


def test_a_number_with_more_digits_than_sqlite_keeps(opened: Callable[[str], holdfast.Database]) -> None:
    local, hub = opened("sqlite"), opened("postgres")
    hub.create_table("prices", {"id": "TEXT PRIMARY KEY", "price": "NUMERIC"})
    sync = Sync(local, hub)
    sync.enable()
    hub.insert_many(
        "prices",
        [
            {"id": "long", "price": Decimal("0.1234567890123456789")},
            {"id": "short", "price": Decimal("0.5")},
        ],
    )
    assert sync.run().quarantined == 1
    (row,) = sync.status().quarantined
    assert (row.key, row.direction) == (("long",), "pull")
    assert "more digits" in row.reason
    assert local.select("prices") == [{"id": "short", "price": Decimal("0.5")}]
