"""Many callers at once, in one transaction: each is answered as if alone."""

from __future__ import annotations

from collections import Counter
from uuid import uuid4

import pytest

from coordinator.arrivals import Handed, Registered
from coordinator.errors import Forbidden, MissingToken, PorchError, UnknownToken, WhichVersion
from coordinator.model import Standing
from coordinator.requests import Caller, Claiming, Name, Submission
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import admin, caller, definition, definitions, finish, pipeline, submit


def created(answer: Registered | PorchError) -> list[bool]:
    assert isinstance(answer, Registered), answer
    return [one.created for one in answer.answers if isinstance(one, Standing)]


def runs(answer: Handed | PorchError) -> list[int]:
    assert isinstance(answer, Handed), answer
    return [task.task_input["run"] for task in answer.tasks]


class TestSubmitting:
    def test_each_is_told_of_its_own(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        known = definition()
        submit(porch, secret, [known])
        first, second, third = porch.submit_all(
            [
                Submission(caller(secret), definitions(2)),
                Submission(caller(secret), [known]),
                Submission(caller(secret), [definition(), known, definition()]),
            ]
        )
        assert (created(first), created(second)) == ([True, True], [False])
        assert created(third) == [True, False, True]

    def test_of_equal_ones_the_first_is_created(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        same = definition()
        answers = porch.submit_all([Submission(caller(secret), [same, same]) for _ in range(5)])
        assert [created(answer) for answer in answers] == [[True, False]] + [[False, False]] * 4

    def test_a_message_that_came_twice_is_told_the_same_twice(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        once = Submission(caller(secret), definitions(2))
        assert [created(answer) for answer in porch.submit_all([once, once])] == [[True] * 2] * 2
        assert created(porch.submit_all([once])[0]) == [True] * 2

    def test_each_goes_into_its_own_pipeline_version_and_priority(self, porch: Coordinator) -> None:
        name, secret = pipeline(porch, "1.0", "2.0")
        other, of_other = pipeline(porch)
        same = definition()
        answers = porch.submit_all(
            [
                Submission(caller(secret), [same], version="2.0", priority=7),
                Submission(caller(of_other), [same]),
                Submission(caller(secret), [same], version="1.0"),
            ]
        )
        assert [created(answer) for answer in answers] == [[True]] * 3
        handed = [(t.pipeline, t.version, t.priority) for t in porch.claim(caller(secret), 9)]
        assert handed == [(name, "2.0", 7), (name, "1.0", 0)]
        assert [task.pipeline for task in porch.claim(caller(of_other), 9)] == [other]

    def test_each_has_the_event_of_its_own_request(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        hosts = ["one", "two", "three"]
        porch.submit_all(
            [Submission(Caller(secret, uuid4(), host), [{"host": host}]) for host in hosts]
        )
        for task in porch.claim(caller(secret), 9):
            _, events = porch.show(caller(secret), Name(task.task_input_id))
            assert events[0].host == task.task_input["host"]

    def test_who_is_refused_keeps_nobody_out(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        several, of_several = pipeline(porch, "1.0", "2.0")
        good = [Submission(caller(secret), [definition()]) for _ in range(2)]
        answers = porch.submit_all(
            [
                good[0],
                Submission(caller(None), [definition()]),
                Submission(caller("nonsense"), [definition()]),
                Submission(caller("0" * 32), [definition()]),
                Submission(caller(of_several), [definition()]),
                Submission(caller(admin(porch)), [definition()]),
                Submission(caller(secret), [definition()], pipeline=several),
                Submission(caller(secret), ["no object"]),
                good[1],
            ]
        )
        refused = [type(answer) for answer in answers if isinstance(answer, PorchError)]
        assert refused == [
            MissingToken, UnknownToken, UnknownToken, WhichVersion, Forbidden, Forbidden
        ]  # fmt: skip
        assert created(answers[0]) == created(answers[-1]) == [True]
        assert created(answers[-2]) == []

    @pytest.mark.parametrize("name", ["another", "none"])
    def test_who_names_a_pipeline_as_its_own_learns_nothing_of_others(
        self, porch: Coordinator, name: str
    ) -> None:
        _, secret = pipeline(porch)
        named = pipeline(porch)[0] if name == "another" else "there is none of this name"
        asked = Submission(caller(secret), [definition()], pipeline=named, own=True)
        assert isinstance(porch.submit_all([asked])[0], Forbidden)


class TestClaiming:
    def test_the_first_is_served_first(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, [{"run": run} for run in range(6)])
        answers = porch.claim_all([Claiming(caller(secret), n) for n in (1, 3, 4, 1)])
        assert [runs(answer) for answer in answers] == [[0], [1, 2, 3], [4, 5], []]

    def test_a_message_that_came_twice_is_handed_the_same_twice(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, [{"run": run} for run in range(4)])
        once = Claiming(caller(secret), 2)
        other = Claiming(caller(secret), 9)
        answers = porch.claim_all([once, once, other])
        assert [runs(answer) for answer in answers] == [[0, 1], [0, 1], [2, 3]]
        assert runs(porch.claim_all([other, once])[1]) == [0, 1]

    def test_who_has_been_served_before_takes_nothing_from_who_has_not(
        self, porch: Coordinator
    ) -> None:
        _, secret = pipeline(porch)
        before = Claiming(caller(secret), 3)
        assert runs(porch.claim_all([before])[0]) == []
        submit(porch, secret, [{"run": 1}])
        answers = porch.claim_all([before, Claiming(caller(secret), 3)])
        assert [runs(answer) for answer in answers] == [[], [1]]

    def test_each_is_handed_what_is_of_its_pipeline_and_version(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch, "1.0", "2.0")
        _, of_other = pipeline(porch)
        submit(porch, secret, [{"run": 1}], version="1.0")
        submit(porch, secret, [{"run": 2}], version="2.0")
        submit(porch, of_other, [{"run": 3}])
        answers = porch.claim_all(
            [
                Claiming(caller(secret), 9, version="2.0"),
                Claiming(caller(of_other), 9),
                Claiming(caller(secret), 9),
            ]
        )
        assert [runs(answer) for answer in answers] == [[2], [3], [1]]

    def test_each_has_its_own_job_and_event(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(4))
        wishes = [
            Claiming(Caller(secret, uuid4(), f"host-{job}"), 2, job_id=job) for job in ("a", "b")
        ]
        for wish, handed in zip(wishes, porch.claim_all(wishes), strict=True):
            assert isinstance(handed, Handed)
            for task in handed.tasks:
                assert task.job_id == wish.job_id
                event = porch.show(caller(secret), Name(task.task_input_id))[1][-1]
                assert (event.host, event.job_id) == (wish.caller.host, wish.job_id)

    def test_who_is_refused_keeps_nobody_out(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(2))
        answers = porch.claim_all(
            [
                Claiming(caller("0" * 32), 1),
                Claiming(caller(secret), 1),
                Claiming(caller(secret), 1, version="9.9"),
                Claiming(caller(secret), 0),
                Claiming(caller(secret), 1),
            ]
        )
        assert Counter(isinstance(answer, Handed) for answer in answers) == {True: 2, False: 3}

    def test_what_was_handed_is_told_again_as_it_was(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        wish = Claiming(caller(secret), 1)
        porch.claim_all([wish])
        submit(porch, secret, definitions(1))
        finish(porch, secret, Status.DONE)
        (again,) = porch.claim_all([wish])
        assert isinstance(again, Handed)
        assert [(task.status, task.attempt) for task in again.tasks] == [(Status.CLAIMED, 1)]
