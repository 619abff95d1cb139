"""What `make lint` makes of the answers of a service that knows vulnerabilities."""

from __future__ import annotations

import json

import audit

FOUND = {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"], "aliases": []}]}
SOUND = {"name": "b", "version": "1", "vulns": []}
NOT_KNOWN = {"name": "c", "version": "1", "skip_reason": "Dependency not found"}


def answer(*packages: object) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_vulnerability_fails() -> None:
    lines, code = audit.report(answer(FOUND, SOUND, NOT_KNOWN))
    assert code == 1
    assert lines[1:] == ["a 1: PYSEC-1, mended in ['2']"]
    assert "2 of 3 packages known, 1 vulnerabilities" in lines[0]


def test_nothing_found_passes() -> None:
    assert audit.report(answer(SOUND, NOT_KNOWN))[1] == 0


def test_a_service_that_cannot_be_reached_fails_nothing() -> None:
    for text in (None, "", "not JSON", "[]"):
        lines, code = audit.report(text)
        assert code == 0
        assert "not asked" in lines[0]
