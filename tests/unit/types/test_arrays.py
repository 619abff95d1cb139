from __future__ import annotations

import io
import sqlite3
import struct
import sys
import tracemalloc
import warnings
import zlib
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from holdfast.errors import DatabaseError, MissingDependency, ValueRefused
from holdfast.types import Storage, TypeMap
from holdfast.types.array import BLOCK, MARK, Stored, frame, unframe

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


def test_what_follows_the_table_is_an_npy_file() -> None:
    array = np.arange(6).reshape(2, 3)
    stored = CODECS[0].encode(array)
    assert np.array_equal(np.load(io.BytesIO(stored[64 + 8 :])), array)


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


def first_frame(array: Any) -> bytes:
    """An array as the first version of the format had it."""
    body = io.BytesIO()
    np.lib.format.write_array(body, array, allow_pickle=False)
    data = body.getvalue()
    start = struct.pack("<8sIIQ32s8s", MARK, 1, zlib.crc32(data), len(data), bytes(32), MARK)
    return start + data


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype.str}{a.shape}")
def test_frames_of_the_first_version_are_read(array: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        stored = first_frame(array)
    found = CODECS[0].decode(stored)
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())
    if array.ndim:
        assert (
            Stored(lambda a, b: stored[a:b], len(stored), 100).part(0, len(array)).tobytes()
            == array.tobytes()
        )
    for at in range(0, len(stored), 1 + len(stored) // 300):
        broken = bytearray(stored)
        broken[at] ^= 1
        with pytest.raises(DatabaseError):
            unframe(bytes(broken))


def head(size: int, block: int, shape: str, entries: list[tuple[int, int]], body: bytes = b"") -> bytes:
    """A frame whose checksum is right and whose words are lies."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header = np.lib.format.magic(1, 0) + struct.pack("<H", len(text) + 1) + text + b"\n"
    table = b"".join(struct.pack("<II", *entry) for entry in entries)
    length = len(header) + len(body) + len(table)
    tail = struct.pack("<QQII16s", length, size, len(header), block, bytes(16))
    crc = zlib.crc32(table + header, zlib.crc32(tail))
    return struct.pack("<8sII", MARK, 2, crc) + tail + MARK + table + header + body


@pytest.mark.parametrize(
    "stored",
    [
        head(2**40, 2**31, f"({2**37},)", [(0, 8)] * 512, bytes(4096)),
        head(2**40, 2**26, f"({2**37},)", [(0, 1)] * 2**14, bytes(2**14)),
        head(2**40, 2**31, f"({2**37},)", []),
        head(8, 8, "(1, -1, -1)", [(zlib.crc32(bytes(8)), 8)], bytes(8)),
        head(8, 8, "(2,)", [(zlib.crc32(bytes(8)), 8)], bytes(8)),
        head(8, 8, "(1,)", [(zlib.crc32(bytes(8)), 2**32 - 1)], bytes(8)),
        head(8, 8, "(True,)", [(zlib.crc32(bytes(8)), 8)], bytes(8)),
        head(8, 0, "(1,)", [(zlib.crc32(bytes(8)), 8)], bytes(8)),
        head(2**63, 1, f"({2**60},)", []),
    ],
)
def test_a_frame_that_lies_is_refused_before_memory_is_taken(stored: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises((DatabaseError, ValueRefused)):
            unframe(stored)
        assert tracemalloc.get_traced_memory()[1] < 1 << 21
    finally:
        tracemalloc.stop()


def test_a_frame_that_tells_the_truth_is_read() -> None:
    stored = head(8, 8, "(1,)", [(zlib.crc32(bytes(8)), 8)], bytes(8))
    assert unframe(stored).tolist() == [0.0]


@pytest.mark.parametrize("extra", [-9, -8, -1, 0, 1, 8, 9])
@pytest.mark.parametrize("piece", [None, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK])
def test_arrays_of_any_number_of_blocks(extra: int, piece: int | None) -> None:
    array = np.random.default_rng(0).integers(0, 256, 3 * BLOCK + extra, dtype=np.uint8)
    for compress in (False, True) if find_spec("zstandard") else (False,):
        stored = frame(array, compress)
        found = Stored(lambda start, stop, stored=stored: stored[start:stop], len(stored), piece)
        np.testing.assert_array_equal(found.array(), array)
        for start, stop in ((0, 5), (3, BLOCK), (BLOCK - 1, BLOCK + 1), (7, 2 * BLOCK + 7), (9, len(array))):
            np.testing.assert_array_equal(found.part(start, stop), array[start:stop])
        found.verify()


def test_a_part_is_read_and_proved_without_the_rest() -> None:
    array = np.arange(4 * BLOCK // 8 * 3, dtype="f8").reshape(-1, 3)
    for compress in (False, True):
        if compress:
            pytest.importorskip("zstandard")
        stored = bytearray(frame(array, compress))
        read: list[int] = []

        def reader(start: int, stop: int, stored: bytearray = stored, read: list[int] = read) -> bytes:
            read.append(stop - start)
            return bytes(stored[start:stop])

        found = Stored(reader, len(stored), 2 * BLOCK)
        np.testing.assert_array_equal(found.part(20_000, 20_010), array[20_000:20_010])
        assert sum(read) < 3 * BLOCK
        np.testing.assert_array_equal(found.part(5, len(array) - 5), array[5:-5])
        np.testing.assert_array_equal(found.array(), array)
        stored[64 + 12 * 8 + 128 + 100] ^= 4
        np.testing.assert_array_equal(found.part(len(array) - 5, len(array)), array[-5:])
        for damaged in (partial(found.part, 0, 1), found.array, found.verify):
            with pytest.raises(DatabaseError, match="damaged"):
                damaged()


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype.str}{a.shape}")
def test_compressed_arrays_come_back_exactly(array: Any) -> None:
    pytest.importorskip("zstandard")
    found = unframe(frame(array, True))
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_compression_is_tried_and_kept_where_it_pays() -> None:
    pytest.importorskip("zstandard")
    noise = np.random.default_rng(0).random(100_000)
    assert len(frame(np.zeros(100_000), "auto")) < 20_000
    assert len(frame(np.zeros(100_000), False)) > 800_000
    assert frame(noise, "auto") == frame(noise, False)
    assert len(frame(np.zeros(3), "auto")) == len(frame(np.zeros(3), False))
    with pytest.raises(ValueRefused, match="auto"):
        frame(noise, "yes")


def test_a_compressed_block_that_unpacks_to_more_is_refused() -> None:
    zstandard = pytest.importorskip("zstandard")
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 24))
    entry = (zlib.crc32(bomb), len(bomb))
    assert len(bomb) < 8192
    with pytest.raises(DatabaseError, match="length"):
        unframe(head(8192, 8192, "(1024,)", [entry], bomb))
    with pytest.raises(DatabaseError, match="block"):
        unframe(head(8192, 8192, "(1024,)", [(zlib.crc32(b"x" * 10), 10)], b"x" * 10))


def test_without_zstandard_only_what_needs_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zstandard")
    packed = frame(np.zeros(100_000), True)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert frame(np.zeros(100_000), "auto") == frame(np.zeros(100_000), False)
    for work in (lambda: frame(np.zeros(9), True), lambda: unframe(packed)):
        with pytest.raises(MissingDependency, match=r"holdfast\[compress\]"):
            work()


def test_the_fast_checksum_is_the_same_one() -> None:
    fast = pytest.importorskip("zlib_ng.zlib_ng", reason="zlib-ng is not installed")
    for length in (0, 1, 63, 64, 65, BLOCK):
        data = np.random.default_rng(length).bytes(length)
        assert fast.crc32(memoryview(data)) == zlib.crc32(data)
