"""NumPy arrays as bytes: a 64-byte frame, the blocks' checksums, the npy header, the payload in blocks.

::

    mark  version  crc  length | size  header  block  zeros | mark     64 bytes
    crc and stored length of each block
    npy header
    payload, block after block, each as it is or as a zstd frame of its own

The first ``crc`` covers the frame, the table and the header; each block has its own, so that a part of a
large array can be read and proved without the rest. Without compression, what follows the table is an npy
file. Version 1 had no table and one checksum over all; it is still read.

The mark stands at both ends of the frame, so that damage to one of them is noticed too. Bytes that carry a
mark are refused on the way in: an array and a blob are never taken for one another.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from ast import literal_eval
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from holdfast.errors import DatabaseError, MissingDependency, ValueRefused

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MARK = b"\x89HFNPY\r\n"
BLOCK = 1 << 18
MOST_BYTES = 1 << 32
"""An array that takes more is refused on the way out, unless the caller says otherwise."""

_FRAME = struct.Struct("<8sIIQQII16s8s")
_ENTRY = struct.Struct("<II")
_VERSION = 2
_FIRST_VERSION = 1
_MOST_HEADER, _MOST_BLOCK = 1 << 20, 1 << 26
_PACKED_PIECE = 1 << 22
_LONG = struct.Struct("<I")
_HEADERS = {(1, 0): (struct.Struct("<H"), "latin-1"), (2, 0): (_LONG, "latin-1"), (3, 0): (_LONG, "utf-8")}
_SAMPLE, _SAMPLES, _WORTH_IT = 1 << 14, 4, 0.8

Read = Callable[[int, int], Any]
"""``read(start, stop)``: these of the stored bytes."""


def has_mark(value: bytes) -> bool:
    """Return whether ``value`` is, or could be taken for, a framed array."""
    return value[:8] == MARK or value[56:64] == MARK


def is_array(value: Any) -> bool:
    """Return whether ``value`` is a NumPy array of any class, without importing NumPy."""
    if type(value).__module__.partition(".")[0] != "numpy":
        return False
    import numpy as np

    return isinstance(value, np.ndarray)


@dataclass(frozen=True, slots=True)
class Framed:
    """An array's stored form, which a binary column takes as it is; the payload is not copied."""

    parts: tuple[Any, ...]

    @property
    def length(self) -> int:
        return sum(map(len, self.parts))

    def joined(self) -> bytes:
        return b"".join(self.parts)


# Writing


def frame(array: NDArray[Any], compress: bool | str = False) -> bytes:
    """Return the stored form of ``array`` as bytes; see :func:`framed`."""
    return framed(array, compress).joined()


def framed(array: NDArray[Any], compress: bool | str = False) -> Framed:
    """Return the stored form of ``array``: dtype, shape, byte order and C or F order are kept.

    ``compress="auto"`` tries some of the array with zstd, where that is installed.

    Raises:
        ValueRefused: for Python objects, masks, and dtypes that the npy format does not bring back.
        MissingDependency: if ``compress`` is true and zstandard is not installed.
    """
    array = _plain(array)
    payload = _payload(array)
    header = _header(array)
    pack = _packer(payload, compress)
    blocks = [payload[at : at + BLOCK] for at in range(0, len(payload), BLOCK)]
    if pack is not None:
        blocks = [min(pack(block), block, key=len) for block in blocks]
    crc32 = _crc32()
    table = b"".join([_ENTRY.pack(crc32(block), len(block)) for block in blocks])
    # One copy of a whole payload is faster than many of its blocks.
    stored = blocks if pack is not None else [payload]
    length = len(header) + sum(map(len, blocks)) + len(table)
    fields = (length, len(payload), len(header), BLOCK, bytes(16), MARK)
    unproved = _FRAME.pack(MARK, _VERSION, 0, *fields)
    start = _FRAME.pack(MARK, _VERSION, _checksum(unproved, table + header), *fields)
    return Framed((start, table, header, *stored))


