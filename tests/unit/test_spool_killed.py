"""Killed at each single step that touches the disk, a spool has lost nothing and doubled nothing.

From its step on, the dead process does nothing more: each later call to the system dies as well.
The real SIGKILLs are in the acceptance tests; they are many and random, these are all there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from porch_client import spool as spool_module
from porch_client import submission as submission_module
from porch_client.errors import NotFound
from porch_client.model import Registered, Spooled
from porch_client.spool import Spool
from tests.absent import AWAY, Coordinator, bundle, kept, numbered


class Killed(BaseException):
    """SIGKILL."""


class Mortal:
    """The module ``os`` of a process that is killed at a step: before it, or when it is done."""

    def __init__(self, step: int, *, after: bool) -> None:
        self.left = step
        self._after = after

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in {"open", "write", "fchmod", "fsync", "rename", "unlink", "close", "listdir"}:
            return real

        def call(*args: Any, **options: Any) -> Any:
            self.left -= 1
            # The kernel closes the files of the dead, which is what lets go of a lock.
            done = self.left > 0 or name == "close" or (self.left == 0 and self._after)
            result = real(*args, **options) if done else None
            if self.left <= 0:
                raise Killed
            return result

        return call


@pytest.fixture(params=[False, True], ids=["before", "after"])
def lives(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[Path, Callable[[Callable[[], object]], bool]]]:
    """For each step: a folder, and how to run something in it up to that step, until it lives."""
    monkeypatch.setattr(submission_module, "CHUNK", 2)

    def each() -> Iterator[tuple[Path, Callable[[Callable[[], object]], bool]]]:
        survived = False

        def run_until_killed(what: Callable[[], object]) -> bool:
            nonlocal survived
            mortal = Mortal(step, after=request.param)
            with monkeypatch.context() as patch, suppress(Killed):
                patch.setattr(spool_module, "os", mortal)
                what()
            survived = mortal.left > 0
            return survived

        for step in count(1):
            yield tmp_path / str(step), run_until_killed
            if survived:
                assert step > 10, "it touched no disk"
                return

    return each()


def submit(coordinator: Coordinator, numbers: range, folder: Path, told: list[Any]) -> None:
    told.extend(coordinator.client().submit(numbered(numbers), pipeline="p", spool=folder))


def registered(coordinator: Coordinator) -> list[int]:
    return sorted(one["n"] for _, one in coordinator.registered)


def test_a_submission_has_lost_nothing_that_it_called_kept(lives: Any) -> None:
    for folder, run_until_killed in lives:
        told: list[Any] = []
        coordinator = Coordinator(AWAY)
        run_until_killed(partial(submit, coordinator, range(6), folder, told))
        folder.mkdir(exist_ok=True)
        coordinator.away = None
        coordinator.client().flush(folder)
        found = registered(coordinator)
        assert {answer.position for answer in told} <= set(found)
        assert len(found) == len(set(found))
        assert kept(folder) == []


def test_a_submission_that_sends_what_is_kept_has_lost_none_of_it(lives: Any) -> None:
    for folder, run_until_killed in lives:
        spool = Spool(folder)
        spool.make()
        spool.put(bundle({"n": 0}, {"n": 1}))
        spool.put(bundle({"n": 2}, {"n": 3}))
        told: list[Any] = []
        coordinator = Coordinator()
        coordinator.stays = 3  # and answers to one message of ours
        if run_until_killed(partial(submit, coordinator, range(4, 8), folder, told)):
            assert [type(answer) for answer in told] == [Registered] * 2 + [Spooled] * 2
        coordinator.stays = None
        coordinator.client().flush(folder)
        found = registered(coordinator)
        assert {0, 1, 2, 3} | {4 + answer.position for answer in told} <= set(found)
        assert len(found) == len(set(found))
        assert kept(folder) == []


def test_a_flush_has_each_definition_registered_or_set_aside(lives: Any) -> None:
    for folder, run_until_killed in lives:
        spool = Spool(folder)
        spool.make()
        spool.put(bundle({"n": 1}, {"bad": 2}, {"n": 3}))
        spool.put(bundle({"n": 4}, pipeline="unknown"))
        spool.put(bundle({"n": 5}))
        spool.put(bundle({"n": 6}))
        (spool.path / spool.waiting()[-1]).write_text("torn")
        coordinator = Coordinator()
        coordinator.says["unknown"] = NotFound("unknown_pipeline", "none")
        run_until_killed(partial(coordinator.client().flush, folder))
        coordinator.client().flush(folder)
        assert registered(coordinator) == [1, 3, 5]
        aside = [path.read_text() for path in sorted(spool.refused.glob("*.json"))]
        first, second, third = aside
        assert ('[{"bad":2}]' in first, '[{"n":4}]' in second, third) == (True, True, "torn")
        assert len(list(spool.refused.glob("*.errors"))) == 3
        assert spool.waiting() == []
