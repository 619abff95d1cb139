"""SQLite files that others made with JSON in an index or a column, which older SQLites call unsafe."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import holdfast

PLACES = {
    "index": "CREATE INDEX by_n ON t (json_extract(v, '$.n'))",
    "arrow": "CREATE INDEX by_n ON t (v -> 'n')",
    "partial": "CREATE INDEX by_n ON t (v) WHERE json_valid(v)",
    "column": "CREATE TABLE c (v TEXT, n GENERATED ALWAYS AS (json_extract(v, '$.n')) STORED)",
    "check": "CREATE TABLE c (v TEXT CHECK (json_valid(v)))",
    "view": "CREATE VIEW c AS SELECT json_extract(v, '$.n') AS n FROM t",
    "trigger": "CREATE TRIGGER c AFTER INSERT ON t WHEN json_extract(new.v, '$.n') = 9 BEGIN SELECT 1; END",
}
ROW = {"id": 1, "v": '{"n": 7}'}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as con, con:
        con.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
        con.execute("INSERT INTO t VALUES (1, ?)", [ROW["v"]])
    return path


@pytest.mark.parametrize("place", PLACES)
def test_a_file_with_it_is_opened_read_and_written(path: Path, place: str) -> None:
    with closing(sqlite3.connect(path)) as con, con:
        con.execute(PLACES[place])
    for options in ({}, {"read_only": True}, {"pool": "null"}):
        with holdfast.connect(path, **options) as db:
            assert db.get("t", 1) == ROW
    with holdfast.connect(path) as db:
        db.insert("t", {"v": '{"n": 9}'})
        assert db.count("t", "json_extract(v, '$.n') = 9") == 1
        if place in ("column", "check"):
            db.insert("c", {"v": '{"n": 9}'})
        if place in ("column", "view"):
            assert db.count("c", "n = 9") == 1


@pytest.mark.parametrize("place", PLACES)
def test_who_has_the_file_open_goes_on_when_another_program_adds_it(path: Path, place: str) -> None:
    with holdfast.connect(path) as db:
        assert db.get("t", 1) == ROW
        with closing(sqlite3.connect(path)) as con, con:
            con.execute(PLACES[place])
        assert db.get("t", 1) == ROW
        db.insert("t", {"v": '{"n": 9}'})
        assert db.count("t") == 2
