"""``holdfast shell``: SQL by the line, from a terminal or from a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from holdfast.cli import opening
from holdfast.cli.mistakes import one_line
from holdfast.cli.output import AsCsv, AsJson, show, shown, write_csv, write_json
from holdfast.cli.pager import paged
from holdfast.errors import Error, InvalidQuery, ReadOnlyError, did_you_mean

if TYPE_CHECKING:
    from holdfast.core.query import Result
    from holdfast.database import Database

T = TypeVar("T")
_TRANSACTIONS: dict[str, Callable[[Database], None]] = {
    "BEGIN": lambda db: db.begin_transaction(),
    "START": lambda db: db.begin_transaction(),
    "COMMIT": lambda db: db.commit(),
    "END": lambda db: db.commit(),
    "ROLLBACK": lambda db: db.rollback(),
    "ABORT": lambda db: db.rollback(),
}
_NOISE = frozenset({"TRANSACTION", "WORK", "DEFERRED", "IMMEDIATE", "EXCLUSIVE"})
_HELP = """SQL ends with a semicolon. BEGIN, COMMIT and ROLLBACK work: a * before the > says that a
transaction is open, a ! that it can only be rolled back.

  .tables             \\dt        the tables with their row counts
  .schema [TABLE]     \\d [TABLE] columns, keys and indexes
  .summary            \\s         the database at a glance
  .explain STATEMENT  \\e         how a statement is run
  .slow               \\w         which statements took the most time
  .help               \\?         this
  .quit               \\q         leave, as Ctrl-D does"""
_SHORT = {
    "dt": "tables",
    "d": "schema",
    "s": "summary",
    "e": "explain",
    "w": "slow",
    "?": "help",
    "q": "quit",
}


def shell(
    url: opening.URL,
    write: Annotated[bool, typer.Option("--write", help="Let statements change the database.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Run SQL as it is typed, or as it comes through a pipe; nothing is changed without --write.

    On a terminal it completes tables, columns and keywords, remembers what was typed, and goes on until
    Ctrl-D; Ctrl-C ends the line or the statement that runs. From a pipe it stops at the first error.

    $ holdfast shell runs.db
    $ echo "SELECT * FROM runs;" | holdfast shell runs.db --csv
    """
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    with Worker() as worker:
        db = worker.call(lambda: opening.to_write(url) if write else opening.to_read(url))
        asked = Shell(db, worker, write=write, form="json" if as_json else "csv" if as_csv else "")
        try:
            _converse(asked) if is_terminal else asked.read_all()
        finally:
            worker.call(db.close)


def _converse(asked: Shell) -> None:
    from holdfast.cli.prompting import lines

    print(f"{asked.db.url}; {'' if asked.write else 'read-only without --write, '}.help says more")
    for text in lines(asked):
        with suppress(KeyboardInterrupt):
            try:
                asked.take(text)
            except EOFError:
                break
            except Exception as exc:
                print(f"Error: {one_line(exc)}", file=sys.stderr)
            continue
        print("interrupted", file=sys.stderr)
    if asked.state():
        print("the open transaction was rolled back", file=sys.stderr)


