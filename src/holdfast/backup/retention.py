"""Which backups are kept: the rules of restic and borg, over backups that are what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path

from holdfast.backup.listing import Backup, list_backups
from holdfast.errors import BackupError, InvalidQuery


@dataclass(frozen=True, slots=True)
class Keep:
    """How many backups of each database are kept: the last ones, and the newest of each day, week, ...

    Days, ISO weeks, months and years are those of UTC, and only those count in which there is a backup.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    def __post_init__(self) -> None:
        counts = [(item.name, getattr(self, item.name)) for item in fields(self)]
        for name, count in counts:
            if type(count) is not int or count < 0:
                raise InvalidQuery(f"keep_{name} must be a whole number, 0 or more")
        if not any(count for _, count in counts):
            raise InvalidQuery("no rule says what is kept", hint="keep_last=5, keep_daily=7, keep_weekly=4")


@dataclass(frozen=True)
class Pruned:
    """What was kept and why, what was removed, and what is never touched: it is damaged, or closed to us."""

    kept: Sequence[tuple[Backup, Sequence[str]]]
    removed: Sequence[Backup]
    damaged: Sequence[Backup] = field(default=())
    closed: Sequence[Backup] = field(default=())
    "Encrypted, for another key than the one that was given."


_PERIODS: dict[str, Callable[[datetime, int], object]] = {
    "last": lambda moment, place: place,
    "daily": lambda moment, place: moment.date(),
    "weekly": lambda moment, place: tuple(moment.isocalendar())[:2],
    "monthly": lambda moment, place: (moment.year, moment.month),
    "yearly": lambda moment, place: moment.year,
}


def prune_backups(
    folder: Path,
    keep: Keep,
    *,
    dry_run: bool = False,
    identity: Path | None = None,
    prove: Callable[[Path], None] | None = None,
) -> Pruned:
    """Remove the backups in ``folder`` that no rule keeps.

    Each database's backups are counted by themselves. What is damaged, or encrypted for another key than
    the one in the file ``identity``, is not counted and not removed, nor is what was made while the clock
    was ahead, until its time has come. The newest sound backup of a database always stays. ``prove`` is
    called with the newest one of each database of which something would be removed: if it raises, nothing
    is.

    Raises:
        BackupError: if a backup cannot be removed; those before it are gone.
    """
    found = list_backups(folder, identity)
    now = datetime.now(UTC)
    sound = [backup for backup in found if backup.ok]
    kept: list[tuple[Backup, Sequence[str]]] = []
    removed: list[Backup] = []
    for name in sorted({(backup.engine, backup.database) for backup in sound}):
        every = [backup for backup in sound if (backup.engine, backup.database) == name]
        own = [backup for backup in every if backup.created is not None and backup.created <= now]
        kept += [(backup, ["ahead"]) for backup in every if backup not in own]
        reasons = _reasons(own, keep) if own else {}
        kept += [(backup, reasons[backup.path]) for backup in own if reasons[backup.path]]
        unwanted = [backup for backup in own if not reasons[backup.path]]
        if unwanted and prove is not None:
            prove(own[0].path)
        # The oldest first, so that a prune that is cut off has removed what is missed least.
        removed += reversed(unwanted)
    if not dry_run:
        _remove(removed)
    damaged = [backup for backup in found if backup.problem is not None]
    return Pruned(kept, removed, damaged, [backup for backup in found if backup.is_closed])


def _reasons(backups: Sequence[Backup], keep: Keep) -> dict[Path, list[str]]:
    """Why each of one database's backups, the newest first, is kept."""
    reasons: dict[Path, list[str]] = {backup.path: [] for backup in backups}
    for rule, period_of in _PERIODS.items():
        wanted, seen = getattr(keep, rule), set[object]()
        for place, backup in enumerate(backups):
            assert backup.created is not None
            period = period_of(backup.created, place)
            if len(seen) < wanted and period not in seen:
                seen.add(period)
                reasons[backup.path].append(rule)
    newest = backups[0].path
    reasons[newest] = reasons[newest] or ["newest"]
    return reasons


def _remove(backups: Iterable[Backup]) -> None:
    for backup in backups:
        try:
            backup.path.unlink(missing_ok=True)
        except OSError as exc:
            raise BackupError(f"{backup.path} cannot be removed: {exc.strerror or exc}") from exc
