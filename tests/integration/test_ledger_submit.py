"""Submitting: each definition once."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from coordinator.errors import (
    BadRequest,
    NotRepresentable,
    PorchError,
    TooLarge,
    UnknownPipeline,
    UnknownVersion,
    WhichVersion,
)
from coordinator.model import Standing
from coordinator.requests import Name, Policy, Search
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import admin, caller, definition, definitions, finish, pipeline, submit


def created(answers: list[Standing | PorchError]) -> list[bool]:
    assert all(isinstance(answer, Standing) for answer in answers), answers
    return [answer.created for answer in answers if isinstance(answer, Standing)]


def test_a_new_definition_is_pending_and_created(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    (answer,) = porch.submit(caller(secret), [{"run": 1}])
    assert isinstance(answer, Standing)
    assert (answer.status, answer.created) == (Status.PENDING, True)


def test_a_known_definition_is_not_created_again(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    given = definitions(3)
    submit(porch, secret, given)
    assert created(porch.submit(caller(secret), [*given, definition()])) == [False] * 3 + [True]


def test_a_known_definition_is_answered_with_its_status(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    given = definition()
    submit(porch, secret, [given])
    finish(porch, secret, Status.FAILED)
    (answer,) = porch.submit(caller(secret), [given])
    assert isinstance(answer, Standing)
    assert (answer.status, answer.created) == (Status.FAILED, False)


def test_a_request_that_comes_again_is_told_again_what_it_created(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    submit(porch, secret, [{"known": 1}])
    again = caller(secret)
    batch = [{"new": 1}, {"known": 1}, {"new": 1}, {"new": 2}]
    assert created(porch.submit(again, batch)) == [True, False, False, True]
    finish(porch, secret, Status.DONE)
    assert created(porch.submit(again, batch)) == [True, False, False, True]
    assert created(porch.submit(caller(secret), batch)) == [False] * 4


def test_of_equal_definitions_in_one_batch_the_first_is_created(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    batch = [{"a": 1, "b": 2}, {"c": 3}, {"b": 2, "a": 1.0}]
    assert created(porch.submit(caller(secret), batch)) == [True, True, False]


def test_of_equal_definitions_in_one_batch_the_first_is_kept(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    porch.submit(caller(secret), [{"a": 1, "b": 2}, {"b": 2, "a": 1}])
    (task,) = porch.claim(caller(secret), 1)
    assert list(task.task_input) == ["a", "b"]


def test_a_bad_definition_is_refused_at_its_position_and_keeps_none_out(
    porch: Coordinator,
) -> None:
    _, secret = pipeline(porch)
    good, bad, also_good = porch.submit(caller(secret), [{"a": 1}, {"a": "\0"}, {"a": 2}])
    assert isinstance(bad, NotRepresentable)
    assert created([good, also_good]) == [True, True]


def test_a_batch_of_only_bad_definitions_registers_nothing(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    porch.submit(caller(secret), [1, None, []])
    assert porch.count(caller(secret), Search()) == {}


def test_an_empty_batch_is_answered_with_nothing(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    assert porch.submit(caller(secret), []) == []


@pytest.mark.parametrize(
    "value",
    [1e22, -0.0, 5e-324, 2**53 - 1, "\U0001f600", "\u2028", "\\u0000", "'; DROP TABLE x", None, {}],
)
def test_an_input_comes_back_as_it_was_given(porch: Coordinator, value: object) -> None:
    _, secret = pipeline(porch)
    submit(porch, secret, [{"value": value}])
    (task,) = porch.claim(caller(secret), 1)
    assert task.task_input == {"value": value}
    assert type(task.task_input["value"]) is type(value)


def test_each_new_task_has_one_event(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    given = definition()
    submit(porch, secret, [given, given])
    (key,) = submit(porch, secret, [given])
    _, (event,) = porch.show(caller(secret), Name(key))
    assert (event.from_status, event.to_status, event.attempt) == (None, Status.PENDING, 0)
    assert (event.token, event.host) == ("test token", "test-host")


def test_a_new_version_may_run_the_same_input_again(porch: Coordinator) -> None:
    _, secret = pipeline(porch, "1.0", "2.0")
    given = definition()
    assert created(porch.submit(caller(secret), [given], version="1.0")) == [True]
    assert created(porch.submit(caller(secret), [given], version="2.0")) == [True]


def test_under_the_policy_pipeline_an_input_runs_once_whatever_the_version(
    porch: Coordinator,
) -> None:
    name, secret = pipeline(porch, "1.0", "2.0")
    porch.set_policy(caller(admin(porch)), name, Policy(identity="pipeline"))
    given = definition()
    assert created(porch.submit(caller(secret), [given], version="1.0")) == [True]
    assert created(porch.submit(caller(secret), [given], version="2.0")) == [False]


def test_two_pipelines_may_run_the_same_input(porch: Coordinator) -> None:
    given = definition()
    for _ in range(2):
        _, secret = pipeline(porch)
        assert created(porch.submit(caller(secret), [given])) == [True]


def test_of_several_versions_one_must_be_named(porch: Coordinator) -> None:
    _, secret = pipeline(porch, "1.0", "2.0")
    with pytest.raises(WhichVersion):
        porch.submit(caller(secret), [definition()])


def test_an_unknown_version_is_refused(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    with pytest.raises(UnknownVersion):
        porch.submit(caller(secret), [definition()], version="9")


def test_an_unknown_pipeline_is_refused_with_the_nearest(porch: Coordinator) -> None:
    name, secret = pipeline(porch)
    with pytest.raises(UnknownPipeline, match=name):
        porch.submit(caller(secret), [definition()], pipeline=name[:-1])


@pytest.mark.parametrize("priority", [-101, 101, 40_000])
def test_a_priority_beyond_the_range_is_refused(porch: Coordinator, priority: int) -> None:
    _, secret = pipeline(porch)
    with pytest.raises(BadRequest, match="within -100 and 100"):
        porch.submit(caller(secret), [definition()], priority=priority)


def test_more_than_can_be_taken_at_once_is_refused(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    with pytest.raises(TooLarge, match="10,000"):
        porch.submit(caller(secret), [{}] * 10_001)


def test_the_same_message_again_registers_nothing_and_adds_no_event(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    who, given = caller(secret), definitions(5)
    first, again = porch.submit(who, given), porch.submit(who, given)
    assert created(first) == [True] * 5
    assert created(again) == [True] * 5
    with porch.ledger.engine.connect() as connection:  # type: ignore[attr-defined]
        assert connection.execute(text("SELECT count(*) FROM porch.event")).scalar_one() == 5
