"""What each kind of column takes and gives back.

A value goes in only if it comes back equal; anything else raises ``ValueRefused`` with a hint. ``None``
always goes in, and ``NaT`` and ``NA`` as ``None``. NumPy scalars count as the Python value they hold.

===========  ===========================================  ==================================================
kind         goes in, and comes back as                   refused
===========  ===========================================  ==================================================
integer      int, bool, whole float to 2**53, whole       text, fractions, NaN, beyond the column's bits
             Decimal: int
float        float, exact int or Decimal: float           text; on SQLite NaN and -0.0, which it would change
text         str                                          anything else, NUL, lone surrogates, longer than
                                                          VARCHAR(n), not exactly the n of CHAR(n)
boolean      bool, 0, 1: bool                             anything else
decimal      Decimal, int, float as it prints: Decimal    NaN, Infinity, more digits than declared; on SQLite
                                                          what neither 64 bits nor 15-17 digits hold
date         date, ISO text: date                         datetime
time         time, ISO text: time                         a zone
timestamp    datetime, ISO text: datetime; on SQLite      a zone, a date, finer than declared or than a
             text that is no date stays text              microsecond
timestamptz  aware datetime, ISO text: the same in UTC    no zone, finer than declared or than a microsecond
json         dict, list, str, int, float, bool            tuples, keys that are no text, NaN, NUL; on
                                                          PostgreSQL -0.0; on SQLite a lone int over 64 bits
bytes        bytes, bytearray, memoryview: bytes; NumPy   text, arrays of objects, masked arrays, bytes that
             array: an equal array, read-only             carry an array's mark
uuid         UUID, its text: UUID                         anything else
other        SQLite: numbers, text, bytes; PostgreSQL:    on SQLite NaN, -0.0, and text that the declared type
             what the driver takes                        would make a number
===========  ===========================================  ==================================================

Text that another program stored in a SQLite column, and that is no value of its kind, comes back as it is.
"""

from holdfast.types.codec import Codec
from holdfast.types.kinds import Kind, KindName, classify, python_type_text
from holdfast.types.typemap import Storage, TypeMap

__all__ = ["Codec", "Kind", "KindName", "Storage", "TypeMap", "classify", "python_type_text"]
