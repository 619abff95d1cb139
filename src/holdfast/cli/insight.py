"""Commands that say what is slow, and why."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import opening
from holdfast.cli.output import AsCsv, AsJson, write_json, write_records
from holdfast.cli.query import SQL, Param, given, named
from holdfast.engines.names import legible, printable
from holdfast.engines.sqltext import tokens

if TYPE_CHECKING:
    from holdfast.tuning.advice import Advices


def explain(
    url: opening.URL,
    sql: SQL,
    param: Param = None,
    analyze: Annotated[
        bool, typer.Option("--analyze", help="Run the statement and measure it; it may only read.")
    ] = False,
    native: Annotated[bool, typer.Option("--native", help="Print the engine's own text too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say how a statement is run, in the same words on every engine, and what is slow about it.

    $ holdfast explain runs.db "SELECT * FROM runs WHERE model = :m" --param m=cnn
    """
    sql = given(sql)
    with opening.to_read(url) as db:
        plan = db.explain(sql, dict(map(named, param or ())), analyze=analyze)
    if as_json:
        write_json(dataclasses.asdict(plan))
        return
    print(plan)
    if native:
        print(f"\n{legible(plan.text)}")
    if plan.findings or any(step.kind in _MAY_WANT_INDEX for step in plan.root.walk()):
        print(f"\nwhich index would help, and by how much:\n{_line(url, 'suggest', sql)}")


def doctor(
    url: opening.URL,
    backups: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Say too whether a backup there is overdue.")
    ] = None,
    every: Annotated[str, typer.Option(metavar="WHEN", help="How often backups are to be made.")] = "02:00",
    fix: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Mend what can be mended without risk, after a backup to FILE."),
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Say what is wrong with a database, or will be, and what mends it; exit code 1 if data are in danger.

    $ holdfast doctor runs.db --backups nightly --fix before.hfz
    """
    with opening.to_read(url) if fix is None else opening.to_change(url) as db:
        found = db.doctor(backups=backups, every=every, fix=fix)
    if as_json or as_csv:
        from holdfast.engines.checks import Finding

        write_records(found, Finding, as_csv=as_csv)
    else:
        print(found)
        safe = sum(finding.is_safe for finding in found)
        again = _line(url, "doctor")
        if safe and fix is None:
            print(f"\nto mend {safe} of these, after a backup:\n{again} --fix before.hfz")
        if any(finding.sql for finding in found):
            print(f"\nto run what ends with a semicolon, paste it into:\n{_line(url, 'shell')} --write")
        if backups is None:
            print(f"\nto hear of overdue backups, with the folder they are in:\n{again} --backups backups")
        print(f"\nfor a statement that is slow:\n{_line(url, 'explain', 'SELECT ...')}")
    if not found.is_healthy:
        raise typer.Exit(1)


def suggest(
    url: opening.URL,
    sql: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SQL",
            help="Statements; without any, what the server's pg_stat_statements knows.",
            show_default=False,
        ),
    ] = None,
    complete: Annotated[
        bool | None,
        typer.Option(
            "--complete/--not-complete",
            help="Whether the statements are all that is asked: then indexes that none uses are named too. "
            "If it is not said, they are if they are the server's.",
            show_default=False,
        ),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Make the indexes, and renew statistics.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="With --apply, drop indexes of no use too.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Say which indexes would make statements faster, each tried on a copy; --apply makes them.

    $ holdfast suggest runs.db "SELECT * FROM runs WHERE acc > 0.5" --apply
    """
    with opening.to_change(url) if apply else opening.to_read(url) as db:
        # What this process asks is what it needs itself.
        db.record_queries(False)
        found = db.suggest_indexes(sql or None, complete=complete)
        if as_json or as_csv:
            from holdfast.tuning.advice import Advice

            write_records(found, Advice, as_csv=as_csv)
        else:
            print(found)
        for line in found.apply(drop=drop) if apply else ():
            print(printable(line), file=sys.stderr)
    if as_json or as_csv:
        _said_apart(found)
    elif apply:
        _see(found, url, sql or ())
    else:
        _go_on(found, _line(url, "suggest", *(sql or ())))


def _said_apart(found: Advices) -> None:
    """What is no row of a table goes where it disturbs no program."""
    for sql, hint in (
        *found.hints.items(),
        *((sql, f"not looked at, {why}") for sql, why in found.skipped.items()),
    ):
        print(printable(f"{hint}: {sql}"), file=sys.stderr)


def _see(found: Advices, url: str, statements: Sequence[str]) -> None:
    """How to measure the first one that can be run as it stands."""
    for statement in statements:
        words = [token for token in tokens(statement, found.lexicon) if token.is_code]
        if words and words[0].text.upper() == "SELECT" and all(word.kind != "mark" for word in words):
            print(f"\nhow long it takes now:\n{_line(url, 'explain', statement)} --analyze")
            return


def _go_on(found: Advices, line: str) -> None:
    kinds = {advice.action for advice in found}
    if kinds - {"drop"}:
        print(f"\nto do that{', but for what is to be dropped' if 'drop' in kinds else ''}:\n{line} --apply")
    if "drop" in kinds:
        print(f"\nto drop what is of no use too:\n{line} --apply --drop")


def _line(url: str, command: str, *words: str) -> str:
    """A command that can be pasted as it stands; a password is no part of it."""
    from holdfast.settings import resolve

    place = "$HOLDFAST_URL" if resolve(url).password else url
    shown = f'"{place}"' if place.startswith("$") else shlex.quote(place)
    return legible(" ".join(["holdfast", command, shown, *(_quoted(word) for word in words)]))


def _quoted(word: str) -> str:
    """In double quotes, as people write SQL, where nothing in it means something to a shell."""
    return shlex.quote(word) if any(letter in word for letter in '"$`\\!') else f'"{word}"'


_MAY_WANT_INDEX = ("scan", "index scan", "sort")
COMMANDS = (explain, suggest, doctor)
