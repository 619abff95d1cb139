"""Files by their extension: every type comes back through every format, a bad file changes nothing."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import errors
from holdfast.io import formats

PLAIN = ("csv", "tsv", "jsonl", "ndjson", "json", "parquet", "feather", "arrow")
PACKED = tuple(f"{name}.{packed}" for name in ("csv", "tsv", "jsonl", "json") for packed in ("gz", "zst"))
TYPES = {
    "id": "INTEGER PRIMARY KEY",
    "i": "INTEGER",
    "f": "REAL",
    "t": "TEXT",
    "v": "VARCHAR(20)",
    "b": "BOOLEAN",
    "n": "NUMERIC(12,3)",
    "m": "NUMERIC",
    "d": "DATE",
    "h": "TIME",
    "s": "TIMESTAMP",
    "z": "TIMESTAMPTZ",
    "j": "JSON",
    "x": "BLOB",
    "u": "UUID",
}
FULL = {
    "id": 1,
    "i": -(2**63),
    "f": 0.1 + 0.2,
    "t": 'a "quote", a comma,\r\na line, a \\ and ünïcödé 🌊 % %s',
    "v": "",
    "b": True,
    "n": Decimal("-1.500"),
    "m": Decimal("12345.678901"),
    "d": date(1, 1, 1),
    "h": time(12, 30, 0, 5),
    "s": datetime(9999, 12, 31, 23, 59, 59, 999999),
    "z": datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "j": {"a": [1, 2.5, None, "x,y", 1e22], "b": {"ü": '"', "d": -0.125}},
    "x": b"\x00\xff,\n",
    "u": UUID("12345678123456781234567812345678"),
}
NULLS = {**dict.fromkeys(FULL), "id": 2}


@pytest.fixture
def every(db):
    db.create_table("t", TYPES)
    db.insert_many("t", [FULL, NULLS, {**FULL, "id": 3, "t": "NA", "j": "text", "f": -5e-324, "x": b""}])
    return db


@pytest.mark.parametrize("extension", PLAIN + PACKED)
def test_every_type_comes_back(every, tmp_path, extension):
    path = tmp_path / f"t.{extension}"
    assert every.export("t", path, order_by="id") == 3
    every.create_table("copy", TYPES)
    assert every.load("copy", path) == 3
    assert every.select("copy", order_by="id") == every.select("t", order_by="id")
    assert [type(value) for value in every.get("copy", 1).values()] == [type(v) for v in FULL.values()]
    assert sorted(path.name for path in tmp_path.iterdir() if "sqlite" not in path.name) == [path.name]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('abü"\\%', max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
floats = st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x != 0.0) | st.just(0.0)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "i": st.none() | st.integers(-(2**63), 2**63 - 1),
            "f": st.none() | floats,
            "t": st.none() | texts,
            "v": st.none() | texts,
            "b": st.none() | st.booleans(),
            "n": st.none() | st.decimals(-99_999, 99_999, places=3, allow_nan=False),
            "m": st.none() | st.decimals(-99_999, 99_999, places=5, allow_nan=False),
            "d": st.none() | st.dates(),
            "h": st.none() | st.times(),
            "s": st.none() | st.datetimes(),
            "z": st.none() | st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC)),
            "j": json_values.filter(lambda value: value is not None) | st.none(),
            "x": st.none() | st.binary(max_size=7),
            "u": st.none() | st.uuids(),
        }
    ),
    max_size=5,
)


@pytest.mark.parametrize("extension", ["csv", "jsonl", "json", "parquet", "feather"])
def test_any_rows_come_back(db, tmp_path, extension):
    path = tmp_path / f"t.{extension}"
    for name in ("t", "copy"):
        db.create_table(name, TYPES)

    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(rows)
    def check(given_rows):
        with db.transaction():
            db.delete("t", all_rows=True)
            db.insert_many("t", [{**row, "id": number} for number, row in enumerate(given_rows)])
        wanted = db.select("t", order_by="id")
        assert db.export("t", path) == len(given_rows)
        assert db.load("copy", path, if_exists="replace") == len(given_rows)
        assert db.select("copy", order_by="id") == wanted

    check()


@pytest.mark.parametrize("extension", PLAIN)
def test_an_empty_table_comes_back_empty(db, tmp_path, extension):
    path = tmp_path / f"t.{extension}"
    db.create_table("t", TYPES)
    assert db.export("t", path) == 0
    db.create_table("copy", TYPES)
    db.insert("copy", FULL)
    assert db.load("copy", path, if_exists="replace") == 0
    assert db.count("copy") == 0


@pytest.mark.parametrize("extension", ["csv", "jsonl", "json", "parquet", "feather"])
def test_arrays_come_back(db, tmp_path, extension):
    array = np.arange(6, dtype=">i2").reshape(2, 3)
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "data": "BLOB"})
    db.insert("t", {"id": 1, "data": array})
    db.export("t", tmp_path / f"t.{extension}")
    db.create_table("copy", {"id": "INTEGER PRIMARY KEY", "data": "BLOB"})
    db.load("copy", tmp_path / f"t.{extension}")
    found = db.get("copy", 1)["data"]
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


@pytest.mark.parametrize("extension", ["csv", "jsonl", "json", "parquet", "feather"])
def test_numbers_that_are_none_come_back(db, engine_name, tmp_path, extension):
    values = [float("inf"), float("-inf"), 1e308] + ([float("nan"), -0.0] if engine_name != "sqlite" else [])
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "f": "REAL"})
    db.insert_many("t", [{"id": number, "f": value} for number, value in enumerate(values)])
    db.export("t", tmp_path / f"t.{extension}")
    db.create_table("copy", {"id": "INTEGER PRIMARY KEY", "f": "REAL"})
    db.load("copy", tmp_path / f"t.{extension}")
    assert [repr(row["f"]) for row in db.select("copy", order_by="id")] == list(map(repr, values))


@pytest.mark.parametrize("extension", ["csv", "jsonl", "json", "parquet"])
def test_a_query_is_written(every, tmp_path, extension):
    path = tmp_path / f"q.{extension}"
    sql = "SELECT id, t AS words, 1 + 1 AS two FROM t WHERE id > ?"
    assert every.export(sql, path, [1]) == 2
    every.load("q", path)
    assert [row["two"] for row in every.select("q")] == [2, 2]
    assert [row["words"] for row in every.select("q", order_by="id")] == [None, "NA"]


@pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet"])
def test_a_part_of_a_table_is_written(every, tmp_path, extension):
    path = tmp_path / f"p.{extension}"
    asked = {"columns": ["id", "t"], "where": "id >= ?", "params": [1], "order_by": "id DESC", "limit": 2}
    assert every.export("t", path, **asked) == 2
    every.load("p", path)
    assert every.select("p", order_by="id") == [{"id": 2, "t": None}, {"id": 3, "t": "NA"}]


def test_the_files_are_what_others_read(every, tmp_path):
    every.export("t", tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())[1] == NULLS
    every.export("t", tmp_path / "t.jsonl.gz")
    lines = gzip.decompress((tmp_path / "t.jsonl.gz").read_bytes()).decode().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1, 2, 3]
    every.export("t", tmp_path / "t.parquet")
    assert pq.read_table(tmp_path / "t.parquet")["n"].to_pylist()[0] == Decimal("-1.500")
    every.export("t", tmp_path / "t.tsv")
    assert (tmp_path / "t.tsv").read_text().splitlines()[0].split("\t") == list(TYPES)


def test_objects_may_differ_in_their_keys(db, tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('\ufeff{"a": 1}\n\n{"b": "x", "a": 2.5}\n{"c": [1, {"d": null}]}\n{"b": null}\n')
    assert db.load("t", path) == 4
    assert db.select("t", order_by="a") == [
        {"a": 1.0, "b": None, "c": None},
        {"a": 2.5, "b": "x", "c": None},
        {"a": None, "b": None, "c": [1, {"d": None}]},
        {"a": None, "b": None, "c": None},
    ]
    db.create_table("d", {"a": "REAL", "b": "TEXT DEFAULT 'given'", "c": "JSON"})
    db.load("d", path)
    assert sorted(str(row["b"]) for row in db.select("d")) == ["None", "given", "given", "x"]


def test_a_json_array_may_look_like_anything(db, tmp_path):
    path = tmp_path / "t.json"
    wide = "x" * 700_000
    path.write_text(f' \n[ {{"a":1,"t":"{wide}"}}\n\n,\t{{"a":2,"t":"]}},{{"}}]\n ')
    assert db.load("t", path) == 2
    assert [len(row["t"]) for row in db.select("t", order_by="a")] == [700_000, 4]


def test_decimals_keep_their_digits(db, engine_name, tmp_path):
    number = "12345678901234567890.12345678901234567890" if engine_name != "sqlite" else "1234567.125"
    (tmp_path / "t.json").write_text(f'[{{"n": {number}, "j": {{"x": 1.5}}, "f": 1e3}}]')
    db.create_table("t", {"n": "NUMERIC", "j": "JSON", "f": "REAL"})
    db.load("t", tmp_path / "t.json")
    assert db.select("t") == [{"n": Decimal(number), "j": {"x": 1.5}, "f": 1000.0}]


@pytest.mark.parametrize("extension", ["jsonl", "json", "parquet", "csv"])
def test_columns_that_the_table_lacks(db, tmp_path, extension):
    path = tmp_path / f"t.{extension}"
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "nmae": "TEXT"})
    db.insert("t", {"id": 1, "nmae": "x"})
    db.export("t", path)
    db.create_table("few", {"id": "INTEGER PRIMARY KEY", "name": "TEXT"})
    with pytest.raises(errors.ColumnNotFound, match="did you mean 'name'"):
        db.load("few", path)
    assert db.load("few", path, extra_columns="ignore") == 1
    assert db.load("few", path, "replace", extra_columns="add") == 1
    assert db.select("few") == [{"id": 1, "name": None, "nmae": "x"}]


def test_if_exists(every, tmp_path):
    path = tmp_path / "t.parquet"
    every.export("t", path)
    with pytest.raises(errors.TableExists):
        every.load("t", path, "fail")
    with pytest.raises(errors.UniqueViolation):
        every.insert("t", FULL)
    with pytest.raises(errors.ImportFailed, match=r"t\.parquet, row 1"):
        every.load("t", path)
    assert every.load("t", path, "replace") == 3
    with pytest.raises(errors.InvalidQuery, match="if_exists"):
        every.load("t", path, "sometimes")


BAD = {
    "empty.csv": b"",
    "empty.jsonl": b"",
    "empty.json": b"",
    "empty.parquet": b"",
    "empty.feather": b"",
    "latin.jsonl": b'{"id": 7}\n{"id": 8, "t": "\xe9"}\n',
    "latin.json": b'[{"id": 7, "t": "\xe9"}]',
    "latin.csv": b"id,t\n7,\xe9\n",
    "cut.jsonl": b'{"id": 7}\n{"id": 8',
    "cut.json": b'[{"id": 7}, {"id": 8}',
    "cut.jsonl.gz": gzip.compress(b'{"id": 7}\n' * 5_000)[:-9],
    "no.csv.gz": b"id,t\n1,x\n",
    "no.csv.zst": b"id,t\n1,x\n",
    "no.parquet": b"PAR1 this is none PAR1",
    "no.feather": b"ARROW1 this is none ARROW1",
    "object.json": b'{"id": 7}\n{"id": 8}\n',
    "two.json": b'[{"id": 7}] [{"id": 8}]',
    "comma.json": b'[{"id": 7},]',
    "list.jsonl": b'{"id": 7}\n[8]\n',
    "twice.jsonl": b'{"id": 7, "id": 8}\n',
    "nan.jsonl": b'{"id": 7, "f": NaN}\n',
    "large.jsonl": b'{"id": 7, "f": 1e999}\n',
    "deep.json": b'[{"id": 7, "j": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
    "beyond.jsonl": b'{"id": 7}\n{"id": 9223372036854775808}\n',
    "fraction.json": b'[{"id": 7}, {"id": 7.5}]',
    "word.jsonl": b'{"id": 7}\n{"id": "seven"}\n',
    "nul.jsonl": b'{"id": 7, "t": "a\\u0000b"}\n',
    "key.jsonl": b'{"id": 7}\n{"id": 7}\n',
}
SAYS = {
    "latin.jsonl": "byte 26",
    "latin.json": "byte 17",
    "cut.jsonl": "line 2",
    "cut.json": "object 2",
    "object.json": "format='jsonl'",
    "list.jsonl": "line 2: an object is needed, not an array",
    "beyond.jsonl": "line 2: .*64 bits",
    "fraction.json": "object 2: .*id",
    "word.jsonl": "line 2: .*id",
    "nul.jsonl": "line 1: .*NUL",
    "key.jsonl": "line 2",
    "large.jsonl": "column 'f'",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_changes_nothing(every, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(BAD[name])
    before = every.select("t", order_by="id")
    with pytest.raises(errors.ImportFailed, match=SAYS.get(name, name.split(".")[0])) as caught:
        every.load("t", path, if_exists="replace")
    assert str(path) in caught.value.message
    assert every.select("t", order_by="id") == before
    assert "seven" not in caught.value.message


def table_of(**columns):
    return pa.table(columns)


BAD_ARROW = {
    "nested": (table_of(id=[7], j=[{"a": 1}]), "column 'j' is nested"),
    "list": (table_of(id=[7], x=[[1]]), "column 'x' is nested"),
    "duration": (table_of(id=[7], i=pa.array([1], pa.duration("s"))), "column 'i' cannot go"),
    "uint64": (table_of(id=pa.array([7, 2**63], pa.uint64())), "row 2: .*64 bits"),
    "nan": (table_of(id=[7.0, float("nan")]), "row 2: .*id"),
    "nul": (table_of(id=[7], t=["a\0b"]), "row 1: .*NUL"),
    "nanoseconds": (table_of(id=[7], s=pa.array([1], pa.timestamp("ns"))), "column 's'"),
    "year": (table_of(id=[7], s=pa.array([2**61], pa.timestamp("us"))), "column 's'"),
    "text": (table_of(id=[7], i=["x"]), "row 1: .*i"),
    "json": (table_of(id=[7], j=["{"]), "column 'j'"),
    "names": (pa.table([[1], [2]], names=["id", "id"]), "two columns are named 'id'"),
}


@pytest.mark.parametrize("extension", ["parquet", "feather"])
@pytest.mark.parametrize("name", BAD_ARROW)
def test_a_bad_arrow_file_changes_nothing(every, tmp_path, extension, name):
    table, says = BAD_ARROW[name]
    path = tmp_path / f"{name}.{extension}"
    with pa.OSFile(str(path), "wb") as file:
        if extension == "parquet":
            pq.write_table(table, file)
        else:
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
    before = every.select("t", order_by="id")
    with pytest.raises(errors.ImportFailed, match=says):
        every.load("t", path, if_exists="replace")
    assert every.select("t", order_by="id") == before


@pytest.mark.parametrize("extension", [*PLAIN, "csv.gz", "json.zst"])
def test_a_folder_and_a_missing_file(every, tmp_path, extension):
    folder = tmp_path / f"folder.{extension}"
    folder.mkdir()
    with pytest.raises(errors.ImportFailed, match="cannot be read: Is a directory"):
        every.load("t", folder)
    with pytest.raises(errors.ConfigurationError, match="is a folder"):
        every.export("t", folder)
    with pytest.raises(errors.ImportFailed, match="cannot be read: No such file"):
        every.load("t", tmp_path / f"none.{extension}")


def test_names_that_mean_no_format(every, tmp_path):
    for name in ("t.xlsx", "t", "t.gz", "t.xlsx.gz"):
        for call in (every.export, every.load):
            with pytest.raises(errors.ConfigurationError, match=r"\.csv, .*\.parquet"):
                call("t", tmp_path / name)
    with pytest.raises(errors.ConfigurationError, match="packed already"):
        every.export("t", tmp_path / "t.parquet.gz")
    with pytest.raises(errors.ConfigurationError, match=r"unknown format 'xml'.*jsonl"):
        every.export("t", tmp_path / "t.xml", format="xml")
    with pytest.raises(errors.InvalidQuery, match="parquet has no option 'rejects'"):
        every.load("t", tmp_path / "t.parquet", rejects="r")
    with pytest.raises(errors.InvalidQuery, match="json has no option 'delimiter'"):
        every.export("t", tmp_path / "t.json", delimiter=";")
    assert every.export("t", tmp_path / "t.txt", format="jsonl") == 3
    assert every.load("u", tmp_path / "t.txt", format="ndjson") == 3


@pytest.mark.parametrize("extension", PLAIN + PACKED)
def test_a_full_disk_leaves_the_old_file(every, tmp_path, extension):
    with every.transaction():
        every.insert_many("t", [{"id": n, "x": np.random.default_rng(n).bytes(500)} for n in range(10, 500)])
    path = tmp_path / "out" / f"t.{extension}"
    path.parent.mkdir()
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(errors.ConfigurationError, match="cannot be written"):
            every.export("t", path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("extension", ["jsonl", "json", "parquet", "feather"])
def test_a_value_without_a_form_leaves_the_old_file(db, engine_name, tmp_path, extension):
    path = tmp_path / f"t.{extension}"
    path.write_text("old")
    if engine_name == "sqlite":
        db.execute("CREATE TABLE t (id INTEGER, a)")
        db.execute("INSERT INTO t VALUES (1, 'x'), (2, x'00')")
    else:
        db.execute("CREATE TABLE t (id INTEGER, a INTERVAL)")
        db.execute("INSERT INTO t VALUES (1, '1 day')")
    with pytest.raises(errors.NotSupported, match="column 'a' holds"):
        db.export("t", path)
    assert path.read_text() == "old"


MEMORY = """
import resource, sys
import holdfast
import pyarrow, pyarrow.parquet
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with holdfast.connect(sys.argv[1]) as db:
    db.create_table("copy", {"id": "INTEGER PRIMARY KEY", "t": "TEXT", "f": "REAL"})
    list(db.stream("SELECT 1 AS one"))
    db.to_arrow("SELECT 1 AS one")
    before = peak()
    assert db.export("t", sys.argv[2]) == 300_000
    assert db.load("copy", sys.argv[2], progress=False) == 300_000
    print(peak() - before)
