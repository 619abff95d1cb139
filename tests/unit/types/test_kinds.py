from __future__ import annotations

import datetime as dt
import sqlite3
import subprocess
import sys
from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest

from holdfast.errors import InvalidQuery
from holdfast.types import Storage, TypeMap, classify, python_type_text
from holdfast.types.kinds import affinity

SPELLINGS = {
    "integer": ["INTEGER", "int", "BIGINT", "bigint", "SMALLINT", "serial", "BIGSERIAL", "UNSIGNED BIG INT"],
    "float": ["REAL", "FLOAT", "double precision", "DOUBLE", "float8", "FLOAT(53)"],
    "text": ["TEXT", "VARCHAR(50)", "character varying(50)", "character varying", "CHAR(3)",
             "character(3)", "CLOB"],
    "boolean": ["BOOLEAN", "bool"],
    "decimal": ["NUMERIC", "numeric(10,2)", "DECIMAL( 10 , 2 )", "NUMERIC(5)"],
    "date": ["DATE"],
    "time": ["TIME", "time without time zone", "time(3) without time zone"],
    "timestamp": ["DATETIME", "TIMESTAMP", "timestamp without time zone", "timestamp(3)  without time zone"],
    "timestamptz": ["TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE", "timestamp(0) with time zone"],
    "json": ["JSON", "jsonb"],
    "bytes": ["BLOB", "bytea", "BINARY(16)", "VARBINARY(20)"],
    "uuid": ["UUID", "uuid"],
    "other": ["", "integer[]", "numeric(10,2)[]", "text[]", "tsvector", "vector(3)", "interval", "inet",
              '"char"', "time with time zone", "money"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "spelling"), [(n, s) for n, all_ in SPELLINGS.items() for s in all_])
def test_both_dialects_spellings_are_one_kind(name: str, spelling: str) -> None:
    assert classify(spelling).name == name


def test_sizes_are_read() -> None:
    assert classify("VARCHAR(50)").length == 50
    assert classify("VARCHAR").length is None
    assert (classify("CHAR").length, classify("CHAR").fixed) == (1, True)
    assert (classify("numeric(10,2)").precision, classify("numeric(10,2)").scale) == (10, 2)
    assert (classify("numeric(10)").precision, classify("numeric(10)").scale) == (10, 0)
    assert (classify("numeric(3,-2)").precision, classify("numeric(3,-2)").scale) == (3, -2)
    assert classify("numeric").scale is None
    assert classify("timestamp(3) with time zone").precision == 3
    assert classify("SMALLINT").bits == 16


def test_integer_is_64_bits_except_in_the_servers_catalogue() -> None:
    portable, native = TypeMap(Storage.PORTABLE), TypeMap(Storage.NATIVE)
    assert portable.codec("INTEGER").kind.bits == 64
    assert native.codec("integer").kind.bits == 32
    assert native.codec("bigint").kind.bits == 64
    assert portable.codec("REAL").kind.bits == 64
    assert native.codec("real").kind.bits == 32
    assert native.codec("double precision").kind.bits == 64


@pytest.mark.parametrize(
    "type_text",
    [
        "",
        "INTEGER",
        "POINT",
        "VARCHAR(9)",
        "STRING",
        "BLOB",
        "REAL",
        "FLOATING POINT",
        "NUMERIC",
        "JSON",
        "INTERVAL",
    ],
)
def test_affinity_is_what_sqlite_does(type_text: str) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE t (v {type_text})")
    connection.execute("INSERT INTO t VALUES ('1'), ('1.5'), (7)")
    stored = tuple(row[0] for row in connection.execute("SELECT typeof(v) FROM t ORDER BY rowid"))
    connection.close()
    expected = {
        "integer": ("integer", "real", "integer"),
        "numeric": ("integer", "real", "integer"),
        "real": ("real", "real", "real"),
        "text": ("text", "text", "text"),
        "blob": ("text", "text", "integer"),
    }
    assert stored == expected[affinity(type_text)]


@pytest.mark.parametrize(
    ("python_type", "kind"),
    [
        (int, "integer"),
        (float, "float"),
        (str, "text"),
        (bool, "boolean"),
        (bytes, "bytes"),
        (np.ndarray, "bytes"),
        (dict, "json"),
        (list, "json"),
        (dt.datetime, "timestamp"),
        (dt.date, "date"),
        (dt.time, "time"),
        (Decimal, "decimal"),
        (UUID, "uuid"),
    ],
)
def test_python_types_declare_columns(python_type: type, kind: str) -> None:
    assert classify(python_type_text(python_type)).name == kind


def test_an_unknown_python_type_is_refused() -> None:
    with pytest.raises(InvalidQuery, match="complex"):
        python_type_text(complex)


def test_codecs_are_cached() -> None:
    types = TypeMap(Storage.PORTABLE)
    assert types.codec("VARCHAR(5)") is types.codec("VARCHAR(5)")


def test_neither_numpy_nor_a_driver_is_imported() -> None:
    code = (
        "import sys, datetime\n"
        "from holdfast.types import *\n"
        "types = TypeMap(Storage.PORTABLE)\n"
        "types.codec('JSON').encode({'a': 1}); types.codec('BLOB').encode(b'x')\n"
        "types.param(datetime.date.today())\n"
        "print([name for name in ('numpy', 'pandas', 'psycopg', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