class Worker:
    """One thread that does everything with the database, so that Ctrl-C reaches this one at once."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="holdfast-shell")
        self.interrupt: Callable[[], None] = lambda: None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def call(self, work: Callable[[], T]) -> T:
        """What ``work`` gives.

        Raises:
            KeyboardInterrupt: when Ctrl-C was pressed and the statement has ended.
        """
        future = self._pool.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            self._end(future)
            raise

    def _end(self, future: Future[T]) -> None:
        while not future.done():
            self.interrupt()
            with suppress(Exception):
                future.result(timeout=0.2)


class Shell:
    """A conversation with a database."""

    def __init__(self, db: Database, worker: Worker, *, write: bool, form: str) -> None:
        self.db = db
        self.write = write
        self.lexicon = db._engine.lexicon
        self._form = form
        self._worker = worker
        self._raw: Any = None
        worker.interrupt = self._interrupt
        self.changes = 0
        """How often the schema may have become another one."""

    def _interrupt(self) -> None:
        if self._raw is not None:
            self.db._executor.engine.connect.interrupt(self._raw)

    def ask(self, work: Callable[[], T]) -> T:
        """What ``work`` with the database gives."""

        def ready() -> T:
            # Another one after the connection was lost.
            self._raw = self.db._executor.driver_connection()
            return work()

        return self._worker.call(ready)

    def state(self) -> str:
        """``*`` in a transaction, ``!`` in one that can only be rolled back."""
        session = self.ask(self.db._executor._shared_session)
        return "" if session is None else "!" if session.aborted else "*"

    def read_all(self) -> None:
        """Run what comes through the standard input, up to the first error."""
        waiting = ""
        for line in sys.stdin:
            if not waiting.strip() and line.lstrip().startswith((".", "\\")):
                try:
                    self.command(line.strip())
                except EOFError:
                    return
                continue
            waiting += line
            if ";" in line:
                waiting = self.run(waiting)
        if waiting.strip():
            self.run(waiting + "\n;")
        if self.state():
            raise InvalidQuery(
                "the transaction was not committed", hint="it was rolled back; end with COMMIT;"
            )

    def take(self, text: str) -> None:
        """Do what was typed.

        Raises:
            EOFError: to leave.
        """
        text = text.strip()
        if text.startswith((".", "\\")):
            self.command(text)
        elif text:
            self.run(text)

    def run(self, text: str) -> str:
        """Run the statements that are whole, and return the rest."""
        from holdfast.engines.sqltext import ended_statements

        statements, rest = ended_statements(text, self.lexicon)
        for statement in statements:
            self._statement(statement)
        return rest

    def _statement(self, sql: str) -> None:
        from holdfast.engines.sqltext import first_word

        begun = perf_counter()
        verb = first_word(sql, self.lexicon)
        if verb in _TRANSACTIONS and not set(sql.upper().split()) - {verb} - _NOISE:
            self.ask(lambda: _TRANSACTIONS[verb](self.db))
            return
        try:
            result = self.ask(lambda: self.db.execute(sql))
        except ReadOnlyError as exc:
            raise exc if self.write else _read_only() from exc
        if verb not in ("SELECT", "WITH", "VALUES"):
            self.changes += 1
        self._show(result, perf_counter() - begun)

    def _show(self, result: Result, seconds: float) -> None:
        if self._form == "json" and result.columns:
            write_json(result.rows)
        elif self._form == "csv" and result.columns:
            write_csv(result.columns, result.tuples)
        elif result.columns:
            with paged():
                show(result.columns, result.tuples)
                if sys.stdout.isatty():
                    print(f"{_counted(len(result.tuples))} in {seconds:.3f} s")
        elif not self._form:
            print(f"{_counted(result.rowcount)} changed" if result.rowcount else "done")

    def command(self, text: str) -> None:
        """Do a command that begins with a dot or a backslash.

        Raises:
            EOFError: to leave.
        """
        word, _, rest = text[1:].rstrip(";").partition(" ")
        name, rest = _SHORT.get(word, word), rest.strip()
        if name == "quit":
            raise EOFError
        commands: dict[str, Callable[[], None]] = {
            "tables": self._tables,
            "schema": lambda: self._schema(rest),
            "summary": lambda: print(self.ask(lambda: self.db.summary)),
            "explain": lambda: print(self.ask(lambda: self.db.explain(rest))),
            "slow": lambda: print(self.ask(self.db.slow_queries)),
            "help": lambda: print(_HELP),
        }
        if name not in commands:
            raise InvalidQuery(
                f"there is no command {shown(text.split()[0])!r}",
                hint=did_you_mean(name, commands, "commands"),
            )
        with paged():
            commands[name]()

    def _tables(self) -> None:
        from holdfast.cli.catalog import counted

        show(["table", "rows"], self.ask(lambda: counted(self.db)))

    def _schema(self, table: str) -> None:
        from holdfast.cli.catalog import described, show_tables
        from holdfast.engines.names import unquote_identifier

        names = [unquote_identifier(table)] if table else None
        show_tables(self.ask(lambda: described(self.db, names)))


def _counted(rows: int) -> str:
    return f"{rows:,} row" + "s" * (rows != 1)


def _read_only() -> Error:
    return ReadOnlyError(
        "the statement does not only read",
        hint="leave, and call this with --write to let statements change the database; nothing was changed",
    )


COMMANDS = (shell,)
