"""Processes that count together: none is counted twice, none is forgotten, nothing is left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.house import environment, wait_until
from tests.metrics.exposed import Scraped

#: A first process that starts others, by fork as a worker does or anew as a gateway does, each of
#: which does what it is told: a line each, answered by a line.
_GROUP = """
import os, sys
from prometheus_client.exposition import generate_latest
from config.metrics import sharing
from config.metrics.exposing import Exposition
from config.wiring import counting

sharing.count_together()
counting().redelivered()
exposition = Exposition(counting())
print(sharing.folder(), flush=True)
for line in sys.stdin:
    if line.startswith("fork"):
        pid = os.fork()
        if not pid:
            counting().tried_again()
            counting().took("submit", 0.01, 1)
            from prometheus_client import Gauge
            gauge = Gauge("in_use", "x", registry=counting().registry, multiprocess_mode="livesum")
            gauge.inc()
            print(os.getpid(), flush=True)
            import signal
            while True:
                signal.pause()
        line = ""
    elif line.startswith("told"):
        text = exposition.told("")[0].decode()
        print(len(text.splitlines()))
        print(text, end="", flush=True)
    elif line.startswith("reap"):
        print(os.waitpid(int(line.split()[1]), 0)[0], flush=True)
"""


class Group:
    """A group of processes. ``folder``: where it counts."""

    def __init__(self, tmp: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _GROUP],
            env=environment({"TMPDIR": str(tmp), "PYTHONPATH": os.getcwd()}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.folder = Path(self._line())
        self.members: list[int] = []

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def say(self, words: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        return self._line()

    def fork(self) -> int:
        self.members.append(int(self.say("fork")))
        return self.members[-1]

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.members.remove(pid)
        self.say(f"reap {pid}")

    def told(self) -> Scraped:
        lines = int(self.say("told"))
        assert self.process.stdout is not None
        return Scraped("".join(self.process.stdout.readline() for _ in range(lines)))

    def end(self) -> None:
        for pid in list(self.members):
            self.kill(pid)
        self.process.communicate(timeout=30)


@contextmanager
def group(tmp: Path) -> Iterator[Group]:
    made = Group(tmp)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.end()


def retries(told: Scraped) -> float:
    return told.value("porch_postgresql_retries_total")


def test_all_are_told_as_one(tmp_path: Path) -> None:
    with group(tmp_path) as running:
        running.fork()
        running.fork()
        told = running.told()
        assert retries(told) == 2
        assert told.value("porch_messages_redelivered_total") == 1
        assert told.value("porch_verb_seconds_count", verb="submit") == 2


def test_what_a_killed_one_counted_stays_and_what_it_was_doing_does_not(tmp_path: Path) -> None:
    with group(tmp_path) as running:
        killed = running.fork()
        running.fork()
        assert running.told().value("in_use") == 2
        running.kill(killed)
        told = running.told()
        assert (retries(told), told.value("in_use")) == (2, 1)


def test_another_takes_the_place_of_a_killed_one(tmp_path: Path) -> None:
    with group(tmp_path) as running:
        before: Any = None
        for n in range(1, 4):
            running.fork()
            assert retries(running.told()) == n
            files = sorted(path.name for path in running.folder.glob("*.db"))
            assert files == (before or files)
            before = files
            running.kill(running.members[0])


def test_the_folder_goes_with_the_first_of_them(tmp_path: Path) -> None:
    with group(tmp_path) as running:
        running.fork()
        assert running.folder.exists()
        running.end()
        assert not running.folder.exists()


def test_what_a_killed_group_left_goes_when_another_comes(tmp_path: Path) -> None:
    with group(tmp_path) as lasting, group(tmp_path) as killed:
        killed.process.kill()
        killed.process.communicate(timeout=30)
        assert killed.folder.exists()
        with group(tmp_path) as other:
            assert not killed.folder.exists()
            assert {lasting.folder, other.folder} == set(lasting.folder.parent.iterdir())


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_a_folder_that_others_may_enter_is_not_used(tmp_path: Path, mode: int) -> None:
    home = tmp_path / f"porch-metrics-{os.geteuid()}"
    home.mkdir()
    home.chmod(mode)
    done = subprocess.run(
        [sys.executable, "-P", "-c", _GROUP],
        env=environment({"TMPDIR": str(tmp_path), "PYTHONPATH": os.getcwd()}),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=30,
        check=False,
    )
    assert "is not this user's alone" in done.stderr
    wait_until(lambda: not list(home.iterdir()))
