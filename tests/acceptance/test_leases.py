"""Leases, retries and late reports, as users meet them: with beat and its sweeps at work."""

from __future__ import annotations

import json
import os
import pty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from tests.house import BIN, User, environment, json_lines, start, wait_until


def set_policy(user: User, *options: str) -> None:
    argv = ("pipeline", "update", user.pipeline, *options)
    done = user.house.porch(*argv, token=user.house.ready["admin_token"])
    assert done.returncode == 0, done.stderr


def claimed(user: User, *options: str) -> str:
    user.register({"Run": "ERR1"})
    (line,) = json_lines(user.porch("claim", *options).stdout)
    return str(line["task_input_id"])


def failed(user: User, *messages: str) -> list[str]:
    """Tasks that failed, each with a message of its own."""
    user.register(*({"n": n} for n in range(len(messages))))
    tasks = user.client.claim(len(messages))
    for task, message in zip(tasks, messages, strict=True):
        task.failed(message)
    return [task.task_input_id for task in tasks]


# Time ---------------------------------------------------------------------------------------


def test_work_whose_lease_ran_out_is_pending_again_and_its_history_says_so(user: User) -> None:
    set_policy(user, "--lease", "1s")
    task = claimed(user, "--job-id", "4711")
    wait_until(lambda: user.status(task) == "PENDING", 6.0, "the lease has run out")
    shown = user.porch("show", task).stdout
    assert "CLAIMED -> PENDING" in shown
    assert "lease ran out at" in shown
    assert "job 4711" in shown


def test_a_report_that_comes_too_late_is_refused_and_shown(user: User) -> None:
    set_policy(user, "--lease", "1s")
    task = claimed(user)
    wait_until(lambda: user.status(task) == "PENDING", 6.0, "the lease has run out")
    set_policy(user, "--lease", "none")
    user.client.claim(1)
    done = user.porch("update", task, "--status", "DONE", "--attempt", "1", "--message", "at last")
    assert done.returncode == 1
    assert done.stderr.startswith("porch: stale_attempt: ")
    assert user.status(task) == "CLAIMED"
    assert "refused: DONE of attempt 1, too late" in user.porch("show", task).stdout


def test_what_failed_is_tried_again_by_itself_unless_it_is_permanent(user: User) -> None:
    set_policy(user, "--max-attempts", "2", "--retry", "1s")
    user.register({"n": 1}, {"n": 2})
    passing, permanent = (task.task_input_id for task in user.client.claim(2))
    user.porch("update", passing, "--status", "FAILED", "--attempt", "1")
    user.porch("update", permanent, "--status", "FAILED", "--attempt", "1", "--permanent")
    wait_until(lambda: user.status(passing) == "PENDING", 6.0, "it is tried again")
    assert user.history(passing)[-1].message == "tried again: attempt 2 of 2"
    assert user.status(permanent) == "FAILED"


def test_a_retry_without_a_limit_is_refused(user: User) -> None:
    argv = ("pipeline", "update", user.pipeline, "--retry", "5m")
    done = user.house.porch(*argv, token=user.house.ready["admin_token"])
    assert done.returncode == 1
    assert "for ever" in done.stderr
    assert "--max-attempts" in done.stderr


def test_held_work_that_nothing_vouches_for_is_listed_as_stale(user: User) -> None:
    task = claimed(user, "--job-id", "4711")
    user.register({"Run": "ERR2"})
    (line,) = json_lines(user.porch("list", "--stale").stdout)
    assert (line["task_input_id"], line["status"], line["job_id"]) == (task, "CLAIMED", "4711")
    assert json_lines(user.porch("list", "--stale", "2h").stdout) == []
    assert json.loads(user.porch("list", "--stale", "--count").stdout) == {"CLAIMED": 1}


def test_a_second_beat_does_no_harm_and_keeps_nothing_on_disk(user: User, tmp_path: Path) -> None:
    set_policy(user, "--lease", "1s")
    ready = tmp_path / "ready"
    env = {
        "PORCH_BROKER_URL": user.house.ready["broker_url"],
        "PORCH_READY_FILE": str(ready),
    }
    process = start("porch-server", "beat", env=env, cwd=tmp_path)
    wait_until(ready.exists, what="the second beat is at work")
    tasks = user.register(*({"n": n} for n in range(50)))
    user.client.claim(50)
    wait_until(lambda: user.client.count() == {"PENDING": 50}, 6.0, "all leases have run out")
    process.terminate()
    process.communicate(timeout=20)
    assert [*tmp_path.iterdir()] == [ready]
    paths = {tuple(event.to_status for event in user.history(task)) for task in tasks[:10]}
    assert paths == {("PENDING", "CLAIMED", "PENDING")}


# All that match -----------------------------------------------------------------------------


@contextmanager
def typed(user: User, *argv: str) -> Iterator[tuple[Popen[bytes], int]]:
    """A command in a terminal: the process, and our end of the terminal."""
    ours, theirs = pty.openpty()
    process = Popen(
        [str(BIN / "porch"), *argv],
        env=environment(user.house.env(user.token)),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.wait(30)
        os.close(ours)


@pytest.mark.parametrize(("answer", "status"), [(b"y\n", "PENDING"), (b"n\n", "FAILED")])
def test_a_person_is_asked_before_all_that_match_are_changed(
    user: User, answer: bytes, status: str
) -> None:
    full, *_ = failed(user, "exit 1: No space left", "exit 2: bad read group")
    with typed(user, "rerun", "--status", "FAILED", "--message-like", "no space") as (_, terminal):
        said = b""
        while b"1 task FAILED -> PENDING? [y/N]" not in said:
            said += os.read(terminal, 4096)
        os.write(terminal, answer)
    assert user.status(full) == status


def test_only_what_matches_is_run_again(user: User) -> None:
    first, other, third = failed(user, "No space left", "bad read group", "no space LEFT on /dev")
    argv = ("rerun", "--status", "FAILED", "--message-like", "no space%left", "--reason", "larger")
    done = user.porch(*argv, "--yes")
    assert done.returncode == 0, done.stderr
    assert {line["task_input_id"] for line in json_lines(done.stdout)} == {first, third}
    assert done.stderr.endswith("  2 tasks FAILED -> PENDING: 2 done\n")
    assert [user.status(task) for task in (first, other, third)] == ["PENDING", "FAILED", "PENDING"]
    assert user.history(first)[-1].message == "larger"


def test_without_a_terminal_all_that_match_need_a_yes(user: User) -> None:
    (task,) = failed(user, "No space left")
    done = user.porch("rerun", "--status", "FAILED")
    assert done.returncode == 2
    assert "add --yes" in done.stderr
    assert user.status(task) == "FAILED"


def test_all_that_is_done_needs_force_and_a_reason_too(user: User) -> None:
    user.register({"n": 1}, {"n": 2})
    for task in user.client.claim(2):
        task.done()
    argv = ("rerun", "--status", "DONE", "--yes")
    assert "force_needed" in user.porch(*argv).stderr
    assert "reason_needed" in user.porch(*argv, "--force").stderr
    assert user.client.count() == {"DONE": 2}
    assert user.porch(*argv, "--force", "--reason", "new reference").returncode == 0
    assert user.client.count() == {"PENDING": 2}


def test_all_that_match_are_cancelled(user: User) -> None:
    user.register({"Run": "SRR1"}, {"Run": "SRR2"}, {"Run": "ERR1"})
    done = user.porch("cancel", "--status", "PENDING", "--text", "SRR", "--yes")
    assert done.returncode == 0, done.stderr
    assert user.client.count() == {"PENDING": 1, "CANCELLED": 2}