"""


@pytest.mark.parametrize("extension", ["jsonl", "json.zst", "parquet", "feather"])
def test_memory_stays_flat(db, url, engine_name, tmp_path, extension):
    if engine_name == "debian":
        pytest.skip("the client is the same as on the embedded server")
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "t": "TEXT", "f": "REAL"})
    series = (
        "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 300000) "
        "INSERT INTO t SELECT i, 'a text of some length, number ' || i || ' of them', i / 7.0 FROM s"
    )
    db.execute(series)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, url, str(tmp_path / f"t.{extension}")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 * 1024
    assert db.execute("SELECT count(*) FROM (SELECT * FROM t EXCEPT SELECT * FROM copy) AS d").scalar() == 0


def test_the_formats_of_the_contract():
    assert [form.name for form in formats.FORMATS] == ["csv", "tsv", "jsonl", "json", "parquet", "feather"]
    assert formats.format_of(Path("A.JSONL.GZ")).name == "jsonl"


def test_an_error_in_the_caller_is_not_the_files(db, tmp_path):
    db.create_table("t", {"id": "INTEGER"})
    db.insert("t", {"id": 1})
    db.export("t", tmp_path / "t.jsonl")
    with holdfast.connect(f"sqlite:///{tmp_path}/ro.db") as made:
        made.create_table("t", {"id": "INTEGER"})
    with (
        holdfast.connect(f"sqlite:///{tmp_path}/ro.db", read_only=True) as fixed,
        pytest.raises(errors.ReadOnlyError),
    ):
        fixed.load("t", tmp_path / "t.jsonl")


WIDE = """
import resource, sys
import holdfast
import pyarrow, pyarrow.parquet
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with holdfast.connect(sys.argv[1]) as db:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "x": "BLOB"})
    db.create_table("copy", {"id": "INTEGER PRIMARY KEY", "x": "BLOB"})
    db.insert_many("t", ({"id": n, "x": bytes([n % 256, n % 7]) * 50_000} for n in range(2_000)))
    before = peak()
    assert db.export("t", sys.argv[2]) == 2_000
    assert db.load("copy", sys.argv[2], progress=False) == 2_000
    assert db.get("copy", 1999) == db.get("t", 1999)
    print(peak() - before)
