"""The portable archive: exact on its own engine, whole on the other one, and never believed blindly."""

from __future__ import annotations

import io
import json
import math
import random
import signal
import stat
import subprocess
import sys
import textwrap
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, time
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow.parquet as parquet
import pyrage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast
from holdfast.backup import portable
from holdfast.backup.content import content_of
from holdfast.backup.formats import opened
from holdfast.cli.main import run
from holdfast.engines.postgres import programs
from holdfast.errors import (
    BackupCorrupt,
    BackupError,
    ConfigurationError,
    InvalidQuery,
    NotSupported,
    SchemaError,
    ValueRefused,
)

NewUrl = Callable[[], str]
Open = Callable[[str], holdfast.Database]
SEAL = b"Holdfast archive, SHA-256 "
KINDS: dict[str, tuple[str, list[Any]]] = {
    "integer": ("INTEGER", [0, -1, 2**63 - 1, -(2**63)]),
    "small": ("SMALLINT", [0, -32768, 32767]),
    "real": ("REAL", [0.1, -1e300, 5e-324, math.inf, 2.754195414446663e-300]),
    "text": ("TEXT", ["", "NULL", "\\N", '"q"', "a,b\r\nc", "ünï🦆", "\\.", " x ", "12"]),
    "flag": ("BOOLEAN", [True, False]),
    "price": ("NUMERIC(30,10)", [Decimal("1.50"), Decimal("-0.0000000001"), Decimal("123456789.5")]),
    "day": ("DATE", [date(1, 1, 1), date(9999, 12, 31)]),
    "hour": ("TIME", [time(0), time(23, 59, 59, 999999)]),
    "moment": ("TIMESTAMP", [datetime(1, 1, 1), datetime(2024, 2, 29, 1, 2, 3, 4)]),
    "zoned": ("TIMESTAMPTZ", [datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)]),
    "doc": ("JSON", [{"a": {}, "b": [1, 2.5, None, "é"]}, [], "text", 1.5, True]),
    "data": ("BLOB", [b"", b"\x00\xff" * 70, bytes(range(256))]),
    "ident": ("UUID", [UUID(int=5)]),
}


@pytest.fixture
def open_() -> Iterator[Open]:
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(holdfast.connect(url))


@pytest.fixture
def lite(open_: Open, tmp_path: Path) -> holdfast.Database:
    return open_(f"sqlite:///{tmp_path}/lite.sqlite")


def make(db: holdfast.Database) -> None:
    """Tables that both engines have, which refer to each other in a circle."""
    db.create_table("teams", {"id": "INTEGER PRIMARY KEY", "Name": "TEXT NOT NULL UNIQUE", "lead": "INTEGER"})
    db.create_table(
        "people",
        {"id": "INTEGER PRIMARY KEY", "team": "INTEGER NOT NULL REFERENCES teams(id) ON DELETE CASCADE"},
    )
    db.add_foreign_key("teams", "lead", "people", on_delete="SET NULL")
    db.create_table("all kinds", {"id": "INTEGER PRIMARY KEY", **{k: t for k, (t, _) in KINDS.items()}})
    db.create_table("n" * 63, {"a": "INTEGER", "b": "TEXT"}, primary_key=["a", "b"])
    db.create_table("empty", {"id": "INTEGER PRIMARY KEY", "x": "TEXT"})
    db.insert_many("teams", [{"id": n, "Name": f"team {n}"} for n in range(1, 41)])
    db.insert_many("people", [{"id": n, "team": n % 40 + 1} for n in range(1, 1200)])
    db.update("teams", {"lead": 7}, {"id": 1})
    longest = max(len(values) for _, values in KINDS.values())
    for n in range(longest):
        db.insert("all kinds", {k: values[n % len(values)] for k, (_, values) in KINDS.items()})
    db.insert("all kinds", {"id": 1000})
    db.insert("n" * 63, {"a": 1, "b": ""})
    db.create_index("people", ["team", "id"], name="by team")
    db.enable_search("teams", ["Name"])


def content(db: holdfast.Database) -> dict[str, Any]:
    return {name: sorted(map(repr, db.select(name))) for name in db.list_tables()}


