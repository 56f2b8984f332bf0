"""A worker that is killed in the middle of a submission costs nothing and doubles nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from subprocess import Popen

import psutil
import pytest
import redis

from config.sample_sheet import write_sample_sheet
from porch_client.channel import RESEND_AFTER
from tests.conftest import SRA
from tests.house import House, User, json_lines, wait_until

RUNS = 6_889


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real sheet, or a made-up one of its length where it is not at hand."""
    if SRA.exists():
        return SRA
    return write_sample_sheet(tmp_path_factory.mktemp("sheet") / "runs.csv", RUNS)


def main_process(worker: int) -> list[int]:
    """The process that takes messages from the broker."""
    return [worker]


def prefork_children(worker: int) -> list[int]:
    """The processes that carry them out; one of them has it in hand."""
    return [child.pid for child in psutil.Process(worker).children()]


@pytest.mark.parametrize("victims", [main_process, prefork_children])
def test_killing_a_worker_loses_nothing_and_doubles_nothing(
    broken_house: House, sheet: Path, victims: Callable[[int], list[int]]
) -> None:
    with User(broken_house) as user:
        argv = ("submit", "--pipeline", user.pipeline, "-", "--format", "csv")
        process = user.start(*argv, "--key", "Run,LibraryLayout,Platform")
        with sheet.open() as lines:
            feed(process, islice(lines, 2_001))
            wait_until(user.client.count, what="something is registered")
            pids = victims(broken_house.pid("worker.submit"))
            feed_until_in_hand(broken_house, process, lines)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            registered = sum(user.client.count().values())
            assert registered < RUNS, "it was over already"
            began = time.monotonic()
            output, said = process.communicate("".join(lines), timeout=60)
        assert process.returncode == 0, said
        assert time.monotonic() - began < RESEND_AFTER + 10, "an answer was not heard"
        answers = json_lines(output)
        assert sum(answer["created"] for answer in answers) == len(answers) == RUNS
        assert user.client.count() == {"PENDING": RUNS}
        events = broken_house.ask(
            "SELECT count(*), count(DISTINCT task_id), min(to_status), max(to_status)"
            " FROM porch.event JOIN porch.task USING (task_id)"
            " JOIN porch.pipeline USING (pipeline_id) WHERE name = %s",
            user.pipeline,
        )
        assert events == [(RUNS, RUNS, "PENDING", "PENDING")]


def feed(process: Popen[str], lines: Iterator[str]) -> None:
    """Write lines to the standard input of a command."""
    assert process.stdin is not None
    process.stdin.writelines(lines)
    process.stdin.flush()


def feed_until_in_hand(house: House, process: Popen[str], lines: Iterator[str]) -> None:
    """Write on, a message's worth at a time, until a worker has one that it has not answered."""
    with closing(redis.Redis.from_url(house.ready["broker_url"])) as broker:
        for _ in range(4):
            feed(process, islice(lines, 1_000))
            for _ in range(300):
                if broker.hlen("unacked"):
                    return
    raise AssertionError("no message was seen in the hands of a worker")