@cache
def _crc32() -> Callable[[Any], int]:
    """The same CRC-32 by the processor's own instructions, where zlib-ng is installed."""
    try:
        from zlib_ng.zlib_ng import crc32  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return zlib.crc32
    fast: Callable[[Any], int] = crc32
    return fast


def _checksum(start: Any, rest: Any) -> int:
    return zlib.crc32(rest, zlib.crc32(start[16:56]))


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    if type(array) is not np.ndarray and not isinstance(array, np.memmap):
        raise ValueRefused(
            f"the array is a {type(array).__name__}, of which only the plain values would come back",
            hint="pass numpy.asarray(value) if they are enough",
        )
    array = np.asarray(array)
    _check_dtype(array.dtype)
    return array if array.flags.c_contiguous or array.flags.f_contiguous else array.copy(order="C")


def _check_dtype(dtype: np.dtype[Any]) -> None:
    import numpy as np

    if dtype.hasobject:
        raise ValueRefused(
            "an array of Python objects cannot be stored",
            hint="give it a dtype, e.g. value.astype(float) or value.astype(str)",
        )
    # numpy.dtypes.StringDType and other new-style dtypes have no npy description.
    described = dtype.kind != "T" and dtype.metadata is None
    if not described or np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(dtype)) != dtype:
        raise ValueRefused(
            "the npy format does not bring this array's dtype back",
            hint="convert it with value.astype(), e.g. to a fixed-width string or a plain number",
        )


def _header(array: NDArray[Any]) -> bytes:
    import numpy as np

    described = np.lib.format.header_data_from_array_1_0(array)
    head = io.BytesIO()
    try:
        np.lib.format.write_array_header_1_0(head, described)
    except ValueError:
        # Field names beyond Latin-1, or very many fields: the third version of the format has room for them.
        text = f"{described!r}\n".encode()
        start = np.lib.format.magic(3, 0)
        text = text[:-1] + b" " * (-(len(start) + 4 + len(text)) % 64) + b"\n"
        return bytes(start) + _LONG.pack(len(text)) + text
    return head.getvalue()


def _payload(array: NDArray[Any]) -> memoryview:
    import numpy as np

    if array.size == 0 or array.dtype.itemsize == 0:
        return memoryview(b"")
    # A view of the bytes, in memory order; datetime64 offers no buffer of its own.
    flat = array.reshape(-1) if array.flags.c_contiguous else array.T.reshape(-1)
    view: memoryview = flat.view(np.uint8).data
    return view


def _packer(payload: memoryview, compress: bool | str) -> Callable[[memoryview], Any] | None:
    if compress is False:
        return None
    if compress != "auto" and compress is not True:
        raise ValueRefused("compress is neither True, False nor 'auto'")
    try:
        pack: Callable[[Any], bytes] = _zstandard().ZstdCompressor(level=1).compress
    except MissingDependency:
        if compress is True:
            raise
        return None
    return pack if compress is True or _pays(payload, pack) else None


def _pays(payload: memoryview, pack: Callable[[Any], bytes]) -> bool:
    step = len(payload) // _SAMPLES
    if step < _SAMPLE:
        return False
    samples = [payload[at : at + _SAMPLE] for at in range(0, step * _SAMPLES, step)]
    return sum(len(pack(sample)) for sample in samples) < _WORTH_IT * _SAMPLE * _SAMPLES


def _zstandard() -> Any:
    try:
        import zstandard  # type: ignore[import-not-found,unused-ignore]
    except ImportError as exc:
        raise MissingDependency("zstandard", "compress") from exc
    return zstandard


# Reading


def unframe(value: bytes) -> NDArray[Any]:
    """Return the array that ``value`` holds, read-only; without compression its payload is not copied.

    Raises:
        DatabaseError: if the bytes are not what was stored.
    """
    stored = memoryview(value)
    found = Stored(lambda start, stop: stored[start:stop], len(stored))
    return found.array()


