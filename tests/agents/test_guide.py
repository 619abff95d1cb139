"""The guide to an application of agents, followed from an empty folder, and the files of a new project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.agents.scaffold import scaffold

ROOT = Path(__file__).parents[2]


def clean_environment() -> dict[str, str]:
    """An environment that names no database."""
    named = ("PG", "POSTGRES_", "HOLDFAST_", "DATABASE_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(named)}


def test_the_guide_is_true(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    first = "FIRST_SUPERUSER=ada@example.com\nFIRST_SUPERUSER_PASSWORD=choose-another\n"
    key = "SECRET_KEY=sixteen-characters-or-more-that-nobody-guesses\n"
    (folder / ".env").write_text(f"HOLDFAST_URL='{url}'\n{first}{key}")
    done = subprocess.run(
        [sys.executable, "-m", "agents.follow", str(ROOT / "docs" / "agents.md")],
        cwd=folder,
        env=clean_environment() | {"PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "models" / "recipes.py").exists()


def test_compose_takes_its_values_from_env_and_misses_them(tmp_path: Path) -> None:
    written, kept = scaffold(tmp_path)
    assert ([path.name for path in written], kept) == (["compose.yaml", ".env.example"], [])
    compose = (tmp_path / "compose.yaml").read_text()
    example = dict(re.findall(r"(?m)^(\w+)=(.*)$", (tmp_path / ".env.example").read_text()))
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", compose))
    assert asked <= set(example)
    assert set(re.findall(r"(?<!\$)\$\{(\w+):\?", compose)) == {
        "POSTGRES_USER",
        "POSTGRES_PASSWORD",
        "POSTGRES_DB",
    }
    yaml = pytest.importorskip("yaml")
    service = yaml.safe_load(compose)["services"]["db"]
    assert "pgvector" in service["image"]
    assert {"healthcheck", "volumes", "ports", "environment"} <= set(service)
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_docker_understands_compose(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("there is no docker compose here")
    scaffold(tmp_path)
    command = [docker, "compose", "config", "--format", "json"]
    missing = subprocess.run(command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True)
    assert missing.returncode != 0
    assert "set POSTGRES_" in missing.stderr
    shutil.copy(tmp_path / ".env.example", tmp_path / ".env")
    found = subprocess.run(command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    environment = json.loads(found.stdout)["services"]["db"]["environment"]
    assert environment["POSTGRES_USER"] == "app"


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("mine")
    written, kept = scaffold(tmp_path)
    assert [path.name for path in kept] == ["compose.yaml"]
    assert [path.name for path in written] == [".env.example"]
    assert (tmp_path / "compose.yaml").read_text() == "mine"
