"""Bits that flip in a backup, and ends that are missing: each is found, or what is restored is the same."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

import holdfast
from holdfast.backup.formats import opened
from holdfast.errors import BackupError, Error

SEED = int(os.environ.get("HOLDFAST_SEED", "20261120"))


def backups(db: holdfast.Database, engine_name: str, folder: Path) -> list[Path]:
    """One backup of each format that this engine writes, of tables with all kinds of values."""
    db.create_table(
        "t", {"id": "INTEGER PRIMARY KEY", "name": "TEXT", "value": "REAL", "data": "BLOB", "day": "DATE"}
    )
    chance = random.Random(SEED)
    rows = [
        {
            "id": n,
            "name": "".join(chance.choices("abc äö\n'\"", k=20)),
            "value": chance.random(),
            "data": chance.randbytes(30),
        }
        for n in range(400)
    ]
    db.insert_many("t", rows)
    own = "db" if engine_name == "sqlite" else "dump"
    return [db.backup_database(folder / f"b.{extension}") for extension in ("sql", own, "hfz")]


def damaged(data: bytes, flips: int, cuts: int) -> list[tuple[str, bytes]]:
    """So many copies with one bit flipped, and so many without their ends."""
    chance = random.Random(SEED)
    found = []
    for place in chance.sample(range(len(data) * 8), flips):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        found.append((f"bit {place}", bytes(changed)))
    # The ends of files are where formats are tolerant.
    lengths = [len(data) - 1 - n for n in range(cuts // 4)]
    lengths += chance.sample(range(len(data) - cuts), cuts - len(lengths))
    return found + [(f"cut to {length}", data[:length]) for length in lengths]


def find_all(db: holdfast.Database, engine_name: str, folder: Path, flips: int, cuts: int) -> None:
    for path in backups(db, engine_name, folder):
        assert db.verify_backup(path).ok
        bad = folder / f"bad{path.suffix}"
        found = 0
        for what, data in damaged(path.read_bytes(), flips, cuts):
            bad.write_bytes(data)
            # Every verb that reads a backup opens it in this way.
            try:
                with opened(bad):
                    pass
            except BackupError:
                found += 1
            else:
                pytest.fail(f"{what} of {path.suffix} is not noticed, seed {SEED}")
        try:
            assert not db.verify_backup(bad).ok
        except Error as exc:
            assert isinstance(exc, BackupError), exc  # noqa: PT017
        print(f"{engine_name} {path.suffix}, seed {SEED}: {flips} flips and {cuts} cuts, {found} found")


def test_damage_is_found(db: holdfast.Database, engine_name: str, tmp_path: Path) -> None:
    """A sample; the whole is ``test_a_thousand_flips_and_two_hundred_cuts_are_found``."""
    find_all(db, engine_name, tmp_path, 15, 8)


@pytest.mark.long
def test_a_thousand_flips_and_two_hundred_cuts_are_found(
    db: holdfast.Database, engine_name: str, tmp_path: Path
) -> None:
    find_all(db, engine_name, tmp_path, 1_000, 200)
