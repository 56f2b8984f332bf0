"""PUT /tasks as npg_porch has it: the one operation for every change of status.

Which changes there are, tests/integration/test_moving.py asks of the coordinator.
"""

from __future__ import annotations

import httpx
import pytest

from tests.factories import definition
from tests.gateway.conftest import http
from tests.gateway.npg import a_task, detail, full, put, sparse, submitted
from tests.house import House, User


def test_a_change_is_told_back_in_full(owner: httpx.Client, user: User) -> None:
    task = submitted(owner, user)
    reply = put(owner, task, "RUNNING")
    assert (reply.status_code, reply.json()) == (200, {**task, "status": "RUNNING"})


def test_the_way_of_npg_porchs_clients_leaves_the_events_of_ours(
    owner: httpx.Client, user: User
) -> None:
    task = submitted(owner, user)
    for status in ("RUNNING", "RUNNING", "FAILED", "PENDING", "CLAIMED", "RUNNING", "DONE", "DONE"):
        assert put(owner, task, status).status_code == 200
    assert [(event.to_status, event.attempt) for event in user.history(task["task_input_id"])] == [
        ("PENDING", 0),
        ("CLAIMED", 1),
        ("RUNNING", 1),
        ("FAILED", 1),
        ("PENDING", 1),
        ("CLAIMED", 2),
        ("RUNNING", 2),
        ("DONE", 2),
    ]


def test_a_task_is_known_by_its_input_alone(owner: httpx.Client, user: User) -> None:
    task = submitted(owner, user)
    bare = {"pipeline": sparse(user), "task_input": task["task_input"], "task_input_id": "other"}
    assert put(owner, bare, "CANCELLED").json() == {**task, "status": "CANCELLED"}


def test_a_task_that_is_none_is_404(owner: httpx.Client, user: User) -> None:
    reply = put(owner, a_task(user), "RUNNING")
    assert detail(reply, 404) == "Task to be modified could not be found"


def test_of_a_version_that_is_none_too(owner: httpx.Client, user: User) -> None:
    task = {**submitted(owner, user), "pipeline": sparse(user, "9.9")}
    assert detail(put(owner, task, "RUNNING"), 404) == "Task to be modified could not be found"


def test_an_input_of_two_versions_needs_one_named(house: House) -> None:
    with User(house, "1.0", "2.0") as user, http(house, user.token) as client:
        given = a_task(user)
        for version in ("1.0", "2.0"):
            client.post("/tasks", json={**given, "pipeline": sparse(user, version)})
        assert '"version": ...' in detail(put(client, given, "RUNNING"), 404)
        one = {**given, "pipeline": sparse(user, "2.0")}
        assert put(client, one, "RUNNING").json()["pipeline"] == full(user, "2.0")


def test_what_is_not_allowed_is_409_with_what_is(owner: httpx.Client, user: User) -> None:
    task = submitted(owner, user)
    words = detail(put(owner, task, "DONE"), 409)
    assert "is PENDING and cannot become DONE" in words
    for allowed in ("CLAIMED", "RUNNING", "CANCELLED"):
        assert allowed in words


def test_done_work_is_not_run_again_by_a_change_of_status(owner: httpx.Client, user: User) -> None:
    task = submitted(owner, user)
    for status in ("RUNNING", "DONE"):
        put(owner, task, status)
    words = detail(put(owner, task, "PENDING"), 409)
    assert "force and a reason" in words
    assert "porch rerun" in words


def test_under_a_lease_a_change_counts_for_the_current_attempt(
    house: House, owner: httpx.Client, user: User
) -> None:
    with house.admin() as boss:
        boss.set_policy(user.pipeline, lease=600)
    task = submitted(owner, user)
    for status in ("RUNNING", "DONE"):
        assert put(owner, task, status).status_code == 200


def test_an_attempt_that_is_over_is_409(owner: httpx.Client, user: User) -> None:
    task = submitted(owner, user)
    for status in ("RUNNING", "FAILED", "PENDING", "RUNNING"):
        put(owner, task, status)
    assert "that attempt is over" in detail(put(owner, task, "DONE", attempt=1), 409)
    assert put(owner, task, "DONE", attempt=2).status_code == 200


@pytest.mark.parametrize("fields", [{"status": None}, {"status": "done"}, {"attempt": 0}])
def test_what_has_not_the_shape_is_422(
    owner: httpx.Client, user: User, fields: dict[str, object]
) -> None:
    task = submitted(owner, user)
    assert owner.put("/tasks", json={**task, "status": "RUNNING", **fields}).status_code == 422


@pytest.mark.parametrize("left_out", ["status", "task_input", "pipeline"])
def test_what_is_left_out_is_422(owner: httpx.Client, user: User, left_out: str) -> None:
    task = {**submitted(owner, user), "status": "RUNNING"}
    del task[left_out]
    assert owner.put("/tasks", json=task).status_code == 422


def test_only_a_token_of_the_pipeline_will_do(
    house: House, anybody: httpx.Client, admin: httpx.Client, owner: httpx.Client
) -> None:
    with User(house) as other:
        (key,) = other.register(given := definition())
        task = {"pipeline": sparse(other), "task_input": given}
        for client in (anybody, admin, owner):
            assert put(client, task, "RUNNING").status_code == 403
        assert other.status(key) == "PENDING"


def test_a_change_by_http_and_one_by_queue_meet_in_one_task(
    owner: httpx.Client, user: User
) -> None:
    submitted(owner, user)
    (claimed,) = user.client.claim(1)
    (told,) = owner.get("/tasks", params={"pipeline_name": user.pipeline}).json()
    assert told["status"] == "CLAIMED"
    put(owner, told, "DONE")
    assert user.status(claimed.task_input_id) == "DONE"
