"""``%hf`` and ``%%hf`` in a real IPython, and what a notebook shows of tables and results."""

from __future__ import annotations

import html
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.testing.globalipapp import start_ipython
from IPython.utils.capture import capture_output

import holdfast
from holdfast.core import progress


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[InteractiveShell]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOLDFAST_URL", raising=False)
    # In a process of tests there is one; a second start gives nothing.
    shell = start_ipython() or InteractiveShell.instance()
    shell.run_line_magic("load_ext", "holdfast")
    yield shell
    shell.run_line_magic("unload_ext", "holdfast")
    shell.reset(new_session=False)


@pytest.fixture
def filled(url: str) -> str:
    with holdfast.connect(url) as db:
        db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "model": str, "acc": float})
        db.insert_many("runs", [{"model": f"m{n}", "acc": n / 10} for n in range(1, 6)])
    return url


def run(shell: InteractiveShell, cell: str) -> Any:
    result = shell.run_cell(cell)
    assert result.error_in_exec is None, result.error_in_exec
    return result.result


def refusal(shell: InteractiveShell, cell: str) -> str:
    with capture_output() as shown:
        shell.run_cell(cell)
    text = shown.stdout + shown.stderr
    assert text.strip().count("\n") == 0, text
    assert text.startswith("UsageError: ")
    return text


def test_sql_becomes_a_frame_by_url_and_by_variable(shell: InteractiveShell, filled: str) -> None:
    frame = run(shell, f"%%hf {filled}\nSELECT id, acc\nFROM runs ORDER BY id")
    assert list(frame.columns) == ["id", "acc"]
    assert len(run(shell, "%hf SELECT * FROM runs")) == 5
    with holdfast.connect(filled) as db:
        shell.user_ns["lab"] = db
        assert run(shell, "%hf lab SELECT count(*) AS n FROM runs")["n"].tolist() == [5]
        assert run(shell, "%hf --as polars lab SELECT 1 AS one").to_dicts() == [{"one": 1}]
        assert run(shell, "%hf --into kept lab SELECT 2 AS two") is None
        assert shell.user_ns["kept"]["two"].tolist() == [2]


def test_a_mark_is_the_value_of_a_variable_and_never_sql(shell: InteractiveShell, filled: str) -> None:
    shell.user_ns["top"] = 2
    assert run(shell, f"%%hf {filled}\nSELECT id FROM runs WHERE id <= :top ORDER BY id")["id"].tolist() == [
        1,
        2,
    ]
    shell.user_ns["name"] = "x'; DROP TABLE runs;--"
    assert len(run(shell, "%hf SELECT * FROM runs WHERE model = :name")) == 0
    assert len(run(shell, "%hf SELECT * FROM runs WHERE model = ':name'")) == 0
    assert "absent" in refusal(shell, "%hf SELECT * FROM runs WHERE id = :absent")
    assert len(run(shell, "%hf SELECT * FROM runs")) == 5


def test_nothing_is_changed_without_write(shell: InteractiveShell, filled: str) -> None:
    assert "--write" in refusal(shell, f"%%hf {filled}\nDELETE FROM runs")
    assert run(shell, f"%%hf {filled} --write\nDELETE FROM runs WHERE id = 1") is None
    assert len(run(shell, f"%hf {filled} SELECT * FROM runs")) == 4


def test_a_mistake_is_one_line_without_a_traceback(shell: InteractiveShell, filled: str) -> None:
    assert "no database" in refusal(shell, "%hf SELECT 1")
    assert "rums" in refusal(shell, f"%%hf {filled}\nSELECT * FROM rums")
    assert "no SQL" in refusal(shell, f"%%hf {filled}\n  ")
    assert "--nosuch" in refusal(shell, f"%%hf {filled} --nosuch\nSELECT 1")
    shell.user_ns["seven"] = 7
    assert "Database" in refusal(shell, "%%hf seven\nSELECT 1")
    told = refusal(shell, "%%hf postgresql://me:secret@127.0.0.1:1/db\nSELECT 1")
    assert "secret" not in told


def test_results_and_tables_have_a_preview_in_which_values_are_text(db: holdfast.Database) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "<b>": str, "raw": bytes})
    db.insert_many("t", [{"<b>": f"<script>{n}", "raw": b"x" * n} for n in range(1, 31)])
    shown = db.execute("SELECT * FROM t ORDER BY id")._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;1<" in shown
    assert "<th>&lt;b&gt;</th>" in shown
    assert "the first 20 of 30 rows" in shown
    assert "<i>20 bytes</i>" in shown
    assert "&lt;script&gt;1<" in (db["t"]._repr_html_() or "")
    assert db["absent"]._repr_html_() is None


def test_answers_are_shown_as_they_are_printed(db: holdfast.Database) -> None:
    db.create_table("<b>", {"id": "INTEGER PRIMARY KEY", "a": int})
    db.insert_many("<b>", [{"a": n} for n in range(2_000)])
    asked = 'SELECT * FROM "<b>" WHERE a = 1'
    for answer in (db.explain(asked), db.slow_queries(), db.suggest_indexes([asked]), db.doctor()):
        assert answer._repr_html_() == f"<pre>{html.escape(str(answer))}</pre>"
        assert "<b>" not in answer._repr_html_()


def test_importing_holdfast_imports_no_ipython() -> None:
    code = "import sys, holdfast; holdfast.load_ipython_extension; print('IPython' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_mistake_in_the_sql_is_marked(shell: InteractiveShell, filled: str) -> None:
    with capture_output() as shown:
        shell.run_cell(f"%%hf {filled}\nSELECT id FORM runs")
    first, text, mark = (shown.stdout + shown.stderr).rstrip().splitlines()
    assert first.startswith("UsageError: ")
    assert "syntax" in first
    assert text.endswith("SELECT id FORM runs")
    assert mark.strip() == "^"


def test_a_notebook_shows_a_bar_and_no_warning(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no kernel in the tests; that its module is there is how one is known."""
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    with capture_output() as shown, progress.track("load <b>", total=3) as advance:
        assert advance is not None
        advance(2)
        advance(1)
    assert (shown.stdout, shown.stderr) == ("", "")
    first, *_, last = (one.data["text/html"] for one in shown.outputs)
    assert "load &lt;b&gt; <progress max='3' value='0'>" in first
    assert last.endswith("3 of 3")
    with capture_output() as shown, progress.track("load") as advance:
        assert advance is not None
        advance(7)
    first, *_, last = (one.data["text/html"] for one in shown.outputs)
    assert first == "load <progress></progress> 0"
    assert last == "load <progress max='7' value='7'></progress> 7 of 7"
