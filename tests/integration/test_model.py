"""Random sequences of verbs by several callers: the ledger against a model of a few dozen lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from coordinator.access import digest, new_secret
from coordinator.errors import PorchError
from coordinator.identity import Limits, identify
from coordinator.model import Standing, Task
from coordinator.requests import Caller, Name, Report, Reported, Search, Seen
from coordinator.service import Coordinator
from coordinator.status import HELD, TRANSITIONS, Status, sources
from tests.factories import admin, caller, pipeline

S = Status
VERSIONS = ("1.0", "2.0")


@dataclass
class Known:
    """What the model knows of one task."""

    key: bytes
    version: str
    priority: int
    order: int
    status: Status = S.PENDING
    attempt: int = 0
    path: list[tuple[Status | None, Status, int]] = field(
        default_factory=lambda: [(None, S.PENDING, 0)]
    )
    #: (request, status it led to) -> the attempt in which it was made
    made: dict[tuple[UUID, Status], int] = field(default_factory=dict)

    def go(self, to: Status, request: UUID) -> None:
        self.path.append((self.status, to, self.attempt))
        self.made[request, to] = self.attempt
        self.status = to


class Model:
    """porch, without SQL, without races, and without a care for speed."""

    def __init__(self) -> None:
        self.tasks: dict[tuple[bytes, str], Known] = {}
        self.claims: dict[UUID, list[tuple[bytes, str, int]]] = {}

    def submit(self, keys: list[bytes], version: str, priority: int) -> list[tuple[Status, bool]]:
        answers = []
        for key in keys:
            created = (key, version) not in self.tasks
            if created:
                self.tasks[key, version] = Known(key, version, priority, len(self.tasks))
            answers.append((self.tasks[key, version].status, created))
        return answers

    def claim(self, request: UUID, n: int, version: str | None) -> list[tuple[bytes, str, int]]:
        if request not in self.claims:
            due = [
                task
                for task in self.tasks.values()
                if task.status is S.PENDING and version in (None, task.version)
            ]
            due.sort(key=lambda task: (-task.priority, task.order))
            for task in due[:n]:
                task.attempt += 1
                task.go(S.CLAIMED, request)
            self.claims[request] = [(task.key, task.version, task.attempt) for task in due[:n]]
        return self.claims[request]

    def change(
        self,
        request: UUID,
        task: Known,
        to: Status,
        allowed: frozenset[Status],
        attempt: int | None,
    ) -> str:
        made = task.made.get((request, to))
        if made is None and task.status in allowed and attempt in (None, task.attempt):
            task.go(to, request)
            return "changed"
        if made is not None and attempt in (None, made):
            return "holds"
        if task.status is to and attempt in (None, task.attempt):
            return "holds"
        return (
            "stale_attempt" if attempt is not None and attempt < task.attempt else "illegal_change"
        )

    def decide(
        self, request: UUID, task: Known, verb: str, to: Status, seen: Seen, force: bool
    ) -> str:
        if verb not in TRANSITIONS[seen.status].values():
            return "illegal_change"
        if seen.status is S.DONE and not force:
            return "force_needed"
        answer = self.change(request, task, to, frozenset({seen.status}), seen.attempt)
        return answer if answer in {"changed", "holds"} else "status_changed"

    def release_claim(self, request: UUID, claim: UUID) -> int:
        handed = self.claims.setdefault(claim, [])
        answers = [
            self.change(
                request, self.tasks[key, version], S.PENDING, frozenset({S.CLAIMED}), attempt
            )
            for key, version, attempt in handed
        ]
        return sum(self._gave_back(answer, request, handed[n]) for n, answer in enumerate(answers))

    def _gave_back(self, answer: str, request: UUID, handed: tuple[bytes, str, int]) -> bool:
        key, version, attempt = handed
        made = self.tasks[key, version].made.get((request, S.PENDING))
        return answer == "changed" or made == attempt


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

    def __init__(self) -> None:
        super().__init__()
        self.name, secret = pipeline(self.porch, *VERSIONS)
        second = new_secret()
        who = caller(admin(self.porch))
        self.porch.add_token(who, digest(second), pipeline=self.name, description="second")
        self.secrets = [secret, second]
        self.model = Model()
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

    @initialize(priorities=st.permutations([-1, 0, 0]), n=st.integers(1, 3))
    def begin_with_work_in_hand(self, priorities: list[int], n: int) -> None:
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
            expected = self.model.submit(keys, version, priority)
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
            wanted.append((task, to, self.some_attempt(data, task)))

        def act(sender: Caller) -> None:
            reports = [
                Report(Name(task.key.hex(), task.version, attempt), to)
                for task, to, attempt in wanted
            ]
            answers = [said(answer) for answer in self.porch.update(sender, reports)]
            assert answers == [
                self.model.change(sender.request_id, task, to, sources("update", to), attempt)
                for task, to, attempt in wanted
            ]

        self.send(who, act)

    @precondition(lambda self: self.model.tasks)
    @rule(who=st.integers(0, 1), data=st.data())
    def release(self, who: int, data: st.DataObject) -> None:
        task = self.some_task(data)
        attempt = self.some_attempt(data, task)

        def act(sender: Caller) -> None:
            (answer,) = self.porch.release(sender, [Name(task.key.hex(), task.version, attempt)])
            expected = self.model.change(sender.request_id, task, S.PENDING, HELD, attempt)
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
                    lambda: self.porch.rerun(sender, name, seen, reason="why", force=force)
                )
            else:
                answer = attempt_of(lambda: self.porch.cancel(sender, name, seen, reason="why"))
            assert answer == self.model.decide(sender.request_id, task, verb, to, seen, force)

        self.send(who, act)

    @precondition(lambda self: self.model.tasks)
    @rule(who=st.integers(0, 1), data=st.data())
    def heartbeat(self, who: int, data: st.DataObject) -> None:
        task = self.some_task(data)
        attempt = self.some_attempt(data, task)
        name = Name(task.key.hex(), task.version, attempt)
        (answer,) = self.porch.heartbeat(Caller(self.secrets[who], uuid4()), [name])
        if attempt is not None and attempt < task.attempt:
            assert said(answer) == "stale_attempt"
        elif task.status in HELD and attempt in (None, task.attempt):
            assert said(answer) == "changed"
        else:
            assert said(answer) == "illegal_change"

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

    def teardown(self) -> None:
        who = caller(self.secrets[0])
        found = self.porch.tasks(who, Search(pipeline=self.name), after=0, limit=1_000)
        assert len(found) == len(self.model.tasks)
        for task in found:
            known = self.model.tasks[task.key, task.version]
            assert (task.status, task.attempt) == (known.status, known.attempt)
            assert self.events_of(task) == known.path
            check_path(known.path)

    def events_of(self, task: Task) -> list[tuple[Status | None, Status, int]]:
        events = self.porch.ledger.events(task.task_id)
        return [(event.from_status, event.to_status, event.attempt) for event in events]


def check_path(path: list[tuple[Status | None, Status, int]]) -> None:
    """The events of a task form a path through the table, and only a claim counts an attempt."""
    assert path[0] == (None, S.PENDING, 0)
    for (_, before, was), (start, to, attempt) in pairwise(path):
        assert start is before
        assert to in TRANSITIONS[before]
        assert attempt == was + (to is S.CLAIMED)


def test_whatever_is_sent_the_ledger_does_what_the_model_does(porch: Coordinator) -> None:
    class OnThisLedger(Machine):
        pass

    OnThisLedger.porch = porch
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        OnThisLedger,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, derandomize=True, database=None
        ),
    )
