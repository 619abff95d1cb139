"""Whatever the value: it comes back equal from SQLite, or it is refused."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from holdfast.errors import ValueRefused
from holdfast.types import Storage, TypeMap

PORTABLE, NATIVE = TypeMap(Storage.PORTABLE), TypeMap(Storage.NATIVE)
TYPES = [
    "INTEGER", "SMALLINT", "REAL", "FLOATING POINT", "TEXT", "VARCHAR(3)", "STRING", "BOOLEAN", "NUMERIC",
    "NUMERIC(6,2)", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "JSON", "BLOB", "UUID", "", "INTERVAL", "ANY",
]  # fmt: skip

numbers_as_text = st.text("0123456789+-.eE \t\n\v", max_size=8)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.decimals(),
    st.text(st.characters(), max_size=6),
    numbers_as_text,
    st.binary(max_size=8),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.none() | st.just(dt.UTC) | st.timezones()),
    st.uuids(),
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | numbers_as_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
ISO_TEXT_KINDS = {"date", "time", "timestamp", "timestamptz", "uuid"}


@pytest.fixture(scope="module")
def sqlite() -> Any:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for i, type_text in enumerate(TYPES):
        connection.execute(f"CREATE TABLE t{i} (v {type_text})")
    yield connection
    connection.close()


@given(index=st.integers(0, len(TYPES) - 1), value=scalars | json_values)
@settings(max_examples=1500, deadline=None)
def test_equal_or_refused(sqlite: sqlite3.Connection, index: int, value: Any) -> None:
    codec = PORTABLE.codec(TYPES[index])
    if value is None:
        return
    try:
        bound = value if type(value) in codec.passes else codec.encode(value)
        stored = sqlite.execute(f"INSERT INTO t{index} VALUES (?) RETURNING v", (bound,)).fetchone()[0]
    except ValueRefused:
        return
    except OverflowError:
        if type(value) is int and int in codec.passes:
            return
        raise
    found = codec.decode(stored) if codec.decode else stored
    if isinstance(value, str) and codec.kind.name in ISO_TEXT_KINDS and not isinstance(found, str):
        assert codec.encode(found) == bound
    elif codec.kind.name == "decimal" and isinstance(value, float):
        assert float(found) == value
    else:
        assert found == value


@given(value=json_values)
@settings(max_examples=500, deadline=None)
def test_json_text_for_the_server_reads_back_equal(value: Any) -> None:
    try:
        text = NATIVE.codec("jsonb").encode(value)
    except ValueRefused:
        return
    if text is not None:
        back = json.loads(text)
        assert back == value
        assert repr(back) == repr(value)


@given(
    array=hnp.arrays(
        hnp.scalar_dtypes() | hnp.array_dtypes(), hnp.array_shapes(min_dims=0, min_side=0, max_dims=3)
    )
)
@settings(max_examples=300, deadline=None)
def test_arrays_come_back(array: Any) -> None:
    codec = PORTABLE.codec("BLOB")
    found = codec.decode(codec.encode(array))
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == np.asarray(array).tobytes()
