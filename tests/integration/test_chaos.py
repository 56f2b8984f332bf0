"""Parts of porch killed, frozen or taken away under a client that works: it costs time only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis

from config.embedded import EmbeddedUrls
from config.wiring import worker_argv
from porch_client import channel
from porch_client.client import Porch
from porch_client.errors import BrokerAway, DatabaseAway, NoWorker, Unreachable
from porch_client.model import Registered
from tests.factories import definitions
from tests.house import House, User, environment, wait_until

N = 12_000
PAUSE = 2.0


@pytest.fixture(scope="module")
def battered(scratch: Callable[[str], Path]) -> Iterator[House]:
    """A house to break, again and again: it mends itself."""
    with House(scratch("house") / "state") as running:
        yield running


def kill_children(house: House) -> None:
    for child in psutil.Process(house.pid("worker.submit")).children():
        child.kill()


def kill_worker(house: House) -> None:
    os.kill(house.pid("worker.submit"), signal.SIGKILL)


def kill_broker(house: House) -> None:
    os.kill(house.pid("valkey"), signal.SIGKILL)


def flush_broker(house: House) -> None:
    with Redis.from_url(house.ready["broker_url"]) as broker:
        broker.flushall()


def replace_broker(house: House) -> None:
    """Another Valkey, with nothing in it, comes in the place of the old one."""
    broker = house.pid("valkey")
    # Frozen, or it would start the old one's successor on the old one's data.
    house.process.send_signal(signal.SIGSTOP)
    try:
        os.killpg(broker, signal.SIGKILL)
        wait_until(lambda: psutil.Process(broker).status() == psutil.STATUS_ZOMBIE)
        for file in (house.home() / "valkey").iterdir():
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    finally:
        house.process.send_signal(signal.SIGCONT)


def restart_database(house: House) -> None:
    os.kill(house.pid("postgres"), signal.SIGINT)


def crash_database(house: House) -> None:
    os.kill(house.pid("postgres"), signal.SIGQUIT)


def freeze_database(house: House) -> None:
    """Every process of PostgreSQL stands still for a while."""
    main = psutil.Process(house.pid("postgres"))
    frozen = [main, *main.children(recursive=True)]
    for process in frozen:
        process.suspend()
    time.sleep(PAUSE)
    for process in frozen:
        process.resume()


def freeze_broker(house: House) -> None:
    process = psutil.Process(house.pid("valkey"))
    process.suspend()
    time.sleep(PAUSE)
    process.resume()


@pytest.mark.parametrize(
    "blow",
    [
        kill_children,
        kill_worker,
        kill_broker,
        flush_broker,
        replace_broker,
        restart_database,
        crash_database,
        freeze_database,
        freeze_broker,
    ],
)
def test_a_blow_in_the_middle_of_a_submission_loses_and_doubles_nothing(
    battered: House, blow: Callable[[House], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "RESEND_AFTER", 3.0)
    given = definitions(N)
    with User(battered) as user:
        answers = user.client.submit(given)
        found = [next(answers) for _ in range(N // 4)]
        blow(battered)
        found += answers
        assert all(isinstance(answer, Registered) for answer in found)
        assert user.client.count() == {"PENDING": N}
        assert events_of(battered, user) == N
        again = list(user.client.submit(given))
        assert ids(again) == ids(found)
        assert user.client.count() == {"PENDING": N}


def ids(answers: list[Any]) -> list[str]:
    return [answer.task_input_id for answer in answers]


def events_of(house: House, user: User) -> int:
    ((number,),) = house.ask(
        "SELECT count(*) FROM porch.event JOIN porch.task USING (task_id)"
        " JOIN porch.pipeline USING (pipeline_id) WHERE name = %s",
        user.pipeline,
    )
    return int(number)


@pytest.mark.parametrize("blow", [kill_broker, flush_broker, restart_database])
def test_a_blow_among_claims_and_reports_hands_out_everything_once(
    battered: House, blow: Callable[[House], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "RESEND_AFTER", 3.0)
    with User(battered) as user:
        user.register(*definitions(60))
        handed: list[str] = []
        for turn in range(13):
            if turn == 4:
                blow(battered)
            for claimed in user.client.claim(5):
                handed.append(claimed.task_input_id)
                if len(handed) % 5 == 0:
                    claimed.done()
        assert len(handed) == len(set(handed)) == 60
        assert user.client.count() == {"CLAIMED": 48, "DONE": 12}


# What is away is said, in time ----------------------------------------------------------------


@pytest.fixture
def worker_without_database(servers: EmbeddedUrls, tmp_path: Path) -> Iterator[None]:
    """A worker whose PostgreSQL refuses connections."""
    ready = tmp_path / "ready"
    env = {
        "PORCH_DATABASE_URL": "postgresql://u:p@127.0.0.1:1/none",
        "PORCH_BROKER_URL": servers.broker_url,
        "PORCH_READY_FILE": str(ready),
    }
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(
            worker_argv("porch.query", 1, "lost"), env=environment(env), stdout=log, stderr=log
        )
        wait_until(ready.exists, 30.0, "the worker is ready")
        yield
        # It would put back the request in its hands first, for as long as it is patient.
        for process in [*psutil.Process(worker.pid).children(), worker]:
            process.kill()
        worker.wait(30)
    # Its notice would hang for some seconds more.
    with Redis.from_url(servers.broker_url) as broker:
        broker.delete("celery-task-meta-porch.database")


def told(porch: Porch) -> tuple[type[Unreachable], float]:
    """What is away, as the client tells it, and after how many seconds."""
    began = time.monotonic()
    with porch, pytest.raises(Unreachable) as away:
        porch.count()
    return type(away.value), time.monotonic() - began


def test_a_database_that_stays_away_is_told_within_the_timeout(
    servers: EmbeddedUrls, worker_without_database: None
) -> None:
    kind, seconds = told(Porch(servers.broker_url, "0" * 32, timeout=3.0))
    assert kind is DatabaseAway
    assert seconds < 6.0


def test_workers_that_stay_away_are_told_within_the_timeout(servers: EmbeddedUrls) -> None:
    kind, seconds = told(Porch(servers.broker_url, "0" * 32, timeout=2.0))
    assert kind is NoWorker
    assert seconds < 5.0


def test_a_broker_that_keeps_silent_is_told_within_the_timeout(battered: House) -> None:
    broker = psutil.Process(battered.pid("valkey"))
    broker.suspend()
    try:
        kind, seconds = told(battered.client("0" * 32, timeout=3.0))
    finally:
        broker.resume()
    assert kind is BrokerAway
    assert seconds < 6.0
