"""What can be wrong with a file of text, in each format: a typed error says where, and nothing is written."""

from __future__ import annotations

import gzip
import json
import sqlite3

import pyarrow as pa
import pytest

import holdfast
from holdfast import errors


@pytest.fixture
def kept(db):
    """A table with a row that must still be alone when an import has failed."""
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "i": "INTEGER", "f": "REAL", "t": "TEXT"})
    db.insert("t", {"id": 77, "t": "there"})
    return db


def zstd(content: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as file:
        file.write(content)
    return out.getvalue().to_pybytes()


ROWS = 4_000
LINES = b"".join(b'{"id": %d, "t": "\xc3\xbc%d"}\n' % (n, n * 7919) for n in range(ROWS))
TEXTS = {
    "csv": b"id,t\n" + b"".join(b"%d,\xc3\xbc%d\n" % (n, n * 7919) for n in range(ROWS)),
    "tsv": b"id\tt\n" + b"".join(b"%d\t\xc3\xbc%d\n" % (n, n * 7919) for n in range(ROWS)),
    "jsonl": LINES,
    "json": b"[" + LINES.replace(b"\n", b",")[:-1] + b"]",
}
WIDE = {f"c{number}": number for number in range(100_000)}


@pytest.mark.parametrize("path", [None, 3, b"t.csv", "", "a\0b.csv"], ids=repr)
def test_what_is_no_path_is_refused(kept, path):
    for call in (
        lambda: kept.export("t", path),
        lambda: kept.export_to_csv("t", path),
        lambda: kept.export_query_to_csv("SELECT 1", path),
        lambda: kept.load("t", path),
        lambda: kept.import_from_csv("t", path),
        lambda: kept.backup_database(path),
        lambda: kept.backup_table("t", path),
        lambda: kept.restore_database(path),
        lambda: kept.restore_table("t", path),
        lambda: kept.verify_backup(path),
        lambda: kept.list_backups(path),
        lambda: kept.prune_backups(path, keep_last=1),
        lambda: holdfast.inspect(kept).generate_schema_diagram(path),
    ):
        with pytest.raises(errors.ConfigurationError, match="the path"):
            call()
    assert kept.select("t", columns=["id"]) == [{"id": 77}]


BAD = {
    "long.csv": (b"id,t\n1,a\n2,b,c\n", "line 3: 3 fields, but the header has 2"),
    "short.csv": (b"id,t\n1,a\n2\n", "line 3: 1 fields, but the header has 2"),
    "short.csv.gz": (gzip.compress(b"id,t\n1,a\n2\n"), "line 3: 1 fields"),
    "late.tsv": (TEXTS["tsv"] + b"1\n", f"line {ROWS + 2}: 1 fields"),
    "blank.jsonl": (b'{"id": 1}\n{"id": 2} {"id": 3}\n', "line 2 is no JSON"),
    "latin.tsv": (b"id\tt\n1\ta\n2\tcaf\xe9\n", "not utf-8 text at byte 14"),
    "latin.csv.gz": (gzip.compress(TEXTS["csv"] + b"1,\xe9\n"), f"at byte {len(TEXTS['csv']) + 2}"),
    "cut.csv": (TEXTS["csv"][:-1] + b"\xc3", f"at byte {len(TEXTS['csv']) - 1}"),
    "wide.csv": ("id,t\n1,a\n".encode("utf-16"), "not utf-8 text at byte 0.*encoding="),
    "wide.jsonl": ('{"id": 1}\n'.encode("utf-16"), "not utf-8 text at byte 0"),
    "wide.json": ('[{"id": 1}]'.encode("utf-16"), "not utf-8 text at byte 0"),
    "twice.csv": (b"id,t,id\n1,a,2\n", "line 1: two columns are named 'id'"),
    "unnamed.tsv": (b"id\t\n1\ta\n", "line 1: column 2 has no name"),
    "bom.csv": (b"\xef\xbb\xbf", "is empty"),
    "nothing.tsv": (b"", "is empty"),
    "nothing.csv.gz": (gzip.compress(b""), "is empty"),
    "bom.jsonl": (b"\xef\xbb\xbf[1]\n", "line 1: an object is needed"),
    "nothing.json.gz": (gzip.compress(b""), "is empty"),
    "nul.csv": (b"id,t\n1,a\n2,b\0c\n", "line 3: column 't'.*NUL"),
    "nul.json": (b'[{"id": 1}, {"id": 2, "t": "b\\u0000c"}]', "object 2: .*NUL"),
    "nan.csv": (b"id,i\n1,2\n2,NaN\n", "line 3: column 'i': 'NaN' is no whole number"),
    "nan.jsonl": (b'{"id": 1}\n{"id": 2, "i": NaN}\n', "line 2 is no JSON: NaN"),
    "nan.json": (b'[{"id": 1}, {"id": 2, "i": "NaN"}]', "object 2: .*t.i"),
    "infinite.csv": (b"id,i\n1,inf\n", "line 2: column 'i': 'inf' is no whole number"),
    "unsigned.csv": (b"id,i\n1,18446744073709551615\n", "line 2: column 'i': '18446744073709551615'"),
    "unsigned.jsonl": (b'{"id": 1, "i": 18446744073709551615}\n', "line 1: .*64 bits"),
    "unsigned.json": (b'[{"id": 18446744073709551615}]', "object 1: .*64 bits"),
}


FINE_AS_TEXT = {"nan.csv", "nan.json", "infinite.csv", "unsigned.csv"}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_says_where_and_writes_nothing(kept, tmp_path, name):
    content, says = BAD[name]
    path = tmp_path / name
    path.write_bytes(content)
    for resume in (False, True):
        with pytest.raises(errors.ImportFailed, match=says) as caught:
            kept.load("t", path, "replace", resume=resume)
        assert str(path) in str(caught.value)
        assert kept.select("t", columns=["id", "t"]) == [{"id": 77, "t": "there"}]
    if name not in FINE_AS_TEXT:
        with pytest.raises(errors.ImportFailed):
            kept.load("new", path)
        assert "new" not in kept.list_tables()


@pytest.mark.parametrize("packed", ["gz", "zst"])
@pytest.mark.parametrize("extension", TEXTS)
def test_a_packed_file_that_is_cut_short(kept, tmp_path, extension, packed):
    whole = gzip.compress(TEXTS[extension]) if packed == "gz" else zstd(TEXTS[extension])
    path = tmp_path / f"t.{extension}.{packed}"
    for length in (1, 9, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        # In the place of what is there: a key that comes twice is as good a reason.
        with pytest.raises(errors.ImportFailed, match=r"damaged, cut short, or not|is empty"):
            kept.load("t", path, "replace")
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    with pytest.raises(errors.ImportFailed):
        kept.load("t", path)
    assert kept.count("t") == 1
    path.write_bytes(whole)
    assert kept.load("t", path, "replace") == ROWS


@pytest.mark.parametrize("extension", TEXTS)
def test_rows_of_a_hundred_thousand_columns(kept, tmp_path, extension):
    mark = "," if extension == "csv" else "\t"
    given = {
        "jsonl": json.dumps(WIDE) + "\n",
        "json": json.dumps([WIDE]),
    }.get(extension, mark.join(WIDE) + "\n" + mark.join(map(str, WIDE.values())) + "\n")
    path = tmp_path / f"t.{extension}"
    path.write_text(given)
    with pytest.raises(errors.ColumnNotFound) as caught:
        kept.load("t", path)
    assert len(str(caught.value)) < 2_000
    with pytest.raises(errors.ImportFailed, match="100,000 columns"):
        kept.load("new", path)
    assert kept.list_tables() == ["t"]
    assert kept.count("t") == 1


@pytest.mark.parametrize("extension", ["csv", "jsonl", "json"])
def test_a_byte_order_mark_is_no_part_of_the_data(kept, tmp_path, extension):
    path = tmp_path / f"t.{extension}"
    path.write_bytes(b"\xef\xbb\xbf" + TEXTS[extension])
    assert kept.load("t", path, "replace") == ROWS


def test_a_value_over_the_limit(db, engine_name, tmp_path):
    if engine_name != "sqlite":
        pytest.skip("a value over PostgreSQL's limit of 1 GiB is more than this test should hold")
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "x": "BLOB"})
    db._executor.driver_connection().setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)
    over = "\\\\x" + "ab" * 100_001
    (tmp_path / "t.csv").write_text(f"id,x\n1,\\x00\n2,{over[1:]}\n")
    (tmp_path / "t.jsonl").write_text(f'{{"id": 1}}\n{{"id": 2, "x": "{over}"}}\n')
    (tmp_path / "t.json").write_text(f'[{{"id": 1}}, {{"id": 2, "x": "{over}"}}]')
    for name in ("t.csv", "t.jsonl", "t.json"):
        with pytest.raises(errors.Error) as caught:
            db.load("t", tmp_path / name)
        assert len(str(caught.value)) < 500
        assert db.count("t") == 0


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_a_file_with_another_delimiter_is_not_one_column_of_text(db, tmp_path, mark):
    path = tmp_path / "t.csv"
    path.write_text(f"a{mark}b\n1{mark}2\n")
    with pytest.raises(errors.ImportFailed, match="line 1: the only column is") as caught:
        db.load("t", path)
    assert f"delimiter={mark!r}" in str(caught.value.hint)
    assert db.list_tables() == []
    assert db.load("t", path, delimiter=mark) == 1
    assert db.select("t") == [{"a": 1, "b": 2}]


@pytest.mark.parametrize("name", ["a;b", "a\tb", "a|b", "a,b", 'a;"b'])
def test_a_single_column_with_such_a_name_comes_back(db, tmp_path, name):
    db.create_table("t", {name: "INTEGER"})
    db.insert("t", {name: 1})
    for extension in ("csv", "tsv"):
        db.export("t", tmp_path / f"t.{extension}")
        db.load(f"from_{extension}", tmp_path / f"t.{extension}")
        assert db.select(f"from_{extension}") == [{name: 1}]


def test_a_stream_of_bytes_is_read_in_its_encoding(db):
    import io

    given = io.BytesIO("a,b\n1,ü\n".encode("latin-1"))
    with pytest.raises(errors.ImportFailed, match="is not utf-8 text at byte 6"):
        db.import_from_csv("t", given)
    given.seek(0)
    assert db.import_from_csv("t", given, encoding="latin-1") == 1
    assert db.select("t") == [{"a": 1, "b": "ü"}]
