def test_a_row_comes_back(db):
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "acc": float})
    assert db.insert("runs", {"acc": 0.9}) == 1
    assert db.get("runs", 1) == {"id": 1, "acc": 0.9}
