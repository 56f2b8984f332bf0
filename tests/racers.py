"""Racers: processes of their own that wait for each other and then all run at once.

Started with ``python -m tests.racers``; each line on standard input is one race.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from config.wiring import make_coordinator
from coordinator.errors import IdentityConflict, LedgerAway
from coordinator.model import Standing
from coordinator.requests import Name, Policy, Report, Reported, Updating
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import caller

ROOT = Path(__file__).parents[1]


class Racers:
    """``n`` racers. A context manager."""

    def __init__(self, n: int) -> None:
        self._runners = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.racers"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(n)
        ]

    def __enter__(self) -> Racers:
        return self

    def __exit__(self, *exception: object) -> None:
        for runner in self._runners:
            runner.communicate()

    def race(self, jobs: Sequence[dict[str, Any]]) -> list[Any]:
        """Run each job in a process of its own, all at once; what they return, in order."""
        runners = self._runners[: len(jobs)]
        for runner, job in zip(runners, jobs, strict=True):
            _say(runner, json.dumps(job))
        for runner in runners:
            assert _hear(runner) == "ready"
        for runner in runners:
            _say(runner, "go")
        return [json.loads(_hear(runner)) for runner in runners]


def _say(runner: subprocess.Popen[str], line: str) -> None:
    assert runner.stdin is not None
    runner.stdin.write(line + "\n")
    runner.stdin.flush()


def _hear(runner: subprocess.Popen[str]) -> str:
    assert runner.stdout is not None
    line = runner.stdout.readline().strip()
    assert line, "a racer died; its traceback is above"
    return line


# In the racer -------------------------------------------------------------------------------


def submit(porch: Coordinator, job: dict[str, Any]) -> list[tuple[str, bool]]:
    """Submit each batch; key and created of every definition."""
    found: list[tuple[str, bool]] = []
    for batch in job["batches"]:
        who = caller(job["secret"])
        answers = _patiently(porch.submit, who, batch, version=job.get("version"))
        found += [(a.key.hex(), a.created) for a in answers if isinstance(a, Standing)]
    return found


def claim(porch: Coordinator, job: dict[str, Any]) -> list[tuple[str, int]]:
    """Claim until nothing is left; key and attempt of everything handed out."""
    found: list[tuple[str, int]] = []
    while tasks := _patiently(porch.claim, caller(job["secret"]), job["n"]):
        found += [(task.task_input_id, task.attempt) for task in tasks]
    return found


def update(porch: Coordinator, job: dict[str, Any]) -> list[list[bool | str]]:
    """Report each batch of keys DONE; whether each was changed by us, or the code of the error."""
    found: list[list[bool | str]] = []
    for batch in job["batches"]:
        reports = [Report(Name(key, attempt=1), Status(job["status"])) for key in batch]
        answers = _patiently(porch.update, caller(job["secret"]), reports)
        found.append([a.changed if isinstance(a, Reported) else a.code for a in answers])
    return found


def update_all(porch: Coordinator, job: dict[str, Any]) -> list[list[bool | str]]:
    """As ``update``, with the batches as requests that have come together; ``together``: how many.

    What others are just changing is reported alone, as a worker does.
    """
    status, found = Status(job["status"]), []
    for at in range(0, len(job["batches"]), job["together"]):
        asked = [
            Updating(caller(job["secret"]), [Report(Name(key, attempt=1), status) for key in keys])
            for keys in job["batches"][at : at + job["together"]]
        ]
        for one, answer in zip(asked, _patiently(porch.update_all, asked), strict=True):
            told = answer or _patiently(porch.update_all, [one])[0]
            found.append([a.changed if isinstance(a, Reported) else a.code for a in told.answers])
    return found


def policy(porch: Coordinator, job: dict[str, Any]) -> list[str]:
    """Set each identity policy in turn; the policy after each."""
    found = []
    for identity in job["identities"]:
        who = caller(job["secret"])
        try:
            load = _patiently(porch.set_policy, who, job["pipeline"], Policy(identity=identity))
        except IdentityConflict as conflict:
            found.append(conflict.code)
        else:
            found.append(load.pipeline.identity)
    return found


def _patiently(verb: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """As a worker does: the same request again when a lock was not to be had in time."""
    for _ in range(5):
        try:
            return verb(*args, **options)
        except LedgerAway:
            continue
    return verb(*args, **options)


_VERBS: dict[str, Callable[[Coordinator, dict[str, Any]], Any]] = {
    "submit": submit,
    "claim": claim,
    "update": update,
    "update_all": update_all,
    "policy": policy,
}


@cache
def _porch(url: str) -> Coordinator:
    return make_coordinator(url)


def main() -> None:
    """Run one race per line until standard input ends."""
    for line in sys.stdin:
        job = json.loads(line)
        porch = _porch(job["url"])
        porch.pipelines(caller(job["secret"]))  # connects, so that the race is about the verbs
        print("ready", flush=True)
        assert sys.stdin.readline().strip() == "go"
        print(json.dumps(_VERBS[job["verb"]](porch, job)), flush=True)


if __name__ == "__main__":
    main()
