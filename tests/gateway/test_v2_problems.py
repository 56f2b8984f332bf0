"""Refusals of the second generation are problem details (RFC 9457)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
CLAIM = "/api/v2/tasks/claim"


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("GET", "/api/v2/nothing", {}, 404),
        ("GET", f"/api/v2/tasks/{16 * 'beef'}", {}, 404),
        ("PUT", "/api/v2/tasks", {}, 405),
        ("POST", "/api/v2/tasks", {"json": {}}, 415),
        ("POST", "/api/v2/tasks?priority=101", {"content": b"", "headers": NDJSON}, 422),
        ("POST", "/api/v2/tasks?version=9", {"content": b"", "headers": NDJSON}, 404),
        ("POST", CLAIM, {"json": {"n": 0}}, 422),
        ("POST", CLAIM, {"json": {"n": "many"}}, 422),
        ("POST", CLAIM, {"json": {"nn": 1}}, 422),
        ("POST", CLAIM, {"content": b'{"n":', "headers": JSON}, 422),
        ("POST", CLAIM, {"content": b'{"\\ud800": 1}', "headers": JSON}, 422),
        ("POST", CLAIM, {"content": b'"\xff"', "headers": JSON}, 400),
        ("POST", CLAIM, {"content": b"[" * 100_000, "headers": JSON}, 400),
        ("POST", CLAIM, {"content": b" " * (33 * 2**20), "headers": JSON}, 413),
        ("POST", CLAIM, {"json": {}, "headers": {"Idempotency-Key": "x" * 256}}, 422),
        ("POST", CLAIM, {"json": {}, "headers": {"Authorization": "Basic eDp5"}}, 403),
        ("POST", CLAIM, {"json": {}, "headers": {"Authorization": "Bearer x"}}, 403),
        ("GET", "/api/v2/tasks?limit=0", {}, 422),
        ("GET", "/api/v2/tasks?status=LOST", {}, 422),
        ("GET", "/api/v2/tasks?text=%00", {}, 422),
        ("GET", "/api/v2/tasks?since=2020-01-01T00:00:00", {}, 422),
        ("GET", "/api/v2/pipelines/a%00b", {}, 422),
    ],
)
def test_every_refusal_is_a_problem(
    owner: httpx.Client, method: str, path: str, sent: dict[str, Any], status: int
) -> None:
    answer = owner.request(method, path, **sent)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["type"] == "about:blank" or problem["code"] in problem["type"]


def test_a_path_with_a_trailing_slash_is_the_same(owner: httpx.Client) -> None:
    assert owner.post(CLAIM + "/", json={}).status_code == 200


def test_what_is_wrong_with_a_field_is_told_with_its_place(owner: httpx.Client) -> None:
    body = {"changes": [{"task": "beef", "status": "LOST"}]}
    problem = owner.post("/api/v2/tasks/update", json=body).json()
    assert problem["detail"].startswith("body.changes.0.status: ")
    assert problem["errors"][0]["loc"] == ["body", "changes", 0, "status"]
