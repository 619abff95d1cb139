"""The package as it is built, installed and checked: metadata, extras, the lock, the commands."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import holdfast

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
LATER: set[str] = set()
"""Extras that nothing uses yet."""
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def bare(requirement: str) -> str:
    """The normalised name of what a requirement asks for."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]).lower()


def wanted(extra: str) -> set[str]:
    found: set[str] = set()
    for requirement in EXTRAS[extra]:
        if inner := re.fullmatch(r"holdfast\[([\w,]+)\]", requirement):
            found |= {name for other in inner[1].split(",") for name in wanted(other)}
        else:
            found.add(bare(requirement))
    return found


def test_the_version_is_said_in_one_place() -> None:
    assert metadata.version("holdfast") == holdfast.__version__


def test_the_command_is_installed() -> None:
    (command,) = metadata.entry_points(group="console_scripts", name="holdfast")
    assert callable(command.load())


def test_the_licence_comes_along() -> None:
    assert metadata.metadata("holdfast")["License-Expression"] == "MIT"
    assert "MIT License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_the_lock_has_everything_with_hashes() -> None:
    locked = {bare(line) for line in re.findall(r"(?m)^([\w.-]+)==", LOCK)}
    assert {bare(requirement) for requirement in PROJECT["dependencies"]} <= locked
    assert wanted("dev") <= locked
    entries = re.split(r"(?m)^(?=[\w.-]+==)", LOCK)[1:]
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_all_is_every_extra_of_users() -> None:
    # PyTorch, which comes with sentence-transformers, is larger than all the rest.
    apart = ("all", "dev", "sentence-transformers")
    assert set().union(*(wanted(name) for name in EXTRAS if name not in apart)) == wanted("all")


def test_the_readme_lists_the_extras() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"(?m)^\| `([\w-]+)` \|", readme))
    assert rows == set(EXTRAS) - LATER - {"all"}


def test_a_missing_dependency_names_an_extra_that_has_it() -> None:
    calls = [
        (path.name, [part.value for part in node.args if isinstance(part, ast.Constant)])
        for path in Path(holdfast.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "MissingDependency"
    ]
    literal = [(file, *names) for file, names in calls if len(names) == 2]
    assert len(literal) > 1
    for file, package, extra in literal:
        assert bare(package) in wanted(extra), f"{file}: holdfast[{extra}] does not install {package}"


def test_the_makefile_has_the_commands() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test", "lint", "bench", "docs"):
        assert re.search(rf"(?m)^{target}:", makefile)


@pytest.mark.skipif(os.name != "posix", reason="a shell script")
def test_ci_is_a_script_that_can_be_read() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    assert "make lint" in text
    assert "make test" in text
