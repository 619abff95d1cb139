"""A hub and its replicas, writers that know nothing of a sync, faults at every commit, and what must hold.

Nothing here asks the code under test what happened. Every value that is written is another one, and a model
keeps which write took the place of which. At the hub, triggers of the test's own keep each state of each row.
"""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

import holdfast
import servers
from holdfast.core import transaction
from holdfast.errors import CommitUnknown, ConnectionLost, HubChanged
from holdfast.sync import Sync, along

COLUMNS = ("born", "a", "b")
CREATE = "CREATE TABLE things (id text PRIMARY KEY, born text, a text, b text)"
KEYS = ("k0", "k1", "k2", "k3")
FILTER = "b NOT LIKE '%3' AND b NOT LIKE '%5' AND b NOT LIKE '%7'"
"""What some replicas keep to: a row may come into it and leave it with each change of the column."""
Row = dict[str, str | None]
_numbers = itertools.count()


class Violation(AssertionError):
    """Something that must hold did not."""


class Killed(BaseException):
    """What stands for ``kill -9`` within a process: nothing handles it, and no transaction is kept."""


# Where rows lie, by other programs than Holdfast


class Place(Protocol):
    url: str

    def begin(self, key: str | None) -> None: ...
    def run(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]: ...
    def end(self, *, keep: bool) -> None: ...
    def close(self) -> None: ...
    def save(self) -> Any: ...
    def restore(self, saved: Any) -> None: ...


class Busy(Exception):
    """Somebody else writes: this write does not happen."""


_SQLITE_AUDIT = [
    "CREATE TABLE audit (n integer PRIMARY KEY AUTOINCREMENT, id, there, born, a, b)",
    *(
        f"CREATE TRIGGER audit_{event} AFTER {event} ON things BEGIN "
        f"INSERT INTO audit SELECT NULL, {row}.id, {there}, {row}.born, {row}.a, {row}.b; END"
        for event, row, there in (("insert", "NEW", 1), ("update", "NEW", 1), ("delete", "OLD", 0))
    ),
]
_POSTGRES_AUDIT = [
    "CREATE TABLE audit (n bigserial PRIMARY KEY, id text, there integer, born text, a text, b text)",
    "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF TG_OP = 'DELETE' THEN "
    "INSERT INTO audit (id, there, born, a, b) VALUES (OLD.id, 0, OLD.born, OLD.a, OLD.b); ELSE "
    "INSERT INTO audit (id, there, born, a, b) VALUES (NEW.id, 1, NEW.born, NEW.a, NEW.b); END IF; "
    "RETURN NULL; END $$",
    "CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON things FOR EACH ROW EXECUTE FUNCTION audit()",
]


