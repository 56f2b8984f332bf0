"""Crowds over HTTP: 64 claimers, 64 submitters and 64 who start the same task, all at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import httpx
import pytest

from tests.factories import definitions
from tests.gateway.conftest import http
from tests.gateway.npg import put, sparse, submitted
from tests.house import House, User

CROWD = 64


def at_once(house: House, user: User, act: Callable[[httpx.Client, int], Any]) -> list[Any]:
    """What each of the crowd gets, each with a connection of its own, all beginning together."""
    together = Barrier(CROWD)

    def one(number: int) -> Any:
        with http(house, user.token) as client:
            together.wait()
            return act(client, number)

    with ThreadPoolExecutor(CROWD) as pool:
        return list(pool.map(one, range(CROWD)))


def test_claimers_are_handed_each_task_once_while_submitters_go_on(
    house: House, user: User
) -> None:
    given = definitions(192)
    user.register(*given[:64])
    statuses: Counter[int] = Counter()

    def submit_or_claim(client: httpx.Client, number: int) -> list[str]:
        if number % 2:
            for task_input in given[number % 4 * 32 :][:16]:
                task = {"pipeline": sparse(user), "task_input": task_input}
                statuses[client.post("/tasks", json=task).status_code] += 1
        claimed = []
        for _ in range(5):
            reply = client.post("/tasks/claim?num_tasks=2", json=sparse(user))
            statuses[reply.status_code] += 1
            claimed += [task["task_input_id"] for task in reply.json()]
        return claimed

    claimed = Counter(key for keys in at_once(house, user, submit_or_claim) for key in keys)
    assert set(statuses) == {200, 201}
    assert set(claimed.values()) == {1}
    assert all(task.attempt == 1 for task in user.client.list() if task.status == "CLAIMED")


def test_of_submitters_of_the_same_one_creates_each(house: House, user: User) -> None:
    given = definitions(8)

    def submit(client: httpx.Client, number: int) -> list[tuple[str, int]]:
        found = []
        for n in range(len(given)):
            task_input = given[(n + number) % len(given)]
            reply = client.post("/tasks", json={"pipeline": sparse(user), "task_input": task_input})
            found.append((reply.json()["task_input_id"], reply.status_code))
        return found

    found = Counter(answer for answers in at_once(house, user, submit) for answer in answers)
    assert len({key for key, _ in found}) == len(given)
    assert {status: number for (_, status), number in found.items()} == {201: 1, 200: CROWD - 1}
    assert len(user.inputs()) == len(given)


@pytest.mark.parametrize("status", ["RUNNING", "CLAIMED"])
def test_of_many_who_start_a_task_one_attempt_counts(
    house: House, owner: httpx.Client, user: User, status: str
) -> None:
    task = submitted(owner, user)
    replies = at_once(house, user, lambda client, _: put(client, task, status).status_code)
    # Who asks when it has begun could be who began it, at this address and with this token, and has
    # not heard; who asked before and was slower is told.
    assert 200 in replies
    assert set(replies) <= {200, 409}
    claims = [e for e in user.history(task["task_input_id"]) if e.to_status == "CLAIMED"]
    assert [event.attempt for event in claims] == [1]
