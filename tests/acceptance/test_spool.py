"""A spool of definitions and reports while porch is away, whatever is killed meanwhile."""

from __future__ import annotations

import json
import random
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from porch_client.bundle import Bundle
from porch_client.spool import Spool
from tests.absent import kept
from tests.acceptance.test_away import broker_gone, database_gone, no_workers
from tests.house import House, User, environment, json_lines, wait_until

#: `porch`, of five definitions a message, so that there are many instants to be killed at.
PORCH = """
import porch_client.submission, porch_client.cli
porch_client.submission.CHUNK = 5
porch_client.cli.main()
"""
EACH = 120
#: What is spooled for flushes to be killed at.
RUNS = 150
#: A port on which nobody listens: a broker that is away at once.
NOBODY = ("--broker", "redis://127.0.0.1:1/0", "--timeout", "0.3")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def lines(numbers: range) -> str:
    return "".join(f'{{"n": {n}}}\n' for n in numbers)


def events(user: User) -> dict[int, int]:
    """How many events each registered definition has. One that had two tasks would be a surplus."""
    rows = user.house.ask(
        "SELECT task_input ->> 'n', count(*) FROM porch.task"
        " JOIN porch.pipeline USING (pipeline_id) JOIN porch.event USING (task_id)"
        " WHERE name = %s GROUP BY 1",
        user.pipeline,
    )
    return {int(n): number for n, number in rows}


@pytest.mark.parametrize(
    ("take_away", "code"),
    [
        (broker_gone, "broker_away"),
        (no_workers, "no_worker"),
        (database_gone, "database_away"),
    ],
)
def test_what_is_submitted_during_an_outage_is_registered_by_the_next_call(
    broken_house: House,
    folder: Path,
    take_away: Callable[[House], AbstractContextManager[None]],
    code: str,
) -> None:
    with User(broken_house) as user:
        argv = ("submit", "--pipeline", user.pipeline, "--spool", str(folder), "-")
        with take_away(broken_house):
            during = user.porch("--timeout", "2.5", *argv, input=lines(range(2)))
            flush = user.porch("--timeout", "0.5", "flush", str(folder))
            assert len(kept(folder)) == 2
        after = user.porch(*argv, input=lines(range(1, 3)))
        assert during.returncode == 0, during.stderr
        assert json_lines(during.stdout) == [{"position": n, "spooled": True} for n in range(2)]
        assert f"porch: spooled: 2 definitions not delivered ({code}: " in during.stderr
        assert flush.returncode == 3
        assert after.returncode == 0, after.stderr
        assert f"from {folder}, sent first" in after.stderr
        assert kept(folder) == []
        assert events(user) == {0: 1, 1: 1, 2: 1}


def test_a_report_outlives_the_job_that_made_it_and_a_late_one_is_refused_and_told(
    house: House, folder: Path
) -> None:
    with User(house) as user:
        with house.admin() as admin:
            admin.set_policy(user.pipeline, retry=1, max_attempts=5)
        user.register({"n": 1}, {"n": 2})
        failing, late = user.client.claim(2)
        spool = ("--pipeline", user.pipeline, "--spool", str(folder))

        def away(task: str, status: str) -> None:
            argv = ("update", task, "--status", status, "--attempt", "1", *spool)
            done = user.porch(*NOBODY, *argv)
            assert (done.returncode, json_lines(done.stdout)) == (
                0,
                [{"position": 0, "spooled": True}],
            )

        for task, status in (
            (failing.task_input_id, "RUNNING"),
            (failing.task_input_id, "FAILED"),
            (late.task_input_id, "DONE"),
        ):
            away(task, status)
        # Somebody has given the second one up meanwhile, and another holds it.
        late.release()
        user.client.claim(1)
        # Carried out once, and then forgotten: it is sent again when the task is tried again.
        kept_files = {path: path.read_bytes() for path in sorted(folder.glob("*.json"))}
        first = user.porch("flush", str(folder))
        assert first.returncode == 1
        assert "porch: stale_attempt: 1 item of the spool in" in first.stderr
        assert "3 items  0 new  0 known  2 reported  1 refused" in first.stderr
        story = [event.to_status for event in user.history(failing.task_input_id)]
        assert story[:4] == ["PENDING", "CLAIMED", "RUNNING", "FAILED"]
        wait_until(lambda: user.status(failing.task_input_id) == "PENDING", what="it is due again")
        (again,) = user.client.claim(1)
        for path, text in list(kept_files.items())[:2]:
            path.write_bytes(text)
        second = user.porch("flush", str(folder))
        assert second.returncode == 0, second.stderr
        assert "2 items  0 new  0 known  2 reported" in second.stderr
        assert (again.attempt, user.status(again.task_input_id)) == (2, "CLAIMED")
        assert len(list((folder / "refused").glob("*.reports.json"))) == 1


