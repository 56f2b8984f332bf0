"""Small requests that reach a worker at once: one transaction, and each answered by itself."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil
import psycopg2
import pytest
from redis import Redis

from tests.envelopes import envelope, text
from tests.factories import unique
from tests.house import House, User, wait_until

N = 60


@pytest.fixture(scope="module")
def redis(house: House) -> Iterator[Redis]:
    with Redis.from_url(house.ready["broker_url"]) as client:
        yield client


@pytest.fixture
def user(house: House) -> Iterator[User]:
    with User(house) as made:
        yield made


def submissions(user: User, n: int = N) -> list[dict[str, Any]]:
    """Messages that submit one new definition each."""
    word = unique("word")
    return [
        envelope(text(definitions=[{"word": word, "n": i}]), task="porch.submit", token=user.token)
        for i in range(n)
    ]


def send(redis: Redis, messages: list[dict[str, Any]], queue: str) -> None:
    """All of them, in one step."""
    redis.lpush(queue, *[json.dumps(message) for message in messages])


def answers(redis: Redis, messages: list[dict[str, Any]]) -> list[Any]:
    """What was answered to each, once all are."""
    keys = [f"celery-task-meta-{message['headers']['id']}" for message in messages]

    def found() -> list[bytes] | None:
        stored = [raw for raw in redis.mget(keys) if raw and b'"SUCCESS"' in raw]
        return stored if len(stored) == len(keys) else None

    return [json.loads(json.loads(raw)["result"]) for raw in wait_until(found, 60, "all answers")]


def reports(user: User, keys: Sequence[str], status: str = "DONE") -> list[dict[str, Any]]:
    """Messages that report one task each."""
    changes = [{"task": key, "status": status, "attempt": 1} for key in keys]
    return [
        envelope(text(changes=[change]), task="porch.update", token=user.token)
        for change in changes
    ]


@contextmanager
def held_up(house: House, user: User) -> Iterator[None]:
    """Whatever registers work of the user's pipeline waits meanwhile."""
    with locked(house, "SELECT FROM porch.pipeline WHERE name = %s FOR UPDATE", user.pipeline):
        yield


@contextmanager
def held_up_at_the_end(house: House, user: User) -> Iterator[None]:
    """Whatever has changed a task for the user waits meanwhile, as it writes the event."""
    lock = (
        "SELECT FROM porch.token JOIN porch.pipeline USING (pipeline_id) WHERE name = %s"
        " FOR UPDATE OF token"
    )
    with locked(house, lock, user.pipeline):
        yield


@contextmanager
def locked(house: House, lock: str, *values: Any) -> Iterator[None]:
    """What this statement locks is, meanwhile."""
    connection = psycopg2.connect(house.ready["database_url"].replace("+psycopg2", ""))
    try:
        with connection.cursor() as cursor:
            cursor.execute(lock, values)
        yield
    finally:
        connection.close()


