"""``holdfast demo``: a first result on real data, from the files to a proven backup."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import opening, topics
from holdfast.cli.backups import proven
from holdfast.cli.output import panel, show

if TYPE_CHECKING:
    from holdfast.database import Database


def demo(
    url: Annotated[
        str | None,
        typer.Option(help="Where to load; by default a SQLite file in --dir.", show_default=False),
    ] = None,
    folder: Annotated[
        Path, typer.Option("--dir", help="Where the chart, the diagram and the backup go.")
    ] = Path("demo"),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Drop the demo's tables and load them again.")
    ] = False,
) -> None:
    """Load the flights that left New York in 2013, ask, draw, back up and verify; then ask a memory.

    $ holdfast demo --url postgresql+embedded:///./pg
    """
    from holdfast.cli import flights
    from holdfast.errors import MissingDependency

    if find_spec("matplotlib") is None:
        raise MissingDependency("matplotlib", "demo")
    data = flights.data_folder()
    folder.mkdir(parents=True, exist_ok=True)
    begun = perf_counter()
    with opening.to_write(url if url is not None else str(folder / "flights.db")) as db:
        _load(db, data, fresh)
        hours = _answer(db)
        print("\nDrawing, backing up, and restoring the backup to prove it", flush=True)
        places = [
            ("database", f"{db.url}, {_bytes(db.get_stats()['size'])}"),
            *_draw(db, hours, folder),
            *_back_up(db, folder),
        ]
        topics.remember(db, fresh=fresh)
    places.append(("time", f"{perf_counter() - begun:.1f} s in all"))
    name = url if url is not None else str(folder / "flights.db")
    shown = name if "@" not in name else "URL"
    places.append(("next", f"holdfast schema {shown}"))
    print()
    panel("Everything is here", places)


def _load(db: Database, data: Path, fresh: bool) -> None:
    from holdfast.cli import flights

    begun = perf_counter()
    print(f"Loading the flights that left New York in 2013 into {db.url}", flush=True)
    loaded = flights.load(db, data, fresh=fresh)
    counts = ", ".join(f"{db.count(source.table):,} {source.table}" for source in reversed(flights.SOURCES))
    took = f"in {perf_counter() - begun:.1f} s, in one transaction" if loaded else "there already, complete"
    print(f"{counts}: {took}")
    misses = ", ".join(f"{count:,} have {what}" for what, count in flights.without_match(db).items())
    print(f"Kept as the source has them, so without a foreign key: of the flights {misses}.")


def _answer(db: Database) -> list[dict[str, Any]]:
    """Print the three answers, and return the one that the chart shows."""
    from holdfast.cli import answers

    found = {question: answers.ask(db, question) for question in answers.QUESTIONS}
    for question, rows in found.items():
        print()
        values = [[_rounded(value) for value in row.values()] for row in rows]
        left = [isinstance(value, str) for value in rows[0].values()]
        show(list(rows[0]), values, title=question.text, right=[not one for one in left])
    return found[answers.BY_HOUR]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else value


def _draw(db: Database, hours: list[dict[str, Any]], folder: Path) -> list[tuple[str, str]]:
    import holdfast
    from holdfast.cli import chart, flights

    picture, diagram = folder / "delay_by_hour.png", folder / "schema.png"
    chart.draw(hours, picture)
    names = [source.table for source in flights.SOURCES]
    holdfast.inspect(db).generate_schema_diagram(diagram, names, columns="all")
    return [("chart", _sized(picture)), ("diagram", _sized(diagram))]


def _back_up(db: Database, folder: Path) -> list[tuple[str, str]]:
    begun = perf_counter()
    backup = db.backup_database(folder / "flights.sql")
    written = perf_counter() - begun
    report = proven(db, backup)
    took, rows = perf_counter() - begun - written, sum(report.tables.values())
    return [
        ("backup", f"{_sized(backup)}, written in {written:.1f} s"),
        ("verified", f"{rows:,} rows restored into a scratch database and compared, in {took:.1f} s"),
    ]


def _sized(path: Path) -> str:
    return f"{path}, {_bytes(path.stat().st_size)}"


def _bytes(count: int) -> str:
    from holdfast.inspection.report import human_size

    return human_size(count)


COMMANDS = (demo,)