class File:
    """An SQLite file, written to with the standard library's driver."""

    def __init__(self, path: Path, *, audited: bool = False) -> None:
        self.path, self.url = path, f"sqlite:///{path}"
        with closing(sqlite3.connect(path)) as raw:
            raw.execute("PRAGMA journal_mode = WAL")
            for statement in [CREATE, *(_SQLITE_AUDIT if audited else ())]:
                raw.execute(statement)
            raw.commit()
        self._raw: sqlite3.Connection | None = None

    def _connection(self) -> sqlite3.Connection:
        if self._raw is None:
            self._raw = sqlite3.connect(self.path, isolation_level=None, timeout=0)
            self._raw.execute("PRAGMA synchronous = OFF")
        return self._raw

    def begin(self, key: str | None) -> None:
        try:
            self._connection().execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            raise Busy from exc

    def run(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._connection().execute(sql, values).fetchall()

    def end(self, *, keep: bool) -> None:
        self._connection().execute("COMMIT" if keep else "ROLLBACK")

    def close(self) -> None:
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    def save(self) -> Path:
        to = self.path.with_name(f"{self.path.stem}-{next(_numbers)}.backup")
        with closing(sqlite3.connect(to)) as target:
            self._connection().backup(target)
        return to

    def restore(self, saved: Path) -> None:
        """Put a backup in the file's place; whoever had it open has closed it."""
        self.close()
        with closing(sqlite3.connect(saved)) as source, closing(sqlite3.connect(self.path)) as target:
            source.backup(target)


class Schema:
    """A database of a PostgreSQL server, written to with psycopg."""

    def __init__(self, server: servers.Server, name: str) -> None:
        self.url = server.url(name)
        self._server, self._name = server, name
        self._raw: psycopg.Connection[Any] | None = None
        for statement in [CREATE, *_POSTGRES_AUDIT]:
            self.run(statement)

    def connect(self) -> psycopg.Connection[Any]:
        raw = psycopg.connect(**self._server.conninfo(self._name), autocommit=True)
        raw.execute("SET lock_timeout = '50ms'")
        raw.execute("SET synchronous_commit = off")
        return raw

    def _connection(self) -> psycopg.Connection[Any]:
        if self._raw is None:
            self._raw = self.connect()
        return self._raw

    def begin(self, key: str | None) -> None:
        self.run("BEGIN")
        try:
            where = "" if key is None else " WHERE id = %s"
            self.run(f"SELECT id FROM things{where} ORDER BY id FOR UPDATE", () if key is None else (key,))
        except psycopg.errors.LockNotAvailable as exc:
            self.run("ROLLBACK")
            raise Busy from exc

    def run(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        cursor = self._connection().execute(sql.replace("?", "%s"), values)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []

    def end(self, *, keep: bool) -> None:
        self.run("COMMIT" if keep else "ROLLBACK")

    def close(self) -> None:
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    def save(self) -> dict[str, list[tuple[Any, ...]]]:
        set_paused(self, on=False)
        names = self.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
        return {name: self.run(f'SELECT * FROM "{name}"') for (name,) in names}

    def restore(self, saved: dict[str, list[tuple[Any, ...]]]) -> None:
        """Make the contents those of a backup, as a restore into the same database does."""
        set_paused(self, on=False)
        raw = self._connection()
        with raw.transaction():
            raw.execute("SET LOCAL session_replication_role = replica")
            raw.execute("SET LOCAL lock_timeout = 0")
            for name, rows in saved.items():
                raw.execute(SQL("TRUNCATE {}").format(Identifier(name)))
                with raw.cursor().copy(SQL("COPY {} FROM STDIN").format(Identifier(name))) as copy:
                    for row in rows:
                        copy.write_row(row)


def set_paused(place: File | Schema, *, on: bool) -> None:
    """Have a table differ from the others by a column, which pauses it, or be as they are again."""
    names = {str(name) for name, *_ in place.run(_NAMES[type(place)])}
    if ("more" in names) is not on:
        place.run(f"ALTER TABLE things {'ADD' if on else 'DROP'} COLUMN more{' text' if on else ''}")


_NAMES = {
    File: "SELECT name FROM pragma_table_info('things')",
    Schema: "SELECT attname FROM pg_attribute WHERE attrelid = 'things'::regclass AND NOT attisdropped",
}


# The model


@dataclass
class Said:
    """One write: where, of which row, and what it wrote or removed."""

    site: str
    key: str
    column: str
    value: str
    number: int


@dataclass
class Model:
    """What every write said, and which took the place of which, each knowing what it replaced."""

    said: dict[str, Said] = field(default_factory=dict)
    replaced: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    removed: dict[str, Said] = field(default_factory=dict)
    """Each deletion, with the ``born`` that it removed as its value."""
    excused: set[str] = field(default_factory=set)
    """Writes that went with a file or a hub that was put back."""
    void: set[str] = field(default_factory=set)
    """Those that nobody but the file knew: what they took the place of is there again."""
    may_return: set[str] = field(default_factory=set)
    """Values that a replica brought to a hub which had been put back."""

    def note(self, site: str, key: str, before: Row | None, after: Row | None) -> str:
        """Return the number of the write."""
        number = next(_numbers)
        if after is None:
            assert before is not None
            op = f"d{number}"
            self.removed[op] = Said(site, key, "born", str(before["born"]), number)
            for column in COLUMNS:
                self.replaced[str(before[column])].add(op)
            return op
        for column in COLUMNS:
            value = str(after[column])
            if before is None or before[column] != value:
                self.said[value] = Said(site, key, column, value, number)
                if before is not None:
                    self.replaced[str(before[column])].add(value)
        return f"w{number}"

    def is_replaced(self, value: str) -> bool:
        return any(op not in self.void for op in self.replaced[value])


# Faults


@dataclass
class Fault:
    """Something that happens at one of a round's commits: ``moment`` is ``before`` or ``after`` it."""

    commit: int
    moment: str
    what: Callable[[], None]


class Commits:
    """Counts the commits of a round, on either side, and has a fault happen at one."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.count = 0
        self._commit = transaction._commit

    def __call__(self, executor: Any, session: Any) -> None:
        fault = self.fault
        if fault is None:
            self._commit(executor, session)
            return
        self.count += 1
        is_now = self.count == fault.commit
        if is_now and fault.moment == "before":
            self._happen(fault)
        self._commit(executor, session)
        if is_now and fault.moment == "after":
            self._happen(fault)

    def _happen(self, fault: Fault) -> None:
        self.fault = None
        fault.what()

    @contextmanager
    def during(self, fault: Fault | None) -> Iterator[None]:
        self.fault, self.count = fault, 0
        try:
            yield
        finally:
            self.fault = None


def kill() -> None:
    raise Killed


def lose() -> None:
    """The connection is lost, and nobody knows what became of the commit."""
    raise CommitUnknown("the connection was lost during COMMIT")


def cut() -> None:
    raise ConnectionLost("the connection was lost")


class WrongClock(datetime):
    """A clock that is wrong by up to a year, another time each time that it is read."""

    chance = random.Random(8)

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) + timedelta(days=cls.chance.uniform(-366, 366))


# All of it


@dataclass
class Replica:
    name: str
    place: File
    policy: Any
    is_filtered: bool = False
    backup: tuple[Path, int] | None = None
    opened: list[holdfast.Database] = field(default_factory=list)

    def close(self) -> None:
        self.place.close()
        for db in self.opened:
            db.close()
        self.opened.clear()

    def kept(self, rows: dict[str, Row]) -> dict[str, Row]:
        """Those of the hub's rows that this replica has."""
        if not self.is_filtered:
            return rows
        return {key: row for key, row in rows.items() if not str(row["b"]).endswith(("3", "5", "7"))}


class World:
    """A hub, replicas, and what is known of them."""

    def __init__(self, folder: Path, hub: File | Schema, policy: Any = "hub") -> None:
        self.folder, self.hub, self.policy = folder, hub, policy
        self.model = Model()
        self.replicas: list[Replica] = []
        self.commits = Commits()
        self._values = itertools.count()
        self._hubs: list[holdfast.Database] = []
        self._fresh = itertools.count()
        self._open: list[tuple[Any, str, Row]] = []
        self.hub_backup: Any = None
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(transaction, "_commit", self.commits)
        self.patch.setattr(along, "datetime", WrongClock)

    def close(self) -> None:
        self.patch.undo()
        for raw, _, _ in self._open:
            raw.close()
        for replica in self.replicas:
            replica.close()
        self._close_hubs()
        self.hub.close()

    def _close_hubs(self) -> None:
        for db in self._hubs:
            db.close()
        self._hubs.clear()

    # Replicas

    def add(self, *, is_filtered: bool = False) -> Replica:
        number = len(self.replicas)
        place = File(self.folder / f"r{next(_numbers)}.db")
        replica = Replica(f"r{number}", place, self.policy, is_filtered)
        self.replicas.append(replica)
        self._sync(replica, 0).enable()
        return replica

    def _sync(self, replica: Replica, runner: int) -> Sync:
        while len(replica.opened) <= runner:
            # A run within another waits for nothing that it would ever get.
            patience = 0.05 if replica.opened else None
            replica.opened.append(holdfast.connect(replica.place.url, durability="normal", timeout=patience))
        place = 2 * self.replicas.index(replica) + runner
        while len(self._hubs) <= place:
            self._hubs.append(holdfast.connect(self.hub.url))
        where = {"things": FILTER} if replica.is_filtered else None
        return Sync(
            replica.opened[runner], self._hubs[place], tables=["things"], policy=self.policy, where=where
        )

    def round(
        self, replica: Replica, fault: Fault | None = None, *, direction: str = "both", runner: int = 0
    ) -> Any:
        """One run; the report, or ``None`` if a fault ended it."""
        sync = self._sync(replica, runner)
        with self.commits.during(fault), suppress(Killed, CommitUnknown, ConnectionLost):
            try:
                return sync.run(direction)
            except HubChanged:
                self._join(replica, sync)
        return None

    def _join(self, replica: Replica, sync: Sync) -> None:
        """A hub that was put back is joined again; whatever the replica has may come back with it."""
        for row in self.rows(replica.place).values():
            self.model.may_return.update(str(row[column]) for column in COLUMNS)
        for op, said in self.model.removed.items():
            if said.value in self.model.may_return:
                self.model.excused.add(op)
        sync.rebase()

    def nested(self, replica: Replica) -> None:
        """Another run within a run of any replica."""
        with suppress(holdfast.errors.DatabaseBusy):
            self.round(replica, runner=1)

    # Writers

    def place(self, site: str) -> File | Schema:
        return self.hub if site == "hub" else next(r.place for r in self.replicas if r.name == site)

    def rows(self, place: File | Schema) -> dict[str, Row]:
        found = place.run("SELECT id, born, a, b FROM things ORDER BY id")
        return {key: {"born": born, "a": a, "b": b} for key, born, a, b in found}

    def value(self, column: str) -> str:
        return f"{column}{next(self._values)}"

    def write(self, site: str, key: str, kind: str) -> bool:
        """One transaction of a program of somebody else; false if there was nothing to write."""
        place = self.place(site)
        try:
            place.begin(key)
        except Busy:
            return False
        found = self.rows(place)
        before = found.get(key)
        steps = self._steps(key, before, kind)
        try:
            for statement, values in steps:
                place.run(statement, values)
        except psycopg.errors.LockNotAvailable:
            place.end(keep=False)
            return False
        after = self.rows(place).get(key)
        place.end(keep=True)
        if steps:
            self._note(site, key, before, after)
        return bool(steps)

    def _note(self, site: str, key: str, before: Row | None, after: Row | None) -> None:
        if before is not None and after is not None and before["born"] != after["born"]:
            self._note_removed(site, key, before)
            before = None
        if before is not None and after is None:
            self._note_removed(site, key, before)
        elif after is not None:
            self.model.note(site, key, before, after)

    def _note_removed(self, site: str, key: str, row: Row) -> None:
        op = self.model.note(site, key, row, None)
        if site != "hub" and row["born"] not in self._known_at_hub():
            # What was never sent is each copy's own: nobody can tell the other that one was removed.
            others = (other.place for other in self.replicas if other.name != site)
            if any(self.rows(place).get(key, {}).get("born") == row["born"] for place in others):
                self.model.excused.add(op)

    def _steps(self, key: str, before: Row | None, kind: str) -> list[tuple[str, tuple[Any, ...]]]:
        insert = "INSERT INTO things (id, born, a, b) VALUES (?, ?, ?, ?)"
        new = (key, self.value("born"), self.value("a"), self.value("b"))
        if before is None:
            return [(insert, new)] if kind in ("insert", "replace") else []
        delete = ("DELETE FROM things WHERE id = ?", (key,))
        match kind:
            case "delete":
                return [delete]
            case "replace":
                return [delete, (insert, new)]
            case "both":
                return [("UPDATE things SET a = ?, b = ? WHERE id = ?", (new[2], new[3], key))]
            case "touch":
                return [("UPDATE things SET a = a WHERE id = ?", (key,))]
            case "a" | "b":
                value = new[2] if kind == "a" else new[3]
                return [(f"UPDATE things SET {kind} = ? WHERE id = ?", (value, key))]
        return []

    def write_all(self, site: str) -> None:
        """One statement changes every row."""
        place = self.place(site)
        try:
            place.begin(None)
        except Busy:
            return
        before, mark = self.rows(place), self.value("m")
        try:
            place.run(f"UPDATE things SET a = '{mark}' || id")
        except psycopg.errors.LockNotAvailable:
            place.end(keep=False)
            return
        after = self.rows(place)
        place.end(keep=True)
        for key, row in before.items():
            self._note(site, key, row, after[key])

    def insert_many(self, site: str, count: int) -> None:
        for _ in range(count):
            self.write(site, f"n{next(self._fresh)}", "insert")

    def pause(self, site: str, *, on: bool) -> None:
        """Somebody adds a column to the table of one side, or takes it away again."""
        with suppress(sqlite3.OperationalError, psycopg.errors.LockNotAvailable):
            set_paused(self.place(site), on=on)

    # Transactions that are open for long

    def open(self) -> None:
        """Somebody at the hub has begun to write, and takes their time."""
        if not isinstance(self.hub, Schema):
            return
        key = f"n{next(self._fresh)}"
        row: Row = {column: self.value(column) for column in COLUMNS}
        raw = self.hub.connect()
        raw.execute("BEGIN")
        raw.execute("INSERT INTO things (id, born, a, b) VALUES (%s, %s, %s, %s)", (key, *row.values()))
        self._open.append((raw, key, row))

    def end(self, *, keep: bool = True) -> None:
        if self._open:
            raw, key, row = self._open.pop(0)
            raw.execute("COMMIT" if keep else "ROLLBACK")
            raw.close()
            if keep:
                self._note("hub", key, None, row)

    # Put back

    def back_up(self, replica: Replica) -> None:
        replica.backup = (replica.place.save(), next(_numbers))

    def put_back(self, replica: Replica) -> None:
        """The replica's file is what it was; what nobody but it had is gone."""
        if replica.backup is None:
            return
        saved, number = replica.backup
        known, gone = self._known_at_hub(), set[str]()
        for value, said in self.model.said.items():
            if said.site == replica.name and said.number > number and value not in known:
                gone.add(value)
        here = {row["born"] for row in self.rows(self.hub).values()}
        undone = {key for key, ours, _ in self._conflicts() if ours is None}
        for op, said in self.model.removed.items():
            is_known = (said.value in known and said.value not in here) or said.key in undone
            if said.site == replica.name and said.number > number and not is_known:
                gone.add(op)
        self.model.excused |= gone
        self.model.void |= gone
        replica.close()
        replica.place.restore(saved)

    def clone(self, replica: Replica) -> None:
        """Somebody has copied the file, and works with both."""
        if len(self.replicas) >= 4:
            return
        place = File(self.folder / f"r{next(_numbers)}.db")
        made = Replica(f"r{len(self.replicas)}", place, self.policy, replica.is_filtered)
        made.place.restore(replica.place.save())
        self.replicas.append(made)

    def back_up_hub(self) -> None:
        if not self._open:
            self.hub_backup = self.hub.save()

    def put_back_hub(self) -> None:
        """The hub is what it was; what nobody else had is gone, and what was removed since may come back."""
        if self.hub_backup is None:
            return
        while self._open:
            self.end(keep=False)
        self._close_hubs()
        self.hub.restore(self.hub_backup)
        alive: set[str] = set()
        for place in [self.hub, *(replica.place for replica in self.replicas)]:
            for row in self.rows(place).values():
                alive |= {str(value) for value in row.values()}
        self.model.excused |= self.model.said.keys() - alive
        # A removal that the hub has forgotten, it cannot tell.
        self.model.removed.clear()

    def forget_read(self, replica: Replica) -> None:
        """The hub forgets changes that this replica has not read, as if it were long gone."""
        state = dict(replica.place.run("SELECT name, value FROM hf_sync_state"))
        self.hub.run(
            'UPDATE hf_sync_cursors SET "position" = ('
            'SELECT max("position") FROM hf_sync_cursors) WHERE id = ?',
            (state["id"],),
        )

    # What must hold

    def _known_at_hub(self) -> set[str]:
        """Every value that the hub has ever had, or has on record."""
        known: set[str] = set()
        for values in self.hub.run("SELECT born, a, b FROM audit"):
            known |= set(values)
        for _, ours, hub in self._conflicts():
            for image in (ours, hub):
                known |= set((image or {}).values())
        return known

    def _conflicts(self) -> list[tuple[str, Any, Any]]:
        from holdfast.sync.images import of_text

        rows = self.hub.run('SELECT "key", "ours", "hub" FROM hf_sync_conflicts')
        return [((of_text(key) or {})["id"], of_text(ours), of_text(hub)) for key, ours, hub in rows]

    def check_history(self) -> None:
        """What has gone from the hub does not come back, neither a row nor a value."""
        now: dict[tuple[str, str], str | None] = {}
        gone: set[str] = set()
        for key, there, *values in self.hub.run("SELECT id, there, born, a, b FROM audit ORDER BY n"):
            for column, value in zip(COLUMNS, values, strict=True):
                before, after = now.get((key, column)), value if there else None
                if before == after:
                    continue
                if before is not None:
                    gone.add(before)
                if after in gone and after not in self.model.may_return:
                    what = (
                        "a row was put back that had been removed" if column == "born" else "a stale winner"
                    )
                    raise Violation(f"{what}: {key}.{column} is {after} again, after {before}")
                now[key, column] = after

    def settle(self) -> None:
        """Let all that is open end, and run everybody until nothing moves."""
        while self._open:
            self.end()
        for place in [self.hub, *(replica.place for replica in self.replicas)]:
            set_paused(place, on=False)
        for _ in range(8):
            reports = [self.round(replica) for replica in self.replicas]
            if all(report is not None and not (report.pushed or report.pulled) for report in reports):
                return
        raise Violation("the rounds never come to an end")

    def check_quiet(self) -> None:
        """All are alike, nothing is lost, and another round changes nothing."""
        self.settle()
        audited = self.hub.run("SELECT count(*) FROM audit")
        here = self.rows(self.hub)
        for replica in self.replicas:
            if (rows := self.rows(replica.place)) != (kept := replica.kept(here)):
                raise Violation(f"{replica.name} and the hub differ: {_difference(rows, kept)}")
        self.check_history()
        self._check_losses(here)
        self._check_idle()
        if audited != self.hub.run("SELECT count(*) FROM audit"):
            raise Violation("a round without changes has written at the hub")
        if again := self.hub.run(
            'SELECT "key" FROM hf_sync_conflicts GROUP BY "replica", "key", "base", "ours", "hub" '
            "HAVING count(*) > 1"
        ):
            raise Violation(f"a batch was applied twice: {again}")

    def _check_losses(self, here: dict[str, Row]) -> None:
        conflicts = self._conflicts()
        for key, row in here.items():
            for column, value in row.items():
                said = self.model.said.get(str(value))
                if said is None or (said.key, said.column) != (key, column):
                    raise Violation(f"{key}.{column} is {value}, which nobody has written there")
        recorded = {
            (key, column, value)
            for key, *images in conflicts
            for image in images
            for column, value in (image or {}).items()
        }
        for value, said in self.model.said.items():
            is_here = here.get(said.key, {}).get(said.column) == value
            if not (
                is_here
                or value in self.model.excused
                or self.model.is_replaced(value)
                or (said.key, said.column, value) in recorded
            ):
                raise Violation(f"an update was lost without a record: {said}")
        undone = {key for key, *images in conflicts if None in images}
        for op, said in self.model.removed.items():
            is_back = here.get(said.key, {}).get("born") == said.value
            if is_back and op not in self.model.excused and said.key not in undone:
                raise Violation(f"a removal was lost without a record: {said}")

    def _check_idle(self) -> None:
        for replica in self.replicas:
            status = self._sync(replica, 0).status()
            if not status.is_quiet or status.quarantined:
                raise Violation(f"{replica.name} is not quiet: {status}")


def _difference(one: dict[str, Row], other: dict[str, Row]) -> str:
    keys = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    return "; ".join(f"{key}: {one.get(key)} and {other.get(key)}" for key in keys[:3])