def test_a_spool_of_several_pipelines_is_sent_by_each_with_its_own_token(
    house: House, folder: Path
) -> None:
    with User(house) as one, User(house) as other:
        for user in (one, other):
            argv = ("submit", "--pipeline", user.pipeline, "--spool", str(folder), "-")
            assert user.porch(*NOBODY, *argv, input='{"n": 1}\n').returncode == 0
        mine = one.porch("flush", str(folder))
        assert mine.returncode == 1
        assert "1 kept" in mine.stderr
        assert (events(one), events(other)) == ({1: 1}, {})
        assert other.porch("flush", str(folder)).returncode == 0
        assert (events(one), events(other)) == ({1: 1}, {1: 1})


def test_a_definition_that_is_refused_later_is_not_lost(user: User, folder: Path) -> None:
    text = '{"n": 1}\n{"n": "\\u0000"}\n{"n": 9007199254740993}\n'
    argv = ("submit", "--pipeline", user.pipeline, "--spool", str(folder), "-")
    assert user.porch(*NOBODY, *argv, input=text).returncode == 0
    flush = user.porch("flush", str(folder))
    assert flush.returncode == 1
    assert (user.inputs(), kept(folder)) == ([{"n": 1}], [])
    assert kept(folder / "refused") == [{"n": "\0"}, {"n": 2**53 + 1}]
    (reasons,) = (folder / "refused").glob("*.errors")
    codes = [line["code"] for line in json_lines(reasons.read_text())]
    assert codes == ["not_representable", "not_representable"]


def begin(user: User, *argv: str) -> Popen[str]:
    """Start `porch` as it is killed here: with every line written at once."""
    env = {**user.house.env(user.token), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-P", "-c", PORCH, *argv]
    return Popen(command, env=environment(env), stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)


def kill(process: Popen[str], is_at_work: Callable[[], object], delay: float) -> list[str]:
    """SIGKILL a process some time after it has got to work; the whole lines that it has printed."""
    wait_until(lambda: is_at_work() or process.poll() is not None, what="it is at work")
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    output, said = process.communicate(timeout=60)
    assert process.returncode in {0, -signal.SIGKILL}, said
    return [line for line in output.splitlines(keepends=True) if line.endswith("\n")]


@pytest.mark.parametrize("seed", [1])
def test_submissions_killed_at_any_instant_lose_nothing_and_double_nothing(
    user: User, folder: Path, seed: int
) -> None:
    chance = random.Random(seed)
    told: set[int] = set()
    killed = 0
    for turn in range(10):
        numbers = range(turn * EACH, (turn + 1) * EACH)
        away = NOBODY if chance.random() < 0.6 else ()
        argv = ("submit", "--pipeline", user.pipeline, "--spool", str(folder), "-")
        # Two at once: the one that is killed, and one that goes on in the same folder.
        victim, other = begin(user, *away, *argv), begin(user, *away, *argv)
        for process, part in ((victim, numbers[: EACH // 2]), (other, numbers[EACH // 2 :])):
            assert process.stdin is not None
            process.stdin.write(lines(part))
            process.stdin.close()
            process.stdin = None
        # One in four before it has answered anything: while it starts, connects, waits, sends.
        early = chance.random() < 0.25
        delay = chance.uniform(0.2, 1.0) if early else chance.uniform(0, 0.03)
        answers = kill(victim, (lambda: True) if early else has_output(victim), delay)
        killed += victim.returncode != 0
        told |= {numbers[json.loads(line)["position"]] for line in answers}
        output, said = other.communicate(timeout=60)
        assert other.returncode == 0, said
        assert len(json_lines(output)) == EACH // 2
        told |= set(numbers[EACH // 2 :])
    flush = user.porch("flush", str(folder))
    assert flush.returncode == 0, flush.stderr
    assert killed > 3, "they were too quick to be killed"
    registered = events(user)
    assert told <= set(registered)
    assert set(registered.values()) == {1}
    assert sum(user.client.count().values()) == len(registered)
    assert (kept(folder), (folder / "refused").exists()) == ([], False)


def has_output(process: Popen[str]) -> Callable[[], object]:
    return lambda: select.select([process.stdout], [], [], 30)[0]


@pytest.mark.parametrize("seed", [1])
def test_flushes_killed_at_any_instant_lose_nothing_and_double_nothing(
    user: User, folder: Path, seed: int
) -> None:
    chance = random.Random(seed)
    spool = Spool(folder)
    spool.make()
    for first in range(0, RUNS, 2):
        texts = [f'{{"n":{n}}}' for n in range(first, first + 2)]
        spool.put(Bundle(user.pipeline, None, 0, texts))
    killed = 0
    for _ in range(40):
        before = len(spool.waiting())
        process = begin(user, "flush", str(folder))
        kill(process, lambda before=before: len(spool.waiting()) < before, chance.uniform(0, 0.03))
        killed += process.returncode != 0
        if not spool.waiting():
            break
    assert killed > 2, "they were too quick to be killed"
    flush = user.porch("flush", str(folder))
    assert flush.returncode == 0, flush.stderr
    assert events(user) == dict.fromkeys(range(RUNS), 1)
    assert sum(user.client.count().values()) == RUNS
    assert (spool.waiting(), (folder / "refused").exists()) == ([], False)
