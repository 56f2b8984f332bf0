"""The OpenAPI document of npg_porch's paths."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from coordinator.gateway.v1.models import TaskStateEnum
from coordinator.status import Status

OPERATIONS = {
    ("get", "/pipelines"): {200, 403},
    ("post", "/pipelines"): {201, 400, 403, 409, 422},
    ("get", "/pipelines/{name}"): {200, 403, 404},
    ("post", "/pipelines/{name}/token/{description}"): {201, 403, 404},
    ("get", "/versions/{name}"): {200, 403},
    ("post", "/versions"): {201, 403, 404, 409, 422},
    ("get", "/tasks"): {200, 403, 422},
    ("post", "/tasks"): {200, 201, 403, 404, 422},
    ("put", "/tasks"): {200, 403, 404, 409, 422},
    ("post", "/tasks/claim"): {200, 403, 404, 422},
}


@pytest.fixture
def document(anybody: httpx.Client) -> dict[str, Any]:
    told: dict[str, Any] = anybody.get("/api/v1/openapi.json").json()
    return told


def test_the_six_statuses_have_the_name_that_npg_porch_gave_them(document: dict[str, Any]) -> None:
    assert document["components"]["schemas"]["TaskStateEnum"]["enum"] == [
        "PENDING",
        "CLAIMED",
        "RUNNING",
        "DONE",
        "FAILED",
        "CANCELLED",
    ]


def test_they_are_those_of_the_coordinator() -> None:
    assert [s.value for s in TaskStateEnum] == [s.value for s in Status]


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_every_status_of_a_reply_is_told_with_its_shape(
    document: dict[str, Any], operation: tuple[str, str]
) -> None:
    method, path = operation
    replies = document["paths"][path][method]["responses"]
    assert OPERATIONS[operation] <= {int(status) for status in replies}
    for reply in replies.values():
        assert reply["content"]["application/json"]["schema"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_a_slash_at_the_end_makes_no_difference(
    anybody: httpx.Client, operation: tuple[str, str]
) -> None:
    method, path = operation
    bare, slashed = (anybody.request(method, path + end) for end in ("", "/"))
    assert (slashed.status_code, slashed.text) == (bare.status_code, bare.text)
    assert not slashed.is_redirect
    assert slashed.json() != {"detail": "Not Found"}
