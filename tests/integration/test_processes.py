"""The family of child processes: nothing outlives it, whatever happens to whom."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config import supervision
from config.lifeline import running
from config.processes import Family, Program, ProgramDied
from config.supervision import keep_running

SLEEPER = ["sleep", "1000"]
STUBBORN = ["sh", "-c", "trap '' TERM; echo armed; while :; do sleep 0.05; done"]


def program(name: str, argv: list[str], folder: Path, stage: int = 0) -> Program:
    return Program(
        name=name,
        argv=argv,
        env=dict(os.environ),
        cwd=folder,
        log=folder / f"{name}.log",
        stage=stage,
        stop_signal=signal.SIGTERM,
        stop_seconds=0.5,
    )


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    with (
        (tmp_path / "lock").open("w") as lock,
        Family(lock.fileno(), tmp_path / "children.json") as family,
    ):
        yield family


def test_a_child_leads_a_session_of_its_own(family: Family, tmp_path: Path) -> None:
    child = family.start(program("a", SLEEPER, tmp_path))
    assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid


def test_stopping_ends_every_child_even_one_that_ignores_the_signal(
    family: Family, tmp_path: Path
) -> None:
    polite = family.start(program("polite", SLEEPER, tmp_path))
    stubborn = family.start(program("stubborn", STUBBORN, tmp_path))
    wait_until(lambda: "armed" in (tmp_path / "stubborn.log").read_text())
    family.stop()
    assert not polite.alive
    assert not stubborn.alive


def test_lower_stages_are_gone_before_higher_ones_are_asked(family: Family, tmp_path: Path) -> None:
    tell = 'trap "date +%s%N; exit" TERM; echo armed; while :; do sleep 0.05; done'
    family.start(program("last", ["bash", "-c", tell], tmp_path, stage=2))
    family.start(program("first", STUBBORN, tmp_path, stage=1))
    for name in ("first", "last"):
        wait_until(lambda name=name: "armed" in (tmp_path / f"{name}.log").read_text())  # type: ignore[misc]
    began = time.time()
    family.stop()
    told = int((tmp_path / "last.log").read_text().split()[-1]) / 1e9
    assert told - began >= 0.5, "it was asked while a lower stage was still running"


def test_what_a_child_left_in_its_group_dies_with_it(family: Family, tmp_path: Path) -> None:
    child = family.start(program("a", ["sh", "-c", "sleep 1000 & echo $!; exit 0"], tmp_path))
    wait_until(lambda: not child.alive)
    grandchild = int((tmp_path / "a.log").read_text())
    family.reap(child)
    wait_until(lambda: not _exists(grandchild))


def test_a_program_that_fails_shows_the_end_of_its_log(family: Family, tmp_path: Path) -> None:
    failing = program("a", ["sh", "-c", "echo no room on the moon; exit 3"], tmp_path)
    with pytest.raises(ProgramDied, match=r"(?s)a ended with exit status 3.*no room on the moon"):
        family.run(failing, seconds=10)


def test_a_program_that_does_not_exist_is_a_program_that_died(
    family: Family, tmp_path: Path
) -> None:
    child = family.start(program("a", ["no-such-program"], tmp_path))
    with pytest.raises(ProgramDied, match=r"(?s)exit status 127.*no-such-program"):
        family.wait_until(child, lambda: False, seconds=10)


PARENT = """
import os, sys, time
from pathlib import Path
from config.processes import Family, Program
folder = Path(sys.argv[1])
lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
with Family(lock, folder / "children.json") as family:
    child = family.start(
        Program("a", ["sleep", "1000"], dict(os.environ), folder, folder / "a.log", 0, 15, 5.0)
    )
    print(child.pid, child.member.created, family._lifeline._process.pid, flush=True)
    time.sleep(1000)
"""


def test_children_of_a_killed_parent_are_stopped(tmp_path: Path) -> None:
    with _parent(tmp_path) as parent:
        pid, created, _ = _facts(parent)
        parent.kill()
        wait_until(lambda: not running(pid, created))


def test_the_next_family_stops_what_was_left_when_the_lifeline_was_killed_too(
    tmp_path: Path,
) -> None:
    with _parent(tmp_path) as parent:
        pid, created, lifeline = _facts(parent)
        os.kill(lifeline, signal.SIGKILL)
        parent.kill()
        parent.wait()
        assert running(pid, created)
        with (tmp_path / "lock").open() as lock:
            Family(lock.fileno(), tmp_path / "children.json").stop()
        assert not running(pid, created)


def test_a_killed_lifeline_is_replaced_by_one_that_knows_the_children(tmp_path: Path) -> None:
    source = PARENT.replace("time.sleep(1000)\n", "sys.stdin.readline(); family.mend()\n")
    source += "    print('mended', flush=True); time.sleep(1000)\n"
    with _parent(tmp_path, source) as parent:
        pid, created, lifeline = _facts(parent)
        os.kill(lifeline, signal.SIGKILL)
        wait_until(lambda: not _exists(lifeline) or _is_zombie(lifeline))
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write("go\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == "mended\n"
        parent.kill()
        wait_until(lambda: not running(pid, created))


def test_a_child_that_keeps_dying_is_started_until_it_can_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_LONGEST_DELAY", 0.05)
    said: list[str] = []
    room, lives = tmp_path / "room", tmp_path / "lives"

    class Seen(Exception):
        pass

    def pause(_: float) -> None:
        if len(said) == 10:
            room.touch()
        if lives.exists():
            raise Seen
        time.sleep(0.01)

    script = f"[ -e {room} ] || exit 4; touch {lives}; exec sleep 1000"
    with (
        (tmp_path / "lock").open("w") as lock,
        Family(lock.fileno(), tmp_path / "children.json", pause) as family,
    ):
        family.start(program("server", ["sh", "-c", script], tmp_path))
        with pytest.raises(Seen):
            keep_running(family, said.append)
    assert len(said) >= 10
    assert said[0].startswith(
        "server died with exit status 4; starting it again in 0 s; its log: /"
    )


def test_children_are_watched_on_where_no_list_of_them_can_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    with (
        (tmp_path / "lock").open("w") as lock,
        Family(lock.fileno(), folder / "children.json") as family,
    ):
        ended = family.start(program("ended", ["true"], tmp_path))
        (folder / "children.json").unlink()
        folder.rmdir()
        wait_until(lambda: not ended.alive)
        assert family.reap(ended) == 0
        other = family.start(program("other", SLEEPER, tmp_path))
        assert other.alive
        folder.mkdir()
        family.mend()
        (listed,) = json.loads((folder / "children.json").read_text())
        assert listed["pid"] == other.pid


@contextlib.contextmanager
def _parent(folder: Path, source: str = PARENT) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", source, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as parent:
        try:
            yield parent
        finally:
            parent.kill()


def _facts(parent: subprocess.Popen[str]) -> tuple[int, float, int]:
    assert parent.stdout is not None
    pid, created, lifeline = parent.stdout.readline().split()
    return int(pid), float(created), int(lifeline)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _is_zombie(pid: int) -> bool:
    return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