def waits(house: House) -> bool:
    """Whether a worker's statement waits for a lock."""
    return bool(house.ask("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))


def transactions(house: House, user: User) -> int:
    """In how many transactions the tasks of the user were made."""
    ((n,),) = house.ask(
        "SELECT count(DISTINCT CAST(CAST(t.xmin AS text) AS bigint)) FROM porch.task t"
        " JOIN porch.pipeline USING (pipeline_id) WHERE name = %s",
        user.pipeline,
    )
    return int(n)


def test_what_comes_while_the_worker_is_busy_is_one_transaction(
    house: House, redis: Redis, user: User
) -> None:
    messages = submissions(user)
    with held_up(house, user):
        send(redis, messages[:1], "porch.submit")
        wait_until(lambda: waits(house), what="the first waits")
        send(redis, messages[1:], "porch.submit")
        wait_until(lambda: not redis.llen("porch.submit"), what="the worker has them all")
    told = answers(redis, messages)
    assert all(answer["ok"]["results"][0]["created"] for answer in told)
    assert user.client.count() == {"PENDING": N}
    assert transactions(house, user) < N / 4


def test_claims_that_come_at_once_get_each_task_once(
    house: House, redis: Redis, user: User
) -> None:
    user.register(*[{"n": n} for n in range(N)])
    messages = [envelope(text(n=1), task="porch.claim", token=user.token) for _ in range(N + 5)]
    send(redis, messages, "porch.claim")
    told = answers(redis, messages)
    handed = [task["task_input"]["n"] for answer in told for task in answer["ok"]["tasks"]]
    assert sorted(handed) == list(range(N))


def test_a_refused_one_is_refused_alone(house: House, redis: Redis, user: User) -> None:
    good = submissions(user, 10)
    bad = [
        envelope(text(definitions=[{}]), task="porch.submit", token="0" * 32),
        envelope(text(definitions=7), task="porch.submit", token=user.token),
        envelope(text(definitions=[{"a": "\0"}]), task="porch.submit", token=user.token),
        envelope(text(definitions=[{}], version="9"), task="porch.submit", token=user.token),
    ]
    with held_up(house, user):
        send(redis, good[:1], "porch.submit")
        wait_until(lambda: waits(house), what="the first waits")
        send(redis, [*good[1:5], *bad, *good[5:]], "porch.submit")
    codes = [answer["error"]["code"] for answer in answers(redis, bad) if "error" in answer]
    assert codes == ["unknown_token", "bad_request", "unknown_version"]
    assert all(answer["ok"]["results"][0]["created"] for answer in answers(redis, good))


def test_a_child_that_is_killed_with_many_in_hand_loses_none(
    house: House, redis: Redis, user: User
) -> None:
    worker = house.pid("worker.submit")
    messages = submissions(user)
    with held_up(house, user):
        send(redis, messages, "porch.submit")
        wait_until(lambda: waits(house), what="a child waits with some in hand")
        wait_until(lambda: not redis.llen("porch.submit"), what="the worker has them all")
        for child in psutil.Process(worker).children():
            os.kill(child.pid, signal.SIGKILL)
    told = answers(redis, messages)
    assert all(answer["ok"]["results"][0]["created"] for answer in told)
    assert user.client.count() == {"PENDING": N}
    wait_until(lambda: redis.hlen("unacked") == 0, what="every message is acknowledged")
    # It was a child that died, and not the worker.
    assert "Unrecoverable" not in (house.state_dir / "worker.submit.log").read_text()
    assert house.pid("worker.submit") == worker


def claimed(user: User, n: int = N) -> list[str]:
    """Tasks that the user holds."""
    user.register(*[{"n": i} for i in range(n)])
    return [task.task_input_id for task in user.client.claim(n)]


def changed(answers: list[Any]) -> list[bool]:
    return [answer["ok"]["results"][0]["changed"] for answer in answers]


def test_reports_that_come_while_the_worker_is_busy_are_one_transaction(
    house: House, redis: Redis, user: User
) -> None:
    keys = claimed(user)
    messages = reports(user, keys)
    with held_up_at_the_end(house, user):
        send(redis, messages[:1], "porch.update")
        wait_until(lambda: waits(house), what="the first waits")
        # Of some tasks twice; no more than are gathered, as the others would stay in the queue.
        again = reports(user, keys[: N // 3])
        send(redis, [*messages[1:], *again], "porch.update")
        wait_until(lambda: not redis.llen("porch.update"), what="the worker has them all")
    assert all("ok" in answer for answer in answers(redis, [*messages, *again]))
    made = changed(answers(redis, messages)) + changed(answers(redis, again))
    assert Counter(made) == {True: N, False: N // 3}
    assert user.client.count() == {"DONE": N}
    assert transactions(house, user) < N / 4


def test_a_report_that_must_wait_keeps_no_others_waiting(
    house: House, redis: Redis, user: User
) -> None:
    keys = claimed(user)
    first, late, *others = reports(user, keys)
    lock = "SELECT FROM porch.task WHERE task_input_id = %s FOR NO KEY UPDATE"
    with locked(house, lock, bytes.fromhex(keys[1])):
        with held_up_at_the_end(house, user):
            send(redis, [first], "porch.update")
            wait_until(lambda: waits(house), what="the first waits")
            send(redis, [late, *others], "porch.update")
            wait_until(lambda: not redis.llen("porch.update"), what="the worker has them all")
        assert changed(answers(redis, [first, *others])) == [True] * (N - 1)
        assert user.status(keys[1]) == "CLAIMED"
    assert changed(answers(redis, [late])) == [True]
    wait_until(lambda: redis.hlen("unacked") == 0, what="every message is acknowledged")


def test_a_child_that_is_killed_amid_reports_loses_none_and_makes_none_twice(
    house: House, redis: Redis, user: User
) -> None:
    keys = claimed(user)
    messages = reports(user, keys)
    with held_up_at_the_end(house, user):
        send(redis, messages, "porch.update")
        wait_until(lambda: waits(house), what="a child waits with some in hand")
        wait_until(lambda: not redis.llen("porch.update"), what="the worker has them all")
        for child in psutil.Process(house.pid("worker.claim")).children():
            os.kill(child.pid, signal.SIGKILL)
    told = answers(redis, messages)
    assert [answer["ok"]["results"][0]["status"] for answer in told] == ["DONE"] * N
    assert user.client.count() == {"DONE": N}
    statuses = [event.to_status for key in keys for event in user.history(key)]
    assert Counter(statuses) == dict.fromkeys(("PENDING", "CLAIMED", "DONE"), N)
    wait_until(lambda: redis.hlen("unacked") == 0, what="every message is acknowledged")
