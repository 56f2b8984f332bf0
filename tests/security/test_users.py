"""The users of the broker: what each is for works, also after the worst, and none is refused it."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from tests.envelopes import envelope, text
from tests.flower_pages import flower
from tests.house import User, run, wait_until
from tests.security.broker import USERS, GuardedBroker, GuardedHouse

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def broker(scratch: Callable[[str], Path]) -> Iterator[GuardedBroker]:
    """One that nobody attacks: its log of refusals is to stay empty."""
    with GuardedBroker(scratch("broker")) as running:
        yield running


@pytest.fixture(scope="module")
def house(scratch: Callable[[str], Path], broker: GuardedBroker) -> Iterator[GuardedHouse]:
    with GuardedHouse(scratch("house") / "state", broker) as running:
        yield running


def test_what_a_killed_worker_had_in_hand_is_done_by_another(
    house: GuardedHouse, broker: GuardedBroker, user: User
) -> None:
    sent = envelope(text(definitions=[{"a": 1}]), task="porch.submit", token=user.token)
    sent["properties"]["delivery_info"]["routing_key"] = "porch.submit"
    key = f"celery-task-meta-{sent['headers']['id']}"
    url = house.ready["database_url"].replace("+psycopg2", "")
    with broker.as_user("porch-wrapper") as wrapper, broker.as_user("porch-doctor") as doctor:
        with closing(psycopg2.connect(url)) as other, other.cursor() as cursor:
            cursor.execute("LOCK TABLE porch.task IN ACCESS EXCLUSIVE MODE")
            wrapper.lpush("porch.submit", json.dumps(sent))
            wait_until(lambda: doctor.hlen("unacked"), 20.0, "the message is in hand")
            worker = psutil.Process(house.pid("worker.submit"))
            for process in (worker, *worker.children(recursive=True)):
                os.kill(process.pid, signal.SIGKILL)
        raw = wait_until(lambda: wrapper.get(key), 120.0, "the message is done by another")
        assert json.loads(json.loads(raw)["result"])["ok"]["results"][0]["created"] is True
        wait_until(lambda: not doctor.hlen("unacked"), 10.0, "nothing is in hand")


def test_a_lease_runs_out_as_beat_asks_for_it(house: GuardedHouse, user: User) -> None:
    with house.admin() as admin:
        admin.set_policy(user.pipeline, lease=1)
    (task,) = user.register({"a": 1})
    user.client.claim(1)
    wait_until(lambda: user.status(task) == "PENDING", 15.0, "the lease has run out")


def test_the_doctor_finds_everything_healthy(house: GuardedHouse, broker: GuardedBroker) -> None:
    env = {
        "PORCH_BROKER_URL": broker.url("porch-doctor"),
        "PORCH_DATABASE_URL": house.ready["database_url"],
    }
    done = run("porch-server", "doctor", "--json", env=env)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["broker"]["level"] == "ok", checks["broker"]
    assert checks["workers"]["looked_at"]["workers"] == 2
    assert checks["queue porch.submit"]["looked_at"]["workers"] == 1
    assert done.returncode == 0


def test_flower_asks_workers_hears_them_and_tells_them_to_be_silent_when_it_goes(
    house: GuardedHouse, broker: GuardedBroker, user: User, scratch: Callable[[str], Path]
) -> None:
    folder = scratch("flower")
    with broker.as_user("porch-admin") as admin, admin.pubsub() as events:
        with flower(broker.url("porch-flower"), folder) as (pages, process):

            def told() -> bool:
                user.client.count()
                return bool(pages.tasks("porch.count"))

            wait_until(told, 30.0, "workers tell Flower what they do")
            worker = pages.tasks("porch.count")[0]["worker"]
            assert "porch.query" in pages.ask(f"/worker/{worker}")[1]
            assert pages.ask("/broker")[0] == 200
        assert process.returncode == 0
        events.psubscribe("/0.celeryev/task*")

        def silent() -> bool:
            while events.get_message(timeout=0.1):
                """What was on its way."""
            user.client.count()
            return events.get_message(timeout=0.5) is None

        wait_until(silent, 20.0, "nobody tells what nobody hears")


def test_none_is_refused_what_it_needs(house: GuardedHouse, broker: GuardedBroker) -> None:
    """The client forgets an answer that it has read, where it may; the answer expires anyway."""
    assert {user: broker.refused(user) for user in USERS} == {
        "porch-admin": set(),
        "porch-wrapper": {("command", "del")},
        "porch-worker": set(),
        "porch-flower": set(),
        "porch-doctor": set(),
    }


# The command that makes them -----------------------------------------------------------------


@pytest.fixture(scope="module")
def own_broker(scratch: Callable[[str], Path]) -> Iterator[GuardedBroker]:
    """One whose passwords are changed."""
    with GuardedBroker(scratch("broker")) as running:
        yield running


def test_passwords_are_made_once_and_are_private(own_broker: GuardedBroker) -> None:
    made = {path.name: path.read_text() for path in own_broker.passwords.iterdir()}
    assert made.keys() == set(USERS)
    assert len(set(made.values())) == len(USERS)
    for path in own_broker.passwords.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = own_broker.acl.read_text()
    own_broker.write_users()
    assert own_broker.acl.read_text() == before
    assert not any(password.strip() in before for password in made.values())


def test_a_password_is_changed_while_both_are_good(own_broker: GuardedBroker) -> None:
    file = own_broker.passwords / "porch-worker"
    old, before = own_broker.passwords / "porch-worker.old", own_broker.url("porch-worker")

    def load() -> None:
        own_broker.write_users()
        with own_broker.as_user("porch-admin") as admin:
            admin.acl_load()

    file.rename(old)
    load()
    after = own_broker.url("porch-worker")
    assert after != before
    assert [_may_enter(url) for url in (before, after)] == [True, True]
    old.unlink()
    load()
    assert [_may_enter(url) for url in (before, after)] == [False, True]


def _may_enter(url: str) -> bool:
    once = Retry(NoBackoff(), 0)
    with Redis.from_url(url, retry=once) as redis:
        try:
            return bool(redis.ping())
        except AuthenticationError:
            return False


def test_a_password_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "porch-worker").write_text("hunter2\n")
    done = run("porch-server", "redis-users", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "which can be guessed" in done.stderr
    assert "hunter2" not in done.stderr


def test_the_file_as_it_is_shipped_lets_nobody_in() -> None:
    rules = (ROOT / "config" / "redis" / "users.acl").read_text().splitlines()
    assert rules[0] == "user default off"
    for rule in rules[1:]:
        words = rule.split()
        assert not any(word.startswith(("#", ">")) or word == "nopass" for word in words)
