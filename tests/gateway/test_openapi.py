"""The OpenAPI document is true: schemathesis tries every path of it, with what it allows and what
it does not, and compares each answer with what the document says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.gateway.conftest import http
from tests.house import House, User, run

ROOT = Path(__file__).parents[2]

#: What must hold of every answer. That a token is missing is told by 403, which schemathesis would
#: have as 401: the clients of npg_porch expect it.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
#: It would take its own token from whoever tries. test_v2_administration.py revokes one.
REVOKE = "/api/v2/tokens/{token_id}"


class Resident(NamedTuple):
    """Somebody with a pipeline and a task."""

    user: User
    task: str


@pytest.fixture(scope="module")
def resident(scratch: Callable[[str], Path]) -> Iterator[Resident]:
    """A house of their own, as anything may be done to it; and something in it to find."""
    with House(scratch("openapi") / "state") as house, User(house) as user:
        yield Resident(user, *user.register({"id_run": 1}))


@pytest.mark.parametrize(
    ("who", "paths"), [("user", "."), ("administrator", "pipelines|versions|token")]
)
def test_every_answer_is_as_the_document_says(
    resident: Resident, tmp_path: Path, who: str, paths: str
) -> None:
    house = resident.user.house
    token = resident.user.token if who == "user" else house.ready["admin_token"]
    known = dict.fromkeys(("name", "pipeline"), resident.user.pipeline) | {"task": resident.task}
    tried = run(
        "schemathesis",
        *("run", f"{house.ready['gateway_url']}/api/v1/openapi.json"),
        *("--header", f"Authorization: Bearer {token}"),
        *("--checks", ",".join(CHECKS)),
        *("--phases", "examples,coverage,fuzzing"),
        *("--max-examples", "10"),
        *("--seed", "1"),
        *("--include-path-regex", paths),
        *("--exclude-path", REVOKE),
        *("--generation-database", "none"),
        *("--continue-on-failure", "--no-color"),
        env={
            "SCHEMATHESIS_HOOKS": "tests.gateway.openapi_hooks",
            "PYTHONPATH": str(ROOT),
            "KNOWN_NAMES": json.dumps(known),
        },
        cwd=tmp_path,
        timeout=120,
    )
    assert " generated, " in tried.stdout, tried.stdout + tried.stderr
    assert tried.returncode == 0, tried.stdout[-8_000:] + tried.stderr[-2_000:]


def test_after_all_that_the_house_still_stands(resident: Resident) -> None:
    with http(resident.user.house) as anybody:
        assert anybody.get("/health/ready").status_code == 200
        assert anybody.get("/api/v2/pipelines").status_code == 200
