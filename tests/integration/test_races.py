"""Many processes at once: each definition once, each task to one, no deadlock."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from config.embedded import EmbeddedUrls
from config.wiring import make_coordinator
from coordinator.errors import BadRequest
from coordinator.model import Keep, Task
from coordinator.requests import Caller, Policy, Search
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import admin, caller, definitions, pipeline, submit
from tests.house import wait_until
from tests.racers import Racers

RACERS = 16


@pytest.fixture(scope="module")
def racers() -> Iterator[Racers]:
    with Racers(RACERS) as all_of_them:
        yield all_of_them


@pytest.fixture(autouse=True)
def _no_deadlock(servers: EmbeddedUrls) -> Iterator[None]:
    before = servers.postgres_log.stat().st_size
    yield
    with servers.postgres_log.open() as log:
        log.seek(before)
        said = log.read()
    assert "deadlock" not in said


def shuffled(things: list[Any], seed: int, size: int) -> list[list[Any]]:
    """Batches of ``size`` of all the things, in an order of their own."""
    order = random.Random(seed).sample(things, len(things))
    return [order[at : at + size] for at in range(0, len(order), size)]


def count(porch: Coordinator, secret: str) -> dict[str, int]:
    return porch.count(Caller(secret, uuid4()), Search())


def test_submitters_of_the_same_definitions_create_each_once(
    porch: Coordinator, database_url: str, racers: Racers
) -> None:
    _, secret = pipeline(porch)
    given = definitions(1_000)
    jobs = [
        {
            "verb": "submit",
            "url": database_url,
            "secret": secret,
            # Everything twice, so that a batch often has the same definition twice.
            "batches": shuffled(given * 2, seed, 200),
        }
        for seed in range(RACERS)
    ]
    found = racers.race(jobs)
    assert all(len(answers) == 2_000 for answers in found)
    created = Counter(key for answers in found for key, new in answers if new)
    assert set(created.values()) == {1}
    assert len(created) == 1_000
    assert count(porch, secret) == {"PENDING": 1_000}


def test_claimers_of_one_queue_get_each_task_once(
    porch: Coordinator, database_url: str, racers: Racers
) -> None:
    _, secret = pipeline(porch)
    submit(porch, secret, definitions(2_000))
    job = {"verb": "claim", "url": database_url, "secret": secret, "n": 7}
    handed = Counter(key for found in racers.race([job] * RACERS) for key, _ in found)
    assert set(handed.values()) == {1}
    assert len(handed) == 2_000


def test_reporters_of_the_same_tasks_change_each_once(
    porch: Coordinator, database_url: str, racers: Racers
) -> None:
    _, secret = pipeline(porch)
    keys = submit(porch, secret, definitions(400))
    porch.claim(Caller(secret, uuid4()), 400)
    jobs = [
        {
            "verb": "update",
            "url": database_url,
            "secret": secret,
            "status": "DONE",
            "batches": shuffled(keys, seed, 100),
        }
        for seed in range(RACERS)
    ]
    answers = [answer for found in racers.race(jobs) for batch in found for answer in batch]
    assert Counter(answers) == {True: 400, False: 400 * (RACERS - 1)}


def test_crowds_of_reporters_of_the_same_tasks_change_each_once(
    porch: Coordinator, database_url: str, racers: Racers
) -> None:
    """Half of them in crowds, with one task in a request or some; half with many in a request."""
    _, secret = pipeline(porch)
    keys = submit(porch, secret, definitions(400))
    porch.claim(Caller(secret, uuid4()), 400)
    jobs = [
        {
            "verb": "update_all" if seed % 2 else "update",
            "url": database_url,
            "secret": secret,
            "status": "DONE",
            "batches": shuffled(keys, seed, 1 + seed % 4 if seed % 2 else 100),
            "together": 16,
        }
        for seed in range(RACERS)
    ]
    answers = [answer for found in racers.race(jobs) for batch in found for answer in batch]
    assert Counter(answers) == {True: 400, False: 400 * (RACERS - 1)}


def test_submitting_and_claiming_at_once_hands_out_everything_once(
    porch: Coordinator, database_url: str, racers: Racers
) -> None:
    _, secret = pipeline(porch)
    given = definitions(800)
    submit(porch, secret, given[:200])
    common = {"url": database_url, "secret": secret}
    jobs = [
        {**common, "verb": "submit", "batches": shuffled(given, seed, 50)}
        for seed in range(RACERS // 2)
    ] + [{**common, "verb": "claim", "n": 20}] * (RACERS // 2)
    found = racers.race(jobs)
    (rest,) = racers.race([{**common, "verb": "claim", "n": 100}])
    handed = Counter(key for answers in [*found[RACERS // 2 :], rest] for key, _ in answers)
    assert set(handed.values()) == {1}
    assert len(handed) == 800


@pytest.mark.parametrize("turn", range(3))
def test_a_change_of_identity_leaves_no_input_half_way(
    porch: Coordinator, database_url: str, racers: Racers, turn: int
) -> None:
    name, secret = pipeline(porch, "1.0", "2.0")
    boss, given = admin(porch), definitions(300)
    submit(porch, secret, given[:100], version="1.0")
    jobs: list[dict[str, Any]] = [
        {
            "verb": "submit",
            "url": database_url,
            "secret": secret,
            "version": "1.0" if seed % 2 or turn == 0 else "2.0",
            "batches": shuffled(given, seed, 30),
        }
        for seed in range(RACERS - 1)
    ]
    identities = ["pipeline", "version", "pipeline"]
    jobs.append(
        {
            "verb": "policy",
            "url": database_url,
            "secret": boss,
            "pipeline": name,
            "identities": identities,
        }
    )
    racers.race(jobs)
    with porch.ledger.engine.connect() as connection:  # type: ignore[attr-defined]
        rows = connection.execute(
            text(
                "SELECT p.identity, t.version, t.scope, count(*) FROM porch.task t"
                " JOIN porch.pipeline p USING (pipeline_id) GROUP BY 1, 2, 3"
            )
        ).all()
    assert all(scope == ("" if kind == "pipeline" else version) for kind, version, scope, _ in rows)
    if rows[0].identity == "pipeline":
        assert sum(row.count for row in rows) == 300


def test_a_change_of_identity_does_not_deadlock_with_reports_and_claims(
    porch: Coordinator, database_url: str, racers: Racers
) -> None:
    name, secret = pipeline(porch)
    keys = submit(porch, secret, definitions(1_000))
    porch.claim(Caller(secret, uuid4()), 1_000)
    submit(porch, secret, definitions(1_000))
    jobs: list[dict[str, Any]] = [
        {
            "verb": "update",
            "url": database_url,
            "secret": secret,
            "status": status,
            "batches": shuffled(keys, seed, 100),
        }
        for seed, status in enumerate(["RUNNING", "DONE"] * 4)
    ]
    jobs += [{"verb": "claim", "url": database_url, "secret": secret, "n": 10}] * 4
    jobs.append(
        {
            "verb": "policy",
            "url": database_url,
            "secret": admin(porch),
            "pipeline": name,
            "identities": ["pipeline", "version"] * 5,
        }
    )
    *_, policies = racers.race(jobs)
    assert policies == ["pipeline", "version"] * 5
    assert count(porch, secret) == {"DONE": 1_000, "CLAIMED": 1_000}


@pytest.fixture
def coordinators(database_url: str) -> Iterator[list[Coordinator]]:
    """Coordinators with connections of their own."""
    made = [make_coordinator(database_url) for _ in range(RACERS)]
    yield made
    for coordinator in made:
        coordinator.ledger.engine.dispose()  # type: ignore[attr-defined]


def test_one_claim_sent_many_times_at_once_gets_the_same_tasks(
    porch: Coordinator, coordinators: list[Coordinator]
) -> None:
    _, secret = pipeline(porch)
    submit(porch, secret, definitions(100))
    who, together = Caller(secret, uuid4()), Barrier(RACERS)

    def claim(coordinator: Coordinator) -> list[Task]:
        together.wait()
        return coordinator.claim(who, 10)

    with ThreadPoolExecutor(RACERS) as pool:
        found = list(pool.map(claim, coordinators))
    assert len({tuple(task.key for task in tasks) for tasks in found}) == 1
    assert count(porch, secret) == {"CLAIMED": 10, "PENDING": 90}


@contextmanager
def held(porch: Coordinator, name: str, waiters: int) -> Iterator[None]:
    """A pipeline of which no policy can be set, until so many wait for it."""
    engine = porch.ledger.engine  # type: ignore[attr-defined]
    lock = text("SELECT FROM porch.pipeline WHERE name = :name FOR NO KEY UPDATE")
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with engine.connect() as holder, engine.connect() as onlooker:
        holder.execute(lock, {"name": name})
        yield
        onlooker.execution_options(isolation_level="AUTOCOMMIT")
        wait_until(lambda: onlooker.execute(waiting).scalar_one() == waiters)


def test_several_who_set_different_policies_at_once_all_do(
    porch: Coordinator, coordinators: list[Coordinator]
) -> None:
    name, _ = pipeline(porch)
    boss, day = admin(porch), 86_400
    policies = [
        Policy(lease=60),
        Policy(max_attempts=3),
        Policy(identity="pipeline"),
        Policy(keep={Status.DONE: day}),
        Policy(keep={Status.FAILED: 2 * day}),
    ]
    with ThreadPoolExecutor(len(policies)) as pool:
        with held(porch, name, len(policies)):
            setting = [
                pool.submit(one.set_policy, caller(boss), name, policy)
                for one, policy in zip(coordinators, policies, strict=False)
            ]
        for one in setting:
            one.result()
    (load,) = porch.pipelines(caller(boss), name)
    found = load.pipeline
    assert (found.lease, found.max_attempts, found.identity) == (60, 3, "pipeline")
    assert found.keep == Keep(done=day, failed=2 * day)


def test_of_two_policies_that_do_not_go_together_one_is_refused(
    porch: Coordinator, coordinators: list[Coordinator]
) -> None:
    name, _ = pipeline(porch)
    boss = admin(porch)
    porch.set_policy(caller(boss), name, Policy(max_attempts=3))
    with ThreadPoolExecutor(2) as pool:
        with held(porch, name, 2):
            setting = [
                pool.submit(one.set_policy, caller(boss), name, policy)
                for one, policy in zip(
                    coordinators, [Policy(retry=60), Policy(max_attempts=None)], strict=False
                )
            ]
        (refused,) = filter(None, [one.exception() for one in setting])
    assert isinstance(refused, BadRequest)
    (load,) = porch.pipelines(caller(boss), name)
    assert (load.pipeline.retry, load.pipeline.max_attempts) in [(60, 3), (None, None)]
