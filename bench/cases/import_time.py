"""How long a program waits before Holdfast has done anything, and before its first row is written."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import US, Against, Case, Contender

TITLE = "Import and first row"
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
    yield [
        _case("import", imports, folder, goal=200),
        _case("import, create a table, insert one row", first_row, folder),
    ]


def _case(name: str, programs: dict[str, str], folder: Path, goal: float | None = None) -> Case:
    contenders = tuple(Contender(who, _process(text, folder)) for who, text in programs.items())
    return Case(name, contenders, CALLS, goal, Against.EXTRA, "ms")


def _process(program: str, folder: Path) -> Callable[[int], None]:
    # Compiled code of its own: pip compiled the peers, and an editable Holdfast may never have been.
    settings = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    settings.pop("PYTHONDONTWRITEBYTECODE", None)

    def repeat(n: int) -> None:
        for _ in range(n):
            path = folder / f"{next(_numbers)}.db"
            subprocess.run([sys.executable, "-c", program, str(path)], check=True, cwd=folder, env=settings)

    return repeat


_numbers = itertools.count()