class Stored:
    """A framed array, of which no more is read than what is asked for.

    ``piece`` is how much one call of ``read`` may ask for, where memory counts. The head is read and proved
    at once, so that dtype, shape and size are known before anything is allocated.
    """

    def __init__(self, read: Read, length: int, piece: int | None = None) -> None:
        self._read = read
        self.length = length
        self._piece = piece or max(length, 1)
        if length < _FRAME.size:
            raise _damaged("it is cut short")
        head = memoryview(read(0, min(length, 4096)))
        mark, version, crc, follows, size, header, block, zeros, second = _FRAME.unpack_from(head)
        if mark != MARK or second != MARK or any(zeros):
            raise _damaged("its frame is broken")
        if version not in (_FIRST_VERSION, _VERSION):
            raise DatabaseError(
                f"a stored array has format version {version}, this Holdfast reads {_VERSION}",
                hint="upgrade Holdfast, or read the row with the one that wrote it",
            )
        if _FRAME.size + follows != length:
            raise _damaged("its length is not what was stored")
        self._is_first = version == _FIRST_VERSION
        if self._is_first:
            self._open_first(crc, size or header or block)
        else:
            self._open(head, crc, size, header, block)
        if self.dtype.itemsize * math.prod(self.shape) != self.size:
            raise _damaged("its size is not that of its shape")

    def _open_first(self, crc: int, fields: int) -> None:
        if fields:
            raise _damaged("its frame is broken")
        found = 0
        for at in range(_FRAME.size, self.length, self._piece):
            found = zlib.crc32(self._read(at, min(at + self._piece, self.length)), found)
        if found != crc:
            raise _damaged("its checksum does not match")
        start = memoryview(self._read(_FRAME.size, min(self.length, _FRAME.size + _MOST_HEADER)))
        header, self.dtype, self.shape, self.is_fortran = _described(start)
        self._begin = _FRAME.size + header
        self.size, self.block, self._table = self.length - self._begin, 0, memoryview(b"")

    def _open(self, head: memoryview, crc: int, size: int, header: int, block: int) -> None:
        count = -(-size // block) if block else 0
        table = _FRAME.size + count * _ENTRY.size
        begin = table + header
        if not 0 < block <= _MOST_BLOCK or header > _MOST_HEADER or begin > self.length:
            raise _damaged("its frame is broken")
        if begin > len(head):
            head = memoryview(self._read(0, begin))
        if _checksum(head, head[_FRAME.size : begin]) != crc:
            raise _damaged("its checksum does not match")
        _, self.dtype, self.shape, self.is_fortran = _described(head[table:begin])
        self._table = head[_FRAME.size : table]
        self.size, self._begin, self.block = size, begin, block
        if begin + sum(self._lengths) != self.length:
            raise _damaged("its blocks do not fill it")

    @cached_property
    def _lengths(self) -> list[int]:
        return [length for _, length in _ENTRY.iter_unpack(self._table)]

    @property
    def _step(self) -> int:
        """How many blocks may be read at once."""
        # What is packed is unpacked into another place, so not all of it is held at once.
        piece = min(self._piece, _PACKED_PIECE) if self.is_compressed else self._piece
        return -(-piece // self.block)

    @property
    def is_compressed(self) -> bool:
        """Whether any block is stored in another length than its own."""
        return not self._is_first and sum(self._lengths) != self.size

    def array(self, most: int = MOST_BYTES) -> NDArray[Any]:
        """All of it, read-only, unless it takes more bytes than ``most``."""
        return self._shaped(0, self.size, self.shape, most)

    def part(self, start: int, stop: int, most: int = MOST_BYTES) -> NDArray[Any]:
        """The items ``start`` to ``stop`` along the first axis; in C order nothing else is read."""
        shape = (stop - start, *self.shape[1:])
        if self.is_fortran and len(shape) > 1:
            return self.array(most)[start:stop]
        row = self.dtype.itemsize * math.prod(shape[1:])
        return self._shaped(start * row, stop * row, shape, most)

    def verify(self) -> None:
        """Read all of it against its checksums, and keep nothing."""
        if not self._is_first:
            for _ in self._blocks(0, self.size):
                pass

    def _shaped(self, start: int, stop: int, shape: tuple[int, ...], most: int) -> NDArray[Any]:
        import numpy as np

        if stop - start > most:
            raise ValueRefused(
                f"the array takes {stop - start:,} bytes, and no more than {most:,} were to be read",
                hint="give load_array(..., max_bytes=) more, or read a part with rows=slice(start, stop)",
            )
        data = self._bytes(start, stop)
        order = "F" if self.is_fortran else "C"
        if self.dtype.itemsize == 0 or 0 in shape:
            found = np.empty(shape, self.dtype, order=order)  # type: ignore[call-overload]
        else:
            found = np.frombuffer(data, self.dtype).reshape(shape, order=order)  # type: ignore[call-overload]
        found.flags.writeable = False
        return found  # type: ignore[no-any-return]

    def _bytes(self, start: int, stop: int) -> Any:
        import numpy as np

        if self._is_first:
            return self._read(self._begin + start, self._begin + stop)
        pieces = self._blocks(start, stop)
        if not self.is_compressed and stop // self.block - start // self.block < self._step:
            return next(pieces, b"")
        whole = np.empty(stop - start, np.uint8)
        at = 0
        for piece in pieces:
            whole[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
            at += len(piece)
        return whole

    def _blocks(self, start: int, stop: int) -> Iterator[Any]:
        """The bytes ``start`` to ``stop`` of the payload, proved, in as large pieces as may be read."""
        first, last = start // self.block, -(-stop // self.block)
        at = self._begin + sum(self._lengths[:first])
        for here in range(first, last if stop > start else first, self._step):
            there = min(here + self._step, last)
            end = at + sum(self._lengths[here:there])
            piece = self._proved(memoryview(self._read(at, end)), here, there)
            at, origin = end, here * self.block
            yield piece[max(start - origin, 0) : stop - origin]

    def _proved(self, stored: memoryview, first: int, last: int) -> memoryview:
        """Check the blocks ``first`` to ``last``, and unpack those that are compressed."""
        crc32, blocks, at, packed = _crc32(), [], 0, False
        for number in range(first, last):
            crc, length = _ENTRY.unpack_from(self._table, number * _ENTRY.size)
            block = stored[at : at + length]
            at += length
            if len(block) != length or crc32(block) != crc:
                raise _damaged("its checksum does not match")
            own = min(self.block, self.size - number * self.block)
            packed = packed or length != own
            blocks.append(block if length == own else _unpacked(block, own))
        return memoryview(b"".join(blocks)) if packed else stored


def _unpacked(block: memoryview, length: int) -> bytes:
    zstandard = _zstandard()
    try:
        # A frame says itself how much it holds, and as much would be allocated.
        if zstandard.frame_content_size(block) == length:
            found: bytes = zstandard.ZstdDecompressor().decompress(block)
            return found
    except zstandard.ZstdError as exc:
        raise _damaged("a block of it cannot be unpacked") from exc
    raise _damaged("a block of it has another length than it should")


def _described(body: memoryview) -> tuple[int, np.dtype[Any], tuple[int, ...], bool]:
    """Read an npy header: its length, the dtype, the shape, and whether the order is Fortran's."""
    import numpy as np

    stream = io.BytesIO(body[:_MOST_HEADER])
    try:
        size, encoding = _HEADERS[np.lib.format.read_magic(stream)]
        (length,) = size.unpack(stream.read(size.size))
        found = literal_eval(stream.read(length).decode(encoding))
        shape, is_fortran = found["shape"], found["fortran_order"]
        dtype = np.lib.format.descr_to_dtype(found["descr"])
        counts = all(type(count) is int and count >= 0 for count in shape)
        if dtype.hasobject or type(shape) is not tuple or type(is_fortran) is not bool or not counts:
            raise ValueError
    except (ValueError, TypeError, KeyError, SyntaxError, MemoryError, RecursionError, struct.error) as exc:
        raise _damaged("its npy header is not valid") from exc
    return stream.tell(), dtype, shape, is_fortran


def _damaged(what: str) -> DatabaseError:
    return DatabaseError(
        f"a stored array is damaged: {what}",
        hint="restore the row from a backup; select the key alone to find it",
    )
