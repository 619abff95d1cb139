"""Measure Holdfast beside the bare driver and its peers: ``python bench/run.py --help``.

It runs in an environment of its own, ``.venv-bench``, made on first use, because the peers are no part of
Holdfast. Seconds differ from machine to machine and from hour to hour; only the ratios of one run mean
anything, and no build fails by them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import venv
from datetime import date
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
ENVIRONMENT = ROOT / ".venv-bench"
FAMILIES = tuple(sorted(path.stem for path in (BENCH / "cases").glob("[a-z]*.py")))


def main() -> None:
    options = _options()
    if Path(sys.prefix).resolve() != ENVIRONMENT.resolve():
        python = _environment()
        os.execv(python, [str(python), str(BENCH / "run.py"), *sys.argv[1:]])
    for family in options.only or FAMILIES:
        _run(family, 5 if options.quick else options.rounds, write=options.write)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure Holdfast beside the bare driver and its peers.")
    parser.add_argument("--only", action="append", choices=FAMILIES, help="one family; may be repeated")
    parser.add_argument("--rounds", type=int, default=25, help="how often each is measured (default 25)")
    parser.add_argument("--quick", action="store_true", help="5 rounds")
    parser.add_argument("--write", action="store_true", help="put the results into docs/benchmarks.md")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    if options.quick and options.write:
        parser.error("--quick is too coarse to be written down")
    return options


def _environment() -> Path:
    """The environment with Holdfast and the pinned peers, made or renewed when its list has changed."""
    python = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = b"".join(path.read_bytes() for path in (BENCH / "requirements.txt", ROOT / "pyproject.toml"))
    stamp, digest = ENVIRONMENT / "made-from", hashlib.sha256(wanted).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        return python
    print(f"making {ENVIRONMENT.name} for the peers ...", flush=True)
    venv.create(ENVIRONMENT, with_pip=True, symlinks=os.name != "nt")
    (ENVIRONMENT / ".gitignore").write_text("*\n")
    install = [str(python), "-m", "pip", "install", "--quiet", "-r", str(BENCH / "requirements.txt")]
    subprocess.run([*install, "--editable", f"{ROOT}[embedded]"], check=True)
    stamp.write_text(digest)
    return python


def _run(family: str, rounds: int, *, write: bool) -> None:
    import report
    from measure import measure
    from rich.console import Console

    console = Console()
    module = import_module(f"cases.{family}")
    console.print(f"\n[bold]{module.TITLE}[/bold]")
    results: report.Results = []
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder, module.cases(Path(folder)) as cases:
        for case in cases:
            lines = measure(case, rounds)
            report.show(console, case, lines)
            results.append((case, lines))
    footnote = f"{_versions(module.LIBRARIES)}; {rounds} rounds; {date.today().isoformat()}."
    console.print(footnote)
    if write:
        report.write(family, report.markdown(results, footnote))


def _versions(libraries: tuple[str, ...]) -> str:
    python = ".".join(map(str, sys.version_info[:3]))
    named = [f"{name} {version(name)}" for name in ("holdfast", *libraries)]
    return ", ".join([f"Python {python}", f"SQLite {sqlite3.sqlite_version}", *named])


if __name__ == "__main__":
    main()
