"""The documents say what is true: their code runs, their outputs are printed, their names exist.

A ``python`` block runs after those above it in the same document, in an empty folder. A ``text`` block right
below one is what it prints. In a ``console`` block the lines with ``$ holdfast`` run too, and what stands
below one is what it prints; one that ends with ``# exit code 1`` has that. ``...`` stands for any text in a
line, and alone for any lines.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import inspect
import io
import os
import pkgutil
import re
import runpy
import shlex
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

import cli
import holdfast
from holdfast import errors, settings, urls
from holdfast.cli import main
from holdfast.engines.base import Features

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LANGUAGES = {"python", "text", "console", "pycon", "ini", "toml", "sql", "sh"}
FENCE = re.compile(r"(?m)^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int
    follows: bool
    """Nothing but empty lines lies between it and the block above."""


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found, end = [], 0
    for match in FENCE.finditer(text):
        follows = end > 0 and not text[end : match.start()].strip()
        found.append(
            Block(match[2], textwrap.dedent(match[3]).rstrip(), text[: match.start(3)].count("\n"), follows)
        )
        end = match.end()
    return found


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder and an environment that names no database; modules given other names go again."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("PG", "POSTGRES_")) or name in ("HOLDFAST_URL", "DATABASE_URL"):
            monkeypatch.delenv(name)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("scitex", "mngs"):
            del sys.modules[name]


def agrees(printed: str, written: str) -> bool:
    """Whether both are alike; ``...`` is any text in a line, and any lines where it stands alone."""
    wanted = [re.escape(line.rstrip()).replace(re.escape("..."), ".*") + "\n" for line in written.split("\n")]
    pattern = "".join("(?:.*\n)*?" if line == ".*\n" else line for line in wanted)
    bare = "".join(line.rstrip() + "\n" for line in printed.rstrip().split("\n"))
    return re.fullmatch(pattern, bare) is not None


def check_output(printed: str, written: str, place: str) -> None:
    assert agrees(printed, written), f"{place} prints:\n{printed}\nand not:\n{written}"


APART = [DOCS / "agents.md"]
"""Pages with models of their own, which would stay in this process: tests/agents follows them, in others."""


@pytest.mark.parametrize("page", [page for page in PAGES if page.exists() and page not in APART], ids=named)
def test_every_block_does_what_it_says(page: Path, folder: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page):
        place = f"{named(page)}:{block.line + 1}"
        if block.language == "python":
            code = compile("\n" * block.line + block.text, str(page), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, namespace)
            printed = out.getvalue()
        elif block.language == "text" and block.follows and printed:
            check_output(printed, block.text, place)
            printed = ""
        elif block.language == "console":
            run_console(block.text, place)
    for value in namespace.values():
        if isinstance(value, holdfast.Database):
            value.close()


def test_the_first_example_moves_by_one_string(
    url: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = [block.text for block in blocks(ROOT / "README.md") if block.language in ("python", "text")]
    code, wanted = shown[:2]
    assert code.count('"runs.db"') == 1
    exec(code.replace('"runs.db"', repr(url)), {})
    check_output(capsys.readouterr().out, wanted, "README.md")


def run_console(text: str, place: str) -> None:
    for command in re.split(r"(?m)^\$ ", text)[1:]:
        line, _, written = command.partition("\n")
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            assert all(f"\n{target}:" in (ROOT / "Makefile").read_text() for target in words[1:]), place
        if words[:1] != ["holdfast"]:
            continue
        with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit) as ended:
            main.run(words[1:])
        assert ended.value.code == line.endswith("# exit code 1"), f"{place}: {line}"
        if written.strip():
            check_output(out.getvalue(), written.rstrip(), place)


def test_pictures_are_wide_enough_to_read(tmp_path: Path) -> None:
    """Letters of the parts that are drawn of 120 tables are 8 pixels high, or more, in what is kept."""
    from PIL import Image

    from holdfast.inspection import scene

    script = runpy.run_path(str(DOCS / "pictures.py"))
    assert {path.name for path in (DOCS / "pictures").iterdir()} == set(script["PICTURES"])
    with holdfast.connect(":memory:") as db:
        script["build"](db)
        assert len(db.list_tables()) == 120
        for name, options in script["PICTURES"].items():
            svg = holdfast.inspect(db).generate_schema_diagram(tmp_path / "x.svg", **options).read_text()
            width = float(re.findall(r'width="([0-9.]+)pt"', svg)[0])
            with Image.open(DOCS / "pictures" / name) as picture:
                assert picture.width * scene.NAME / width >= 8
                assert abs(picture.height / picture.width - _height(svg) / width) < 0.02, (
                    "run docs/pictures.py"
                )


def _height(svg: str) -> float:
    return float(re.findall(r'height="([0-9.]+)pt"', svg)[0])


def test_a_wrong_output_is_noticed() -> None:
    assert agrees("a\nb  \nc\n", "a\nb\nc")
    assert agrees("a\nb\nc\n", "a\n...\nc")
    assert not agrees("a\nb\n", "a")
    assert not agrees("a\n", "b")


@pytest.mark.parametrize("page", [page for page in PAGES if page.exists()], ids=named)
def test_blocks_are_labelled_and_links_lead_somewhere(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= LANGUAGES
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{named(page)} links to {target}"
        if anchor:
            assert anchor in anchors(file), f"{named(page)} links to {target}"


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"(?m)^#+ +(.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_reached_from_the_index() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        if page.name != "index.md":
            assert f"({page.relative_to(DOCS)})" in index, named(page)


def test_no_document_names_a_network_host() -> None:
    for page in PAGES:
        if page.exists():
            assert not re.search(r"https?://", page.read_text(encoding="utf-8")), named(page)
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    assert "index" not in lock


def test_the_reference_is_that_of_the_source() -> None:
    written = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert runpy.run_path(str(DOCS / "reference.py"))["page"]() == written, "run `make docs`"


def test_the_page_of_all_commands_is_what_they_say() -> None:
    written = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert runpy.run_path(str(DOCS / "cli.py"))["page"]() == written, "run `make docs`"


def public(cls: type) -> list[str]:
    return [name for name in vars(cls) if not name.startswith("_")]


def test_every_public_name_is_in_the_reference() -> None:
    reference = (DOCS / "reference.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"(?m)^### `([^`]+)`", reference))
    for name in holdfast.__all__:
        assert {f"holdfast.{name}", name} & headings or f"## {name}\n" in reference, name
    assert {f"db.{name}" for name in public(holdfast.Database)} <= headings
    assert {f"table.{name}" for name in public(holdfast.Table) if name != "name"} <= headings
    classes = [kind for kind in vars(errors).values() if inspect.isclass(kind)]
    assert {kind.__name__ for kind in classes if issubclass(kind, errors.Error)} <= headings


def test_every_verb_is_in_a_guide() -> None:
    pages = [*(DOCS / "how-to").glob("*.md"), DOCS / "tutorial.md", ROOT / "README.md"]
    guides = "".join(page.read_text(encoding="utf-8") for page in pages)
    missing = [name for name in public(holdfast.Database) if not re.search(rf"\bdb\.{name}\b", guides)]
    assert missing == []


def test_every_command_is_in_the_guide_to_the_command_line() -> None:
    guide = (DOCS / "how-to" / "command-line.md").read_text(encoding="utf-8")
    commands = [" ".join(words[:2]) for words, _ in cli.commands()]
    assert len(commands) > 8
    assert [name for name in commands if f"holdfast {name}" not in guide] == []


def test_every_setting_is_in_the_guide_to_connecting() -> None:
    guide = (DOCS / "how-to" / "connect.md").read_text(encoding="utf-8")
    variables = {"HOLDFAST_URL", "DATABASE_URL", *settings.POSTGRES_VARIABLES, *settings.LIBPQ_VARIABLES}
    options = {*urls.SQLITE_OPTIONS, *urls.POSTGRES_OPTIONS, *urls.FIELDS, *urls.SCHEMES}
    assert [name for name in sorted(variables | options) if f"`{name}`" not in guide] == []


def test_every_feature_of_an_engine_is_explained() -> None:
    page = (DOCS / "differences.md").read_text(encoding="utf-8")
    assert [field.name for field in fields(Features) if f"`{field.name}`" not in page] == []


def test_every_guarantee_names_a_test_that_exists() -> None:
    page = (DOCS / "guarantees.md").read_text(encoding="utf-8")
    named_tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named_tests) > 20
    for path, name in named_tests:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, FUNCTIONS)}
        assert name in functions, f"{path}::{name}"
    rows = [line for line in page.splitlines() if line.startswith("| ") and "---" not in line]
    promises = [row for row in rows if not row.startswith("| Promise")]
    assert [row for row in promises if "`tests/" not in row] == []


def modules() -> list[str]:
    found = [module.name for module in pkgutil.walk_packages(holdfast.__path__, "holdfast.")]
    return [name for name in found if not name.endswith("__main__")]


def examples() -> list[doctest.DocTest]:
    found = [
        example
        for name in ["holdfast", *modules()]
        for example in doctest.DocTestFinder().find(importlib.import_module(name), name)
    ]
    return [example for example in found if example.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_the_examples_of_the_docstrings_are_true(example: doctest.DocTest, folder: Path) -> None:
    with holdfast.connect("examples.db") as db:
        db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "acc": float})
        db.insert("runs", {"id": 2, "acc": 0.9})
        example.globs |= {"holdfast": holdfast, "db": db}
        out = io.StringIO()
        failed = doctest.DocTestRunner().run(example, out=out.write, clear_globs=False).failed
        example.globs["db"].close()
    assert failed == 0, out.getvalue()


def test_every_module_is_in_the_picture_of_the_house() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    picture = page[page.index("src/holdfast/") : page.index("Imports point downwards")]
    paths = [path for path in Path(holdfast.__file__).parent.rglob("*.py") if not path.stem.startswith("_")]
    assert sorted({path.stem for path in paths if not re.search(rf"\b{path.stem}\b", picture)}) == []
    assert [name for name in re.findall(r"\b(\w+\.py)\b", picture) if not known(name)] == []


def known(name: str) -> bool:
    return any(Path(holdfast.__file__).parent.rglob(name))
