"""CSV in and out: everything comes back, a bad file changes nothing."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest

from holdfast import errors
from holdfast.io.csv import export_table, import_table

EVERY_TYPE = {
    "id": "INTEGER PRIMARY KEY",
    "i": "INTEGER",
    "f": "REAL",
    "t": "TEXT",
    "b": "BOOLEAN",
    "n": "NUMERIC(12,3)",
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
    "t": 'a "quote", a comma,\r\na line\nand ünïcödé 🌊',
    "b": True,
    "n": Decimal("-1.500"),
    "d": date(2024, 2, 29),
    "h": time(12, 30, 0, 5),
    "s": datetime(2024, 1, 2, 3, 4, 5, 6),
    "z": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
    "j": {"a": [1, 2.5, None, "x,y"], "b": {"ü": '"'}},
    "x": b"\x00\xff,\n",
    "u": UUID("12345678123456781234567812345678"),
}
TEXTS = [
    "",
    None,
    "NA",
    "NULL",
    "007",
    " x ",
    "null",
    "\\N",
    "'",
    '"',
    "=1+1",
    "a\tb",
    "\ufeffx",
    "1e5",
    "\n",
]


@pytest.fixture
def runs(db):
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "name": "TEXT NOT NULL", "acc": "REAL"})
    return db


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_every_type_comes_back(db, tmp_path):
    db.create_table("t", EVERY_TYPE)
    rows = [FULL, {**dict.fromkeys(FULL), "id": 2}, {**FULL, "id": 3, "t": "", "j": [], "x": b""}]
    db.insert_many("t", rows)
    assert db.export_to_csv("t", tmp_path / "t.csv") == 3
    db.create_table("again", EVERY_TYPE)
    assert db.import_from_csv("again", tmp_path / "t.csv") == 3
    assert db.select("again", order_by="id") == rows


def test_json_of_every_kind_comes_back(db, tmp_path):
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "j": "JSON"})
    values = ["text", "5", 5, 2.5, True, False, [], {}, "", ["a", None], None]
    db.insert_many("t", [{"id": i, "j": value} for i, value in enumerate(values)])
    db.export_to_csv("t", tmp_path / "t.csv")
    before = db.select("t", order_by="id")
    db.import_from_csv("t", tmp_path / "t.csv", "replace")
    assert db.select("t", order_by="id") == before


@pytest.mark.parametrize("delimiter", [",", ";", "\t", " ", ":"])
@pytest.mark.parametrize("null", ["", "NA", "0"])
def test_texts_stay_apart_from_null(db, tmp_path, delimiter, null):
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "t": "TEXT", "s": "TIMESTAMP"})
    rows = [{"id": i, "t": text, "s": FULL["s"]} for i, text in enumerate([*TEXTS, "0", "a b:c;d"])]
    db.insert_many("t", rows)
    options = {"delimiter": delimiter, "null": null}
    db.export_to_csv("t", tmp_path / "t.csv", **options)
    db.import_from_csv("t", tmp_path / "t.csv", "replace", **options)
    assert db.select("t", order_by="id") == rows


def test_null_is_an_empty_field_and_empty_text_is_quoted(db, tmp_path):
    db.create_table("t", {"a": "TEXT", "b": "TEXT"})
    db.insert("t", {"a": None, "b": ""})
    db.export_to_csv("t", tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == b'a,b\n,""\n'


def test_a_column_alone_keeps_its_nulls(db, tmp_path):
    db.create_table("t", {"a": "TEXT"})
    db.insert_many("t", [{"a": "x"}, {"a": None}, {"a": ""}])
    db.export_to_csv("t", tmp_path / "t.csv")
    db.import_from_csv("t", tmp_path / "t.csv", "replace")
    assert [row["a"] for row in db.select("t")] == ["x", None, ""]


def test_an_array_comes_back(db, tmp_path):
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "x": "BLOB"})
    array = np.arange(6, dtype=">i2").reshape(2, 3)
    db.insert("t", {"id": 1, "x": array})
    db.export_to_csv("t", tmp_path / "t.csv")
    db.import_from_csv("t", tmp_path / "t.csv", "replace")
    found = db.get("t", 1)["x"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_an_empty_table_exports_its_header(runs, tmp_path):
    assert runs.export_to_csv("runs", tmp_path / "t.csv") == 0
    assert (tmp_path / "t.csv").read_text() == "id,name,acc\n"
    assert runs.import_from_csv("runs", tmp_path / "t.csv") == 0


def test_names_of_any_kind(db, tmp_path):
    names = ['a"b', "c,d", "select", "ü", "e\nf", "%s?"]
    db.create_table("odd, name", dict.fromkeys(names, "TEXT"))
    db.insert("odd, name", dict.fromkeys(names, "x"))
    db.export_to_csv("odd, name", tmp_path / "t.csv")
    db.import_from_csv("another", tmp_path / "t.csv")
    assert db.select("another") == [dict.fromkeys(names, "x")]


def test_some_of_a_table(runs, tmp_path):
    runs.insert_many("runs", [{"id": i, "name": f"r{i}", "acc": i / 10} for i in range(5)])
    written = runs.export_to_csv(
        "runs",
        tmp_path / "t.csv",
        columns=["name", "acc"],
        where="acc > ?",
        params=[0.1],
        order_by="acc DESC",
    )
    assert written == 3
    assert (tmp_path / "t.csv").read_text() == "name,acc\nr4,0.4\nr3,0.3\nr2,0.2\n"


def test_a_query(runs, tmp_path):
    runs.insert_many("runs", [{"name": "a", "acc": 0.5}, {"name": "b", "acc": None}])
    sql = "SELECT name, acc FROM runs WHERE name <> :no ORDER BY name"
    assert runs.export_query_to_csv(sql, tmp_path / "t.csv", {"no": "x"}) == 2
    assert (tmp_path / "t.csv").read_text() == "name,acc\na,0.5\nb,\n"


def test_formulas_are_made_harmless_on_request(db, tmp_path):
    db.create_table("t", {"a": "TEXT", "b": "INTEGER"})
    db.insert("t", {"a": "=HYPERLINK(1)", "b": -1})
    db.export_to_csv("t", tmp_path / "t.csv", spreadsheet_safe=True)
    assert (tmp_path / "t.csv").read_text() == "a,b\n'=HYPERLINK(1),-1\n"


def test_a_failed_export_leaves_the_old_file(runs, tmp_path):
    runs.insert_many("runs", [{"name": str(i), "acc": 1.0} for i in range(20_000)])
    path = write(tmp_path / "t.csv", "old")
    # Late in the result, so that much has been written by then.
    late = "CASE WHEN id < 19000 THEN acc ELSE acc / (id - id) END"
    broken = (
        late
        if runs.engine.dialect.name == "postgresql"
        else "CASE WHEN id < 19000 THEN 1 ELSE abs(-9223372036854775807 - 1) END"
    )
    with pytest.raises(errors.Error):
        runs.export_query_to_csv(f"SELECT {broken} AS x FROM runs ORDER BY id", path)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.glob("*t.csv*")] == ["t.csv"]


def test_an_export_replaces_what_a_link_points_to_and_keeps_its_rights(runs, tmp_path):
    target = write(tmp_path / "real.csv", "old")
    target.chmod(0o640)
    (tmp_path / "link.csv").symlink_to(target)
    runs.export_to_csv("runs", tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert target.read_text() == "id,name,acc\n"
    assert target.stat().st_mode & 0o777 == 0o640


def test_an_export_to_nowhere(runs, tmp_path):
    with pytest.raises(errors.ConfigurationError, match="folder"):
        runs.export_to_csv("runs", tmp_path)
    with pytest.raises(errors.ConfigurationError, match="nowhere"):
        runs.export_to_csv("runs", tmp_path / "nowhere" / "t.csv")
    with pytest.raises(errors.TableNotFound):
        runs.export_to_csv("rusn", tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


def test_streams(runs):
    runs.insert("runs", {"id": 1, "name": "a\r\nb", "acc": None})
    out = io.StringIO(newline="")
    export_table(runs._executor, "runs", out)
    assert out.getvalue() == 'id,name,acc\n1,"a\r\nb",\n'
    out.seek(0)
    import_table(runs._executor, "copy", out)
    assert runs.select("copy") == [{"id": 1, "name": "a\r\nb", "acc": None}]


def test_a_missing_table_is_made_from_the_whole_file(db, tmp_path):
    lines = [f"{i},{i / 2},true,2024-01-01,2024-01-01 10:00:00,x,007,\n" for i in range(4_999)]
    text = "i,f,b,d,s,t,zip,nothing\n" + "".join(lines) + "4999,1,false,2024-01-02,,NA,1,\n"
    assert db.import_from_csv("t", write(tmp_path / "t.csv", text)) == 5_000
    found = db.select("t", order_by="i", offset=4_998)
    assert found == [
        {
            "i": 4998,
            "f": 2499.0,
            "b": True,
            "d": date(2024, 1, 1),
            "s": datetime(2024, 1, 1, 10),
            "t": "x",
            "zip": "007",
            "nothing": None,
        },
        {
            "i": 4999,
            "f": 1.0,
            "b": False,
            "d": date(2024, 1, 2),
            "s": None,
            "t": "NA",
            "zip": "1",
            "nothing": None,
        },
    ]


def test_one_late_value_decides_the_type(db, tmp_path):
    text = "a\n" + "1\n" * 6_000 + "1x\n"
    db.import_from_csv("t", write(tmp_path / "t.csv", text))
    assert {row["a"] for row in db.select("t")} == {"1", "1x"}


def test_existing_types_win(db, tmp_path):
    db.create_table("t", {"a": "TEXT", "b": "INTEGER", "c": "REAL", "d": "BOOLEAN", "e": "JSON"})
    path = write(tmp_path / "t.csv", 'a,b,c,d,e\n007,007,1,yes,"[1, 2]"\n1.50,2.0,1e5,0,"""x"""\n')
    db.import_from_csv("t", path)
    assert db.select("t", order_by="b DESC") == [
        {"a": "007", "b": 7, "c": 1.0, "d": True, "e": [1, 2]},
        {"a": "1.50", "b": 2, "c": 100_000.0, "d": False, "e": "x"},
    ]


def test_a_text_for_null(db, tmp_path):
    path = write(tmp_path / "t.csv", 'a,b\n1,NA\nNA,"NA"\n')
    db.import_from_csv("t", path, null="NA")
    assert db.select("t", order_by="a") == [{"a": 1, "b": None}, {"a": None, "b": "NA"}]


def test_order_missing_columns_and_blank_lines(runs, tmp_path):
    path = write(tmp_path / "t.csv", "\ufeffname,id\r\nb,2\r\n\r\na,1\r\n\r\n")
    assert runs.import_from_csv("runs", path) == 2
    assert runs.select("runs", order_by="id") == [
        {"id": 1, "name": "a", "acc": None},
        {"id": 2, "name": "b", "acc": None},
    ]
    assert runs.insert("runs", {"name": "c"}) == 3


def test_computed_columns_are_left_to_the_database(db, tmp_path):
    db.create_table("t", {"a": "INTEGER", "b": "INTEGER GENERATED ALWAYS AS (a * 2) STORED"})
    db.insert("t", {"a": 2})
    db.export_to_csv("t", tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "a,b\n2,4\n"
    db.import_from_csv("t", tmp_path / "t.csv", "replace")
    assert db.select("t") == [{"a": 2, "b": 4}]


BAD = {
    "a number that no float holds": (
        "id,name,acc\n1,a,0.5\n2,b,1e400\n",
        "line 3: column 'acc': '1e400' is larger than a float can be",
    ),
    "such a number beside words": (
        "id,name,acc\n1,a,-inf\n2,b,\n3,c,-1e309\n",
        "line 4: column 'acc': '-1e309' is larger than a float can be",
    ),
    "a text for a number": ("id,name,acc\n1,a,0.5\n2,b,high\n", "line 3: column 'acc': 'high' is no number"),
    "a fraction for an integer": ("id,name\n1.5,a\n", "line 2: column 'id': '1.5' is no whole number"),
    "too large": ("id,name\n1,a\n9223372036854775808,b\n", "line 3: column 'id': '9223372036854775808'"),
    "underscores": ("id,name\n1_0,a\n", "line 2: column 'id': '1_0'"),
    "an empty text for a number": ('id,name,acc\n1,a,""\n', "line 2: column 'acc': ''"),
    "NUL": ("id,name\n1,a\0b\n", "line 2: column 'name'"),
    "a field too many": ("id,name\n1,a\n2,b,c\n", "line 3: 3 fields"),
    "a field too few": ("id,name,acc\n1,a,1\n2,b\n", "line 3: 2 fields"),
    "after lines in quotes": ('id,name,acc\n1,"a\nb\nc",1\n2,b,x\n', "line 5: column 'acc': 'x'"),
    "text behind a quote": ('id,name\n1,"a"b\n', "line 2: text follows"),
    "an open quote": ('id,name\n1,a\n2,"b\n3,c\n', "line 3: a quoted field is opened"),
    "the same key": ("id,name\n1,a\n2,b\n1,c\n", "line 4: another row has the same"),
    "no name": ("id,name\n1,a\n2,\n", "line 3: a required column"),
    "a header twice": ("id,id\n1,2\n", "line 1: two columns are named 'id'"),
    "a header without a name": ("id,\n1,2\n", "line 1: column 2 has no name"),
    "nothing": ("", "is empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_says_where_and_changes_nothing(runs, tmp_path, case):
    text, said = BAD[case]
    runs.insert("runs", {"id": 77, "name": "there"})
    path = write(tmp_path / "bad.csv", text)
    for if_exists in ("append", "replace"):
        with pytest.raises(errors.ImportFailed) as caught:
            runs.import_from_csv("runs", path, if_exists)
        assert said in str(caught.value)
        assert "bad.csv" in str(caught.value)
        assert runs.select("runs") == [{"id": 77, "name": "there", "acc": None}]


def test_the_first_bad_row_is_named(runs, tmp_path):
    text = "id,name,acc\n1,a,1\n2,b,x\n3,c\n4,,1\n"
    with pytest.raises(errors.ImportFailed, match="line 3"):
        runs.import_from_csv("runs", write(tmp_path / "t.csv", text))


def test_a_late_bad_row_changes_nothing(runs, tmp_path):
    text = "id,name\n" + "".join(f"{i},x\n" for i in range(9_999)) + "x,x\n"
    with pytest.raises(errors.ImportFailed, match="line 10001: column 'id': 'x'"):
        runs.import_from_csv("runs", write(tmp_path / "t.csv", text))
    assert runs.count("runs") == 0


def test_a_bad_file_makes_no_table(db, tmp_path):
    with pytest.raises(errors.ImportFailed, match="line 3"):
        db.import_from_csv("new", write(tmp_path / "t.csv", "a,b\n1,2\n3\n"))
    assert not db.table_exists("new")


def test_bad_times(db, tmp_path):
    db.create_table(
        "t", {"d": "DATE", "s": "TIMESTAMP", "z": "TIMESTAMPTZ", "u": "UUID", "j": "JSON", "x": "BLOB"}
    )
    for name, text in (
        ("d", "2023-02-29"),
        ("s", "yesterday"),
        ("z", "2024-01-01 10:00:00"),
        ("u", "1234"),
        ("j", "{'a': 1}"),
        ("x", "abc"),
    ):
        path = write(tmp_path / "t.csv", f"{name}\n{text}\n")
        with pytest.raises(errors.ImportFailed, match=f"line 2: column '{name}': ") as caught:
            db.import_from_csv("t", path)
        assert repr(text) in str(caught.value)
    assert db.count("t") == 0


def test_a_long_value_is_shown_short(runs, tmp_path):
    path = write(tmp_path / "t.csv", "id,name\n" + "x" * 10_000 + ",a\n")
    with pytest.raises(errors.ImportFailed) as caught:
        runs.import_from_csv("runs", path)
    assert len(str(caught.value)) < 400


def test_what_is_no_readable_file(runs, tmp_path):
    for path, said in ((tmp_path / "none.csv", "No such file"), (tmp_path, "directory")):
        with pytest.raises(errors.ImportFailed, match=said):
            runs.import_from_csv("runs", path)
    path = write(tmp_path / "t.csv", "id,name\n1,a\n2,café\n", "latin-1")
    with pytest.raises(errors.ImportFailed, match="utf-8 text at byte 17"):
        runs.import_from_csv("runs", path)
    assert runs.count("runs") == 0
    runs.import_from_csv("runs", path, encoding="latin-1")
    assert runs.get("runs", 2)["name"] == "café"
    with pytest.raises(errors.ConfigurationError, match="encoding"):
        runs.import_from_csv("runs", path, encoding="utf-9")


def test_utf_16(db, tmp_path):
    db.import_from_csv("t", write(tmp_path / "t.csv", "a,b\n1,ü\n", "utf-16"), encoding="utf-16")
    assert db.select("t") == [{"a": 1, "b": "ü"}]


def test_a_stray_byte_far_into_the_file(runs, tmp_path):
    path = tmp_path / "t.csv"
    content = b"\xef\xbb\xbfid,name\n" + b"".join(b"%d,%s\n" % (i, b"\xc3\xbc" * 500) for i in range(3_000))
    path.write_bytes(content + b"\xff\n")
    with pytest.raises(errors.ImportFailed, match=f"at byte {len(content)}"):
        runs.import_from_csv("runs", path)


def test_columns_that_the_table_lacks(runs, tmp_path):
    path = write(tmp_path / "t.csv", "id,name,acuracy\n1,a,0.5\n")
    with pytest.raises(errors.ColumnNotFound, match="acuracy"):
        runs.import_from_csv("runs", path)
    assert runs.count("runs") == 0
    runs.import_from_csv("runs", path, extra_columns="ignore")
    assert runs.select("runs") == [{"id": 1, "name": "a", "acc": None}]
    runs.import_from_csv("runs", path, "replace", extra_columns="add")
    assert runs.select("runs") == [{"id": 1, "name": "a", "acc": None, "acuracy": 0.5}]


def test_added_columns_go_with_a_failure(runs, tmp_path):
    path = write(tmp_path / "t.csv", "id,name,more\n1,a,5\nx,b,6\n")
    with pytest.raises(errors.ImportFailed):
        runs.import_from_csv("runs", path, extra_columns="add")
    assert [column["name"] for column in runs.get_columns("runs")] == ["id", "name", "acc"]
    runs.insert("runs", {"id": 1, "name": "a"})


def test_rejects(runs, tmp_path):
    text = 'id,name,acc\n1,a,0.5\n2,"b,\nc",high\n3,c\n4,,1\n1,twice,1\n5,"",2\n6,"x"y,1\n'
    path, rejects = write(tmp_path / "t.csv", text), tmp_path / "bad.csv"
    assert runs.import_from_csv("runs", path, rejects=rejects) == 2
    assert [row["id"] for row in runs.select("runs", order_by="id")] == [1, 5]
    with rejects.open(newline="") as file:
        found = list(csv.reader(file))
    assert found[0] == ["line", "reason", "id", "name", "acc"]
    assert [(row[0], row[2:]) for row in found[1:]] == [
        ("3", ["2", "b,\nc", "high"]),
        ("5", ["3", "c"]),
        ("6", ["4", "", "1"]),
        ("7", ["1", "twice", "1"]),
        ("9", ["6", "x"]),
    ]
    assert all(row[1] for row in found[1:])
    with pytest.raises(errors.InvalidQuery):
        runs.import_from_csv("runs", path, rejects=path)
    assert path.read_text() == text


def test_rejects_of_a_new_table(db, tmp_path):
    path, rejects = write(tmp_path / "t.csv", "a,b\n1,x\n2\n3,y\n"), tmp_path / "bad.csv"
    assert db.import_from_csv("t", path, rejects=rejects) == 2
    assert db.select("t", order_by="a") == [{"a": 1, "b": "x"}, {"a": 3, "b": "y"}]
    assert rejects.read_text() == 'line,reason,a,b\n3,"1 fields, but the header has 2",2\n'


def test_a_corrected_rejects_file_can_be_loaded(runs, tmp_path):
    path, rejects = write(tmp_path / "t.csv", "id,name,acc\n1,a,x\n2,b,1\n"), tmp_path / "bad.csv"
    runs.import_from_csv("runs", path, rejects=rejects)
    rejects.write_text(rejects.read_text().replace("1,a,x", "1,a,3"))
    assert runs.import_from_csv("runs", rejects, extra_columns="ignore") == 1
    assert runs.get("runs", 1)["acc"] == 3.0


def test_if_exists(runs, tmp_path):
    path = write(tmp_path / "t.csv", "id,name\n1,a\n")
    with pytest.raises(errors.TableExists):
        runs.import_from_csv("runs", path, if_exists="fail")
    runs.import_from_csv("fresh", path, if_exists="fail")
    runs.insert("runs", {"id": 5, "name": "old"})
    runs.import_from_csv("runs", path)
    assert runs.count("runs") == 2
    runs.import_from_csv("runs", path, if_exists="replace")
    assert runs.select("runs") == [{"id": 1, "name": "a", "acc": None}]
    assert [column["name"] for column in runs.get_columns("runs")] == ["id", "name", "acc"]
    for wrong in ({"if_exists": "overwrite"}, {"extra_columns": "drop"}, {"delimiter": ",,"}):
        with pytest.raises(errors.InvalidQuery):
            runs.import_from_csv("runs", path, **wrong)


def test_inside_a_transaction(runs, tmp_path):
    path = write(tmp_path / "t.csv", "id,name\n1,a\n")
    bad = write(tmp_path / "bad.csv", "id,name\n2,a\nx,b\n")
    with runs.transaction():
        runs.import_from_csv("runs", path)
        with pytest.raises(errors.ImportFailed):
            runs.import_from_csv("runs", bad)
        runs.insert("runs", {"id": 3, "name": "c"})
        assert runs.export_to_csv("runs", tmp_path / "out.csv") == 2
    assert [row["id"] for row in runs.select("runs", order_by="id")] == [1, 3]


def test_memory_stays_flat(db, tmp_path):
    import tracemalloc

    path = tmp_path / "t.csv"
    with path.open("w") as file:
        file.write("id,text\n")
        file.writelines(f"{i},{'x' * 500}{i}\n" for i in range(20_000))
    tracemalloc.start()
    db.import_from_csv("t", path)
    db.export_to_csv("t", tmp_path / "out.csv")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000
    assert sorted((tmp_path / "out.csv").read_text().splitlines()) == sorted(path.read_text().splitlines())


def test_open_streams_go_through_the_database(db):
    text = io.StringIO("a,b\n1,x\n2,\n")
    assert db.import_from_csv("streamed", text) == 2
    out = io.StringIO()
    assert db.export_to_csv("streamed", out, order_by="a") == 2
    assert out.getvalue().splitlines() == ["a,b", "1,x", "2,"]
    out = io.StringIO()
    assert db.export_query_to_csv("SELECT a FROM streamed ORDER BY a DESC", out) == 2
    assert out.getvalue().splitlines() == ["a", "2", "1"]
