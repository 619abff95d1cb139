"""Results as a table on the terminal and as a section of docs/benchmarks.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from measure import US, Against, Case, Line, Result
from rich.console import Console
from rich.table import Table

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"

HEADINGS = {Against.RATIO: ("x limit", "min .. max"), Against.EXTRA: ("above limit", "min .. max")}


def console() -> Console:
    """The terminal, or a pipe wide enough for every table."""
    found = Console()
    return found if found.is_terminal else Console(width=120)


def _goal(case: Case, line: Line) -> str:
    """What Holdfast was to reach and whether it did; nothing for the others."""
    if case.goal is None or line.contender.name != US:
        return ""
    reached = (line.processor or line.against).median
    return f"≤ {case.goal:g}: {'met' if reached <= case.goal else 'missed'}"


def _cells(case: Case, line: Line) -> tuple[str, ...]:
    form = "{:.2f}" if case.against is Against.RATIO else "{:.0f}"
    median, low, high = map(form.format, (line.against.median, line.against.low, line.against.high))
    used = [f"{line.processor.median:.2f}" if line.processor else ""] if case.is_here else []
    time = f"{line.time.median:.1f}"
    return line.contender.name, time, median, f"{low} .. {high}", *used, _goal(case, line)


def _headings(case: Case) -> tuple[str, ...]:
    used = ["x limit, processor"] if case.is_here else []
    return "", f"{case.unit} a call", *HEADINGS[case.against], *used, "goal"


def show(console: Console, result: Result) -> None:
    """Print one comparison."""
    print_table(
        console,
        result.case.name,
        _headings(result.case),
        [_cells(result.case, line) for line in result.lines],
    )


def print_table(
    console: Console, title: str, headings: Sequence[str], rows: Iterable[tuple[str, ...]]
) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    last = len(headings) - 1
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if 0 < number < last else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row, style="bold" if US in row else "")
    console.print(table)


def markdown(results: Iterable[Result], footnote: str) -> str:
    """A family's comparisons as Markdown tables."""
    parts = []
    for result in results:
        headings = _headings(result.case)
        rows = [headings, ("---", *["--:"] * (len(headings) - 2), "---")]
        rows += [_cells(result.case, line) for line in result.lines]
        parts += [f"**{result.case.name}**", markdown_rows(rows)]
    return "\n\n".join([*parts, footnote])


def markdown_rows(rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def footnote(versions: str, rounds: str, left_out: Mapping[str, str]) -> str:
    text = f"{versions}; {rounds}."
    if left_out:
        text += " Left out: " + "; ".join(f"{who} ({why})" for who, why in left_out.items()) + "."
    return text


def write(family: str, text: str) -> None:
    """Put ``text`` between the marks of a family in the document; the prose around it stays."""
    start, end = f"<!-- {family} -->\n", f"<!-- end of {family} -->"
    old = DOCUMENT.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(old):
        raise SystemExit(
            f"{DOCUMENT.name} has no place for {family}: add the lines {start.strip()} and {end}"
        )
    new = pattern.sub(lambda _: f"{start}\n{text}\n\n{end}", old)
    DOCUMENT.write_text(new, encoding="utf-8")
