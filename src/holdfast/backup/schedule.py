"""Backups that are made when they are due: whether one is follows from those in the folder alone.

Nothing is remembered elsewhere, so a machine that was off catches up as soon as it is asked again, and it
does not matter who asks: a process of its own, cron, or a systemd timer.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from holdfast.backup.archive import write
from holdfast.backup.content import outside
from holdfast.backup.listing import list_backups
from holdfast.backup.manifest import name_of
from holdfast.backup.remote import is_here
from holdfast.backup.retention import Keep, prune_backups
from holdfast.backup.verify import verify_backup
from holdfast.core.executor import Executor
from holdfast.engines.checks import Finding
from holdfast.errors import BackupCorrupt, BackupError, DatabaseBusy, Error, InvalidQuery, did_you_mean
from holdfast.folders import lasting_folder

log = logging.getLogger("holdfast.backup")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# After a failure it is tried again this soon, and then each time after twice as long.
_FIRST_RETRY, _LAST_RETRY = timedelta(minutes=1), timedelta(minutes=30)
# The longest sleep: a machine that slept, or whose clock was set, is late by no more than this.
_STEP = 60.0


@dataclass(frozen=True, slots=True)
class Every:
    """How often: at a time of day, in this machine's time zone, or after so long."""

    at: time | None = None
    after: timedelta | None = None

    @classmethod
    def of(cls, text: str | timedelta) -> Every:
        """Read ``"02:00"``, ``"90m"``, ``"6h"``, ``"1d"`` or ``"1w"``.

        Raises:
            InvalidQuery: if it is none of these.
        """
        if isinstance(text, timedelta):
            if text < timedelta(minutes=1):
                raise InvalidQuery("a backup cannot be made more often than each minute")
            return cls(after=text)
        if clock := re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", str(text)):
            return cls(at=time(int(clock[1]), int(clock[2])))
        if span := re.fullmatch(r"([1-9]\d{0,5})([mhdw])", str(text)):
            return cls(after=timedelta(**{_UNITS[span[2]]: int(span[1])}))
        raise InvalidQuery(f"every={text!r} is no time", hint="'02:00' each day, or '90m', '6h', '1d', '1w'")

    def due(self, last: datetime | None, now: datetime) -> datetime:
        """When the next one is due after ``last``, at the latest ``now`` if there is none."""
        if last is None:
            return now
        if self.after is not None:
            return last + self.after
        assert self.at is not None
        today = last.astimezone().date()
        # Local, so that the hour stays when the clocks change. An hour that comes twice counts the first
        # time, and one that does not come as that much later, so each day has the time once.
        days = (datetime.combine(today + timedelta(days=ahead), self.at) for ahead in range(3))
        return next(day for day in (day.astimezone(UTC) for day in days) if day > last)


@dataclass(frozen=True, slots=True)
class Key:
    """For whom archives are encrypted, and the file with the key that proves them; either may be missing."""

    recipients: Sequence[str] | None = None
    identity: Path | None = None


@dataclass(frozen=True)
class Plan:
    """What is backed up where, how often, and what is kept of it."""

    folder: Path
    every: Every
    keep: Keep | None = None
    suffix: str | None = None
    "The extension; the engine's own kind of backup without one."
    key: Key = Key()


def plan_of(
    folder: Path,
    every: str | timedelta,
    extension: str | None,
    keep: Mapping[str, int],
    key: Key = Key(),
) -> Plan:
    """A plan of what a user said; ``keep`` has ``keep_last``, ``keep_daily`` and so on.

    Raises:
        InvalidQuery: if there is no such rule, ``every`` is no time, or nothing could prove the backups.
    """
    if key.recipients is not None and key.identity is None:
        raise InvalidQuery(
            "backups that are made by themselves are proven, which takes the key",
            hint="identity= is the file with the secret key of one of the recipients",
        )
    rules = {f"keep_{item.name}": item.name for item in fields(Keep)}
    for name in keep:
        if name not in rules:
            raise InvalidQuery(f"there is no option {name!r}", hint=did_you_mean(name, list(rules), "rules"))
    kept = Keep(**{rules[name]: count for name, count in keep.items()}) if any(keep.values()) else None
    return Plan(folder, Every.of(every), kept, extension, key)


def findings(executor: Executor, plan: Plan, every: str | timedelta) -> list[Finding]:
    """What is to be said of a backup that is overdue; ``every`` as the user said it."""
    now = datetime.now(UTC)
    last = _last(executor, plan, now)
    if last is not None and plan.every.due(last, now) > now:
        return []
    when = "there is none" if last is None else f"the last one is of {last:%Y-%m-%d %H:%M} UTC"
    return [
        Finding(
            "backups",
            "warning",
            f"a backup in {plan.folder} is overdue: {when}",
            "make it; the same line with --cron or --systemd has it made in time:",
            command=_making(executor, plan, every),
        )
    ]


def _making(executor: Executor, plan: Plan, every: str | timedelta) -> str:
    said = every if isinstance(every, str) else f"{int(every.total_seconds() // 60)}m"
    words = ["holdfast", "schedule", *executor.target.words, str(plan.folder), f"--every={said}"]
    return shlex.join(words)


