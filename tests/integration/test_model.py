"""Random sequences of verbs by several callers: the ledger against the model, and the model itself.

Messages are delivered again and late, time passes, leases run out, failures come back. That the
comparison can fail is shown by models that are broken on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from config.doctor import as_text, examine
from coordinator.access import digest, new_secret
from coordinator.errors import PorchError
from coordinator.identity import Limits, identify
from coordinator.model import Standing, Task
from coordinator.requests import Caller, Name, Policy, Report, Reported, Search, Seen
from coordinator.service import Coordinator
from coordinator.status import HELD, TRANSITIONS, Status, sources
from tests.factories import admin, caller, cancel, let_time_pass, pipeline, rerun
from tests.model import Known, Model, WithAShortLease, WithoutFencing, WithoutRequestIds

S = Status
VERSIONS = ("1.0", "2.0")
LEASE = 3_600
#: No multiple of it comes near the end of a lease, so that the time a test takes does not matter.
MOMENT = 1_000
LONG = 400_000


def said(answer: Any) -> str:
    """An answer to a change as the model says it."""
    if isinstance(answer, Reported):
        return "changed" if answer.changed else "holds"
    assert isinstance(answer, PorchError)
    return answer.code


def attempt_of(call: Callable[[], Any]) -> str:
    try:
        return said(call())
    except PorchError as refusal:
        return refusal.code


class Machine(RuleBasedStateMachine):
    """Two versions, two callers, few inputs: so that everything meets everything."""

    porch: Coordinator
    model_class: type[Model]

    def __init__(self) -> None:
        super().__init__()
        self.name, secret = pipeline(self.porch, *VERSIONS)
        second = new_secret()
        who = caller(admin(self.porch))
        self.porch.add_token(who, digest(second), pipeline=self.name, description="second")
        self.secrets = [secret, second]
        #: Everything sent so far; each may be delivered again.
        self.sent: list[Callable[[], None]] = []

    def send(self, who: int, act: Callable[[Caller], None]) -> None:
        sender = Caller(self.secrets[who], uuid4(), f"host-{who}")
        act(sender)
        self.sent.append(lambda: act(sender))

    def some_task(self, data: st.DataObject) -> Known:
        """Mostly one that somebody holds: most of what happens, happens to those."""
        held = [name for name, task in self.model.tasks.items() if task.status in HELD]
        choices = sorted(self.model.tasks) + 3 * sorted(held)
        return self.model.tasks[data.draw(st.sampled_from(choices), label="task")]

    def some_attempt(self, data: st.DataObject, task: Known) -> int | None:
        wrong = [task.attempt + 1, max(task.attempt - 1, 0)]
        choices: list[int | None] = [task.attempt] * 4 + [None] * 3 + wrong
        return data.draw(st.sampled_from(choices), label="attempt")

    @initialize(
        priorities=st.permutations([-1, 0, 0]),
        n=st.integers(1, 3),
        lease=st.sampled_from([LEASE, LEASE, None]),
        most=st.sampled_from([None, 2, 3]),
        retry=st.sampled_from([None, 50_000]),
    )
    def begin_with_work_in_hand(
        self, priorities: list[int], n: int, lease: int | None, most: int | None, retry: int | None
    ) -> None:
        policy = Policy("version", lease, most, retry if most else None)
        self.porch.set_policy(caller(admin(self.porch)), self.name, policy)
        self.model = self.model_class(policy)
        for number, priority in enumerate(priorities):
            self.send_submission(0, [number], VERSIONS[0], priority)
        self.send_claim(0, n, None)

    @rule(
        who=st.integers(0, 1),
        numbers=st.lists(st.integers(0, 2), min_size=1, max_size=4),
        version=st.sampled_from(VERSIONS),
        priority=st.sampled_from([-1, 0, 0, 1]),
    )
    def submit(self, who: int, numbers: list[int], version: str, priority: int) -> None:
        self.send_submission(who, numbers, version, priority)

    def send_submission(self, who: int, numbers: list[int], version: str, priority: int) -> None:
        given = [{"n": n} for n in numbers]
        keys = [identify(one, Limits()).key for one in given]

        def act(sender: Caller) -> None:
            answers = self.porch.submit(sender, given, version=version, priority=priority)
            expected = self.model.submit(sender.request_id, keys, version, priority)
            assert answers == [
                Standing(key, status, created)
                for key, (status, created) in zip(keys, expected, strict=True)
            ]

        self.send(who, act)

    @rule(
        who=st.integers(0, 1), n=st.integers(1, 4), version=st.sampled_from([None, None, *VERSIONS])
    )
    def claim(self, who: int, n: int, version: str | None) -> None:
        self.send_claim(who, n, version)

    def send_claim(self, who: int, n: int, version: str | None) -> None:
        def act(sender: Caller) -> None:
            tasks = self.porch.claim(sender, n, version=version)
            assert [(task.key, task.version, task.attempt) for task in tasks] == self.model.claim(
                sender.request_id, n, version
            )
            assert {task.status for task in tasks} <= {S.CLAIMED}

        self.send(who, act)

    @precondition(lambda self: self.model.tasks)
    @rule(who=st.integers(0, 1), data=st.data())
    def update(self, who: int, data: st.DataObject) -> None:
        wanted = []
        for _ in range(data.draw(st.integers(1, 3), label="reports")):
            task = self.some_task(data)
            to = data.draw(st.sampled_from([S.RUNNING, S.DONE, S.FAILED, S.FAILED]), label="to")
            permanent = data.draw(st.booleans(), label="permanent")
            wanted.append((task, to, self.some_attempt(data, task), permanent))

        def act(sender: Caller) -> None:
            reports = [
                Report(Name(task.key.hex(), task.version, attempt), to, permanent=permanent)
                for task, to, attempt, permanent in wanted
            ]
            answers = [said(answer) for answer in self.porch.update(sender, reports)]
            assert answers == [
                self.model.report(
                    sender.request_id,
                    task,
                    to,
                    sources("update", to),
                    attempt,
                    permanent=permanent,
                )
                for task, to, attempt, permanent in wanted
            ]

        self.send(who, act)

    @precondition(lambda self: self.model.tasks)
    @rule(who=st.integers(0, 1), data=st.data())
    def release(self, who: int, data: st.DataObject) -> None:
        task = self.some_task(data)
        attempt = self.some_attempt(data, task)

        def act(sender: Caller) -> None:
            (answer,) = self.porch.release(sender, [Name(task.key.hex(), task.version, attempt)])
            expected = self.model.report(sender.request_id, task, S.PENDING, HELD, attempt)
            assert said(answer) == expected

        self.send(who, act)

    @rule(who=st.integers(0, 1), data=st.data())
    def release_claim(self, who: int, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from([*self.model.claims, uuid4()]), label="claim")

        def act(sender: Caller) -> None:
            released = self.porch.release_claim(sender, claim)
            assert released == self.model.release_claim(sender.request_id, claim)

        self.send(who, act)

    @precondition(lambda self: self.model.tasks)
    @rule(who=st.integers(0, 1), data=st.data(), force=st.booleans())
    def rerun(self, who: int, data: st.DataObject, force: bool) -> None:
        self.decide(who, data, "rerun", S.PENDING, force)

    @precondition(lambda self: self.model.tasks)
    @rule(who=st.integers(0, 1), data=st.data())
    def cancel(self, who: int, data: st.DataObject) -> None:
        self.decide(who, data, "cancel", S.CANCELLED, False)

    def decide(self, who: int, data: st.DataObject, verb: str, to: Status, force: bool) -> None:
        task = self.some_task(data)
        status = data.draw(st.sampled_from([task.status] * 9 + [*Status]), label="seen")
        seen = Seen(status, self.some_attempt(data, task) or 0)
        name = Name(task.key.hex(), task.version)

        def act(sender: Caller) -> None:
            if verb == "rerun":
                answer = attempt_of(
                    lambda: rerun(self.porch, sender, name, seen, reason="why", force=force)
                )
            else:
                answer = attempt_of(lambda: cancel(self.porch, sender, name, seen, reason="why"))
            assert answer == self.model.decide(sender.request_id, task, verb, to, seen, force)

        self.send(who, act)

    @precondition(lambda self: self.model.tasks)
    @rule(who=st.integers(0, 1), data=st.data())
    def heartbeat(self, who: int, data: st.DataObject) -> None:
        task = self.some_task(data)
        attempt = self.some_attempt(data, task)
        name = Name(task.key.hex(), task.version, attempt)

        def act(sender: Caller) -> None:
            (answer,) = self.porch.heartbeat(sender, [name])
            assert said(answer) == self.model.heartbeat(sender.request_id, task, attempt)

        self.send(who, act)

    @rule(moments=st.integers(1, 5))
    def time_passes(self, moments: int) -> None:
        self.pass_time(moments * MOMENT)

    @rule()
    def a_long_time_passes(self) -> None:
        self.pass_time(LONG)
        self.sweep()

    def pass_time(self, seconds: int) -> None:
        let_time_pass(self.porch, seconds)
        self.model.clock += seconds

    @rule()
    def sweep(self) -> None:
        """Two at once do no harm, so two in a row."""
        while self.model.in_doubt():
            self.pass_time(LONG)
        for _ in range(2):
            self.porch.sweep()
        self.model.sweep()
        self.compare_tasks()

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def deliver_something_again(self, data: st.DataObject) -> None:
        """Mostly one that is not long ago."""
        choices = self.sent + 3 * self.sent[-6:]
        data.draw(st.sampled_from(choices), label="message")()

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def deliver_something_late_to_the_next_holder(self, data: st.DataObject) -> None:
        self.send_claim(1, 4, None)
        data.draw(st.sampled_from(self.sent[-6:]), label="message")()

    def compare_tasks(self) -> list[tuple[Task, Known]]:
        """Each task beside what the model knows of it."""
        who = caller(self.secrets[0])
        found = self.porch.tasks(who, Search(pipeline=self.name), after=0, limit=1_000)
        assert len(found) == len(self.model.tasks)
        pairs = [(task, self.model.tasks[task.key, task.version]) for task in found]
        for task, known in pairs:
            assert (task.status, task.attempt) == (known.status, known.attempt)
            assert (task.lease_until is None) == (known.lease_until is None)
            assert (task.retry_at is None) == (known.retry is None)
        return pairs

    def teardown(self) -> None:
        for task, known in self.compare_tasks():
            events = self.porch.ledger.events(task.task_id)
            told = [(e.from_status, e.to_status, e.attempt) for e in events if not e.refused]
            late = [(e.from_status, e.to_status, e.attempt) for e in events if e.refused]
            assert told == known.path
            assert late == known.late
            check_path(known.path)


def check_path(path: list[tuple[Status | None, Status, int]]) -> None:
    """The events of a task form a path through the table, and only a claim counts an attempt."""
    assert path[0] == (None, S.PENDING, 0)
    for (_, before, was), (start, to, attempt) in pairwise(path):
        assert start is before
        assert to in TRANSITIONS[before]
        assert attempt == was + (to is S.CLAIMED)


def run_against(porch: Coordinator, model: type[Model], **more: Any) -> None:
    class OnThisLedger(Machine):
        pass

    OnThisLedger.porch, OnThisLedger.model_class = porch, model
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        OnThisLedger,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            **more,
        ),
    )


def test_whatever_is_sent_the_ledger_does_what_the_model_does(
    porch: Coordinator, database_url: str
) -> None:
    run_against(porch, Model)
    porch.sweep()
    health = examine(database_url)
    assert health.healthy, as_text(health)


@pytest.mark.parametrize("broken", [WithoutFencing, WithoutRequestIds, WithAShortLease])
def test_a_model_that_is_broken_is_told_from_the_ledger(
    porch: Coordinator, broken: type[Model]
) -> None:
    with pytest.raises(AssertionError):
        run_against(porch, broken, phases=[Phase.generate], report_multiple_bugs=False)
