"""The application against its own description: whatever is sent, each answer is one that it describes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from served import PASSWORD, Client, everything, served

import holdfast
from holdfast.agents import crud
from holdfast.agents.models import metadata

SENSIBLE = {"after", "email", "definition", "details", "username", "password", "grant_type"}
"""Parts that the description cannot say all of: which tokens and addresses there are, which JSON is kept.

A form's empty field is a missing one, and it has no null.
"""


MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


def sent(operation: Any, mode: GenerationMode, ids: dict[str, str], headers: Any, many: int) -> list[int]:
    """The statuses of the answers to ``many`` requests, each of which has been checked."""
    statuses: list[int] = []
    group = operation.path.split("/")[1]
    known = {"skill_id": ids["skills"]} if "{skill_id}" in operation.path else {}
    if "{id}" in operation.path and operation.method != "delete":
        known["id"] = ids[group]
    checks = {check.__name__: check for check in schemathesis.checks.CHECKS.get_all()}

    @hypothesis.given(case=operation.as_strategy(generation_mode=mode, path_parameters=known or None))
    @hypothesis.settings(
        max_examples=many,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],
        derandomize=True,
    )
    def send(case: Any) -> None:
        response = case.call(headers=headers)
        statuses.append(response.status_code)
        excluded = [checks["positive_data_acceptance"]]
        if response.status_code == 413:
            excluded.append(checks["negative_data_rejection"])
        case.validate_response(response, excluded_checks=excluded)
        assert response.status_code < 500, response.text
        assert "$argon2" not in response.text
        if mode is GenerationMode.POSITIVE and response.status_code == 422:
            problem = response.json()
            parts = {str(part) for fault in problem["faults"] for part in fault["where"]}
            assert parts & SENSIBLE or "token" in problem["detail"] or "-0.0" in problem["detail"], problem

    try:
        send()
    except Unsatisfiable:
        # An operation without any part that could be wrong.
        assert mode is GenerationMode.NEGATIVE
    return statuses


def fuzz(url: str, db: holdfast.Database, many: int) -> set[int]:
    """The statuses of all answers."""
    crud.users.create(db, {"email": "boss@example.org", "password": PASSWORD, "is_superuser": True})
    with served(url) as place, Client(base_url=place) as client:
        client.login("boss@example.org")
        ids = {name: path.rpartition("/")[2] for name, path in everything(client).items()}
        other = {"email": "other@example.org", "password": PASSWORD}
        ids["users"] = client.post("/users", json=other).json()["id"]
        headers = {"Authorization": client.headers["Authorization"]}
        found: set[int] = set()
        operations = [
            one.ok() for one in schemathesis.openapi.from_url(f"{place}/openapi.json").get_all_operations()
        ]
        # What deletes comes last.
        for number, operation in enumerate(sorted(operations, key=lambda one: one.method == "delete")):
            assert re.fullmatch(r"[\w/{}-]+", operation.path)
            for mode in MODES[number % 2 :: 2] if many == 1 else MODES:
                found |= set(sent(operation, mode, ids, headers, many))
        return found


def test_every_answer_is_a_described_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/app.db"
    with holdfast.connect(url) as db:
        metadata.create_all(db.engine)
        assert fuzz(url, db, 1) >= {200, 201, 404, 422}


@pytest.mark.long
def test_every_answer_of_many_is_a_described_one(app: holdfast.Database, url: str) -> None:
    assert fuzz(url, app, 20) >= {200, 201, 404, 422}
