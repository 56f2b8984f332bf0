"""What operators do to many tasks at once, while others are at work on them."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.gateway.pages import acting
from coordinator.gateway.pages.session import Said
from coordinator.gateway.pages.shapes import Alike
from coordinator.model import Task
from coordinator.requests import Caller, Decision, Name, Report, Seen
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import caller, definitions, pipeline, submit


class Busy(Coordinator):
    """Between a look at a group and the re-run of it, somebody else takes its first task on."""

    def failures(
        self, caller: Caller, *names: str, **options: Any
    ) -> tuple[list[Task], int | None]:
        found, more = super().failures(caller, *names, **options)
        for task in found[:1]:
            seen = Seen(task.status, task.attempt)
            self.rerun(_again(caller), [Decision(Name(task.task_input_id), seen)])
            self.claim(_again(caller), 1)
        return found, more


def _again(who: Caller) -> Caller:
    return caller(who.secret)


def failed(porch: Coordinator, secret: str, n: int) -> None:
    submit(porch, secret, definitions(n))
    porch.update(
        caller(secret),
        [
            Report(Name(task.task_input_id, attempt=task.attempt), Status.FAILED, "disk full")
            for task in porch.claim(caller(secret), n)
        ],
    )


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acting, "_BATCH", 2)


def _group(porch: Coordinator, secret: str) -> Alike:
    (group,) = porch.failure_groups(caller(secret))
    return Alike.of(group)


def test_a_group_is_run_again_batch_by_batch(porch: Coordinator, small_batches: None) -> None:
    _, secret = pipeline(porch)
    failed(porch, secret, 5)
    said = acting.rerun_failures(porch, caller(secret), _group(porch, secret), None)
    assert said == Said("good", "5 tasks re-run")
    assert porch.failure_groups(caller(secret)) == []


def test_what_others_have_taken_on_is_left_to_them(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    failed(porch, secret, 4)
    busy = Busy(porch.ledger)
    said = acting.rerun_failures(busy, caller(secret), _group(porch, secret), None)
    assert (said.kind, said.text) == ("mixed", "3 tasks re-run; 1 task refused")
    assert all(line.startswith("status_changed: ") for line in said.lines)


def test_what_fails_after_the_page_was_made_waits_to_be_seen(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    failed(porch, secret, 2)
    group = _group(porch, secret)
    failed(porch, secret, 3)
    assert acting.rerun_failures(porch, caller(secret), group, None).text == "2 tasks re-run"
    porch.look_anew()
    (left,) = porch.failure_groups(caller(secret))
    assert left.tasks == 3
    again = acting.rerun_failures(porch, caller(secret), group, None)
    assert again.text == "No task is left of this group as it was shown"


def test_a_group_too_large_for_one_request_says_that_there_is_more(
    porch: Coordinator, small_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting, "_SECONDS", -1.0)
    _, secret = pipeline(porch)
    failed(porch, secret, 3)
    group = _group(porch, secret)
    first = acting.rerun_failures(porch, caller(secret), group, None)
    assert first == Said("mixed", "2 tasks re-run so far; the group has more")
    second = acting.rerun_failures(porch, caller(secret), group, None)
    assert second == Said("good", "1 task re-run")
