"""Bytes and arrays stored with a row and read back."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from holdfast import errors


def test_bytes_come_back_and_the_table_is_made(db):
    data = pickle.dumps(list(range(1000))) + b"\x00\xff"
    assert db.store_blob("arrays", {"name": "matrix", "data": data}) == 1
    assert db.store_blob("arrays", {"name": "other", "data": b""}) == 2
    assert db.get_blob("arrays", "data", where="name = 'matrix'") == data
    assert db.get_blob("arrays", "data", where="name = ?", params=["other"]) == b""
    assert db.get_blob("arrays", "data", {"id": 1}) == data
    assert [column["name"] for column in db.get_columns("arrays")] == ["id", "name", "data"]


def test_arrays_come_back_as_arrays(db):
    array = np.arange(12, dtype=">f4").reshape(3, 4)
    db.store_blob("arrays", {"name": "a", "data": array, "shape": list(array.shape), "mean": 5.5})
    found = db.get_blob("arrays", "data", {"name": "a"})
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    assert db.find_one("arrays", columns=["shape", "mean"]) == {"shape": [3, 4], "mean": 5.5}


def test_a_key_of_ones_own(db):
    assert db.store_blob("images", {"id": "cat", "data": b"1"}) == "cat"
    with pytest.raises(errors.UniqueViolation):
        db.store_blob("images", {"id": "cat", "data": b"2"})
    assert db.get_blob("images", "data", {"id": "cat"}) == b"1"


def test_what_is_not_there(db):
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "data": "BLOB", "name": "TEXT"})
    db.insert("t", {"id": 1, "name": "x"})
    with pytest.raises(errors.NotFoundError, match="no row"):
        db.get_blob("t", "data", {"id": 2})
    with pytest.raises(errors.NotFoundError, match="NULL"):
        db.get_blob("t", "data", {"id": 1})
    with pytest.raises(errors.ColumnNotFound):
        db.get_blob("t", "dta", {"id": 1})
    with pytest.raises(errors.TableNotFound):
        db.get_blob("u", "data")
    with pytest.raises(errors.InvalidQuery, match="str"):
        db.get_blob("t", "name", {"id": 1})


def test_of_several_rows_the_first_by_key_is_read(db):
    for key in (3, 1, 2):
        db.store_blob("t", {"id": key, "name": "same", "data": str(key).encode()})
    assert db.get_blob("t", "data", {"name": "same"}) == b"1"


def test_a_refused_row_makes_no_table(db):
    for row in ({}, {"data": None}, {"data": object()}, {"data": np.array([object()])}):
        with pytest.raises(errors.Error):
            db.store_blob("t", row)
        assert not db.table_exists("t")
