from __future__ import annotations

import io
import sqlite3
from typing import Any

import numpy as np
import pytest

from holdfast.errors import DatabaseError, ValueRefused
from holdfast.types import Storage, TypeMap
from holdfast.types.array import MARK

CODECS = [TypeMap(Storage.PORTABLE).codec("BLOB"), TypeMap(Storage.NATIVE).codec("bytea")]

ARRAYS: list[Any] = [
    np.arange(6, dtype="f8").reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype="i2").reshape(2, 3)),
    np.arange(24, dtype="u1").reshape(2, 3, 4).transpose(1, 0, 2),
    np.arange(10)[::3],
    np.array(5),
    np.array(np.datetime64("2024-05-06", "ns")),
    np.array(["2024-05-06", "NaT"], "M8[us]"),
    np.array([1, 2], "m8[10s]"),
    np.array([], "f4"),
    np.zeros((3, 0, 2), "c16"),
    np.zeros((0, 3), order="F"),
    np.arange(4, dtype=">i4"),
    np.array([np.nan, -0.0, np.inf], ">f8"),
    np.array([True, False]),
    np.array(["ü", "abc"]),
    np.array([b"a", b"\0b"]),
    np.array(["", ""], "U0") if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else np.array(["", ""]),
    np.array([(1, 2.5, "x")], [("a", "i4"), ("b", ">f8"), ("c", "U3")]),
    np.zeros(2, np.dtype([("a", "i1"), ("b", "f8", (2, 2))], align=True)),
    np.zeros(2, [("größe", "f4"), ("語", "i2")]),
    np.zeros(1, [(f"field_{i:04}", "f4") for i in range(4000)]),
    np.array([1 + 2j, 3], "c8"),
    np.array([1.5], np.float16),
    np.array([1.5], np.longdouble),
    np.frombuffer(b"abcdefgh", "V4"),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype.str}{a.shape}")
@pytest.mark.parametrize("codec", CODECS, ids=["sqlite", "postgres"])
def test_an_array_comes_back_exactly(codec: Any, array: Any) -> None:
    found = codec.decode(codec.encode(array))
    assert type(found) is np.ndarray
    assert found.dtype == array.dtype
    assert found.dtype.byteorder == array.dtype.byteorder
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()
    if array.flags.c_contiguous or array.flags.f_contiguous:
        assert found.flags.c_contiguous == array.flags.c_contiguous
        assert found.flags.f_contiguous == array.flags.f_contiguous


def test_through_sqlite_without_a_copy_of_the_payload() -> None:
    codec = CODECS[0]
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (v BYTEA)")
    connection.execute("INSERT INTO t VALUES (?)", (codec.encode(np.arange(1000.0)),))
    (stored,) = connection.execute("SELECT v FROM t").fetchone()
    connection.close()
    found = codec.decode(stored)
    assert found.tolist() == list(range(1000))
    assert np.shares_memory(found, np.frombuffer(stored, np.uint8))


def test_what_follows_the_frame_is_an_npy_file() -> None:
    array = np.arange(6).reshape(2, 3)
    stored = CODECS[0].encode(array)
    assert np.array_equal(np.load(io.BytesIO(stored[64:])), array)


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}], object),
        np.zeros(2, [("a", object)]),
        np.ma.masked_array([1, 2], [True, False]),
        np.zeros((2, 2)).view(np.matrix) if hasattr(np, "matrix") else None,
        np.zeros(2, np.dtype("f8", metadata={"unit": "m"})),
    ],
    ids=["object", "object field", "masked", "matrix", "metadata"],
)
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_what_would_not_come_back_is_refused(array: Any) -> None:
    with pytest.raises(ValueRefused) as refusal:
        CODECS[0].encode(array)
    assert refusal.value.hint


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="NumPy 1 has no StringDType")
def test_variable_strings_are_refused() -> None:
    with pytest.raises(ValueRefused, match="dtype"):
        CODECS[0].encode(np.array(["a"], np.dtypes.StringDType()))


def test_memory_mapped_arrays_go_in(tmp_path: Any) -> None:
    mapped = np.memmap(tmp_path / "a", "f4", "w+", shape=(3,))
    mapped[:] = 7
    assert CODECS[0].decode(CODECS[0].encode(mapped)).tolist() == [7, 7, 7]


def test_any_damaged_byte_raises() -> None:
    codec = CODECS[0]
    array = np.arange(5, dtype="i2")
    stored = codec.encode(array)
    for at in range(len(stored)):
        broken = bytearray(stored)
        broken[at] ^= 0x20
        with pytest.raises(DatabaseError):
            codec.decode(bytes(broken))
    for length in range(8, len(stored)):
        with pytest.raises(DatabaseError):
            codec.decode(stored[:length])
    with pytest.raises(DatabaseError):
        codec.decode(stored + b"x")


def test_bytes_are_never_taken_for_an_array() -> None:
    for value in (MARK, MARK + b"x" * 100, b"x" * 56 + MARK, CODECS[0].encode(np.zeros(1)), bytearray(MARK)):
        with pytest.raises(ValueRefused, match="mark"):
            CODECS[0].encode(value)
    assert CODECS[0].encode(b"x" + MARK) == b"x" + MARK
