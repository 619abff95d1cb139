"""Ask whether a package of the lock is known to be vulnerable, as make lint does: ``python tests/audit.py``.

A vulnerability ends it with exit code 1. A service that cannot be reached does not: that is no finding, and
a change must not be refused for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements.lock"
SECONDS = 120


def ask(lock: Path = LOCK, arguments: tuple[str, ...] = ()) -> str | None:
    """What pip-audit says, as JSON; ``None`` if it could not ask."""
    options = ["--requirement", str(lock), "--require-hashes", "--disable-pip", "--progress-spinner", "off"]
    command = [sys.executable, "-m", "pip_audit", *options, "--format", "json", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout or None


def report(answer: str | None) -> tuple[list[str], int]:
    """What is said of an answer, and the exit code."""
    try:
        packages: list[dict[str, Any]] = json.loads(answer or "")["dependencies"]
    except (ValueError, KeyError, TypeError):
        return ["pip-audit: not asked, the service cannot be reached"], 0
    asked = [package for package in packages if "skip_reason" not in package]
    found = [
        f"{package['name']} {package['version']}: {one['id']}, mended in {one['fix_versions']}"
        for package in asked
        for one in package["vulns"]
    ]
    told = f"pip-audit: {len(asked)} of {len(packages)} packages known, {len(found)} vulnerabilities"
    return [told, *found], 1 if found else 0


if __name__ == "__main__":
    lines, code = report(ask(arguments=tuple(sys.argv[1:])))
    print("\n".join(lines))
    sys.exit(code)
