"""What Hypothesis tries in CI is the same whatever ran before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TRIED = """
import hashlib, sys
import conftest
for name in sys.argv[1:]:
    __import__(name)
from hypothesis import given, strategies as st

tried = hashlib.sha256()

@given(st.lists(st.text() | st.integers() | st.floats()))
def look(found):
    tried.update(repr(found).encode())

look()
print(tried.hexdigest())
"""


def tried(*imported: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", TRIED, *imported],
        env={**os.environ, "CI": "true", "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_what_is_imported_changes_no_example() -> None:
    assert tried() == tried("holdfast.io.guess", "holdfast.tuning.advise", "holdfast.memory.langgraph.store")
