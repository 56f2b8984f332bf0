"""`porch drain` of a pipeline with a lease: alive it keeps its work, dead it loses it, in time."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

import pytest

from tests.house import House, User, json_lines, wait_until

LEASE = 2
#: Within which the work of somebody who died is PENDING again.
TAKEN_BACK = LEASE + 5.0
ONCE = [("PENDING", 0), ("CLAIMED", 1), ("RUNNING", 1), ("DONE", 1)]


@pytest.fixture
def leased(house: House, user: User) -> User:
    """A user whose pipeline has a short lease."""
    admin = house.ready["admin_token"]
    done = house.porch("pipeline", "update", user.pipeline, "--lease", f"{LEASE}s", token=admin)
    assert done.returncode == 0, done.stderr
    return user


class Command:
    """A drain that runs one command, which says its process id and then does as it is told."""

    def __init__(self, user: User, folder: Path, script: str = "exec sleep 60") -> None:
        self._pid = folder / "pid"
        (self.task,) = user.register({"n": 1})
        script = f"echo $$ > {shlex.quote(str(self._pid))}; {script}"
        self.drain: Popen[str] = user.start("drain", "--", "sh", "-c", script)

    def pid(self) -> int:
        text: str = wait_until(lambda: self._pid.exists() and self._pid.read_text(), what="it runs")
        return int(text)

    def end(self) -> tuple[int, str]:
        _, said = self.drain.communicate(timeout=60)
        return self.drain.returncode, said

    def close(self) -> None:
        if self.drain.poll() is None:
            self.drain.kill()
        # In a session of its own, a command outlives a drain that is killed.
        if self._pid.exists():
            with suppress(ProcessLookupError):
                os.killpg(self.pid(), signal.SIGKILL)
        self.drain.communicate()


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    started: list[Command] = []

    def start(user: User, *script: str) -> Command:
        started.append(Command(user, tmp_path, *script))
        return started[-1]

    yield start
    for one in started:
        one.close()


def path(user: User, task: str) -> list[tuple[str, int]]:
    """Status and attempt of a task, change by change."""
    return [(e.to_status, e.attempt) for e in user.history(task) if not e.refused]


def test_work_that_takes_longer_than_its_lease_is_done_in_one_attempt(leased: User) -> None:
    """One command sleeps for three leases, others keep every core busy for two, and the last task
    waits until they are over."""
    cores = os.cpu_count() or 1
    tasks = leased.register(*({"n": n} for n in range(cores + 2)))
    busy = f"import time; end = time.monotonic() + {2 * LEASE}\nwhile time.monotonic() < end: pass"
    script = f"""
        case $1 in
            0) exec sleep {3 * LEASE} ;;
            {cores + 1}) exit 0 ;;
            *) exec python3 -c {shlex.quote(busy)} ;;
        esac"""
    jobs = ("-j", str(cores + 1), "-n", str(len(tasks)))
    done = leased.porch("drain", *jobs, "--", "sh", "-c", script, "sh", "{n}")
    assert done.stderr == f"  {len(tasks)} claimed  {len(tasks)} DONE  0 FAILED\n"
    assert [path(leased, task) for task in tasks] == [ONCE] * len(tasks)


def test_a_lease_that_is_set_while_the_work_waits_is_kept(
    house: House, user: User, tmp_path: Path
) -> None:
    """Nothing but the answer to RUNNING tells the drain that there is a lease now."""
    up, go = tmp_path / "up", tmp_path / "go"
    tasks = user.register({"n": 1}, {"n": 2})
    script = (
        f'[ "$1" = 2 ] && exec sleep {3 * LEASE}; : > {up}; until [ -e {go} ]; do sleep 0.05; done'
    )
    drain = user.start("drain", "-n", "2", "--", "sh", "-c", script, "sh", "{n}")
    wait_until(up.exists, what="the first command runs")
    with house.admin() as admin:
        admin.set_policy(user.pipeline, lease=LEASE)
    go.touch()
    _, said = drain.communicate(timeout=60)
    assert said == "  2 claimed  2 DONE  0 FAILED\n"
    assert [path(user, task) for task in tasks] == [ONCE] * 2


def test_a_command_that_has_reported_by_itself_may_go_on(leased: User) -> None:
    (task,) = leased.register({"n": 1})
    script = f"porch update $1 --status DONE --message early >&2; exec sleep {2 * LEASE}"
    done = leased.porch("drain", "--", "sh", "-c", script, "sh", "{task_input_id}")
    assert done.stderr.endswith("  1 claimed  1 DONE  0 FAILED\n")
    assert path(leased, task) == ONCE
    assert leased.history(task)[-1].message == "early"


def test_a_cancelled_task_has_its_command_stopped(
    leased: User, command: Callable[..., Command]
) -> None:
    running = command(leased)
    running.pid()
    wait_until(lambda: leased.status(running.task) == "RUNNING")
    assert leased.porch("cancel", running.task, "--reason", "not needed").returncode == 0
    status, said = running.end()
    assert (status, "1 claimed  0 DONE  0 FAILED  1 lost" in said) == (0, True), said
    assert f"porch: illegal_change: task {running.task[:12]} is CANCELLED" in said
    assert path(leased, running.task)[-1] == ("CANCELLED", 1)


def test_a_task_that_somebody_else_has_now_is_left_to_them(
    leased: User, command: Callable[..., Command]
) -> None:
    running = command(leased, "trap 'exit 0' TERM; while :; do sleep 0.05; done")
    running.pid()
    wait_until(lambda: leased.status(running.task) == "RUNNING")
    running.drain.send_signal(signal.SIGSTOP)  # or it could be the one that claims again
    leased.client.release([(running.task, 1, None)])
    (theirs,) = leased.client.claim()
    running.drain.send_signal(signal.SIGCONT)
    status, said = running.end()
    assert (status, "1 claimed  0 DONE  0 FAILED  1 lost" in said) == (0, True), said
    assert f"porch: stale_attempt: task {running.task[:12]} is in attempt 2" in said
    theirs.done()
    assert path(leased, running.task)[-2:] == [("CLAIMED", 2), ("DONE", 2)]


def test_the_work_of_a_drain_that_is_killed_is_pending_in_time(
    leased: User, command: Callable[..., Command]
) -> None:
    running = command(leased)
    running.pid()
    running.drain.kill()
    running.drain.wait()
    wait_until(lambda: leased.status(running.task) == "PENDING", TAKEN_BACK, "taken back")
    assert str(leased.history(running.task)[-1].message).startswith("lease ran out at ")


def test_a_drain_that_was_frozen_past_its_last_attempt_stops_its_command(
    house: House, leased: User, command: Callable[..., Command]
) -> None:
    with house.admin() as admin:
        admin.set_policy(leased.pipeline, max_attempts=1)
    running = command(leased, "trap 'exit 0' TERM; while :; do sleep 0.05; done")
    running.pid()
    running.drain.send_signal(signal.SIGSTOP)
    wait_until(lambda: leased.status(running.task) == "FAILED", TAKEN_BACK, "the lease ran out")
    running.drain.send_signal(signal.SIGCONT)
    status, said = running.end()
    assert (status, "1 claimed  0 DONE  0 FAILED  1 lost" in said) == (0, True), said
    assert f"porch: stale_attempt: task {running.task[:12]}" in said
    assert [e.to_status for e in leased.history(running.task) if e.refused] == ["RUNNING"]


def test_without_a_lease_it_stays_and_is_listed_as_stale(
    user: User, command: Callable[..., Command]
) -> None:
    running = command(user)
    running.pid()
    running.drain.kill()
    running.drain.wait()

    def stale() -> list[str]:
        listed = user.porch("list", "--stale", f"{LEASE + 1}s")
        return [line["task_input_id"] for line in json_lines(listed.stdout)]

    assert wait_until(stale, what="it is listed") == [running.task]
    assert path(user, running.task)[-1] == ("RUNNING", 1)


def test_the_id_of_a_job_goes_with_every_claim_of_a_drain(user: User) -> None:
    tasks = user.register({"n": 1}, {"n": 2})
    assert user.porch("drain", "--job-id", "4711", "--", "true").returncode == 0
    claims = [e for task in tasks for e in user.history(task) if e.to_status == "CLAIMED"]
    assert [claim.job_id for claim in claims] == ["4711"] * 2
