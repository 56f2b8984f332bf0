"""A broker, a PostgreSQL or workers that are away: said in time, and nothing is doubled by it.

Things are taken away for real. Where a server is stopped, `porch-server up` is frozen meanwhile,
which would start it again at once.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from subprocess import CompletedProcess
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
import pytest

from porch_client.errors import PorchError
from tests.house import House, User, json_lines, wait_until

TIMEOUT = 2.5
#: What starting and ending a command may take on a busy machine.
MARGIN = 3.0

Finished = CompletedProcess[str]


@contextmanager
def broker_silent(house: House) -> Iterator[None]:
    """The broker takes connections and never answers."""
    broker = house.pid("valkey")
    os.kill(broker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker, signal.SIGCONT)


def broker_gone(house: House) -> AbstractContextManager[None]:
    """The broker refuses connections."""
    return stopped(house, signal.SIGKILL, "valkey")


def database_gone(house: House) -> AbstractContextManager[None]:
    """PostgreSQL has ended all sessions and refuses new ones."""
    return stopped(house, signal.SIGQUIT, "postgres")


def no_workers(house: House) -> AbstractContextManager[None]:
    """The broker is there, and nobody takes a message."""
    return stopped(house, signal.SIGKILL, "worker.submit", "worker.claim")


@contextmanager
def stopped(house: House, number: signal.Signals, *names: str) -> Iterator[None]:
    """Children of `porch-server up`, ended; it starts them again when the block is left."""
    pids = [house.pid(name) for name in names]
    house.process.send_signal(signal.SIGSTOP)
    try:
        for pid in pids:
            os.killpg(pid, number)
        # Their parent is frozen and cannot bury them.
        wait_until(lambda: all(is_zombie(pid) for pid in pids), what=f"{names} are gone")
        yield
    finally:
        house.process.send_signal(signal.SIGCONT)


def is_zombie(pid: int) -> bool:
    return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


OUTAGES: dict[str, tuple[Callable[[House], AbstractContextManager[None]], str, str]] = {
    "broker silent": (broker_silent, "broker_away", "cannot reach the broker at redis://127.0.0.1"),
    "broker gone": (broker_gone, "broker_away", "cannot reach the broker at redis://127.0.0.1"),
    "database gone": (database_gone, "database_away", "the coordinator cannot reach PostgreSQL"),
    "no workers": (no_workers, "no_worker", "and no worker takes them"),
}


@dataclass
class Outage:
    """One submission and one claim while something is away, and the same again afterwards."""

    code: str
    says: str
    user: User
    during: dict[str, tuple[Finished, float]]
    after: dict[str, Finished]


@pytest.fixture(scope="module", params=OUTAGES)
def outage(request: pytest.FixtureRequest, broken_house: House) -> Iterator[Outage]:
    take_away, code, says = OUTAGES[request.param]
    with User(broken_house) as user:
        user.register({"n": 1}, {"n": 2}, {"n": 3})
        lines = '{"n": 3}\n{"n": 4}\n{"n": 5}\n'
        commands = {
            "submit": (("submit", "-"), lines),
            "claim": (("claim", "-n", "2", "--request-id", str(uuid4())), ""),
        }

        def timed(name: str) -> tuple[Finished, float]:
            argv, text = commands[name]
            began = time.monotonic()
            done = user.porch("--timeout", str(TIMEOUT), *argv, input=text)
            return done, time.monotonic() - began

        with take_away(broken_house), ThreadPoolExecutor() as pool:
            during = dict(zip(commands, pool.map(timed, commands), strict=True))
        after = {name: user.porch(*argv, input=text) for name, (argv, text) in commands.items()}
        yield Outage(code, says, user, during, after)


@pytest.mark.parametrize("verb", ["submit", "claim"])
def test_a_command_says_what_is_away_and_exits_with_3(outage: Outage, verb: str) -> None:
    done, _ = outage.during[verb]
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"porch: {outage.code}: ")
    assert outage.says in line
    assert (done.returncode, done.stdout) == (3, "")


@pytest.mark.parametrize("verb", ["submit", "claim"])
def test_a_command_waits_no_longer_than_its_timeout(outage: Outage, verb: str) -> None:
    _, seconds = outage.during[verb]
    assert seconds < TIMEOUT + MARGIN


@pytest.mark.parametrize("verb", ["submit", "claim"])
def test_no_secret_is_shown(outage: Outage, verb: str) -> None:
    ready = outage.user.house.ready
    passwords = [urlsplit(ready[name]).password for name in ("broker_url", "database_url")]
    done, _ = outage.during[verb]
    assert all(passwords)
    assert not [word for word in (*passwords, outage.user.token) if word and word in done.stderr]


@pytest.mark.parametrize("verb", ["submit", "claim"])
def test_the_same_command_succeeds_afterwards(outage: Outage, verb: str) -> None:
    assert outage.after[verb].returncode == 0, outage.after[verb].stderr


def test_nothing_is_doubled_by_trying_again(outage: Outage) -> None:
    assert len(json_lines(outage.after["claim"].stdout)) == 2
    assert outage.user.client.count() == {"PENDING": 3, "CLAIMED": 2}
    assert outage.user.inputs() == [{"n": n} for n in range(1, 6)]


def test_a_crowd_is_told_that_postgresql_is_away_though_workers_have_only_some_of_it(
    broken_house: House,
) -> None:
    with User(broken_house) as user, database_gone(broken_house), ThreadPoolExecutor(12) as pool:

        def refused(_: int) -> str:
            with (
                broken_house.client(user.token, timeout=8.0) as client,
                pytest.raises(PorchError) as away,
            ):
                client.claim(1)
            return away.value.code

        assert set(pool.map(refused, range(12))) == {"database_away"}
