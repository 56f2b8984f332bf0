"""`porch drain`: a command for every task of a claim queue, once, and its end reported."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from collections import Counter
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from porch_client.model import Event
from tests.house import House, User, wait_until


def shell(script: str, *arguments: str) -> tuple[str, ...]:
    """A command line that runs a shell script."""
    return ("--", "sh", "-c", script, "sh", *arguments)


def last(user: User, task: str) -> Event:
    """The last event of a task."""
    return user.history(task)[-1]


def end(process: Popen[str]) -> tuple[int, str]:
    """The exit status of a command, and what it has said to people."""
    _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    return process.returncode, said


# The race -----------------------------------------------------------------------------------


def test_sixteen_drains_run_every_task_once_and_leave_none(house: House, tmp_path: Path) -> None:
    runs, tasks, drains = tmp_path / "runs", 400, 16
    with User(house) as user:
        user.register(*({"n": n} for n in range(tasks)))
        command = shell(f'echo "$1" >> {shlex.quote(str(runs))}', "{n}")
        argv = ("drain", "--pipeline", user.pipeline, "-j", "2", "-n", "5", *command)
        racing = [user.start(*argv) for _ in range(drains)]
        ends = [end(process) for process in racing]
        assert Counter(map(int, runs.read_text().split())) == Counter(range(tasks))
        assert user.client.count() == {"DONE": tasks}
    assert {status for status, _ in ends} == {0}
    closing = r"  0 claimed: the claim queue is empty\n|  (\d+) claimed  \1 DONE  0 FAILED\n"
    told = [re.fullmatch(closing, said) for _, said in ends]
    assert all(told), [said for _, said in ends]
    assert sum(int(match[1] or 0) for match in told if match) == tasks
    assert "deadlock" not in (house.state_dir / "postgresql.log").read_text()


def test_results_are_reported_where_nobody_reads_what_is_said(user: User) -> None:
    user.register(*({"n": n} for n in range(3)))
    with user.start("drain", "-v", *shell("true")) as process:
        assert process.stderr is not None
        process.stderr.close()
        process.wait(60)
    assert user.client.count() == {"DONE": 3}


# What a command gets ------------------------------------------------------------------------


@pytest.fixture
def seen(user: User, tmp_path: Path) -> dict[str, Any]:
    """What the command of one task found on its command line, in its environment and on stdin."""
    (task,) = user.register({"Run": "ERR 1; $(x)", "lib-size": 12, "deep": {"a": [1]}, "on": True})
    script = tmp_path / "look.py"
    script.write_text(
        "import json, os, sys\n"
        "found = {'argv': sys.argv[1:], 'stdin': sys.stdin.read(), 'env': dict(os.environ)}\n"
        f"json.dump(found, open({str(tmp_path / 'seen')!r}, 'w'))\n"
    )
    words = ("{Run}", "x{lib-size}y", "{on}", "{{Run}}", "{task_input_id}/{attempt}", "{version}")
    done = user.porch("drain", "--", "python3", str(script), *words)
    assert done.returncode == 0, done.stderr
    return {"task": task, **json.loads((tmp_path / "seen").read_text())}


def test_placeholders_are_filled_and_no_shell_sees_a_value(seen: dict[str, Any]) -> None:
    argv = ["ERR 1; $(x)", "x12y", "true", "{Run}", f"{seen['task']}/1", "1.0"]
    assert seen["argv"] == argv


def test_the_task_is_on_stdin_and_in_the_environment(seen: dict[str, Any], user: User) -> None:
    task = json.loads(seen["stdin"])
    assert json.loads(seen["env"]["PORCH_TASK"]) == task
    assert (task["pipeline"], task["version"], task["attempt"]) == (user.pipeline, "1.0", 1)
    assert task["task_input_id"] == seen["task"]
    assert task["task_input"]["deep"] == {"a": [1]}


def test_scalars_of_the_input_are_variables(seen: dict[str, Any]) -> None:
    inputs = {name: text for name, text in seen["env"].items() if name.startswith("PORCH_INPUT_")}
    assert inputs == {
        "PORCH_INPUT_RUN": "ERR 1; $(x)",
        "PORCH_INPUT_LIB_SIZE": "12",
        "PORCH_INPUT_ON": "true",
    }


def test_a_command_may_report_by_itself(user: User) -> None:
    (task,) = user.register({"Run": "ERR1"})
    update = "porch update {task_input_id} --status DONE --attempt {attempt} --message {Run}"
    done = user.porch("drain", "--", *update.split())
    assert done.returncode == 0
    assert done.stderr == "  1 claimed  1 DONE  0 FAILED\n"
    story = [(event.to_status, event.message) for event in user.history(task)]
    assert story[2:] == [("RUNNING", None), ("DONE", "ERR1")]


# How a command ends -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 3", "exit 3"),
        ("kill -KILL $$", "signal SIGKILL"),
        ("kill -SEGV $$", "signal SIGSEGV"),
        ("echo trouble >&2; exit 1", "exit 1: trouble"),
        (
            "for n in $(seq 1000); do echo line $n >&2; done; exit 1",
            "exit 1: " + "\n".join(f"line {n}" for n in range(981, 1001)),
        ),
    ],
)
def test_a_failure_keeps_how_it_ended_and_the_last_words(
    user: User, script: str, message: str
) -> None:
    (task,) = user.register({"Run": "ERR1"})
    done = user.porch("drain", *shell(script))
    assert done.returncode == 0
    closing = f"  1 claimed  0 DONE  1 FAILED   why: porch failures --pipeline {user.pipeline}"
    assert done.stderr.endswith(f"{closing}\n")
    assert (last(user, task).to_status, last(user, task).message) == ("FAILED", message)


def test_an_empty_claim_queue_is_no_error(user: User) -> None:
    done = user.porch("drain", "--", "true")
    assert (done.returncode, done.stderr) == (0, "  0 claimed: the claim queue is empty\n")


def test_a_command_that_does_not_exist_costs_no_task(user: User) -> None:
    (task,) = user.register({"Run": "ERR1"})
    done = user.porch("drain", "--", "./no-such-command")
    assert done.returncode == 2
    assert done.stderr.startswith("porch: no_command: ")
    assert user.status(task) == "PENDING"


def test_a_placeholder_without_a_value_costs_no_task(user: User) -> None:
    (task,) = user.register({"Run": "ERR1"})
    done = user.porch("drain", "--", "true", "{run}")
    assert done.returncode == 2
    assert "porch: unknown_placeholder: {run}" in done.stderr
    assert user.status(task) == "PENDING"


# Signals ------------------------------------------------------------------------------------


def draining(user: User, tmp_path: Path, script: str) -> Popen[str]:
    """A drain that holds three tasks and runs the script for the first of them."""
    up = tmp_path / "up"
    user.register({"n": 1}, {"n": 2}, {"n": 3})
    process = user.start("drain", "-n", "3", *shell(f": > {shlex.quote(str(up))}; {script}"))
    wait_until(up.exists, what="the first command runs")
    return process


def endings(user: User) -> dict[str, list[str | None]]:
    """Messages of the last events, by the status of their tasks."""
    found: dict[str, list[str | None]] = {}
    for task in user.client.list():
        message = last(user, task.task_input_id).message
        found.setdefault(task.status, []).append(message)
    return found


def test_sigterm_gives_back_what_was_not_started_and_reports_what_was(
    user: User, tmp_path: Path
) -> None:
    process = draining(user, tmp_path, "exec sleep 60")
    process.terminate()
    status, said = end(process)
    assert status == 128 + signal.SIGTERM
    assert said.endswith(
        "  3 claimed  0 DONE  1 FAILED  2 released   "
        f"why: porch failures --pipeline {user.pipeline}\n"
    )
    assert endings(user) == {
        "PENDING": ["not started by porch drain"] * 2,
        "FAILED": ["stopped by signal SIGTERM of porch drain"],
    }


def test_what_a_scheduler_stopped_is_given_back_and_the_next_job_runs_it(
    user: User, tmp_path: Path
) -> None:
    up, ran = tmp_path / "up", tmp_path / "ran"
    with user.house.admin() as admin:
        admin.set_policy(user.pipeline, lease=3600)
    user.register({"n": 1}, {"n": 2})
    script = f"cat > {ran}; if [ $1 = 1 ]; then : > {up}; exec sleep 60; fi"
    argv = ("drain", "--max", "1", "--on-stop", "release", *shell(script, "{attempt}"))
    process = user.start(*argv)
    wait_until(up.exists, what="the first command runs")
    process.terminate()
    status, said = end(process)
    assert status == 128 + signal.SIGTERM
    assert said.endswith(
        "  1 claimed  0 DONE  0 FAILED  1 released   --max reached: there may be more\n"
    )
    message = "stopped by signal SIGTERM of porch drain"
    assert endings(user) == {"PENDING": [message, None]}
    again = user.porch(*argv)
    assert again.returncode == 0, again.stderr
    assert user.client.count() == {"PENDING": 1, "DONE": 1}
    task = json.loads(ran.read_text())
    assert (task["attempt"], task["lease"], task["lease_until"] is None) == (2, 3600, False)


def test_ctrl_c_to_the_process_group_does_the_same(user: User, tmp_path: Path) -> None:
    process = draining(user, tmp_path, "exec sleep 60")
    os.killpg(process.pid, signal.SIGINT)
    status, _ = end(process)
    assert status == 128 + signal.SIGINT
    assert user.client.count() == {"PENDING": 2, "FAILED": 1}


def test_a_command_that_ends_well_after_sigterm_is_done(user: User, tmp_path: Path) -> None:
    process = draining(user, tmp_path, "trap 'exit 0' TERM; while :; do sleep 0.05; done")
    process.terminate()
    end(process)
    assert user.client.count() == {"PENDING": 2, "DONE": 1}
