"""Arrays by key: exact on every engine, in parts, proved by their checksums, with flat memory."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast
import servers
from holdfast import errors
from holdfast.types.array import BLOCK, MARK, frame

LARGE = (
    np.random.default_rng(0)
    .integers(0, 256, (3 * BLOCK + 999) // 24 * 24, np.uint8)
    .view("f8")
    .reshape(-1, 3)
)
ARRAYS = {
    "0-d": np.array(5.5),
    "empty": np.zeros((3, 0, 2), ">i4"),
    "Fortran": np.asfortranarray(np.arange(6, dtype="i2").reshape(2, 3)),
    "view": np.arange(24).reshape(2, 3, 4)[:, ::2].transpose(2, 0, 1),
    "big-endian": np.array([1.5, np.inf], ">f8"),
    "complex": np.array([1 + 2j, complex("nan")], "c8"),
    "bool": np.array([True, False]),
    "half": np.array([1.5, -0.0], np.float16),
    "text": np.array(["ü", "abc"], "U5"),
    "bytes": np.array([b"a", b"\0b"], "S3"),
    "datetime": np.array(["2024-05-06", "NaT"], "M8[ns]"),
    "timedelta": np.array([1, 2], "m8[10s]"),
    "structured": np.array([(1, 2.5, "x")], [("a", "i4"), ("größe", ">f8"), ("c", "U3")]),
    "large": LARGE,
    "large Fortran": np.asfortranarray(LARGE),
}


def assert_same(found, array):
    assert type(found) is np.ndarray
    assert (found.dtype, found.dtype.str, found.shape) == (array.dtype, array.dtype.str, array.shape)
    assert found.tobytes() == array.tobytes()
    if array.flags.c_contiguous or array.flags.f_contiguous:
        assert found.flags.f_contiguous == array.flags.f_contiguous
    assert not found.flags.writeable


@pytest.mark.parametrize("compress", [False, True, "auto"])
def test_arrays_come_back_exactly(db, compress):
    if compress is True and not find_spec("zstandard"):
        pytest.skip("zstandard is not installed")
    assert db.save_arrays("arrays", ARRAYS, compress=compress) == list(ARRAYS)
    for key, array in ARRAYS.items():
        assert_same(db.load_array("arrays", key), array)
        assert_same(db.get("arrays", key)["data"], array)
        info = db.verify_array("arrays", key)
        assert (info.shape, info.nbytes) == (array.shape, array.nbytes)
    for key, found in db.load_arrays("arrays", list(ARRAYS)).items():
        assert_same(found, ARRAYS[key])


@pytest.fixture(scope="module")
def module_db(tmp_path_factory):
    with holdfast.connect(tmp_path_factory.mktemp("arrays") / "a.db", durability="normal") as database:
        yield database


DTYPES = st.one_of(
    hnp.scalar_dtypes(), hnp.unicode_string_dtypes(), hnp.byte_string_dtypes(), hnp.array_dtypes()
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_dtype_and_shape(module_db, data):
    array = data.draw(hnp.arrays(data.draw(DTYPES), hnp.array_shapes(min_dims=0, min_side=0)))
    if data.draw(st.booleans()):
        array = np.asfortranarray(array)
    module_db.save_array("arrays", array, "x", compress=data.draw(st.sampled_from([False, "auto"])))
    found = module_db.load_array("arrays", "x")
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())
    if array.ndim:
        part = module_db.load_array("arrays", "x", rows=slice(1, -1))
        assert (part.shape, part.tobytes()) == (array[1:-1].shape, array[1:-1].tobytes())


def test_the_bits_of_every_nan_are_kept(db):
    bits = np.array([0x7FF8000000000001, 0xFFF8DEADBEEF0000, 0x7FF0000000000001, 1 << 63], "u8")
    db.save_array("arrays", bits.view("f8"), "nan")
    assert db.load_array("arrays", "nan").view("u8").tolist() == bits.tolist()


def test_the_table_is_made_so_that_it_can_be_asked(db, engine_name):
    db.save_array("arrays", np.zeros((2, 3), "f4"), "a", metadata={"unit": "m", "n": [1]})
    db.save_array("arrays", np.zeros(2, [("x", "<i4")]), "b")
    assert [column["name"] for column in db.get_columns("arrays")] == [
        "id",
        "dtype",
        "shape",
        "metadata",
        "data",
    ]
    rows = db.select("arrays", ["id", "dtype", "shape", "metadata"], order_by="id")
    assert rows == [
        {"id": "a", "dtype": "<f4", "shape": [2, 3], "metadata": {"unit": "m", "n": [1]}},
        {"id": "b", "dtype": "[('x', '<i4')]", "shape": [2], "metadata": None},
    ]
    assert list(db.load_arrays("arrays", where="dtype = ?", params=["<f4"])) == ["a"]
    assert sorted(db.load_arrays("arrays")) == ["a", "b"]
    if engine_name != "sqlite":
        sql = "SELECT attstorage FROM pg_attribute WHERE attrelid = 'arrays'::regclass AND attname = 'data'"
        assert db.execute(sql).scalar() in ("e", b"e")


def test_the_key_decides_the_kind_of_the_table(db):
    assert db.save_array("numbered", np.arange(3)) == 1
    assert db.save_array("numbered", np.arange(4)) == 2
    assert db.save_array("numbered", np.arange(5), 7) == 7
    assert db.save_array("numbered", np.arange(6)) == 8
    assert {k: len(v) for k, v in db.load_arrays("numbered").items()} == {1: 3, 2: 4, 7: 5, 8: 6}
    assert db.save_array("by_number", np.arange(5), np.int64(7)) == 7
    assert db.save_arrays("listed", [np.arange(2), np.arange(3)]) == [1, 2]
    assert db.save_arrays("pairs", ((name, np.arange(2)) for name in "ab")) == ["a", "b"]
    for key in (1.5, b"x", True, object()):
        with pytest.raises(errors.Error):
            db.save_array("other", np.arange(3), key)
        assert not db.table_exists("other")


def test_the_same_key_is_replaced(db):
    for array in (LARGE, np.arange(3), LARGE[::-1].copy(), np.zeros((2, 2))):
        assert db.save_array("arrays", array, "x", metadata={"n": array.ndim}) == "x"
        assert_same(db.load_array("arrays", "x"), array)
    db.save_array("arrays", np.arange(3), "x")
    assert db.select("arrays", ["shape", "metadata"]) == [{"shape": [3], "metadata": None}]


def test_a_table_of_ones_own(db):
    db.create_table(
        "runs",
        {"run": "TEXT", "step": "INTEGER", "note": "TEXT DEFAULT 'none'", "weights": "BLOB", "shape": "TEXT"},
        primary_key=["run", "step"],
    )
    assert db.save_array("runs", LARGE, ("a", 1), "weights") == ("a", 1)
    db.update("runs", {"note": "kept"}, {"run": "a"})
    db.save_array("runs", LARGE[:5].copy(), {"run": "a", "step": 1}, "weights")
    assert_same(db["runs"].load_array(("a", 1), "weights"), LARGE[:5])
    assert db.find_one("runs", ["note", "shape"]) == {"note": "kept", "shape": None}
    assert list(db.load_arrays("runs", column="weights")) == [("a", 1)]
    with pytest.raises(errors.ColumnNotFound, match="metadata"):
        db.save_array("runs", LARGE, ("a", 2), "weights", metadata={"x": 1})
    assert db.count("runs") == 1


def test_a_view_and_a_table_without_row_numbers(db, engine_name):
    option = " WITHOUT ROWID" if engine_name == "sqlite" else ""
    kind = "BLOB" if engine_name == "sqlite" else "BYTEA"
    db.execute(f"CREATE TABLE plain (id TEXT PRIMARY KEY, rowid INTEGER, data {kind}){option}")
    db.save_array("plain", LARGE, "x")
    assert_same(db.load_array("plain", "x"), LARGE)
    assert_same(db.load_array("plain", "x", rows=slice(7, 9)), LARGE[7:9])
    assert db.verify_array("plain", "x").nbytes == LARGE.nbytes


def test_who_looks_at_a_row_sees_the_array_itself(db, engine_name):
    """A large array may be written into empty bytes, which nobody else may see."""
    if engine_name != "sqlite":
        pytest.skip("PostgreSQL takes a value whole")
    large = np.random.default_rng(2).integers(1, 256, 5 * BLOCK, dtype=np.uint8)
    db.execute("CREATE TABLE log (data BLOB)")
    db.execute("CREATE TABLE watched (id INTEGER PRIMARY KEY, data BLOB)")
    for moment in ("INSERT", "UPDATE"):
        action = "INSERT INTO log VALUES (NEW.data)"
        db.execute(f"CREATE TRIGGER after_{moment.lower()} AFTER {moment} ON watched BEGIN {action}; END")
    db.execute(
        "CREATE TABLE checked (id INTEGER PRIMARY KEY, data BLOB CHECK (substr(data, 1, 2) = x'8948'))"
    )
    db.execute("CREATE TABLE indexed (id INTEGER PRIMARY KEY, data BLOB UNIQUE)")
    mark = "mark BLOB AS (substr(data, 1, 2)) STORED"
    db.execute(f"CREATE TABLE computed (id INTEGER PRIMARY KEY, data BLOB, {mark})")
    for table in ("watched", "checked", "indexed", "computed", "plain"):
        for array in (large[: 4 * BLOCK], large, large[::-1]):
            assert db.save_array(table, array, 1, compress=False) == 1
            assert_same(db.load_array(table, 1), np.ascontiguousarray(array))
    assert [row["data"].size for row in db.select("log")] == [4 * BLOCK, 5 * BLOCK, 5 * BLOCK]
    assert db.select("log")[1]["data"].tobytes() == large.tobytes()
    assert db.find_one("computed")["mark"] == MARK[:2]
    assert db.execute("PRAGMA cache_spill").scalar() > 0


ROWS = [
    slice(0, 1),
    slice(5, 50_000),
    slice(None),
    slice(-3, None),
    slice(9, 2),
    slice(90_000, None),
    slice(-5, -2),
]


@pytest.mark.parametrize("key", ["large", "large Fortran", "structured", "empty"])
def test_a_part_along_the_first_axis(db, key):
    array = ARRAYS[key]
    db.save_array("arrays", array, key)
    for rows in ROWS:
        found = db.load_array("arrays", key, rows=rows)
        assert (found.shape, found.dtype) == (array[rows].shape, array.dtype)
        np.testing.assert_array_equal(found, array[rows])


@pytest.mark.skipif(not find_spec("zstandard"), reason="zstandard is not installed")
def test_a_part_of_a_compressed_array(db):
    array = np.arange(400_000).reshape(-1, 4)
    db.save_array("arrays", array, 1)
    assert db.verify_array("arrays", 1).compressed
    assert db.verify_array("arrays", 1).stored_bytes < array.nbytes / 2
    np.testing.assert_array_equal(
        db.load_array("arrays", 1, rows=slice(80_000, 80_010)), array[80_000:80_010]
    )


def test_what_is_no_part(db):
    db.save_array("arrays", np.array(1), "0-d")
    db.save_array("arrays", np.arange(9), "1-d")
    with pytest.raises(errors.InvalidQuery, match="axis"):
        db.load_array("arrays", "0-d", rows=slice(0, 1))
    for rows in (slice(0, 9, 2), 3, [1, 2]):
        with pytest.raises(errors.InvalidQuery, match="slice"):
            db.load_array("arrays", "1-d", rows=rows)


def test_a_size_cap_holds_before_memory_is_taken(db):
    db.save_array("arrays", LARGE, "x")
    with pytest.raises(errors.ValueRefused, match="max_bytes"):
        db.load_array("arrays", "x", max_bytes=LARGE.nbytes - 1)
    assert_same(db.load_array("arrays", "x", max_bytes=LARGE.nbytes), LARGE)
    assert len(db.load_array("arrays", "x", rows=slice(0, 10), max_bytes=240)) == 10
    db.save_array("arrays", LARGE, "y")
    with pytest.raises(errors.ValueRefused):
        db.load_arrays("arrays", max_bytes=2 * LARGE.nbytes - 1)


def test_what_is_refused_leaves_no_table(db):
    masked = np.ma.masked_array([1, 2], [True, False])
    for value in (np.array([{}], object), np.zeros(2, [("a", object)]), masked, [1, 2], 5, None, "x"):
        with pytest.raises(errors.ValueRefused, match=r"arrays\.data"):
            db.save_array("arrays", value, "x")
        assert not db.table_exists("arrays")
    with pytest.raises(errors.ValueRefused, match="bytes"):
        db.save_array("arrays", np.zeros(1_100_000_000, np.uint8), "x", compress=False)
    for arrays in (np.zeros(3), "abc", 5, [5], [("a",)]):
        with pytest.raises(errors.Error):
            db.save_arrays("arrays", arrays)
        assert not db.table_exists("arrays")
    with pytest.raises(errors.InvalidQuery, match="metadata"):
        db.save_arrays("arrays", {"a": np.zeros(3)}, metadata={"b": 1})
    assert not db.table_exists("arrays")


def test_many_are_saved_all_or_none(db):
    db.save_array("arrays", np.zeros(1), "kept")
    with pytest.raises(errors.ValueRefused):
        db.save_arrays("arrays", {"a": LARGE, "b": np.array([object()])})
    assert list(db.load_arrays("arrays")) == ["kept"]
    keys = db.save_arrays("arrays", {"a": LARGE, "b": LARGE}, metadata={"b": [1]})
    assert keys == ["a", "b"]
    assert db.get("arrays", "b")["metadata"] == [1]


def test_mistakes_are_named(db):
    db.save_array("arrays", LARGE, "x")
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "name": "TEXT", "data": "BLOB"})
    db.insert_many("t", [{"id": 1}, {"id": 2, "data": b"plain"}, {"id": 3, "data": b""}])
    db.create_table("keyless", {"data": "BLOB"})
    for verb in (db.load_array, db.verify_array):
        with pytest.raises(errors.NotFoundError, match="no row"):
            verb("arrays", "y")
        with pytest.raises(errors.NotFoundError, match="NULL"):
            verb("t", 1)
        for key in (2, 3):
            with pytest.raises(errors.InvalidQuery, match="no array"):
                verb("t", key)
        with pytest.raises(errors.TableNotFound, match="arrays"):
            verb("arays", "x")
        with pytest.raises(errors.ColumnNotFound, match="data"):
            verb("arrays", "x", "dta")
        with pytest.raises(errors.InvalidQuery, match="binary"):
            verb("t", 1, "name")
        for key in (None, ["x"], ("x", 1), {"no": "x"}):
            with pytest.raises(errors.InvalidQuery):
                verb("arrays", key)
        with pytest.raises(errors.InvalidQuery, match="primary key"):
            verb("keyless", 1)
    with pytest.raises(errors.NotFoundError):
        db.load_arrays("arrays", ["x", "y"])
    with pytest.raises(errors.InvalidQuery):
        db.load_arrays("arrays", "x")
    with pytest.raises(errors.InvalidQuery):
        db.load_arrays("arrays", ["x"], where="id = 'x'")
    with pytest.raises(errors.ColumnNotFound):
        db.save_array("arrays", LARGE, "x", "dta")
    with pytest.raises(errors.InvalidQuery, match="binary"):
        db.save_array("t", LARGE, 1, "name")
    assert_same(db.load_array("arrays", "x"), LARGE)


def put_bytes(db, data):
    """Write below the codec, which refuses bytes that look like an array."""
    mark = "?" if db._executor.engine.name == "sqlite" else "$1"
    db._executor.send(f"UPDATE arrays SET data = {mark} WHERE id = 'x'", [bytes(data)])


@pytest.mark.parametrize("compress", [False, True])
def test_a_damaged_array_raises(db, compress):
    if compress and not find_spec("zstandard"):
        pytest.skip("zstandard is not installed")
    array = LARGE if not compress else np.arange(300_000)
    stored = frame(array, compress)
    db.save_array("arrays", array, "x", compress=compress)
    random = np.random.default_rng(1)
    payload = random.integers(64 + 8 * 13 + 128, len(stored), 25).tolist()
    for at in [*range(8, 64, 3), *range(64, 64 + 8 * 4, 5), *range(200, 300, 17), *payload, len(stored) - 1]:
        broken = bytearray(stored)
        broken[at] ^= 1 << int(random.integers(8))
        put_bytes(db, broken)
        for verb in (db.load_array, db.verify_array):
            with pytest.raises(errors.DatabaseError, match=r"arrays\.data.*damaged|version"):
                verb("arrays", "x")
    for length in (9, 63, 64, 100, 300, len(stored) // 2, len(stored) - 1):
        put_bytes(db, stored[:length])
        with pytest.raises(errors.DatabaseError, match="damaged"):
            db.load_array("arrays", "x")
    put_bytes(db, stored + b"x")
    with pytest.raises(errors.DatabaseError, match="damaged"):
        db.load_array("arrays", "x")
    for at in (0, 56):
        broken = bytearray(stored)
        broken[at + 3] = MARK[3] ^ 1
        put_bytes(db, broken)
        with pytest.raises(errors.DatabaseError, match="damaged"):
            db.load_array("arrays", "x")
    put_bytes(db, stored)
    assert_same(db.load_array("arrays", "x"), array)


def test_damage_is_found_where_it_is_read(db):
    stored = bytearray(frame(LARGE))
    db.save_array("arrays", LARGE, "x")
    stored[-1] ^= 1
    put_bytes(db, stored)
    np.testing.assert_array_equal(db.load_array("arrays", "x", rows=slice(0, 100)), LARGE[:100])
    with pytest.raises(errors.DatabaseError, match="damaged"):
        db.load_array("arrays", "x", rows=slice(-1, None))


@contextmanager
def undone(db):
    with suppress(ZeroDivisionError), db.transaction():
        yield
        raise ZeroDivisionError


def test_inside_transactions(db):
    with db.transaction():
        db.save_array("arrays", LARGE, "x")
        assert_same(db.load_array("arrays", "x"), LARGE)
        with undone(db):
            db.save_array("arrays", np.zeros(3), "x")
            assert len(db.load_array("arrays", "x")) == 3
        assert_same(db.load_array("arrays", "x"), LARGE)
        with pytest.raises(errors.NotFoundError):
            db.load_array("arrays", "y")
        assert sorted(db.load_arrays("arrays")) == ["x"]
        db.save_array("arrays", np.zeros(3), "z")
    with undone(db):
        db.save_arrays("arrays", {"x": np.zeros(3), "y": LARGE})
    assert sorted(db.load_arrays("arrays")) == ["x", "z"]
    assert_same(db.load_array("arrays", "x"), LARGE)
    with undone(db):
        db.save_array("fresh", LARGE, "x")
    assert not db.table_exists("fresh")
    with db.transaction(read_only=True):
        assert_same(db.load_array("arrays", "x"), LARGE)
        assert_same(db.load_array("arrays", "z"), np.zeros(3))


def test_a_table_that_changes_shape_meanwhile(url):
    with holdfast.connect(url) as db, holdfast.connect(url) as other:
        db.save_array("arrays", LARGE, "x")
        assert_same(db.load_array("arrays", "x"), LARGE)
        other.add_column("arrays", "more", "TEXT")
        other.drop_column("arrays", "metadata")
        assert_same(db.load_array("arrays", "x"), LARGE)
        other.drop_table("arrays")
        with pytest.raises(errors.TableNotFound):
            db.load_array("arrays", "x")
        db.save_array("arrays", LARGE, "x")
        assert_same(other.load_array("arrays", "x"), LARGE)


def test_readers_never_see_a_mixture(url):
    arrays = [np.full(5 * BLOCK, number, np.uint8) for number in (1, 2, 3)]
    stop, wrong = threading.Event(), []

    with holdfast.connect(url, durability="normal") as db:
        db.save_array("arrays", arrays[0], "x", compress=False)

        def write() -> None:
            try:
                for number in range(40):
                    db.save_array("arrays", arrays[number % 3], "x", compress=False)
            except Exception as exc:
                wrong.append(exc)
            finally:
                stop.set()

        writer = threading.Thread(target=write)
        writer.start()
        reads = 0
        while not stop.is_set() or reads < 3:
            try:
                assert len(set(db.load_array("arrays", "x")[:: BLOCK // 7].tolist())) == 1
            except errors.SerializationFailure:
                continue
            reads += 1
        writer.join()
    assert wrong == []


LOADING = textwrap.dedent(
    """
    import json, resource, sys
    import numpy as np
    import holdfast

    def peak():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    with holdfast.connect(sys.argv[1]) as db:
        db.load_array("arrays", "small")
        before = peak()
        if sys.argv[2] == "part":
            found = db.load_array("arrays", "large", rows=slice(-1000, None))
        elif sys.argv[2] == "verify":
            found = db.verify_array("arrays", "large")
        else:
            found = db.load_array("arrays", "large")
        print(json.dumps([peak() - before, found.nbytes]))
    """
)
SAVING = textwrap.dedent(
    """
    import resource, sys
    import numpy as np
    import holdfast

    def peak():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    with holdfast.connect(sys.argv[1]) as db:
        db.save_array("arrays", np.zeros(3), "small")
        array = np.random.default_rng(0).random((12_500, 1000))
        before = peak()
        db.save_array("arrays", array, "large")
        print((peak() - before) / array.nbytes)
    """
)


def test_saving_holds_one_copy_on_sqlite_and_the_drivers_on_postgres(url, engine_name):
    """SQLite's pages until they are written; a value whole and in the driver's buffer, which doubles."""
    run = [sys.executable, "-c", SAVING, url]
    grown = float(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    assert grown < (1.3 if engine_name == "sqlite" else 3.5)


@pytest.mark.skipif(not find_spec("zstandard"), reason="zstandard is not installed")
def test_a_compressed_array_is_unpacked_piece_by_piece(tmp_path):
    path = str(tmp_path / "a.db")
    numbers = np.random.default_rng(0).integers(0, 99, 10_000_000)
    with holdfast.connect(path) as db:
        db.save_arrays("arrays", {"large": numbers, "small": numbers[:5]}, compress=True)
    run = [sys.executable, "-c", LOADING, path, "whole"]
    grown, size = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    assert size == numbers.nbytes
    assert grown < 1.3 * size


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much the process wrote")
def test_a_large_array_is_written_once(tmp_path):
    """SQLite would write pages that its cache does not hold before they are filled, and again after."""

    def written():
        counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(counts["wchar"])

    array = np.random.default_rng(0).random((20, 100_000))
    for page_size in (4096, 32768):
        with holdfast.connect(tmp_path / f"{page_size}.db", page_size=page_size) as db:
            db.save_array("arrays", array[:1], 1)
            db.execute("PRAGMA wal_autocheckpoint = 0")
            before = written()
            db.save_array("arrays", array, 1)
            assert written() - before < 1.2 * array.nbytes


def test_a_process_killed_while_it_saves_leaves_all_or_nothing(url):
    """Kill -9 at any moment: what was acknowledged is there and whole, what was not is absent or whole."""
    program = textwrap.dedent(
        """
        import sys
        import numpy as np
        import holdfast

        with holdfast.connect(sys.argv[1]) as db:
            print("ready", flush=True)
            for number in range(10_000):
                pair = {2 * number + k: np.full(700_000, number, np.int32) for k in (0, 1)}
                db.save_arrays("arrays", pair, compress=False)
                print(number, flush=True)
        """
    )
    moments = random.Random(5)
    for _ in range(3):
        with holdfast.connect(url) as db:
            if db.table_exists("arrays"):
                db.drop_table("arrays")
        run = [sys.executable, "-c", program, url]
        with subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(moments.uniform(0.1, 0.6))
            process.kill()
            acknowledged = process.stdout.read().count("\n")
        with holdfast.connect(url) as db:
            found = db.load_arrays("arrays") if db.table_exists("arrays") else {}
            assert len(found) in (2 * acknowledged, 2 * acknowledged + 2)
            for key, array in found.items():
                assert array.shape == (700_000,)
                assert (array == key // 2).all()
            db.save_array("arrays", LARGE, 1)
            assert_same(db.load_array("arrays", 1), LARGE)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_disk_leaves_the_file_as_it_was(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", small], check=True)
    try:
        with holdfast.connect(small / "a.db") as db:
            db.save_array("arrays", LARGE, "kept")
            for save in (
                lambda: db.save_array("arrays", np.ones(6_000_000), "x", compress=False),
                lambda: db.save_array("arrays", np.ones(6_000_000), "kept", compress=False),
                lambda: db.save_arrays("arrays", {n: np.ones(600_000) for n in "abcdef"}, compress=False),
            ):
                with pytest.raises(errors.DatabaseError):
                    save()
                assert_same(db.load_array("arrays", "kept"), LARGE)
                assert list(db.load_arrays("arrays")) == ["kept"]
            assert db.execute("PRAGMA integrity_check").scalar() == "ok"
            db.save_array("arrays", LARGE[:9], "after")
    finally:
        servers.unmount(small)


def test_an_interrupt_while_many_are_saved_keeps_none(db):
    def arrays():
        yield "a", LARGE
        yield "b", LARGE
        raise KeyboardInterrupt

    db.save_array("arrays", LARGE, "kept")
    with pytest.raises(KeyboardInterrupt):
        db.save_arrays("arrays", arrays())
    assert list(db.load_arrays("arrays")) == ["kept"]
    with pytest.raises(KeyboardInterrupt):
        db.save_arrays("fresh", arrays())
    assert not db.table_exists("fresh")
    db.save_array("arrays", LARGE, "after")


def test_odd_shapes_and_layouts(db):
    many = np.zeros((1,) * 64) if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else np.zeros((1,) * 32)
    odd = {
        "many axes": many,
        "strided": LARGE[::7, ::2],
        "reversed": LARGE[::-1],
        "broadcast": np.broadcast_to(np.arange(5), (3, 5)),
        "nothing": np.zeros(0, "S0"),
        "0-d structured": np.array((1, 2.0), [("a", "i1"), ("b", "f8")]),
        "swapped": np.arange(5, dtype=">u2"),
        "long double": np.arange(3, dtype=np.longdouble),
    }
    for key, array in odd.items():
        db.save_array("arrays", array, key)
        found = db.load_array("arrays", key)
        assert (found.dtype.str, found.shape) == (array.dtype.str, array.shape), key
        np.testing.assert_array_equal(found, array)


def test_loading_takes_little_more_than_the_array(url):
    """The peak of a process that loads 100 MB, over what it has before."""
    array = np.random.default_rng(0).random((12_500, 1000))
    with holdfast.connect(url) as db:
        db.save_arrays("arrays", {"large": array, "small": array[:1]}, compress=False)
        # SQLite's checkpoint belongs to the writer.
        del array

        def measured(what):
            run = [sys.executable, "-c", LOADING, url, what]
            return json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)

        grown, size = measured("whole")
        assert size == 100_000_000
        assert grown < 2.2 * size
        grown, size = measured("part")
        assert size == 8_000_000
        assert grown < 40_000_000
        grown, _ = measured("verify")
        assert grown < 40_000_000


# Files


def test_a_file_made_for_arrays_has_large_pages(tmp_path):
    def page_size(name, **options):
        with holdfast.connect(tmp_path / name, **options) as db:
            yield db
            yield db.execute("PRAGMA page_size").scalar(), db.execute("PRAGMA journal_mode").scalar()

    verbs = {
        "one": (lambda db: db.save_array("arrays", LARGE, "x"), {}, 32768),
        "many": (lambda db: db.save_arrays("arrays", {"x": LARGE}), {}, 32768),
        "chosen": (lambda db: db.save_array("arrays", LARGE, "x"), {"page_size": 8192}, 8192),
        "used": (
            lambda db: [db.create_table("t", {"id": int}), db.save_array("arrays", LARGE, "x")],
            {},
            4096,
        ),
    }
    for name, (save, options, size) in verbs.items():
        steps = page_size(f"{name}.db", **options)
        db = next(steps)
        save(db)
        assert_same(db.load_array("arrays", "x"), LARGE)
        assert next(steps) == (size, "wal"), name
        steps.close()


def test_a_file_that_others_have_open_keeps_its_pages(tmp_path):
    with holdfast.connect(tmp_path / "a.db") as db, holdfast.connect(tmp_path / "a.db") as other:
        with other.transaction():
            other.list_tables()
            with (
                pytest.raises(errors.DatabaseBusy),
                holdfast.connect(tmp_path / "a.db", timeout=0.1) as third,
            ):
                third.save_array("arrays", LARGE, "x")
        db.save_array("arrays", LARGE, "x")
        assert_same(other.load_array("arrays", "x"), LARGE)
        assert other.execute("PRAGMA journal_mode").scalar() == "wal"


def test_arrays_in_memory():
    with holdfast.connect(":memory:") as db:
        db.save_array("arrays", LARGE, "x")
        assert_same(db.load_array("arrays", "x"), LARGE)