def check_goes_on(db: holdfast.Database) -> None:
    assert db.insert("people", {"team": 1}) == 1200
    assert db.insert("teams", {"Name": "new"}) == 41
    with pytest.raises(holdfast.errors.ForeignKeyViolation):
        db.insert("people", {"team": 999})
    with pytest.raises(holdfast.errors.UniqueViolation):
        db.insert("teams", {"Name": "new"})
    assert [row["id"] for row in db.search("teams", "new")] == [41]
    assert {tuple(index["columns"]) for index in db.list_indexes("people")} >= {("team", "id")}


def test_from_any_engine_into_any(db: holdfast.Database, lite: holdfast.Database, tmp_path: Path) -> None:
    make(lite)
    before = content(lite)
    there = db.restore_database(lite.backup_database(tmp_path / "one.hfz"))
    assert there.left_behind == []
    assert content(db) == before
    assert db.verify_backup(tmp_path / "one.hfz").ok
    back = db.backup_database(tmp_path / "two.hfz")
    assert lite.verify_backup(back).ok, lite.verify_backup(back)
    report = lite.restore_database(back, into=tmp_path / "new.sqlite")
    assert report.left_behind == []
    with holdfast.connect(tmp_path / "new.sqlite") as new:
        assert content(new) == before
        check_goes_on(new)
    check_goes_on(db)


def test_over_what_is_there_and_one_table(
    db: holdfast.Database, lite: holdfast.Database, tmp_path: Path
) -> None:
    make(lite)
    make(db)
    path = lite.backup_database(tmp_path / "one.hfz")
    db.create_table("mine", {"id": "INTEGER PRIMARY KEY"})
    db.update("teams", {"Name": "changed"}, {"id": 3})
    before = content(db)
    assert set(db.restore_database(path, dry_run=True).replaced) == set(lite.list_tables())
    assert content(db) == before
    db.restore_table("empty", path)
    assert content(db) == before
    db.restore_database(path)
    after = content(db)
    assert after.pop("mine") == []
    assert after == content(lite)
    check_goes_on(db)


def test_numpy_arrays(db: holdfast.Database, lite: holdfast.Database, tmp_path: Path) -> None:
    lite.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": np.ndarray})
    array = np.arange(12.0).reshape(3, 4)
    lite.insert("t", {"id": 1, "a": array})
    db.restore_database(lite.backup_database(tmp_path / "a.hfz"))
    assert (db.get("t", 1)["a"] == array).all()
    db.restore_database(db.backup_database(tmp_path / "b.hfz"))
    assert (db.get("t", 1)["a"] == array).all()


