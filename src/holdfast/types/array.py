"""NumPy arrays as bytes: a 64-byte frame, then the npy format.

The frame is the mark, a version, the CRC-32 and the length of what follows, zeros, and the mark again, so
that damage to one of the marks is noticed too. Bytes that carry a mark are refused on the way in: an
array and a blob are never taken for one another.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

from holdfast.errors import DatabaseError, ValueRefused

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MARK = b"\x89HFNPY\r\n"
_FRAME = struct.Struct("<8sIIQ32s8s")
_VERSION = 1
_MOST_HEADER = 1 << 20


def has_mark(value: bytes) -> bool:
    """Return whether ``value`` is, or could be taken for, a framed array."""
    return value[:8] == MARK or value[56:64] == MARK


def is_array(value: Any) -> bool:
    """Return whether ``value`` is a NumPy array of any class, without importing NumPy."""
    if type(value).__module__.partition(".")[0] != "numpy":
        return False
    import numpy as np

    return isinstance(value, np.ndarray)


def frame(array: NDArray[Any]) -> bytes:
    """Return the bytes of ``array``: dtype, shape, byte order and C or F order are kept.

    Raises:
        ValueRefused: for Python objects, masks, and dtypes that the npy format does not bring back.
    """
    import numpy as np

    if type(array) is not np.ndarray and not isinstance(array, np.memmap):
        raise ValueRefused(
            f"the array is a {type(array).__name__}, of which only the plain values would come back",
            hint="pass numpy.asarray(value) if they are enough",
        )
    array = np.asarray(array)
    _check_dtype(array.dtype)
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        array = array.copy(order="C")
    head = io.BytesIO()
    try:
        np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
    except ValueError:
        # Field names beyond Latin-1, or very many fields: the third version of the format has room for them.
        head = io.BytesIO()
        np.lib.format.write_array(head, array, version=(3, 0), allow_pickle=False)
        parts: tuple[Any, ...] = (head.getbuffer(),)
    else:
        parts = (head.getbuffer(), _payload(array))
    crc = length = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
        length += len(part)
    return b"".join((_FRAME.pack(MARK, _VERSION, crc, length, bytes(32), MARK), *parts))


def unframe(value: bytes) -> NDArray[Any]:
    """Return the array that ``value`` holds, read-only and without a copy of its payload.

    Raises:
        DatabaseError: if the bytes are not what was stored.
    """
    if len(value) < _FRAME.size:
        raise _damaged("it is cut short")
    mark, version, crc, length, zeros, second = _FRAME.unpack_from(value)
    if mark != MARK or second != MARK or any(zeros):
        raise _damaged("its frame is broken")
    if version != _VERSION:
        raise DatabaseError(
            f"a stored array has format version {version}, this Holdfast reads {_VERSION}",
            hint="upgrade Holdfast, or read the row with the one that wrote it",
        )
    body = memoryview(value)[_FRAME.size :]
    if len(body) != length:
        raise _damaged("its length is not what was stored")
    if zlib.crc32(body) != crc:
        raise _damaged("its checksum does not match")
    return _read(body)


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


def _payload(array: NDArray[Any]) -> Any:
    import numpy as np

    if array.size == 0 or array.dtype.itemsize == 0:
        return array.tobytes(order="A")
    # A view of the bytes, in memory order; datetime64 offers no buffer of its own.
    flat = array.reshape(-1) if array.flags.c_contiguous else array.T.reshape(-1)
    return flat.view(np.uint8).data


def _read(body: memoryview) -> NDArray[Any]:
    import numpy as np

    stream = io.BytesIO(body[:_MOST_HEADER])
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            return np.lib.format.read_array(
                io.BytesIO(body), allow_pickle=False, max_header_size=_MOST_HEADER
            )
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=_MOST_HEADER)
        payload = body[stream.tell() :]
        if dtype.itemsize == 0 or 0 in shape:
            return np.empty(shape, dtype, order="F" if fortran else "C")
        return np.frombuffer(payload, dtype).reshape(shape, order="F" if fortran else "C")
    except ValueError as exc:
        raise _damaged("its npy header is not valid") from exc


def _damaged(what: str) -> DatabaseError:
    return DatabaseError(
        f"a stored array is damaged: {what}",
        hint="restore the row from a backup; select the key alone to find it",
    )
