"""`porch watch`: whoever follows hears of everything, also after the worst."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from subprocess import Popen
from typing import Any

from redis import Redis

from porch_client.client import Porch
from porch_client.errors import Refused, Unreachable
from tests.factories import definitions
from tests.house import BIN, House, User, environment, wait_until


@contextmanager
def watching(user: User, *options: str) -> Iterator[tuple[Popen[str], list[dict[str, Any]]]]:
    """A `porch watch`, and what it has printed so far."""
    process = user.start("watch", *options)
    heard: list[dict[str, Any]] = []
    reading = threading.Thread(target=_read, args=(process, heard), daemon=True)
    reading.start()
    try:
        yield process, heard
    finally:
        process.kill()
        process.wait(10)
        reading.join(10)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _read(process: Popen[str], heard: list[dict[str, Any]]) -> None:
    """Half a line is what a killed one leaves at the end: it is no line."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith("\n"):
            heard.append(json.loads(line))


def test_every_change_is_a_line_from_the_first_on(user: User) -> None:
    (task,) = user.register({"run": 1})
    user.client.claim(1, job_id="4711")[0].done()
    with watching(user, "--after", "0") as (process, heard):
        wait_until(lambda: len(heard) == 3, 20, "three changes")
        assert [(m["from_status"], m["to_status"], m["attempt"]) for m in heard] == [
            (None, "PENDING", 0),
            ("PENDING", "CLAIMED", 1),
            ("CLAIMED", "DONE", 1),
        ]
        assert heard[1]["job_id"] == "4711"
        assert {(m["pipeline"], m["task_input_id"]) for m in heard} == {(user.pipeline, task)}
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_it_tells_at_once_what_happens_from_now_on(user: User) -> None:
    user.register({"run": 1})
    with Porch(user.house.ready["broker_url"], user.token) as mine:
        changes = mine.watch()
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(next, changes)
            time.sleep(1)  # for what must not be told to be told
            assert not first.done()
            began = time.monotonic()
            (task,) = user.client.claim(1)
            told = first.result(20)
            assert time.monotonic() - began < 5, "it was not woken up"
        assert (told.to_status, told.task_input_id) == ("CLAIMED", task.task_input_id)


def test_it_follows_one_task_or_a_status_only(user: User) -> None:
    first, _ = user.register({"run": 1}, {"run": 2})
    for claimed in user.client.claim(2):
        claimed.failed("no space")
    with watching(user, "--after", "0", "--status", "FAILED", "--task", first[:12]) as (_, heard):
        wait_until(lambda: heard, 20, "a change")
        user.client.claim(1)
        assert [(m["to_status"], m["task_input_id"]) for m in heard] == [("FAILED", first)]


def test_it_is_refused_what_the_token_does_not_open(user: User) -> None:
    other, _ = user.house.pipeline()
    refused = user.porch("watch", "--pipeline", other)
    assert refused.returncode == 1
    assert refused.stderr.startswith("porch: forbidden: ")


def test_in_a_terminal_a_change_is_a_line_to_read(user: User) -> None:
    (task,) = user.register({"run": 1})
    user.client.claim(1)[0].failed("exit 1:\nno space")
    main, side = pty.openpty()
    argv = [str(BIN / "porch"), "watch", "--after", "0"]
    with Popen(argv, env=environment(user.house.env(user.token)), stdout=side) as process:
        os.close(side)
        shown = ""
        while shown.count("\n") < 3:
            shown += os.read(main, 4_096).decode()
        process.kill()
    os.close(main)
    last = shown.splitlines()[2]
    assert task[:12] in last
    assert "CLAIMED -> FAILED  attempt 1" in last
    assert last.endswith("exit 1: no space")


def test_the_way_out_of_reach_at_the_start_is_told(user: User) -> None:
    env = {"PORCH_BROKER_URL": "redis://127.0.0.1:1/0", "PORCH_RESULT_URL": ""}
    gone = user.porch("--timeout", "1", "watch", env=env)
    assert gone.returncode == 3
    assert gone.stderr.startswith("porch: broker_away: ")


# The worst ----------------------------------------------------------------------------------


def test_a_reader_killed_at_random_hears_of_everything(broken_house: House) -> None:
    """Readers and relays are killed, and Redis loses all it has, while many work at once."""
    chance = random.Random(7)
    over = threading.Event()
    heard: list[dict[str, Any]] = []
    with User(broken_house) as user, ThreadPoolExecutor(5) as pool:
        killing = pool.submit(_kill_relays, broken_house, over, chance)
        reading = pool.submit(_read_and_be_killed, user, heard, over, chance)
        working = [pool.submit(_work, user, 25) for _ in range(3)]
        try:
            with Redis.from_url(broken_house.ready["broker_url"]) as redis:
                wait_until(lambda: len(heard) > 100, 20, "all are at work")
                redis.flushall()
                before = len(heard)
                wait_until(lambda: len(heard) > before + 100, 40, "they go on")
                os.kill(broken_house.pid("valkey"), signal.SIGKILL)
            for worker in working:
                worker.result(90)
            (committed,) = zip(*_events(user), strict=True)
            wait_until(lambda: heard[-1]["event_id"] == committed[-1], 30, "the last is heard of")
        finally:
            over.set()
        assert reading.result(30) > 2, "it was not killed"
        assert killing.result(30) > 0
    assert {message["event_id"] for message in heard} == set(committed)
    paths: dict[str, list[str | None]] = defaultdict(lambda: [None])
    last = 0
    for message in heard:
        if message["event_id"] <= last:
            continue  # once more, by one that was killed before it could say that it had it
        last = message["event_id"]
        path = paths[message["task_input_id"]]
        assert path[-1] == message["from_status"]
        path.append(message["to_status"])


def _work(user: User, rounds: int) -> None:
    with user.house.client(user.token) as mine:
        for _ in range(rounds):
            # Repeating what has not been answered is safe, and what was claimed stays so.
            with contextlib.suppress(Unreachable, Refused):
                list(mine.submit(definitions(4)))
                for claimed in mine.claim(4):
                    claimed.running()
                    claimed.done()


def _events(user: User) -> list[tuple[int]]:
    return user.house.ask(
        "SELECT event_id FROM porch.event JOIN porch.task USING (task_id) JOIN porch.pipeline"
        " USING (pipeline_id) WHERE name = %s AND NOT refused ORDER BY event_id",
        user.pipeline,
    )


def _read_and_be_killed(
    user: User, heard: list[dict[str, Any]], over: threading.Event, chance: random.Random
) -> int:
    """How often it was killed. A reader that is killed knows what it had written down by then."""
    killed, known = 0, 0
    while not over.is_set():
        with watching(user, "--after", str(known)) as (_, lines):
            over.wait(chance.uniform(0.5, 2.5))
        written_down = lines[: chance.randint(0, len(lines))] if not over.is_set() else lines
        heard += lines
        known = written_down[-1]["event_id"] if written_down else known
        killed += 1
    return killed


def _kill_relays(house: House, over: threading.Event, chance: random.Random) -> int:
    killed = 0
    while not over.wait(chance.uniform(0.3, 2.0)):
        with contextlib.suppress(StopIteration, ProcessLookupError, json.JSONDecodeError):
            os.kill(house.pid("relay"), signal.SIGKILL)
            killed += 1
    return killed