VALUES = {
    "i": ("INTEGER", st.integers(-(2**63), 2**63 - 1)),
    "f": ("REAL", st.floats(allow_nan=False).filter(lambda x: math.copysign(1, x) > 0 or x)),
    "t": ("TEXT", st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))),
    "y": ("BLOB", st.binary(max_size=300)),
    "b": ("BOOLEAN", st.booleans()),
    "d": ("DATE", st.dates()),
    "m": ("TIMESTAMP", st.datetimes()),
    "z": ("TIMESTAMPTZ", st.datetimes(timezones=st.just(UTC))),
    "n": ("NUMERIC(15,4)", st.decimals(-(10**9), 10**9, places=4)),
    "u": ("UUID", st.uuids()),
    "j": ("JSON", st.recursive(st.none() | st.integers(-(2**53), 2**53) | st.text("aé\"\\' \n"), st.lists)),
}


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_schema_and_values_cross(
    data: st.DataObject, db: holdfast.Database, lite: holdfast.Database, tmp_path: Path
) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, unique=True))
    rows = data.draw(
        st.lists(st.fixed_dictionaries({n: st.none() | VALUES[n][1] for n in names}), max_size=8)
    )
    for one in (db, lite):
        one.drop_table("t", if_exists=True)
    lite.create_table("t", {n: VALUES[n][0] for n in names})
    lite.insert_many("t", rows)
    before = content(lite)
    path = lite.backup_database(tmp_path / "t.hfz")
    db.restore_database(path, keep_old=False)
    assert content(db) == before
    path = db.backup_database(tmp_path / "t.hfz")
    lite.restore_database(path, keep_old=False)
    assert content(lite) == before


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
def test_whatever_sqlite_holds(db: holdfast.Database, tmp_path: Path) -> None:
    db.execute("CREATE TABLE loose (id INTEGER PRIMARY KEY, n INTEGER, t TEXT, x, f REAL, v AS (n || '!'))")
    values = [
        "1, 5, 'a', 1, 0.5",
        "2, 'text', 'nul' || char(0) || 'nul', 'x', 2",
        "3, 1.5, x'00ff', NULL, 9e999",
    ]
    values += ["4, x'ff', CAST(x'ff00fe' AS TEXT), 2.5, -9e999", "5, NULL, 'é', CAST(x'c328' AS TEXT), 'abc'"]
    for value in values:
        db.execute(f"INSERT INTO loose (id, n, t, x, f) VALUES ({value})")
    db.execute("CREATE TABLE strict (id TEXT PRIMARY KEY, n INT) STRICT, WITHOUT ROWID")
    db.execute("INSERT INTO strict VALUES ('a', 1)")
    db.execute("CREATE VIRTUAL TABLE words USING fts5(body)")
    db.execute("INSERT INTO words (rowid, body) VALUES (77, 'findable')")
    db.execute("CREATE TABLE late (a)")
    db.insert_many("late", [{"a": None}] * 30_000)
    db.execute("INSERT INTO late VALUES ('x'), (1)")
    seen = (
        "SELECT quote(id) || quote(CAST(n AS BLOB)) || typeof(n) || quote(CAST(t AS BLOB)) || typeof(t) || "
    )
    seen += "quote(CAST(x AS BLOB)) || typeof(x) || quote(f) || typeof(f) FROM loose ORDER BY id"
    before = db.execute(seen).rows
    path = db.backup_database(tmp_path / "x.hfz")
    assert db.verify_backup(path).ok
    db.execute("DELETE FROM loose")
    db.restore_database(path)
    assert db.execute(seen).rows == before
    assert db.execute("SELECT rowid FROM words('findable')").scalar() == 77
    assert "STRICT" in db.execute("SELECT sql FROM sqlite_master WHERE name = 'strict'").scalar()


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
def test_rows_are_counted_as_they_are_read(db: holdfast.Database, tmp_path: Path) -> None:
    """What the manifest says of a table is what reading it by itself says, whatever is in it."""
    db.execute(
        "CREATE TABLE computed (a INTEGER, b AS (a + 1), c TEXT, d AS (a || 'x') STORED, e BLOB, "
        "f REAL, PRIMARY KEY (a, c)) WITHOUT ROWID"
    )
    db.execute("INSERT INTO computed (a, c, e, f) VALUES (1, 'é', x'00ff', 0.1), (2, '', 'text', x'01')")
    db.execute("CREATE TABLE one (a INTEGER, b AS (a))")
    db.execute("INSERT INTO one (a) VALUES (1), (x'ff'), (NULL)")
    db.execute("CREATE TABLE broken (a TEXT, b INTEGER)")
    db.execute("INSERT INTO broken VALUES (CAST(x'ff00fe' AS TEXT), 'not a number'), ('fine', 1)")
    db.execute("CREATE TABLE empty (a, b)")
    db.execute("CREATE TABLE late (a INTEGER)")
    db.insert_many("late", ({"a": number} for number in range(25_000)))
    db.execute("INSERT INTO late VALUES ('x'), (x'00')")
    db.execute("CREATE VIRTUAL TABLE words USING fts5(body)")
    db.execute("INSERT INTO words (rowid, body) VALUES (77, 'findable')")
    path = db.backup_database(tmp_path / "x.hfz")
    with opened(path) as source, db.transaction():
        assert source.manifest is not None
        found = dict(source.manifest.tables)
        assert found == {name: content_of(db._executor, name) for name in found}
    assert {"computed", "one", "broken", "empty", "late", "words"} == set(found)


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
def test_each_row_is_told_once(db: holdfast.Database, tmp_path: Path) -> None:
    """Also where a value late in a column makes it be read again from its beginning."""
    db.execute("CREATE TABLE late (a INTEGER)")
    db.insert_many("late", ({"a": number} for number in range(25_000)))
    db.execute("INSERT INTO late VALUES ('x')")
    told: list[int] = []
    with (tmp_path / "x").open("w+b") as file:
        portable.write_to(db._executor, None, file, tmp_path, told.append)
    assert sum(told) == 25_001


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
def test_long_blobs_where_numbers_were_declared(db: holdfast.Database, tmp_path: Path) -> None:
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, f REAL)")
    db.execute(
        "INSERT INTO t (n) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100) "
        "SELECT zeroblob(500000) FROM c"
    )
    db.backup_database(tmp_path / "warm.hfz")
    tracemalloc.start()
    try:
        db.backup_database(tmp_path / "x.hfz")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 16 << 20


