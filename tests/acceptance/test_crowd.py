"""Sixty-four at once, through the queue: everybody is answered, and nothing is done twice."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from porch_client.client import Porch
from porch_client.model import Registered
from tests.house import House, User

CROWD = 64
TASKS = 1_000


@pytest.fixture
def crowd(user: User) -> Iterator[list[Porch]]:
    """Clients with connections of their own, all with one token."""
    members = [user.house.client(user.token, timeout=60.0) for _ in range(CROWD)]
    yield members
    for member in members:
        member.close()


def at_once(crowd: list[Porch], act: Callable[[int, Porch], Any]) -> list[Any]:
    """What ``act`` returns for each, in a thread of its own; raises what one of them raises."""
    together = Barrier(len(crowd))

    def begin(number: int) -> Any:
        together.wait()
        return act(number, crowd[number])

    with ThreadPoolExecutor(len(crowd)) as pool:
        return list(pool.map(begin, range(len(crowd))))


def test_sixty_four_submit_and_claim_and_none_meets_an_error(
    house: House, user: User, crowd: list[Porch]
) -> None:
    given = [{"n": n} for n in range(TASKS)]

    def submit(number: int, porch: Porch) -> list[Any]:
        return list(porch.submit(random.Random(number).sample(given, 200)))

    def claim(_: int, porch: Porch) -> list[str]:
        found = []
        while tasks := porch.claim(3):
            found += [task.task_input_id for task in tasks]
            assert tasks[0].done().changed
        return found

    answers = [answer for found in at_once(crowd, submit) for answer in found]
    assert all(isinstance(answer, Registered) for answer in answers)
    created = Counter(answer.task_input_id for answer in answers if answer.created)
    registered = sum(user.client.count().values())
    assert set(created.values()) == {1}
    assert len(created) == registered
    handed = Counter(key for found in at_once(crowd, claim) for key in found)
    assert set(handed.values()) == {1}
    assert len(handed) == registered
    assert "deadlock" not in (house.state_dir / "postgresql.log").read_text()
