"""The benchmark: what it does with its contenders, and that every family runs where its environment is."""

from __future__ import annotations

import importlib
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = sorted(path.stem for path in (ROOT / "bench" / "cases").glob("[a-z]*.py"))


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    module = importlib.import_module("measure")
    module.left_out.clear()
    return module


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module("run")


def _case(measure: Any, turns: list[str], failing: str = "", after: int = 0) -> Any:
    def contender(name: str) -> Any:
        def repeat(n: int) -> None:
            turns.append(name)
            if name == failing and turns.count(name) > after:
                raise OSError(f"no {name} in /a/secret/place")

        return measure.Contender(name, repeat)

    return measure.Case("work", tuple(map(contender, ("limit", "holdfast", "peer"))), 1)


def test_contenders_take_turns_and_none_is_always_first(measure: Any) -> None:
    turns: list[str] = []
    result = measure.measure(_case(measure, turns), measure.Effort(rounds=3, seconds=60))
    names = ["limit", "holdfast", "peer"]
    assert turns == [*names, *names, "holdfast", "peer", "limit", "peer", "limit", "holdfast"]
    assert result.rounds == 3
    limit, *_ = result.lines
    assert (limit.against.low, limit.against.high) == (1, 1)


def test_processor_time_is_told_of_work_done_here(measure: Any) -> None:
    def work(n: int) -> int:
        return sum(range(100_000 * n))

    names = ("limit", "holdfast", "peer, own process")
    case = measure.Case("work", tuple(measure.Contender(name, work) for name in names), 1)
    effort = measure.Effort(rounds=2, seconds=60)
    assert [line.processor for line in measure.measure(case, effort).lines] == [None, None, None]
    limit, ours, apart = measure.measure(replace(case, is_here=True), effort).lines
    assert (limit.processor.low, limit.processor.high) == (1, 1)
    assert ours.processor.low > 0
    assert apart.processor is None


def test_a_slow_case_ends_after_its_fewest_rounds(measure: Any) -> None:
    result = measure.measure(_case(measure, []), measure.Effort(rounds=25, seconds=0))
    assert result.rounds == measure.FEWEST


@pytest.mark.parametrize("after", [0, 2])
def test_a_peer_that_fails_is_left_out_with_its_reason(measure: Any, after: int) -> None:
    case = _case(measure, [], "peer", after)
    result = measure.measure(case, measure.Effort(rounds=4, seconds=60))
    assert [line.contender.name for line in result.lines] == ["limit", "holdfast"]
    assert result.rounds == 4
    assert measure.left_out == {"peer (work)": "OSError: no peer in …"}


@pytest.mark.parametrize("who", ["limit", "holdfast"])
def test_without_the_limit_or_us_there_is_no_result(measure: Any, who: str) -> None:
    with pytest.raises(OSError, match=f"no {who}"):
        measure.measure(_case(measure, [], who), measure.Effort(rounds=1, seconds=1))


def test_a_peer_that_cannot_be_made_ready_is_left_out(measure: Any) -> None:
    def missing() -> str:
        raise ModuleNotFoundError("No module named 'peer'")

    found = measure.ready({"holdfast": lambda: "ours", "peer": missing})
    assert found == {"holdfast": "ours"}
    assert measure.left_out == {"peer": "ModuleNotFoundError: No module named 'peer'"}
    with pytest.raises(ModuleNotFoundError):
        measure.ready({"holdfast": missing})


@pytest.mark.parametrize("family", [*FAMILIES, "growth"])
def test_the_document_has_a_place_for_every_family(family: str) -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert text.count(f"<!-- {family} -->\n") == 1
    assert text.count(f"<!-- end of {family} -->") == 1


@pytest.mark.parametrize("family", ["bulk_sqlite", "read_sqlite", "files_sqlite", "read_postgres", "growth"])
def test_a_family_runs_at_a_small_size(bench: Any, family: str) -> None:
    if not bench.is_ready():
        pytest.skip("no .venv-bench of these lists here: make bench makes it")
    run = [
        str(bench.PYTHON),
        str(ROOT / "bench" / "run.py"),
        "--only",
        family,
        "--rows",
        "60",
        "--rounds",
        "1",
    ]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "holdfast" in done.stdout
