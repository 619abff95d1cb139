"""Which backups the rules keep."""

from __future__ import annotations

import time as systemtime
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.backup.listing import Backup
from holdfast.backup.retention import Keep, _reasons
from holdfast.backup.schedule import Every, cron_line, systemd_units
from holdfast.errors import InvalidQuery

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def made(*ages: float) -> list[Backup]:
    """Backups so many days before START, the newest first."""
    return [
        Backup(Path(f"{number}.sql"), 1, "sqlite", "lab", START - timedelta(days=age))
        for number, age in enumerate(sorted(ages))
    ]


def kept(backups: list[Backup], keep: Keep) -> list[int]:
    reasons = _reasons(backups, keep)
    return [place for place, backup in enumerate(backups) if reasons[backup.path]]


def test_the_last_ones() -> None:
    assert kept(made(0, 1, 2, 3), Keep(last=2)) == [0, 1]


def test_the_newest_of_each_day() -> None:
    assert kept(made(0, 0.1, 0.2, 1, 1.1, 5), Keep(daily=2)) == [0, 3]


def test_days_without_a_backup_do_not_count() -> None:
    assert kept(made(0, 10, 20, 30), Keep(daily=3)) == [0, 1, 2]


def test_weeks_are_those_of_iso() -> None:
    # 2026-01-31 is a Saturday; its week begins on the 26th.
    assert kept(made(0, 1, 5, 6, 12), Keep(weekly=2)) == [0, 3]


def test_months_and_years() -> None:
    backups = made(0, 20, 40, 70, 400, 800)
    assert kept(backups, Keep(monthly=2)) == [0, 2]
    assert kept(backups, Keep(yearly=9)) == [0, 2, 4, 5]


def test_rules_add_up() -> None:
    assert kept(made(*range(60)), Keep(last=2, daily=3, weekly=2, monthly=2)) == [0, 1, 2, 6, 31]


@given(
    st.lists(st.floats(0, 900), min_size=1, max_size=40),
    st.builds(Keep, last=st.integers(1, 5), daily=st.integers(0, 5), weekly=st.integers(0, 5)),
)
def test_more_rules_never_keep_less_and_the_newest_stays(ages: list[float], keep: Keep) -> None:
    backups = made(*ages)
    found = kept(backups, keep)
    assert found[0] == 0
    assert set(range(min(keep.last, len(backups)))) <= set(found)
    assert len(found) <= keep.last + keep.daily + keep.weekly
    more = Keep(keep.last + 1, keep.daily + 1, keep.weekly + 1)
    assert set(found) <= set(kept(backups, more))


def test_at_least_one_rule() -> None:
    with pytest.raises(InvalidQuery, match="no rule"):
        Keep()
    with pytest.raises(InvalidQuery, match="keep_daily"):
        Keep(daily=-1)


@pytest.mark.parametrize("text", ["", "25:00", "2", "0h", "6x", "02:60", "-1h", "02:00:00"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InvalidQuery, match="every"):
        Every.of(text)


def test_a_span_is_counted_from_the_last_one() -> None:
    every = Every.of("6h")
    assert every.due(START, START) == START + timedelta(hours=6)
    assert every.due(None, START) == START


def test_a_time_of_day_is_the_next_one_after_the_last() -> None:
    every = Every.of("02:30")
    assert every.at == time(2, 30)
    for hours in range(0, 72, 5):
        last = START + timedelta(hours=hours)
        found = every.due(last, START)
        assert last < found <= last + timedelta(hours=25)
        assert (found.astimezone().hour, found.astimezone().minute) == (2, 30)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clocks go on on the last Sunday of March, at 2, and back on that of October, at 3."""
    if not hasattr(systemtime, "tzset"):
        pytest.skip("the time zone of a process cannot be set here")
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    systemtime.tzset()
    yield
    monkeypatch.undo()
    systemtime.tzset()


@pytest.mark.parametrize(("year", "month", "day"), [(2026, 3, 27), (2026, 10, 23)])
@pytest.mark.parametrize("at", ["01:59", "02:00", "02:30", "03:00", "00:00"])
def test_each_day_has_its_time_once_when_the_clocks_change(
    berlin: None, year: int, month: int, day: int, at: str
) -> None:
    every = Every.of(at)
    start = datetime(year, month, day, 12, tzinfo=UTC)
    # Asked every quarter of an hour, as a machine that may have slept asks; each is made 20 s later.
    last, times = start, []
    for quarter in range(4 * 24 * 4):
        now = start + timedelta(minutes=15 * quarter)
        if every.due(last, now) <= now:
            last = now + timedelta(seconds=20)
            times.append(last)
    assert [moment.astimezone().day for moment in times] == [day + ahead for ahead in range(1, 5)]
    # By hand in the hour that comes twice: it is not made again and again until that hour is over.
    for minute in range(0, 180, 5):
        hand = datetime(2026, 10, 25, 0, minute % 60, tzinfo=UTC) + timedelta(hours=minute // 60)
        assert every.due(hand, hand) > hand


def test_other_programs_are_told_what_to_run() -> None:
    command = ["/usr/bin/python3", "-m", "holdfast", "schedule", "/data/my lab.db", "/backups/100%"]
    line = cron_line(Every.of("02:30"), command)
    assert line == "30 2 * * * /usr/bin/python3 -m holdfast schedule '/data/my lab.db' /backups/100\\%"
    units = systemd_units(Every.of("02:30"), command, "lab")
    assert list(units) == ["holdfast-lab.service", "holdfast-lab.timer"]
    assert "OnCalendar=*-*-* 02:30:00" in units["holdfast-lab.timer"]
    assert "'/data/my lab.db' /backups/100%%" in units["holdfast-lab.service"]
