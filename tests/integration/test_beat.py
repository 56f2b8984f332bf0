"""Periodic work is asked for, and not more often than it is taken."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from redis import Redis

from config.embedded import EmbeddedUrls

_TICK = """
import sys
from tasks.app import app
from tasks.beat import Scheduler

scheduler = Scheduler(app=app)
for _ in range(int(sys.argv[1])):
    scheduler.apply_entry(scheduler.schedule["sweep"], producer=scheduler.producer)
"""

_IMPORTS = """
import json, runpy, sys
import celery.bin.beat, celery.bin.worker

part, *names = sys.argv[1:]
sys.argv = ["tasks", part]
for command in (celery.bin.beat.beat, celery.bin.worker.worker):
    command.main = lambda *_, **__: print(json.dumps([one for one in names if one in sys.modules]))
runpy.run_module("tasks", run_name="__main__")
"""


@pytest.fixture
def redis(servers: EmbeddedUrls) -> Iterator[Redis]:
    """A broker that nobody works for."""
    with Redis.from_url(broker_of(servers)) as client:
        client.flushdb()
        yield client


def broker_of(servers: EmbeddedUrls) -> str:
    return servers.broker_url.removesuffix("0") + "9"


def tick(servers: EmbeddedUrls, times: int) -> None:
    """Let beat ask ``times`` times in a row."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", _TICK, str(times)],
        env={"PORCH_BROKER_URL": broker_of(servers), "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "Error" not in done.stderr


def test_one_sweep_waits_however_often_it_is_asked_for(redis: Redis, servers: EmbeddedUrls) -> None:
    tick(servers, 5)
    assert redis.llen("porch.sweep") == 1


def test_a_sweep_that_was_taken_is_asked_for_again(redis: Redis, servers: EmbeddedUrls) -> None:
    tick(servers, 1)
    first = json.loads(redis.rpop("porch.sweep"))
    tick(servers, 1)
    second = json.loads(redis.rpop("porch.sweep"))
    assert first["headers"]["id"] != second["headers"]["id"]


def test_a_sweep_is_a_request_like_any_other_that_nobody_waits_for(
    redis: Redis, servers: EmbeddedUrls
) -> None:
    tick(servers, 1)
    headers = json.loads(redis.rpop("porch.sweep"))["headers"]
    assert (headers["task"], headers["ignore_result"]) == ("porch.sweep", True)
    assert (headers["eta"], headers["expires"]) == (None, None)


def test_it_imports_nothing_of_what_it_asks_for_and_a_worker_all_of_it_before_it_forks() -> None:
    of_the_database = ("sqlalchemy", "db.ledger", "coordinator.observed", "tasks.wire")
    for part, wanted in (("beat", []), ("worker", list(of_the_database))):
        done = subprocess.run(
            [sys.executable, "-P", "-c", _IMPORTS, part, *of_the_database],
            env={"PORCH_BROKER_URL": "redis://127.0.0.1:1/0", "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert json.loads(done.stdout) == wanted, part
