"""Bringing a task to a status by whichever verb leads there: each change once, and explained."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest

from config.doctor import as_text, examine
from config.wiring import make_coordinator
from coordinator.access import digest, new_secret
from coordinator.errors import (
    AmbiguousTask,
    Forbidden,
    ForceNeeded,
    IllegalChange,
    StaleAttempt,
    StatusChanged,
    UnknownTask,
)
from coordinator.model import Event, Outcome, Task
from coordinator.requests import Name, Policy, Search
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import admin, caller, definition, let_time_pass, pipeline, submit

S = Status

#: Where a task can be, and how it gets there.
WAYS: dict[Status, list[Status]] = {
    S.PENDING: [],
    S.CLAIMED: [S.CLAIMED],
    S.RUNNING: [S.RUNNING],
    S.DONE: [S.RUNNING, S.DONE],
    S.FAILED: [S.CLAIMED, S.FAILED],
    S.CANCELLED: [S.CANCELLED],
}
ALLOWED = {
    S.PENDING: {S.CLAIMED, S.RUNNING, S.CANCELLED},
    S.CLAIMED: {S.RUNNING, S.DONE, S.FAILED, S.PENDING, S.CANCELLED},
    S.RUNNING: {S.DONE, S.FAILED, S.PENDING, S.CANCELLED},
    S.DONE: set(),
    S.FAILED: {S.PENDING},
    S.CANCELLED: {S.PENDING},
}


class Mover:
    """Somebody with one task, of whom porch hears nothing but the status that it shall have."""

    def __init__(self, porch: Coordinator) -> None:
        self.porch = porch
        self.name, self.secret = pipeline(porch)
        self.input = definition()
        (self.task,) = submit(porch, self.secret, [self.input])

    def bring(self, to: Status, attempt: int | None = None) -> Task:
        return self.porch.bring(
            caller(self.secret), self.input, to, pipeline=self.name, attempt=attempt
        )

    def events(self) -> list[Event]:
        return self.porch.show(caller(self.secret), Name(self.task))[1]

    def path(self) -> list[tuple[str, int]]:
        return [(e.to_status.value, e.attempt) for e in self.events() if not e.refused]


@pytest.fixture
def mover(porch: Coordinator) -> Mover:
    return Mover(porch)


@pytest.fixture(autouse=True)
def _a_healthy_database(database_url: str) -> Any:
    yield
    health = examine(database_url, None, lambda _: None)
    assert health.healthy, as_text(health)


@pytest.mark.parametrize("to", Status)
@pytest.mark.parametrize("at", Status)
def test_a_task_goes_where_it_may_and_nowhere_else(mover: Mover, at: Status, to: Status) -> None:
    for step in WAYS[at]:
        mover.bring(step)
    before = mover.path()
    if to in ALLOWED[at]:
        assert mover.bring(to).status is to
        steps = 2 if (at, to) == (S.PENDING, S.RUNNING) else 1
        assert [status for status, _ in mover.path()[len(before) :]][-1] == to
        assert len(mover.path()) == len(before) + steps
    elif at is to:
        assert mover.bring(to).status is to
        assert mover.path() == before
    else:
        with pytest.raises((IllegalChange, ForceNeeded)):
            mover.bring(to)
        assert mover.path() == before


def test_a_claim_and_start_in_one_step_is_two_events_of_one_attempt(mover: Mover) -> None:
    task = mover.bring(S.RUNNING)
    assert (task.status, task.attempt) == (S.RUNNING, 1)
    assert mover.path() == [("PENDING", 0), ("CLAIMED", 1), ("RUNNING", 1)]


def test_each_life_of_a_task_is_an_attempt(mover: Mover) -> None:
    for step in (S.RUNNING, S.FAILED, S.PENDING, S.RUNNING):
        task = mover.bring(step)
    assert task.attempt == 2


def test_what_is_not_allowed_is_told_with_what_is(mover: Mover) -> None:
    with pytest.raises(IllegalChange) as refused:
        mover.bring(S.DONE)
    assert "PENDING and cannot become DONE" in refused.value.message
    for word in ("CLAIMED", "RUNNING (claim and start)", "CANCELLED"):
        assert word in refused.value.cure


def test_done_work_is_run_again_by_other_means(mover: Mover) -> None:
    mover.bring(S.RUNNING)
    mover.bring(S.DONE)
    with pytest.raises(ForceNeeded) as refused:
        mover.bring(S.PENDING)
    assert "--force --reason" in refused.value.cure


def test_a_start_starts_the_lease_and_so_does_a_claim(porch: Coordinator, mover: Mover) -> None:
    porch.set_policy(caller(admin(porch)), mover.name, Policy(lease=1_000))
    for step in (S.RUNNING, S.PENDING, S.CLAIMED):
        mover.bring(step)
        task, _ = porch.show(caller(mover.secret), Name(mover.task))
        assert (task.lease_until is not None) == (step is not S.PENDING)


def test_saying_again_that_it_runs_is_a_sign_of_life(porch: Coordinator, mover: Mover) -> None:
    porch.set_policy(caller(admin(porch)), mover.name, Policy(lease=1_000))
    mover.bring(S.RUNNING)
    let_time_pass(porch, 900)
    mover.bring(S.RUNNING)
    let_time_pass(porch, 900)
    assert porch.sweep().taken_back == 0


def test_under_a_lease_no_attempt_means_the_current_one(porch: Coordinator, mover: Mover) -> None:
    porch.set_policy(caller(admin(porch)), mover.name, Policy(lease=1_000))
    mover.bring(S.RUNNING)
    assert mover.bring(S.DONE).status is S.DONE


class TestWithAnAttempt:
    def test_the_current_one_is_taken(self, mover: Mover) -> None:
        mover.bring(S.RUNNING)
        assert mover.bring(S.DONE, attempt=1).status is S.DONE

    @pytest.mark.parametrize("to", list(Status))
    def test_an_earlier_one_changes_nothing(self, mover: Mover, to: Status) -> None:
        for step in (S.RUNNING, S.FAILED, S.PENDING, S.RUNNING):
            mover.bring(step)
        with pytest.raises(StaleAttempt):
            mover.bring(to, attempt=1)
        assert mover.path()[-1] == ("RUNNING", 2)

    def test_a_late_word_is_noted(self, mover: Mover) -> None:
        for step in (S.RUNNING, S.PENDING, S.RUNNING):
            mover.bring(step)
        with pytest.raises(StaleAttempt):
            mover.bring(S.DONE, attempt=1)
        assert [(e.to_status.value, e.attempt) for e in mover.events() if e.refused] == [
            ("DONE", 1)
        ]

    @pytest.mark.parametrize("to", [S.CLAIMED, S.RUNNING])
    def test_one_that_is_over_does_not_claim_again(self, mover: Mover, to: Status) -> None:
        mover.bring(S.RUNNING)
        mover.bring(S.PENDING)
        with pytest.raises(StaleAttempt):
            mover.bring(to, attempt=1)
        assert mover.path()[-1] == ("PENDING", 1)

    def test_one_that_there_is_not_yet_is_refused(self, mover: Mover) -> None:
        mover.bring(S.RUNNING)
        with pytest.raises(IllegalChange, match="no attempt 2 yet"):
            mover.bring(S.DONE, attempt=2)


@pytest.mark.parametrize("to", [S.RUNNING, S.CLAIMED])
def test_of_many_at_once_one_begins_and_the_others_are_told(
    porch: Coordinator, mover: Mover, database_url: str, to: Status
) -> None:
    crowd = 16
    together = Barrier(crowd)
    many = make_coordinator(database_url, connections=crowd)

    def bring(n: int) -> bool:
        who = replace(caller(mover.secret), host=f"host-{n}")
        together.wait()
        try:
            return many.bring(who, mover.input, to, pipeline=mover.name).status is to
        except StatusChanged:
            return False

    with ThreadPoolExecutor(crowd) as pool:
        assert sum(pool.map(bring, range(crowd))) == 1
    many.ledger.engine.dispose()  # type: ignore[attr-defined]
    claims = [("CLAIMED", 1)]
    assert mover.path() == [("PENDING", 0), *claims, *([("RUNNING", 1)] if to is S.RUNNING else [])]


def test_the_same_request_again_claims_no_more(porch: Coordinator, mover: Mover) -> None:
    who = caller(mover.secret)
    porch.bring(who, mover.input, S.RUNNING, pipeline=mover.name)
    mover.bring(S.PENDING)
    again: Callable[[], Task] = lambda: porch.bring(  # noqa: E731
        who, mover.input, S.RUNNING, pipeline=mover.name
    )
    assert again().status is S.PENDING
    assert mover.path()[-1] == ("PENDING", 1)


class TestWhatAnotherHasBegun:
    @pytest.mark.parametrize("to", [S.RUNNING, S.CLAIMED])
    def test_is_not_begun_from_elsewhere(self, mover: Mover, to: Status) -> None:
        mover.bring(to)
        elsewhere = replace(caller(mover.secret), host="elsewhere")
        with pytest.raises(StatusChanged, match="by the word of another"):
            mover.porch.bring(elsewhere, mover.input, to, pipeline=mover.name)

    def test_is_not_kept_alive_from_elsewhere(self, porch: Coordinator, mover: Mover) -> None:
        porch.set_policy(caller(admin(porch)), mover.name, Policy(lease=1_000))
        mover.bring(S.RUNNING)
        let_time_pass(porch, 900)
        elsewhere = replace(caller(mover.secret), host="elsewhere")
        with pytest.raises(StatusChanged):
            porch.bring(elsewhere, mover.input, S.RUNNING, pipeline=mover.name)
        let_time_pass(porch, 900)
        assert porch.sweep().taken_back == 1

    def test_is_said_again_by_the_same_request_from_anywhere(self, mover: Mover) -> None:
        who = caller(mover.secret)
        for host in ("here", "elsewhere"):
            moved = replace(who, host=host)
            task = mover.porch.bring(moved, mover.input, S.RUNNING, pipeline=mover.name)
            assert (task.status, task.attempt) == (S.RUNNING, 1)

    def test_is_not_begun_with_another_token(self, mover: Mover) -> None:
        mover.bring(S.RUNNING)
        boss, mover.secret = caller(admin(mover.porch)), new_secret()
        mover.porch.add_token(
            boss, digest(mover.secret), pipeline=mover.name, description="another token"
        )
        with pytest.raises(StatusChanged, match="by the word of another"):
            mover.bring(S.RUNNING)

    def test_may_be_said_again_by_who_began_it(self, mover: Mover) -> None:
        mover.bring(S.RUNNING)
        assert mover.bring(S.RUNNING).status is S.RUNNING

    def test_may_be_ended_from_elsewhere(self, mover: Mover) -> None:
        mover.bring(S.RUNNING)
        elsewhere = replace(caller(mover.secret), host="elsewhere")
        done = mover.porch.bring(elsewhere, mover.input, S.DONE, pipeline=mover.name)
        assert done.status is S.DONE

    def test_is_not_given_back_by_who_meant_to_run_it_again(
        self, mover: Mover, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the look and the change, it is run again and claimed."""
        for status in (S.RUNNING, S.FAILED):
            mover.bring(status)
        change = mover.porch.ledger.change

        def quicker(*asked: Any) -> list[Outcome]:
            monkeypatch.undo()
            for status in (S.PENDING, S.RUNNING):
                mover.bring(status)
            return change(*asked)

        monkeypatch.setattr(mover.porch.ledger, "change", quicker)
        with pytest.raises(StatusChanged, match="run again and claimed meanwhile"):
            mover.bring(S.PENDING)
        assert mover.path()[-1] == ("RUNNING", 2)


