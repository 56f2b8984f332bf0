"""`porch-server doctor`, as an operator types it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis

from config import broker_health
from config.broker_health import examine_broker
from config.embedded import EmbeddedUrls
from config.queues import QUEUES
from porch_client.channel import Channel
from tests.acceptance.test_server_commands import urls
from tests.house import House, User, run

DOCTOR = ("porch-server", "doctor")


def checks(stdout: str) -> dict[str, dict[str, Any]]:
    """The checks of ``--json`` by name."""
    (line,) = stdout.splitlines()
    return {check["name"]: check for check in json.loads(line)["checks"]}


def passwords(house: House) -> list[str]:
    found = [urlsplit(url).password for url in urls(house).values()]
    return [password for password in found if password]


def test_a_running_porch_is_healthy(house: House, user: User) -> None:
    user.register({"run": "doctor"})
    done = run(*DOCTOR, env=urls(house))
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("healthy (")
    assert done.stderr == ""
    assert not [password for password in passwords(house) if password in done.stdout]


def test_its_queues_workers_and_clocks_are_told(house: House) -> None:
    done = run(*DOCTOR, "--json", env=urls(house))
    assert json.loads(done.stdout)["healthy"] is True, done.stdout
    told = checks(done.stdout)
    assert [told[f"queue {queue}"]["looked_at"]["workers"] for queue in QUEUES] == [1] * len(QUEUES)
    assert told["workers"]["looked_at"]["last_sweep_seconds"] < 10
    hosts = {name.partition("@")[0] for name in told["clocks"]["looked_at"]}
    assert hosts == {"this host", "broker", "worker submit", "worker claim"}
    assert not [password for password in passwords(house) if password in done.stdout]


@pytest.fixture
def deserted(house: House) -> Iterator[dict[str, str]]:
    """A broker without workers: another database of the broker."""
    env = urls(house, 3)
    yield env
    with Redis.from_url(env["PORCH_BROKER_URL"]) as redis:
        redis.flushdb()


def test_missing_workers_are_told_with_what_waits_for_them(
    house: House, deserted: dict[str, str]
) -> None:
    broker = deserted["PORCH_BROKER_URL"]
    channel = Channel(broker, broker, None, 10.0)
    channel.send(channel.prepare("count", "porch.query", {}))
    channel.close()
    with Redis.from_url(broker) as redis:
        redis.lpush("porch.submit", "rubbish")
    done = run(*DOCTOR, "--json", env=deserted)
    assert done.returncode == 1
    told = checks(done.stdout)
    assert {name for name, check in told.items() if not check["ok"]} == {
        "workers",
        *(f"queue {queue}" for queue in QUEUES),
    }
    assert told["queue porch.query"]["looked_at"]["messages"] == 1
    assert told["queue porch.query"]["looked_at"]["oldest_seconds"] >= 0
    assert told["queue porch.submit"]["looked_at"]["messages"] == 1
    assert told["queue porch.submit"]["looked_at"]["oldest_seconds"] is None
    assert [f["what"] for f in told["queue porch.claim"]["findings"]] == ["no worker takes from it"]


def test_a_broker_that_is_away_is_told_and_the_database_read(house: House) -> None:
    env = {**urls(house), "PORCH_BROKER_URL": "redis://:hunter2@127.0.0.1:1/0"}
    done = run(*DOCTOR, "--json", env=env)
    assert done.returncode == 1
    assert "hunter2" not in done.stdout + done.stderr
    told = checks(done.stdout)
    assert "cannot use the broker: " in told["broker"]["findings"][0]["what"]
    assert told["paths"]["ok"] is True


def test_a_database_that_is_away_is_told_and_the_broker_looked_at(house: House) -> None:
    away = "postgresql://u:hunter2@127.0.0.1:1/none"
    done = run(*DOCTOR, "--json", env={**urls(house), "PORCH_DATABASE_URL": away})
    assert done.returncode == 1
    assert "hunter2" not in done.stdout + done.stderr
    told = checks(done.stdout)
    assert told["postgresql"]["level"] == "wrong"
    assert told["workers"]["ok"] is True


# The broker's own settings ------------------------------------------------------------------

#: What a worker needs, and no more: it may not look into queues, nor at settings.
_WORKER = (
    "on >secret resetkeys resetchannels -@all +ping +multi +exec +watch +unwatch +brpop +lpush "
    "+rpush +llen +zadd +zrem +zrange +zrangebyscore +hset +hget +hdel +set +setex +get +sadd "
    "+srem +smembers +del +exists +time +publish +psubscribe +punsubscribe +evalsha "
    "+script|load +script|exists +select +client|setinfo ~porch.* ~_kombu.* ~unacked* "
    "~*.celery.pidbox* ~celeryev.* &/3.celery.pidbox &/3.celeryev/*"
)


@pytest.fixture
def redis(servers: EmbeddedUrls, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    """A broker whose settings a test may change."""
    monkeypatch.setattr(broker_health, "_ROUNDS", 1)  # there are no workers to wait for
    with Redis.from_url(servers.broker_url) as client:
        yield client
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendonly", "yes")
        client.acl_deluser("worker")


def test_a_broker_that_may_lose_messages_is_a_warning(servers: EmbeddedUrls, redis: Redis) -> None:
    redis.config_set("maxmemory-policy", "allkeys-lru")
    redis.config_set("appendonly", "no")
    (check, *_) = examine_broker(servers.broker_url, QUEUES).checks
    assert check.level == "warning"
    assert [finding.what for finding in check.findings] == [
        "what waits in its queues is lost when it restarts: set `appendonly yes`",
        "it may drop messages (maxmemory-policy allkeys-lru): set noeviction",
    ]


def test_what_a_user_of_the_broker_may_not_ask_is_left_out(
    servers: EmbeddedUrls, redis: Redis
) -> None:
    redis.execute_command("ACL", "SETUSER", "worker", *_WORKER.split())
    port = urlsplit(servers.broker_url).port
    found = examine_broker(f"redis://worker:secret@127.0.0.1:{port}/3", QUEUES)
    broker, workers, *queues, in_hand = found.checks
    assert (broker.level, broker.looked_at["settings"]) == ("ok", "not allowed to look")
    assert workers.looked_at["workers"] == 0
    assert len(queues) == len(QUEUES)
    assert in_hand.looked_at == {"messages": None, "oldest_seconds": None}
