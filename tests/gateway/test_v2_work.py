"""Claim, report, give back, run again, cancel: lists in, a verdict on each out."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.factories import definitions
from tests.gateway.conftest import http
from tests.house import House, User


def do(client: httpx.Client, verb: str, key: str | None = None, **body: Any) -> Any:
    """The answer to one verb."""
    headers = {"Idempotency-Key": key} if key else {}
    answer = client.post(f"/api/v2/tasks/{verb}", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def tasks(user: User) -> list[str]:
    """Three tasks to work on."""
    return user.register(*definitions(3))


def held(client: httpx.Client, n: int = 3, **fields: Any) -> list[dict[str, Any]]:
    """Claim tasks: how each is named in reports."""
    claimed = do(client, "claim", n=n)["tasks"]
    return [{"task": t["task_input_id"], "attempt": t["attempt"], **fields} for t in claimed]


def handed(claim: dict[str, Any]) -> list[tuple[str, str, int]]:
    """What a claim was handed."""
    return [(t["task_input_id"], t["status"], t["attempt"]) for t in claim["tasks"]]


def codes(answer: dict[str, Any]) -> list[str]:
    """Of each verdict, the status it tells or the code of its error."""
    return [r["error"]["code"] if "error" in r else r["status"] for r in answer["results"]]


@pytest.mark.usefixtures("tasks")
def test_a_claim_hands_out_whole_tasks(owner: httpx.Client, user: User) -> None:
    claimed = do(owner, "claim", n=2, job_id="wr.7")
    assert claimed["lease"] is None
    assert len(claimed["tasks"]) == 2
    for task in claimed["tasks"]:
        assert task["pipeline"] == user.pipeline
        assert (task["status"], task["attempt"], task["job_id"]) == ("CLAIMED", 1, "wr.7")
        assert user.status(task["task_input_id"]) == "CLAIMED"


@pytest.mark.usefixtures("tasks")
def test_the_same_claim_again_is_handed_the_same(owner: httpx.Client) -> None:
    named = str(uuid4())
    first = do(owner, "claim", n=1, request_id=named)
    assert first["request_id"] == named
    assert handed(do(owner, "claim", n=1, request_id=named)) == handed(first)
    by_key = do(owner, "claim", "key-1", n=1)
    assert do(owner, "claim", "key-1", n=1)["request_id"] == by_key["request_id"]
    assert handed(by_key) != handed(first)
    assert len(do(owner, "claim", n=5)["tasks"]) == 1


@pytest.mark.usefixtures("tasks")
def test_where_there_is_a_lease_its_seconds_are_told(
    owner: httpx.Client, admin: httpx.Client, user: User
) -> None:
    policy = admin.patch(f"/api/v2/pipelines/{user.pipeline}", json={"lease": 600})
    assert policy.json()["lease"] == 600
    claimed = do(owner, "claim", "key", n=1)
    assert claimed["lease"] == 600
    assert claimed["tasks"][0]["lease_until"]
    assert do(owner, "claim", "key", n=1)["lease"] == 600
    name = {"task": claimed["tasks"][0]["task_input_id"], "attempt": 1}
    (alive,) = do(owner, "heartbeat", tasks=[name])["results"]
    assert (alive["status"], alive["lease"]) == ("CLAIMED", 600)


@pytest.mark.usefixtures("tasks")
def test_each_report_has_its_verdict(owner: httpx.Client) -> None:
    one, two, three = held(owner)
    changes = [
        {**one, "status": "DONE"},
        {**two, "status": "FAILED", "message": "disk full", "job_id": "j1", "permanent": True},
        {**three, "status": "RUNNING", "attempt": 0},
        {"task": "0000beef", "status": "DONE"},
        {**three, "status": "PENDING"},
        {**three, "status": "RUNNING"},
    ]
    answer = do(owner, "update", changes=changes)
    assert codes(answer) == [
        *("DONE", "FAILED", "stale_attempt", "unknown_task", "bad_request", "RUNNING")
    ]
    again = do(owner, "update", changes=changes[:1])
    assert [result["changed"] for result in again["results"]] == [False]


@pytest.mark.usefixtures("tasks")
def test_work_is_given_back_by_name_or_by_claim(owner: httpx.Client, user: User) -> None:
    (one,) = held(owner, 1)
    claim = do(owner, "claim", n=2)["request_id"]
    named = do(owner, "release", tasks=[one], message="node drained")
    assert (codes(named), named["released"]) == (["PENDING"], 0)
    assert user.history(one["task"])[-1].message == "node drained"
    whole = do(owner, "release", claim=claim)
    assert (whole["results"], whole["released"]) == ([], 2)


def test_a_decision_holds_for_what_was_seen(owner: httpx.Client, tasks: list[str]) -> None:
    (name,) = held(owner, 1)
    do(owner, "update", changes=[{**name, "status": "DONE"}])
    seen = {**name, "status": "DONE"}
    assert codes(do(owner, "rerun", tasks=[seen])) == ["force_needed"]
    assert codes(do(owner, "rerun", tasks=[seen], force=True)) == ["reason_needed"]
    assert codes(do(owner, "rerun", tasks=[seen], force=True, reason="new reference")) == [
        "PENDING"
    ]
    assert codes(do(owner, "cancel", tasks=[seen])) == ["illegal_change"]
    waiting = [{"task": task, "status": "PENDING", "attempt": 0} for task in tasks]
    assert sorted(codes(do(owner, "cancel", tasks=waiting, reason="withdrawn"))) == [
        *("CANCELLED", "CANCELLED", "status_changed")
    ]


@pytest.mark.parametrize("verb", ["update", "rerun", "cancel", "release"])
def test_a_request_that_comes_again_counts_as_made(
    owner: httpx.Client, tasks: list[str], verb: str
) -> None:
    (name,) = held(owner, 1)
    if verb == "rerun":
        do(owner, "update", changes=[{**name, "status": "FAILED"}])
    what: dict[str, Any] = {
        "update": {"changes": [{**name, "status": "DONE"}]},
        "release": {"tasks": [name]},
        "rerun": {"tasks": [{**name, "status": "FAILED"}]},
        "cancel": {"tasks": [{**name, "status": "CLAIMED"}]},
    }[verb]
    first, again = (do(owner, verb, "key", **what) for _ in range(2))
    assert codes(again) == codes(first)
    assert codes(first)[0].isupper()
    # It is the same change, made once.
    assert [answer["results"][0]["changed"] for answer in (first, again)] == [True, False]
    assert name["task"] in tasks


def test_a_token_works_for_its_own_pipeline_only(
    house: House, owner: httpx.Client, admin: httpx.Client
) -> None:
    with User(house) as other, http(house, other.token) as stranger:
        body = {"pipeline": other.pipeline}
        assert stranger.post("/api/v2/tasks/claim", json=body).status_code == 200
        for client in (owner, admin):
            refused = client.post("/api/v2/tasks/claim", json=body)
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