class TestWhichTask:
    def test_an_input_that_is_no_task_is_refused(self, mover: Mover) -> None:
        mover.input = definition()
        with pytest.raises(UnknownTask):
            mover.bring(S.RUNNING)

    def test_a_pipeline_of_others_is_refused_also_if_there_is_none(self, mover: Mover) -> None:
        other, _ = pipeline(mover.porch)
        for mover.name in (other, "nowhere"):
            with pytest.raises(Forbidden):
                mover.bring(S.RUNNING)

    def test_an_input_of_two_versions_needs_one_named(self, porch: Coordinator) -> None:
        name, secret = pipeline(porch, "1.0", "2.0")
        given = definition()
        for version in ("1.0", "2.0"):
            submit(porch, secret, [given], version=version)
        with pytest.raises(AmbiguousTask):
            porch.bring(caller(secret), given, S.RUNNING, pipeline=name)
        task = porch.bring(caller(secret), given, S.RUNNING, pipeline=name, version="2.0")
        assert task.version == "2.0"

    def test_once_for_the_pipeline_the_version_does_not_matter(self, porch: Coordinator) -> None:
        name, secret = pipeline(porch, "1.0", "2.0")
        porch.set_policy(caller(admin(porch)), name, Policy(identity="pipeline"))
        given = definition()
        submit(porch, secret, [given], version="1.0")
        task = porch.bring(caller(secret), given, S.RUNNING, pipeline=name, version="2.0")
        assert (task.version, task.status) == ("1.0", S.RUNNING)


class TestOutlines:
    def test_pages_have_every_task_once_with_its_input_as_it_is_kept(
        self, porch: Coordinator
    ) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, [{"n": n, "x": 1e22} for n in range(7)])
        found, after = [], 0
        while page := porch.outlines(caller(secret), Search(), after=after, limit=3):
            found += [outline.text for outline in page]
            after = page[-1].task_id
        assert found == [f'{{"n":{n},"x":1e+22}}' for n in range(7)]

    def test_large_inputs_make_small_pages_but_never_an_empty_one(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, [{"n": n, "x": "y" * 1_000} for n in range(5)])
        ask = porch.ledger.outlines
        wanted = porch._filter(caller(secret), Search())
        first = ask(wanted, 0, 10, 2_500)
        assert len(first) == 2
        assert len(ask(wanted, first[-1].task_id, 10, 1)) == 1