ODD = [
    "CREATE TYPE mood AS ENUM ('so; so', 'it''s')",
    "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
    "CREATE TYPE pair AS (a integer, b text)",
    "CREATE SEQUENCE ticket START 5 INCREMENT 3",
    "CREATE FUNCTION twice(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'",
    """CREATE TABLE odd (id serial PRIMARY KEY, m mood, p positive, c pair, a text[], n numeric, f real,
    g float8, i interval, d date, t timestamptz, h char(4), j json, no integer DEFAULT nextval('ticket'),
    k integer GENERATED ALWAYS AS IDENTITY (START 10 INCREMENT 2),
    s integer GENERATED ALWAYS AS (p * 2) STORED,
    UNIQUE (no) DEFERRABLE INITIALLY DEFERRED, CHECK (twice(no) > 0))""",
    """INSERT INTO odd (m, p, c, a, n, f, g, i, d, t, h, j) VALUES ('it''s', 3, '(1,"x,""y")',
    '{a,NULL,"b c"}', 'NaN', 0.1, '-0', '1 mon -3 days', 'infinity', '-infinity', 'ab', '{"a":  1.0}')""",
    """INSERT INTO odd (n, g, i, d, t)
    VALUES (1e200 + 1e-200, 'NaN', '-00:00:01', '0044-03-15 BC', '99999-01-01')""",
    "CREATE TABLE child (id integer PRIMARY KEY REFERENCES odd ON DELETE CASCADE, log text)",
    "CREATE INDEX part ON odd (lower(h)) WHERE p > 1",
    "CREATE VIEW b AS SELECT id, twice(p) AS x FROM odd",
    "CREATE VIEW a AS SELECT x FROM b",
    "CREATE MATERIALIZED VIEW held AS SELECT count(*) FROM a",
    "CREATE FUNCTION rows_of() RETURNS SETOF odd LANGUAGE sql AS 'SELECT * FROM odd'",
    """CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.log = upper(NEW.log); RETURN NEW; END'""",
    "CREATE TRIGGER loud BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION note()",
    "CREATE AGGREGATE most (integer) (SFUNC = int4larger, STYPE = integer)",
    "COMMENT ON COLUMN odd.h IS 'it''s a comment'",
]


def test_whatever_postgresql_holds(
    db: holdfast.Database,
    engine_name: str,
    new_url: NewUrl,
    open_: Open,
    tmp_path: Path,
    lite: holdfast.Database,
) -> None:
    if engine_name == "sqlite":
        pytest.skip("about PostgreSQL's types")
    for sql in ODD:
        db.execute(sql)
    seen = "SELECT odd::text FROM odd ORDER BY id"
    before = db.execute(seen).rows
    path = db.backup_database(tmp_path / "x.hfz")
    report = db.verify_backup(path)
    assert report.ok, report
    assert report.left_behind == ["aggregate most: it is in no archive"]
    other = open_(new_url())
    other.restore_database(path)
    # As with SQL text, what depends on a table from outside its rows is refused, and says so.
    with pytest.raises(SchemaError, match="rows_of"):
        other.restore_database(path, keep_old=False)
    other.execute("DROP FUNCTION rows_of()")
    other.restore_database(path, keep_old=False)
    assert other.execute(seen).rows == before
    for one in (db, other):
        one.execute("INSERT INTO odd (p) VALUES (7)")
        one.execute("INSERT INTO child VALUES (1, 'x')")
    last = "SELECT id, no, k, s FROM odd ORDER BY id DESC LIMIT 1"
    assert other.execute(last).rows == db.execute(last).rows == [{"id": 3, "no": 11, "k": 14, "s": 14}]
    assert other.execute("SELECT log FROM child").scalar() == "X"
    assert other.execute("SELECT count(*) FROM a").scalar() == 3
    assert other.execute("SELECT col_description('odd'::regclass, 12)").scalar() == "it's a comment"
    assert sorted(map(repr, other.list_indexes())) == sorted(map(repr, db.list_indexes()))
    with pytest.raises(holdfast.errors.CheckViolation):
        other.execute("INSERT INTO odd (p) VALUES (-7)")
    with pytest.raises(NotSupported, match=r"odd\.(m|a|i)"):
        lite.restore_database(path)
    assert lite.list_tables() == []


