"""How long a program waits before Holdfast has done anything, before its first row, and for a command."""

from __future__ import annotations

import itertools
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import US, Against, Case, Contender

TITLE = "Import, first row, and commands"
LIBRARIES = ("SQLAlchemy", "sqlite-utils", "dataset")

CALLS = 1
FIRST_ROW = {
    "sqlite3": """
import sqlite3, sys
con = sqlite3.connect(sys.argv[1])
con.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, acc REAL)")
con.execute("INSERT INTO runs (acc) VALUES (?)", (0.9,))
con.commit()
""",
    US: """
import holdfast, sys
db = holdfast.connect(sys.argv[1])
db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "acc": "REAL"})
db.insert("runs", {"acc": 0.9})
""",
    "SQLAlchemy Core": """
import sqlalchemy as sa, sys
engine = sa.create_engine("sqlite:///" + sys.argv[1])
meta = sa.MetaData()
runs = sa.Table("runs", meta, sa.Column("id", sa.Integer, primary_key=True), sa.Column("acc", sa.Float))
meta.create_all(engine)
with engine.begin() as con:
    con.execute(sa.insert(runs), {"acc": 0.9})
""",
    "sqlite-utils": """
import sqlite_utils, sys
db = sqlite_utils.Database(sys.argv[1])
db["runs"].create({"id": int, "acc": float}, pk="id")
db["runs"].insert({"acc": 0.9})
""",
    "dataset": """
import dataset, sys
db = dataset.connect("sqlite:///" + sys.argv[1])
db["runs"].insert({"acc": 0.9})
""",
}
LIBRARIES_OF_COMMANDS = ["-c", "import sqlite3, typer, rich"]
PEER = ["-m", "sqlite_utils"]
COMMANDS: dict[str, tuple[list[str], list[str] | None]] = {
    "--version": (["--version"], [*PEER, "--version"]),
    "--help": (["--help"], [*PEER, "--help"]),
    "tables --help": (["tables", "--help"], [*PEER, "tables", "--help"]),
    "tables FILE": (["tables", "lab.db"], [*PEER, "tables", "lab.db", "--counts", "--table"]),
    "query FILE SQL": (
        ["query", "lab.db", "SELECT * FROM runs"],
        [*PEER, "query", "lab.db", "SELECT * FROM runs", "--table"],
    ),
    "select FILE TABLE": (["select", "lab.db", "runs"], [*PEER, "rows", "lab.db", "runs", "--table"]),
    "schema FILE": (["schema", "lab.db"], [*PEER, "schema", "lab.db"]),
    "summary FILE": (["summary", "lab.db"], None),
}
"""Commands, and those of sqlite-utils that do the same."""


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    imports = {
        "bare interpreter": "pass",
        US: "import holdfast",
        "SQLAlchemy": "import sqlalchemy",
        "sqlite-utils": "import sqlite_utils",
        "dataset": "import dataset",
    }
    first_row = {"bare interpreter": "pass", **FIRST_ROW}
    with sqlite3.connect(folder / "lab.db") as lab:
        lab.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, acc REAL)")
        lab.executemany("INSERT INTO runs (acc) VALUES (?)", [(n / 10,) for n in range(10)])
    lab.close()
    yield [
        _case("import", _programs(imports), folder, goal=200),
        _case("import, create a table, insert one row", _programs(first_row), folder),
        *(_command(name, words, peer, folder) for name, (words, peer) in COMMANDS.items()),
    ]


def _programs(texts: dict[str, str]) -> dict[str, list[str]]:
    return {who: ["-c", text] for who, text in texts.items()}


def _command(name: str, words: list[str], peer: list[str] | None, folder: Path) -> Case:
    programs = {"import sqlite3, typer, rich": LIBRARIES_OF_COMMANDS, "bare interpreter": ["-c", "pass"]}
    programs[US] = ["-m", "holdfast", *words]
    if peer:
        programs["sqlite-utils"] = peer
    return Case(f"holdfast {name}", _contenders(programs, folder), CALLS, goal=3, unit="ms")


def _case(name: str, programs: dict[str, list[str]], folder: Path, goal: float | None = None) -> Case:
    return Case(name, _contenders(programs, folder), CALLS, goal, Against.EXTRA, "ms")


def _contenders(programs: dict[str, list[str]], folder: Path) -> tuple[Contender, ...]:
    return tuple(Contender(who, _process(words, folder)) for who, words in programs.items())


def _process(words: list[str], folder: Path) -> Callable[[int], None]:
    # Compiled code of its own: pip compiled the peers, and an editable Holdfast may never have been.
    settings = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    settings.pop("PYTHONDONTWRITEBYTECODE", None)

    def repeat(n: int) -> None:
        for _ in range(n):
            path = folder / f"{next(_numbers)}.db"
            program = [sys.executable, *words, *([str(path)] if words[0] == "-c" else [])]
            subprocess.run(program, check=True, cwd=folder, env=settings, stdout=subprocess.DEVNULL)

    return repeat


_numbers = itertools.count()
