"""One element of an array job, on good days and on bad ones."""

from __future__ import annotations

from pathlib import Path

from porch_client.model import Decision
from tests.examples.typed import AWAY, STANDINS, Typist, terminated
from tests.house import BIN, wait_until

ONE = "array/one_task.sh"


def test_an_element_too_many_has_nothing_to_do(typist: Typist) -> None:
    done = typist.type(ONE, typist.command())
    assert (done.returncode, typist.ran()) == (0, [])
    assert "nothing to claim" in done.stderr


def test_answers_that_are_lost_are_asked_for_again_and_nothing_is_done_twice(
    typist: Typist,
) -> None:
    typist.user.register({"Run": "a"}, {"Run": "b"})
    lossy = typist.here / "lossy"
    lossy.mkdir()
    # Each verb is carried out when it is first asked for, and nobody hears of it.
    typist.write(
        "lossy/porch",
        "#!/bin/sh\n"
        f'[ -e {lossy}/$1.lost ] && exec {BIN}/porch "$@"\n'
        f"touch {lossy}/$1.lost\n"
        f'{BIN}/porch "$@" >/dev/null\n'
        "exit 3\n",
    )
    path = f"{lossy}:{STANDINS}:{BIN}:/usr/bin:/bin"
    done = typist.type(ONE, typist.command(), env={"PATH": path})
    assert done.returncode == 0, done.stderr
    assert len(typist.ran()) == 1
    assert sorted(typist.fates().values()) == ["DONE", "PENDING"]


def test_without_a_broker_nothing_is_run(typist: Typist) -> None:
    done = typist.type(ONE, typist.command(), env={**AWAY, "PATIENCE": "0"})
    assert (done.returncode, typist.ran()) == (3, [])
    assert "porch release --claim" in done.stderr


def test_sigterm_ends_the_wait_for_a_broker(typist: Typist) -> None:
    process = typist.start(ONE, typist.command(), env={**AWAY, "PATIENCE": "600"})
    assert process.stderr is not None
    process.stderr.readline()  # the first try is over
    status, said = terminated(process)
    assert status == 143, said
    assert "porch release --claim" in said


def test_sigterm_stops_the_command_and_gives_the_task_back(typist: Typist) -> None:
    (task,) = typist.user.register({"Run": "a"})
    process = typist.start(ONE, typist.slow_command(), env={"LSB_JOBID": "12"})
    wait_until(typist.began)
    status, said = terminated(process)
    assert status == 143, said
    assert typist.user.status(task) == "PENDING"
    assert typist.words("a")[-1] == "stopped by signal 15 (lsf.12[0])"


def test_a_command_that_finishes_after_sigterm_is_done(typist: Typist) -> None:
    (task,) = typist.user.register({"Run": "a"})
    began = typist.here / "began"
    finishes = typist.write(
        "finishes.sh", f"#!/bin/bash\ntrap 'exit 0' TERM\ntouch {began}\nsleep 100 & wait\n"
    )
    process = typist.start(ONE, finishes)
    wait_until(typist.began)
    status, said = terminated(process)
    assert status == 0, said
    assert typist.user.status(task) == "DONE"


def test_a_task_that_was_taken_away_is_stopped_and_not_reported(typist: Typist) -> None:
    (task,) = typist.user.register({"Run": "a"})
    process = typist.start(ONE, typist.slow_command(), env={"HEARTBEAT": "0.2"})
    wait_until(typist.began)
    typist.user.client.cancel([Decision(task, "RUNNING", 1)])
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "taken from us" in said
    assert typist.user.status(task) == "CANCELLED"


def test_heartbeats_outlast_a_short_lease(typist: Typist, tmp_path: Path) -> None:
    with typist.user.house.admin() as admin:
        admin.set_policy(typist.user.pipeline, lease=3)
    (task,) = typist.user.register({"Run": "a"})
    go_on = tmp_path / "go_on"
    waits = typist.write(
        "waits.sh",
        f"#!/bin/sh\ntouch {tmp_path}/began\nwhile [ ! -e {go_on} ]; do sleep 0.1; done\n",
    )
    process = typist.start(ONE, waits)
    wait_until(typist.began)
    first = typist.user.client.show(task)[0].lease_until
    wait_until(lambda: str(typist.user.client.show(task)[0].lease_until) > str(first))
    go_on.touch()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert [event.attempt for event in typist.user.history(task)][-1] == 1
    assert typist.user.status(task) == "DONE"


def test_a_refused_row_keeps_no_other_out_and_the_broker_away_is_no_loss(typist: Typist) -> None:
    pipeline, sheet = typist.user.pipeline, typist.sheet("a", "b")
    done = typist.type("array/register.sh", pipeline, sheet, "Run", env=AWAY)
    assert (done.returncode, done.stdout) == (3, "")
    assert typist.fates() == {}
    done = typist.type("array/register.sh", pipeline, typist.sheet("c"), "Run")
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