def test_a_value_that_the_other_engine_cannot_hold(
    db: holdfast.Database, engine_name: str, lite: holdfast.Database, tmp_path: Path
) -> None:
    if engine_name == "sqlite":
        pytest.skip("a file into a file")
    db.execute("CREATE TABLE t (id integer PRIMARY KEY, d date)")
    db.execute("INSERT INTO t VALUES (1, 'infinity')")
    path = db.backup_database(tmp_path / "x.hfz")
    lite.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    lite.insert("t", {"id": 9})
    with pytest.raises(ValueRefused, match=r"t\.d"):
        lite.restore_database(path)
    assert lite.select("t") == [{"id": 9}]


def test_what_stays_behind_is_said(db: holdfast.Database, lite: holdfast.Database, tmp_path: Path) -> None:
    lite.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": "TEXT COLLATE NOCASE"})
    lite.execute("CREATE VIEW seen AS SELECT a FROM t")
    lite.execute("CREATE TRIGGER fired AFTER INSERT ON t BEGIN SELECT 1; END")
    path = lite.backup_database(tmp_path / "x.hfz")
    report = db.restore_database(path)
    if db.engine.dialect.name == "sqlite":
        assert (report.left_behind, db.list_views()) == ([], ["seen"])
        return
    said = str(report)
    assert "left behind: view seen" in said
    assert "left behind: trigger fired on t" in said
    assert "collation t.a" in said


# The file


@pytest.fixture
def archive(db: holdfast.Database, tmp_path: Path) -> Path:
    make(db)
    return db.backup_database(tmp_path / "all.hfz")


def test_other_programs_read_it(archive: Path, db: holdfast.Database) -> None:
    """As docs/archive-format.md says."""
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
        names = file.namelist()
        assert (names[0], names[-1]) == ("schema.json", "manifest.json")
        manifest = json.loads(file.read("manifest.json"))
        assert manifest["end"] is True
        for name, (size, digest) in manifest["entries"].items():
            data = file.read(name)
            assert (len(data), sha256(data).hexdigest()) == (size, digest)
        schema = json.loads(file.read("schema.json"))
        assert set(schema["tables"]) == set(manifest["tables"]) == set(db.list_tables())
        for number, (name, (rows, _)) in enumerate(manifest["tables"].items(), 1):
            table = parquet.read_table(io.BytesIO(file.read(f"tables/{number:04}.parquet")))
            assert (table.num_rows, rows) == (db.count(name),) * 2
    body, seal = archive.read_bytes()[:-90], archive.read_bytes()[-90:]
    assert seal == SEAL + sha256(body).hexdigest().encode()


def damage_is_found(archive: Path, flips: int, cuts: int) -> None:
    data = archive.read_bytes()
    seed = random.randrange(2**32)
    print("seed", seed)
    places = random.Random(seed)
    broken = archive.with_name("broken.hfz")
    changed = bytearray(data)
    for number in range(flips):
        at = places.choice([places.randrange(len(data)), len(data) - 1 - number % 200, number % 200])
        changed[at] ^= (bit := 1 << places.randrange(8))
        broken.write_bytes(changed)
        changed[at] ^= bit
        with pytest.raises(BackupCorrupt), portable.opened(broken, unverified=False):
            pass
    for _ in range(cuts):
        broken.write_bytes(data[: places.randrange(len(data))])
        with pytest.raises(BackupCorrupt), portable.opened(broken, unverified=False):
            pass


