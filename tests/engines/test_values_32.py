"""Numbers in a 32-bit column of PostgreSQL come back as they went in."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast import Database
from holdfast.errors import ValueRefused

FLOATS = [0.1, 0.0, -0.0, 1.5, 3.4e38, 1e-40, float("inf"), 16777216.0]


@pytest.fixture
def t(db: Database, engine_name: str) -> Database:
    if engine_name == "sqlite":
        pytest.skip("REAL has 64 bits on SQLite")
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, r REAL)")
    return db


def test_floats_of_32_bits_come_back(t: Database) -> None:
    for number, value in enumerate(FLOATS):
        t.insert("t", {"id": number, "r": value})
    rows = t.select("t", order_by="id")
    assert [row["r"] for row in rows] == FLOATS
    t.delete("t", all_rows=True)
    many = [{"id": number, "r": value} for number, value in enumerate(FLOATS * 5)]
    assert t.insert_many("t", many) == len(many)
    assert t.select("t", order_by="id") == many
    t.insert("t", {"id": 99, "r": np.float32(0.1)})
    assert t.get("t", 99)["r"] == 0.1


def test_more_digits_than_32_bits_hold_are_refused(t: Database) -> None:
    for value in (0.123456789012, 16777217.0, 1e39, float(np.float32(0.1))):
        with pytest.raises(ValueRefused, match=r"t\.r"):
            t.insert("t", {"id": 1, "r": value})
