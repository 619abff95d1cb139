"""Files on another machine are told from local ones."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import holdfast
from holdfast.engines.sqlite import mounts

LINE = "{number} 1 0:{number} / {place} rw,relatime shared:7 - {kind} server:/share rw,vers=4.2\n"


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the system is said to have from a server, with a space in its name."""
    place = tmp_path / "my share"
    (place / "local").mkdir(parents=True)
    text = "".join(
        LINE.format(number=number, place=str(at).replace(" ", "\\040"), kind=kind)
        for number, (at, kind) in enumerate([("/", "ext4"), (place, "nfs4"), (place / "local", "xfs")], 20)
    )
    listing = tmp_path / "mountinfo"
    listing.write_text(text)
    monkeypatch.setattr(mounts, "MOUNTS", listing)
    return place


def test_the_innermost_mount_says_what_a_file_is_on(mounted: Path) -> None:
    assert mounts.network_file_system(mounted / "runs.db") == "nfs4"
    assert mounts.network_file_system(mounted / "local" / "runs.db") is None
    assert mounts.network_file_system(mounted.with_name("my share 2") / "runs.db") is None


def test_here_nothing_is_on_a_network(tmp_path: Path) -> None:
    assert mounts.network_file_system(tmp_path / "runs.db") is None


def test_a_file_on_a_network_file_system_has_no_log_and_says_so(mounted: Path) -> None:
    with pytest.warns(RuntimeWarning, match=r"network file system \(nfs4\)"):
        remote = holdfast.connect(mounted / "runs.db")
    with remote as db:
        assert db.execute("PRAGMA journal_mode").scalar() == "delete"
        assert db.execute("PRAGMA synchronous").scalar() == 3
        db.create_table("t", {"a": int})
        db.insert("t", {"a": 1})
    assert not (mounted / "runs.db-wal").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with holdfast.connect(mounted / "local" / "runs.db") as db:
            assert db.execute("PRAGMA journal_mode").scalar() == "wal"
