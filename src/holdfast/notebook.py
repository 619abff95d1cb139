"""``%load_ext holdfast``: SQL in the cells of a notebook."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from holdfast.engines.sqltext import tokens
from holdfast.errors import ConfigurationError, Error, InvalidQuery, MissingDependency, ReadOnlyError

try:
    from IPython.core.error import UsageError
    from IPython.core.magic import Magics, line_cell_magic, magics_class
except ImportError as exc:
    raise MissingDependency("ipython", "notebook") from exc

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from holdfast.database import Database

_FORMS = ("dataframe", "polars", "rows")


class _Options(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; %hf? says how it is used")


def _parser() -> _Options:
    parser = _Options(prog="%hf", add_help=False, allow_abbrev=False)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--as", dest="form", choices=_FORMS, default="dataframe")
    parser.add_argument("--into", default=None)
    return parser


@magics_class
class HoldfastMagics(Magics):
    """``%hf`` and ``%%hf``."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._variables: dict[str, Any] = shell.user_ns
        self._opened: dict[tuple[str | None, bool], Database] = {}
        self._last: str | None = None

    @line_cell_magic
    def hf(self, line: str, cell: str | None = None) -> Any:
        """Run one statement of SQL and give its rows: ``%hf [CONNECTION] SQL``, or ``%%hf`` above its lines.

        CONNECTION is a path, a URL or the name of a variable with a Database; left out, it is the one
        before, at first what HOLDFAST_URL says. ``:name`` in the SQL is the value of that Python variable.
        Options: ``--write`` lets the statement change the database (a Database of yours is used as it was
        opened), ``--as dataframe|polars|rows`` says what the rows become, ``--into NAME`` puts them into a
        variable.
        """
        try:
            return self._run(line, cell)
        except ReadOnlyError:
            raise UsageError(
                "the statement does not only read; add --write to let it change the database"
            ) from None
        except (Error, ValueError) as exc:
            # IPython prints such an error without a traceback.
            raise UsageError(_told(exc)) from None

    def _run(self, line: str, cell: str | None) -> Any:
        words, sql = _split(line) if cell is None else (shlex.split(line), cell)
        options, rest = _parser().parse_known_args(words)
        if unknown := [word for word in rest if word.startswith("--")]:
            raise UsageError(f"there is no option {unknown[0]}; %hf? says which there are")
        if len(rest) > 1:
            raise UsageError("give one connection; %hf? says how it is used")
        if options.into is not None and not options.into.isidentifier():
            raise UsageError("--into takes the name of a variable")
        if not sql.strip():
            raise UsageError("there is no SQL; %hf? says how it is used")
        db = self._database(rest[0] if rest else None, write=options.write)
        answer = _answer(db, sql, self._values(sql, db), options.form)
        if options.into is None:
            return answer
        self._variables[options.into] = answer
        return None

    def close(self) -> None:
        """Close what was opened here."""
        for db in self._opened.values():
            db.close()

    def _database(self, named: str | None, *, write: bool) -> Database:
        """The database of a variable, or one that is opened once and kept."""
        from holdfast.database import Database, open_database

        place = named if named is not None else self._last
        found = self._variables.get(place) if place is not None and place.isidentifier() else None
        if isinstance(found, Database):
            self._last = place
            return found
        if found is not None or (place is not None and place.isidentifier()):
            raise ConfigurationError(
                f"{place} is no Database", hint="give a path with its extension, a URL, or such a variable"
            )
        db = self._opened.get((place, write))
        if db is None or not db.is_open:
            db = self._opened[place, write] = open_database(place, {} if write else {"read_only": True})
        self._last = place
        return db

    def _values(self, sql: str, db: Database) -> dict[str, Any]:
        """The variables that the marks in the SQL name; they are sent as parameters."""
        names = [
            token.text[1:]
            for token in tokens(sql, db._engine.lexicon)
            if token.kind == "mark" and token.text[0] == ":"
        ]
        for name in names:
            if name not in self._variables:
                raise InvalidQuery(f"there is no variable {name!r} for :{name}", hint="assign it first")
        return {name: self._variables[name] for name in names}


def _told(exc: Exception) -> str:
    """One line, and below it the place of a mistake in the SQL, marked."""
    place = getattr(exc, "place", None)
    text = str(exc) if not isinstance(exc, Error) else "; ".join(filter(None, (exc.message, exc.hint)))
    return " ".join(text.split()) + (f"\n{place}" if place else "")


def _split(line: str) -> tuple[list[str], str]:
    """The options and the connection before the SQL of one line, and the SQL, with its quotes."""
    words: list[str] = []
    rest = line.strip()
    while rest:
        word, _, after = rest.partition(" ")
        takes_value = bool(words) and words[-1] in ("--as", "--into")
        is_first = not any(not one.startswith("--") for one in _without_values(words))
        if not (word.startswith("--") or takes_value or (is_first and _is_connection(word))):
            break
        words.append(word)
        rest = after.strip()
    return words, rest


def _without_values(words: list[str]) -> list[str]:
    return [
        word for before, word in zip(["", *words], words, strict=False) if before not in ("--as", "--into")
    ]


def _is_connection(word: str) -> bool:
    return "://" in word or word == ":memory:" or ("." in word and "(" not in word) or _is_database(word)


def _is_database(word: str) -> bool:
    from IPython.core.getipython import get_ipython

    from holdfast.database import Database

    shell = get_ipython()
    return shell is not None and isinstance(shell.user_ns.get(word), Database)


def _answer(db: Database, sql: str, values: dict[str, Any], form: str) -> Any:
    if form == "polars":
        return db.to_polars(sql, values)
    result = db.execute(sql, values)
    if not result.columns:
        print(f"{result.rowcount} row{'' if result.rowcount == 1 else 's'} changed", file=sys.stderr)
        return None
    return result if form == "rows" else result.to_dataframe()


def load(shell: InteractiveShell) -> None:
    """Give the notebook its magics."""
    shell.register_magics(HoldfastMagics)


def unload(shell: InteractiveShell) -> None:
    """Close what the magics opened."""
    shell.magics_manager.registry[HoldfastMagics.__name__].close()