def test_damage_is_found(archive: Path) -> None:
    damage_is_found(archive, 100, 30)


@pytest.mark.long
def test_every_flip_and_cut_is_found(archive: Path) -> None:
    damage_is_found(archive, 1000, 200)


def rewrite(archive: Path, change: Callable[[list[tuple[zipfile.ZipInfo, bytes]]], None]) -> None:
    """Forge an archive: other entries, and a seal that is right."""
    with zipfile.ZipFile(archive) as file:
        entries = [(zipfile.ZipInfo(info.filename), file.read(info)) for info in file.infolist()]
    change(entries)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for info, content in entries:
            file.writestr(info, content)
        file.comment = bytes(90)
    body = data.getvalue()[:-90]
    archive.write_bytes(body + SEAL + sha256(body).hexdigest().encode())


def renamed(name: str) -> Callable[[list[tuple[zipfile.ZipInfo, bytes]]], None]:
    def change(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        entries[1] = (zipfile.ZipInfo(name), entries[1][1])

    return change


def linked(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
    entries[1][0].external_attr = (stat.S_IFLNK | 0o777) << 16


def packed(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
    entries[1] = (entries[1][0], bytes(50_000_000))
    entries[1][0].compress_type = zipfile.ZIP_DEFLATED


def added(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
    entries.insert(1, (zipfile.ZipInfo("run.py"), b""))


def garbled(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
    entries[0] = (entries[0][0], b"[" * 100_000)


def emptied(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
    entries[0] = (entries[0][0], b"{}")


def swapped(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
    entries[1] = (entries[1][0], bytes(len(entries[1][1])))


@pytest.mark.parametrize(
    "change",
    [
        renamed("/etc/passwd"),
        renamed("../x"),
        renamed("tables/../../x"),
        renamed("schema.json"),
        linked,
        packed,
        added,
        garbled,
        emptied,
        swapped,
        lambda entries: entries.reverse(),
        lambda entries: entries.pop(1),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("engine_name", ["sqlite", "embedded"], indirect=True)
def test_forged_archives_are_refused(change: Any, archive: Path, db: holdfast.Database) -> None:
    rewrite(archive, change)
    names = sorted(archive.parent.rglob("*"))
    before = content(db)
    with pytest.raises(BackupCorrupt):
        db.restore_database(archive)
    assert not db.verify_backup(archive).ok
    assert content(db) == before
    assert sorted(archive.parent.rglob("*")) == names


def test_other_values_than_the_manifest_says(archive: Path, db: holdfast.Database) -> None:
    def change(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        info, text = entries[-1]
        manifest = json.loads(text)
        manifest["tables"]["people"][1] = manifest["tables"]["people"][1][::-1]
        entries[-1] = (info, json.dumps(manifest).encode())

    rewrite(archive, change)
    before = content(db)
    assert not db.verify_backup(archive).ok
    with pytest.raises(BackupError, match="people"):
        db.restore_database(archive)
    assert content(db) == before


@pytest.mark.parametrize("field", ["format", "archive"])
def test_newer_versions_are_refused(field: str, archive: Path, db: holdfast.Database) -> None:
    def change(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        info, text = entries[-1]
        entries[-1] = (info, json.dumps({**json.loads(text), field: 99}).encode())

    rewrite(archive, change)
    for call in (db.restore_database, db.verify_backup):
        with pytest.raises(BackupError, match="newer"):
            call(archive)


def test_it_needs_no_program_of_postgresql(
    archive: Path, db: holdfast.Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(programs, "_candidates", lambda name: iter(()))
    path = db.backup_database(tmp_path / "more.hfz")
    assert db.verify_backup(path).ok
    report = db.restore_database(path)
    assert report.kept is not None
    assert db.verify_backup(report.kept).ok
    report = db.restore_table("people", path)
    assert report.kept is not None


def test_a_driver_is_not_needed_for_the_other_engines_archive(
    archive: Path, engine_name: str, tmp_path: Path
) -> None:
    code = f"""
        import sys
        sys.modules["psycopg"] = None
        import holdfast
        with holdfast.connect({str(tmp_path / "made.sqlite")!r}) as db:
            db.restore_database({str(archive)!r})
            assert db.count("people") == 1199
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def child(code: str, *args: Any) -> subprocess.CompletedProcess[str]:
    start = """
        import os, signal, sys, holdfast
        import pyarrow.parquet, pyarrow.csv
        from holdfast.backup import portable
        def memory(name):
            with open("/proc/self/status") as file:
                return next(int(line.split()[1]) for line in file if line.startswith(name)) / 1024
    """
    text = textwrap.dedent(start) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", text, *map(str, args)], capture_output=True, text=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("crosses", [False, True])
def test_memory_stays_flat(
    crosses: bool, url: str, db: holdfast.Database, lite: holdfast.Database, new_url: NewUrl, tmp_path: Path
) -> None:
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "name": "TEXT", "x": "REAL", "at": "TIMESTAMP"})
    moment = datetime(2024, 1, 1)
    db.insert_many("runs", ({"id": n, "name": f"run {n}", "x": n / 3, "at": moment} for n in range(200_000)))
    db.create_table("files", {"id": "INTEGER PRIMARY KEY", "data": "BLOB"})
    db.insert_many("files", ({"id": n, "data": random.randbytes(100_000)} for n in range(600)))
    code = """
        url, path, target = sys.argv[1:]
        # What the libraries take is not counted.
        with holdfast.connect(":memory:") as db:
            db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
            db.backup_database(path)
            db.restore_database(path, keep_old=False)
        holdfast.connect(url).close()
        before = memory("VmRSS")
        with holdfast.connect(url) as db:
            db.backup_database(path, progress=False)
            wrote = memory("VmHWM") - before
            db.restore_database(path, into=target)
        print(round(wrote), round(memory("VmHWM") - before))
    """
    if crosses and "postgresql" not in url:
        pytest.skip("a file into a file")
    target = tmp_path / "into.sqlite" if crosses or "sqlite" in url else new_url()
    done = child(code, url, tmp_path / "x.hfz", target)
    assert done.returncode == 0, done.stderr
    assert max(map(int, done.stdout.split())) < 64, done.stdout


def test_killed_in_writing_and_restoring(
    url: str, db: holdfast.Database, lite: holdfast.Database, tmp_path: Path
) -> None:
    make(db)
    path = db.backup_database(tmp_path / "x.hfz")
    data, before = path.read_bytes(), content(db)
    db.update("people", {"team": 5}, {"id": 3})
    changed = content(db)
    write = """
        url, path = sys.argv[1:]
        portable.Writer.__exit__ = lambda self, *_: os.kill(os.getpid(), signal.SIGKILL)
        with holdfast.connect(url) as db:
            db.backup_database(path)
    """
    assert child(write, url, path).returncode == -signal.SIGKILL
    assert path.read_bytes() == data
    restore = """
        url, path = sys.argv[1:]
        parts = portable.Portable._parts
        def dying(self, table, advance):
            if table == "teams":
                os.kill(os.getpid(), signal.SIGKILL)
            return parts(self, table, advance)
        portable.Portable._parts = dying
        with holdfast.connect(url) as db:
            db.restore_database(path)
    """
    assert child(restore, url, path).returncode == -signal.SIGKILL
    assert content(db) == changed
    db.restore_database(path)
    assert content(db) == before


# Encryption


@pytest.fixture
def key(tmp_path: Path) -> tuple[str, Path]:
    """A public key, and the file of its secret one as age-keygen writes it."""
    identity = pyrage.x25519.Identity.generate()
    path = tmp_path / "key.txt"
    path.write_text(f"# created: today\n{identity}\n")
    return str(identity.to_public()), path


def test_an_encrypted_archive(
    db: holdfast.Database, lite: holdfast.Database, key: tuple[str, Path], tmp_path: Path
) -> None:
    make(db)
    public, secret = key
    before = content(db)
    path = db.backup_database(tmp_path / "x.hfz", recipients=[public])
    assert path.read_bytes().startswith(b"age-encryption.org/v1")
    assert b"team" not in path.read_bytes()
    identity = pyrage.x25519.Identity.from_str(secret.read_text().splitlines()[1])
    assert zipfile.ZipFile(io.BytesIO(pyrage.decrypt(path.read_bytes(), [identity]))).testzip() is None
    with pytest.raises(BackupError, match="identity="):
        db.restore_database(path)
    assert db.verify_backup(path, identity=secret).ok
    lite.restore_database(path, identity=secret)
    assert content(lite) == before
    db.update("people", {"team": 5}, {"id": 3})
    db.restore_table("people", path, identity=secret)
    assert content(db) == before


def test_a_wrong_key(db: holdfast.Database, key: tuple[str, Path], tmp_path: Path) -> None:
    make(db)
    path = db.backup_database(tmp_path / "x.hfz", recipients=[key[0]])
    other = tmp_path / "other.txt"
    other.write_text(str(wrong := pyrage.x25519.Identity.generate()))
    before, names = content(db), sorted(tmp_path.rglob("*"))
    for call in (db.restore_database, db.verify_backup):
        with pytest.raises(BackupError, match="no key in") as caught:
            call(path, identity=other)
        assert str(wrong) not in str(caught.value)
    other.write_text("AGE-SECRET-KEY-1WRONG")
    for file in (other, tmp_path / "none.txt"):
        with pytest.raises(ConfigurationError) as config:
            db.restore_database(path, identity=file)
        assert "WRONG" not in str(config.value)
    with pytest.raises(InvalidQuery) as query:
        db.backup_database(tmp_path / "y.hfz", recipients=[str(wrong)])
    assert str(wrong) not in str(query.value)
    with pytest.raises(InvalidQuery):
        db.backup_database(tmp_path / "y.hfz", recipients=[])
    with pytest.raises(NotSupported, match="hfz"):
        db.backup_database(tmp_path / "y.sql", recipients=[key[0]])
    assert content(db) == before
    assert sorted(tmp_path.rglob("*")) == names


def test_damage_to_an_encrypted_archive(db: holdfast.Database, key: tuple[str, Path], tmp_path: Path) -> None:
    make(db)
    path = db.backup_database(tmp_path / "x.hfz", recipients=[key[0]])
    data, places = path.read_bytes(), random.Random(5)
    for number in range(60):
        at = places.randrange(len(data)) if number % 2 else number * 5
        changed = data[:at] + bytes([data[at] ^ 1 << places.randrange(8)]) + data[at + 1 :]
        for broken in (changed, data[:at]):
            path.write_bytes(broken)
            with pytest.raises(BackupError), portable.opened(path, unverified=False, identity=key[1]):
                pass


def call(*arguments: str) -> Any:
    with pytest.raises(SystemExit) as ended:
        run(list(arguments))
    return ended.value.code


def test_the_command_line(
    url: str, db: holdfast.Database, key: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(db)
    path = str(tmp_path / "x.hfz")
    assert call("backup", url, path, "--recipient", key[0]) == 0
    assert call("verify", url, path) == 1
    assert "encrypted" in capsys.readouterr().err
    assert call("verify", url, path, "--identity", str(key[1])) == 0
    folder = str(tmp_path / "many")
    own = ["--recipient", key[0], "--identity", str(key[1])]
    assert call("schedule", url, folder, *own, "--keep-last", "1") == 0
    assert call("backups", folder) == 0
    assert "encrypted" in capsys.readouterr().out
    assert call("prune", folder, "--keep-last", "1") == 0
    assert "encrypted, left alone" in capsys.readouterr().out
    assert call("backups", folder, "--identity", str(key[1])) == 0
    assert "ok" in capsys.readouterr().out
    assert call("schedule", url, folder, *own, "--check") == 0
    assert call("schedule", url, folder, "--recipient", key[0]) == 1
    made = str(tmp_path / "made.sqlite")
    assert call("restore", made, path, "--identity", str(key[1])) == 0
    with holdfast.connect(made) as new:
        assert content(new) == content(db)