def due(executor: Executor, plan: Plan, now: datetime | None = None) -> datetime:
    """When the next backup is due; a time that has passed means that it is overdue.

    Only sound backups of this database count, and of these none of a time that has not come: it was made
    while the clock was wrong.
    """
    moment = now or datetime.now(UTC)
    return plan.every.due(_last(executor, plan, moment), moment)


def _last(executor: Executor, plan: Plan, now: datetime) -> datetime | None:
    if not plan.folder.is_dir():
        return None
    name, engine = name_of(executor.target), executor.engine.name
    found = list_backups(plan.folder, plan.key.identity)
    own = [backup.created for backup in found if (backup.engine, backup.database) == (engine, name)]
    return next((created for created in own if created is not None and created <= now), None)


def run_due(executor: Executor, plan: Plan, now: datetime | None = None) -> Path | None:
    """Make the backup that is due, prove it by restoring it, and only then prune; ``None`` if none is.

    Raises:
        BackupCorrupt: if it could not be proven; it is renamed, and nothing is pruned.
        DatabaseBusy: if another process is at it.
    """
    outside(executor, "a backup")
    with _alone(plan.folder):
        moment = now or datetime.now(UTC)
        if due(executor, plan, moment) > moment:
            return None
        stamp = moment.strftime("%Y%m%dT%H%M%SZ")
        usual = ".hfz" if plan.key.recipients is not None else executor.engine.copies.extensions[0]
        suffix = plan.suffix or usual
        path = plan.folder / f"{name_of(executor.target)}-{stamp}{suffix}"
        write(executor, None, path, recipients=plan.key.recipients, progress=False)
        report = verify_backup(executor, path, plan.key.identity)
        if not report.ok:
            path = path.rename(path.with_name(path.name + ".failed"))
            raise BackupCorrupt(f"{path} could not be proven: {'; '.join(report.problems)}")
        log.info("made and proved %s", path)
        if plan.keep is not None:
            pruned = prune_backups(plan.folder, plan.keep, identity=plan.key.identity)
            log.info("removed %d backups, kept %d", len(pruned.removed), len(pruned.kept))
        return path


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system lets go of when the process ends in whatever way."""
    if not is_here(folder):
        yield
        return
    try:
        lasting_folder(folder)
    except OSError as exc:
        raise BackupError(f"{folder} cannot be a folder for backups: {exc.strerror or exc}") from exc
    if sys.platform == "win32":
        yield
        return
    import fcntl

    lock = folder / ".holdfast-lock"
    try:
        # Who may open it may keep it, and no backup would ever be made.
        opened = os.open(lock, os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError as exc:
        raise BackupError(f"{lock} cannot be opened: {exc.strerror or exc}") from exc
    with os.fdopen(opened, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise DatabaseBusy(
                f"another process makes a backup in {folder}", hint="wait for it to finish"
            ) from exc
        yield


def run_forever(
    executor: Executor,
    plan: Plan,
    *,
    stop: threading.Event | None = None,
    tell: Callable[[Path | Error], None] | None = None,
) -> None:
    """Make each backup when it is due, until ``stop`` is set; failures are logged and tried again.

    ``tell`` is called with each backup that was made, and with each failure.
    """
    outside(executor, "a backup")
    ended = stop or threading.Event()
    retry = _FIRST_RETRY
    next_time = due(executor, plan)
    while not ended.is_set():
        now = datetime.now(UTC)
        if next_time > now:
            ended.wait(min(_STEP, (next_time - now).total_seconds()))
            if datetime.now(UTC) < now:
                # The clock was set back.
                next_time = due(executor, plan)
            continue
        try:
            path = run_due(executor, plan)
            if path is not None and tell:
                tell(path)
            next_time, retry = due(executor, plan), _FIRST_RETRY
        except Error as exc:
            log.error("the backup that is due was not made: %s", exc)
            if tell:
                tell(exc)
            next_time, retry = now + retry, min(retry * 2, _LAST_RETRY)


# For other programs' schedules


def cron_line(every: Every, command: list[str]) -> str:
    """A line for ``crontab``: at the time of day, or often enough to be late by an hour at most."""
    when = f"{every.at.minute} {every.at.hour} * * *" if every.at else "7 * * * *"
    # Cron reads % as a new line.
    return f"{when} {shlex.join(command)}".replace("%", r"\%")


def systemd_units(every: Every, command: list[str], name: str) -> dict[str, str]:
    """The texts of a service and of the timer that starts it, by the names of their files."""
    when = f"*-*-* {every.at:%H:%M}:00" if every.at else "hourly"
    line = shlex.join(command).replace("%", "%%")
    return {
        f"holdfast-{name}.service": f"""[Unit]
Description=Backup of {name} by Holdfast

[Service]
Type=oneshot
ExecStart={line}
""",
        f"holdfast-{name}.timer": f"""[Unit]
Description=When the backup of {name} is made

[Timer]
OnCalendar={when}
Persistent=true

[Install]
WantedBy=timers.target
""",
    }
