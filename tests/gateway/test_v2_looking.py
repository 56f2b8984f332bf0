"""Tasks shown, listed, followed page by page, and counted."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.factories import definition, definitions
from tests.gateway.conftest import http
from tests.house import House, User


def listed(client: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    """All pages of a list, by the links from one to the next."""
    tasks: list[dict[str, Any]] = []
    page = client.get("/api/v2/tasks", params=query)
    while True:
        assert page.status_code == 200, page.text
        tasks += page.json()["tasks"]
        if "next" not in page.links:
            assert page.json()["next"] is None
            return tasks
        page = client.get(page.links["next"]["url"])


def test_pages_are_linked_and_hold_every_task_once(anybody: httpx.Client, user: User) -> None:
    known = user.register(*definitions(7))
    pages = listed(anybody, pipeline=user.pipeline, limit=3, status=["PENDING", "FAILED"])
    assert sorted(task["task_input_id"] for task in pages) == sorted(known)
    assert pages == listed(anybody, pipeline=user.pipeline)


def test_filters_narrow_what_is_listed_and_counted(house: House) -> None:
    with User(house, "1.0", "2.0") as user, http(house, user.token) as client:
        user.register(definition(sample="NA12878"), definition(sample="100%"), version="1.0")
        user.register(*definitions(3), version="2.0")
        (claimed,) = client.post("/api/v2/tasks/claim", json={"version": "2.0"}).json()["tasks"]
        change = {"task": claimed["task_input_id"], "status": "FAILED", "message": "disk full"}
        client.post("/api/v2/tasks/update", json={"changes": [{**change, "attempt": 1}]})
        filters: list[tuple[dict[str, Any], dict[str, int]]] = [
            ({}, {"PENDING": 4, "FAILED": 1}),
            ({"version": "1.0"}, {"PENDING": 2}),
            ({"status": "FAILED"}, {"FAILED": 1}),
            ({"status": ["DONE", "FAILED"]}, {"FAILED": 1}),
            ({"text": "na12878"}, {"PENDING": 1}),
            ({"text": "0%"}, {"PENDING": 1}),
            ({"message": "k f"}, {"FAILED": 1}),
            ({"message": "disk%full"}, {"FAILED": 1}),
            ({"since": claimed["updated_at"]}, {"FAILED": 1}),
            ({"since": "2020-01-01T00:00:00Z"}, {"PENDING": 4, "FAILED": 1}),
            ({"stale": 0}, {}),
        ]
        for words, counts in filters:
            query = {"pipeline": user.pipeline, **words}
            answer = client.get("/api/v2/counts", params=query)
            assert answer.json() == {"counts": counts}, query
            assert len(listed(client, **query)) == sum(counts.values()), query


def test_a_task_and_its_events_are_found_by_a_prefix(anybody: httpx.Client, user: User) -> None:
    (known,) = user.register(definition())
    for name in (known, known[:12]):
        task = anybody.get(f"/api/v2/tasks/{name}", params={"pipeline": user.pipeline}).json()
        assert (task["task_input_id"], task["status"], task["attempt"]) == (known, "PENDING", 0)
        events = anybody.get(f"/api/v2/tasks/{name}/events", params={"pipeline": user.pipeline})
        (born,) = events.json()["events"]
        assert (born["from_status"], born["to_status"], born["refused"]) == (None, "PENDING", False)
        assert born["token"] == "test token"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"tasks/{16 * 'beef'}", "unknown_task"),
        ("tasks/no-task/events", "unknown_task"),
        ("tasks?pipeline=nowhere", "unknown_pipeline"),
        ("counts?pipeline=nowhere", "unknown_pipeline"),
        ("pipelines/nowhere", "unknown_pipeline"),
        ("pipelines/nowhere/failures", "unknown_pipeline"),
        ("pipelines/nowhere/stats", "unknown_pipeline"),
    ],
)
def test_what_there_is_not_is_a_problem(anybody: httpx.Client, path: str, code: str) -> None:
    answer = anybody.get(f"/api/v2/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, code)


def test_a_pipeline_comes_with_its_counts(anybody: httpx.Client, user: User) -> None:
    user.register(*definitions(2))
    one = anybody.get(f"/api/v2/pipelines/{user.pipeline}").json()
    assert (one["name"], one["counts"], one["versions"]) == (user.pipeline, {"PENDING": 2}, ["1.0"])
    assert one["oldest_pending"] >= 0
    names = [p["name"] for p in anybody.get("/api/v2/pipelines").json()["pipelines"]]
    assert user.pipeline in names


def test_failures_and_stats_are_those_of_the_commands(anybody: httpx.Client, user: User) -> None:
    user.register(*definitions(4))
    for claimed, message in zip(user.client.claim(3), ("disk 1", "disk 2", "other"), strict=True):
        claimed.failed(message)
    (done,) = user.client.claim(1)
    done.done()
    path = f"/api/v2/pipelines/{user.pipeline}"
    groups = anybody.get(f"{path}/failures").json()["groups"]
    assert [group["tasks"] for group in groups] == [2, 1]
    told = {group.group: group.tasks for group in user.client.failures()}
    assert {group["group"]: group["tasks"] for group in groups} == told
    largest = anybody.get(f"{path}/failures", params={"most": 1}).json()["groups"]
    assert largest == groups[:1]
    stats = anybody.get(f"{path}/stats", params={"hours": 2}).json()
    for what, number in (("submitted", 4), ("done", 1), ("failed", 3)):
        assert sum(one[what] for one in stats["throughput"]) == number
    assert [times["pipeline"] for times in stats["run_times"]] == [user.pipeline]
    for wrong in ("failures?most=0", "stats?hours=100000"):
        assert anybody.get(f"{path}/{wrong}").status_code == 422
