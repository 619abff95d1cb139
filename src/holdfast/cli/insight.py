"""Commands that say what is slow, and why."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from holdfast.cli import opening
from holdfast.cli.output import AsJson, write_json
from holdfast.cli.query import SQL, Param, named


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
    """Say how a statement is run, in the same words on every engine, and what is slow about it."""
    with opening.to_read(url) as db:
        plan = db.explain(sql, dict(map(named, param or ())), analyze=analyze)
    if as_json:
        write_json(dataclasses.asdict(plan))
        return
    print(plan)
    if native:
        print(f"\n{plan.text}")


COMMANDS = (explain,)