"""


@pytest.mark.parametrize("extension", ["jsonl"])
def test_rows_of_200_megabytes_stay_flat(tmp_path, extension):
    done = subprocess.run(
        [sys.executable, "-c", WIDE, f"sqlite:///{tmp_path}/t.db", str(tmp_path / f"t.{extension}")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 * 1024


@pytest.mark.parametrize("name", ["csv", "tsv", "jsonl", "json", "parquet", "feather"])
def test_files_go_through_a_pipe(tmp_path, name):
    url = f"sqlite:///{tmp_path}/t.db"
    with holdfast.connect(url) as db:
        db.create_table("t", TYPES)
        db.insert_many("t", [FULL, NULLS])
        db.create_table("copy", TYPES)
    program = [sys.executable, "-m", "holdfast.cli.main"]
    given = subprocess.run(
        [*program, "export", url, "t", "-", "--format", name], capture_output=True, timeout=60, check=True
    )
    assert given.stderr == b""
    taken = subprocess.run(
        [*program, "import", url, "copy", "-", "--format", name],
        input=given.stdout,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert taken.stdout == b"loaded 2 rows into copy\n"
    with holdfast.connect(url) as db:
        assert db.select("copy") == db.select("t")


def test_a_table_of_too_many_columns(db, tmp_path):
    row = {f"c{number}": number for number in range(100_000)}
    few = {name: [row[name]] for name in list(row)[:3_000]}
    (tmp_path / "t.json").write_text(json.dumps([row]))
    pq.write_table(pa.table(few), tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text(",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n")
    for name in ("t.json", "t.parquet", "t.csv"):
        with pytest.raises(errors.Error) as caught:
            db.load("t", tmp_path / name)
        assert len(str(caught.value)) < 2_000
        assert db.list_tables() == []
    for make in (
        lambda: db.create_table("t", dict.fromkeys(row, int)),
        lambda: db.from_dataframe(pd.DataFrame(few), "t"),
        lambda: db.from_arrow(pa.table(few), "t"),
    ):
        with pytest.raises(errors.Error, match=",000 columns are more than a table holds"):
            make()
    db.create_table("t", {"id": int})
    with pytest.raises(errors.ImportFailed, match="100,001 columns are more than a table holds"):
        db.load("t", tmp_path / "t.csv", extra_columns="add")
    assert [column["name"] for column in db.get_columns("t")] == ["id"]


BAD_OBJECTS = [
    '{"id": 2, "f": "high", "n": 2.50, "j": {"x": [0.1]}}',
    "[4]",
    '{"id": 5, "t": "b"}',
    '{"id": 5, "t": "twice"}',
    '{"id": 7, "i": 9223372036854775808, "line": 9, "object": 8}',
    '{"id": 10, "t": "c", "n": 0.10}',
]
SAID = [(1, "t.f ("), (2, "not an array"), (4, "another row"), (5, "64 bits")]


@pytest.mark.parametrize("extension", ["jsonl", "json", "jsonl.gz"])
def test_bad_objects_are_set_aside(every, tmp_path, extension):
    path, rejects = tmp_path / f"t.{extension}", tmp_path / f"bad.{extension.removesuffix('.gz')}"
    text = "\n".join(BAD_OBJECTS) if extension != "json" else f"[{','.join(BAD_OBJECTS)}]"
    path.write_bytes(gzip.compress(text.encode()) if extension.endswith("gz") else text.encode())
    options = {"extra_columns": "ignore", "rejects": rejects}
    assert every.load("t", path, "replace", **options) == 2
    assert [row["id"] for row in every.select("t", order_by="id")] == [5, 10]
    written = rejects.read_text()
    found = json.loads(written) if extension == "json" else list(map(json.loads, written.splitlines()))
    place = "object" if extension == "json" else "line"
    places = [row.get(f"_{place}", row.get(place)) for row in found]
    assert places == [number for number, _ in SAID]
    for row, (_, said) in zip(found, SAID, strict=True):
        assert said in row.get("_reason", row.get("reason"))
    assert ',"id":2,"f":"high","n":2.50,"j":{"x":[0.1]}}' in written
    assert found[1]["text"] == "[4]"
    # Corrected, they go in like any others.
    rejects.write_text(
        written.replace('"high"', "1.5")
        .replace('"id":5', '"id":6')
        .replace("808", "807")
        .replace('"text":"[4]"', '"id":4')
    )
    again = tmp_path / "again.jsonl"
    assert every.load("t", rejects, extra_columns="ignore", rejects=again) == 4
    assert every.get("t", 2)["n"] == Decimal("2.500")
    with pytest.raises(errors.InvalidQuery, match="names the file"):
        every.load("t", path, rejects=path)


def test_lines_that_are_no_json_are_set_aside(db, tmp_path):
    path, rejects = tmp_path / "t.jsonl", tmp_path / "bad.jsonl"
    path.write_text('{"a": 1}\n{\'a\': 2}\n{"a": 1, "a": 2}\n\n{"a": 3')
    assert db.load("t", path, rejects=rejects) == 1
    found = list(map(json.loads, rejects.read_text().splitlines()))
    assert [(row["line"], row["text"]) for row in found] == [
        (2, "{'a': 2}"),
        (3, '{"a": 1, "a": 2}'),
        (5, '{"a": 3'),
    ]
    assert all(row["reason"].startswith("is no JSON: ") for row in found)
    (tmp_path / "cut.json").write_text('[{"a": 1}, {"a": 2')
    with pytest.raises(errors.ImportFailed, match="object 2"):
        db.load("u", tmp_path / "cut.json", rejects=tmp_path / "bad.json")
    assert not (tmp_path / "bad.json").exists()
    assert db.list_tables() == ["t"]
    path.write_text('{"b": 1}\n')
    with pytest.raises(errors.ColumnNotFound, match=r"line 1: .*no column 'b'"):
        db.load("t", path, rejects=rejects)


def test_many_bad_objects(db, tmp_path):
    path, rejects = tmp_path / "t.jsonl", tmp_path / "bad.jsonl"
    path.write_text("".join(f'{{"id": {n // 3}}}\n' for n in range(3_000)))
    db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    assert db.load("t", path, rejects=rejects) == 1_000
    assert [json.loads(line)["line"] % 3 for line in rejects.read_text().splitlines()] == [2, 0] * 1_000
