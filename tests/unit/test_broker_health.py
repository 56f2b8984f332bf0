"""What is made of what the broker and the workers tell."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from config.broker_health import queue_check
from config.broker_queues import age_of
from config.clocks import Reading
from config.queues import QUEUES
from config.worker_health import Worker, told_by, workers_check
from coordinator.health import Check, Level
from tests.envelopes import envelope

HERE = Reading(0.0, 0.0)


def worker(*queues: str, unswept: float = 1.0) -> Worker:
    return Worker(frozenset(queues or QUEUES), HERE, unswept)


def said(check: Check) -> list[str]:
    return [finding.what for finding in check.findings]


class TestAQueue:
    def test_with_a_worker_is_well(self) -> None:
        assert queue_check("q", 7, 3.0, 1).level is Level.OK

    def test_without_a_worker_is_wrong_even_if_nothing_waits(self) -> None:
        check = queue_check("q", 0, None, 0)
        assert check.level is Level.WRONG
        assert check.findings[0].look == "porch-server worker --queues q"

    def test_in_which_something_waits_for_long_is_a_warning(self) -> None:
        check = queue_check("q", 7, 61.0, 1)
        assert check.level is Level.WARNING
        assert said(check) == ["its oldest request has waited for 61 s: it needs more workers"]


class TestTheAgeOfAMessage:
    def test_is_since_it_was_sent(self) -> None:
        message = json.dumps(envelope("x", porch_sent=time.time() - 100))
        assert age_of(message) == pytest.approx(100, abs=10)

    def test_is_none_less_than_nothing(self) -> None:
        assert age_of(json.dumps(envelope("x", porch_sent=time.time() + 100))) == 0

    @pytest.mark.parametrize(
        "element",
        [
            None,
            b"\xff",
            "rubbish",
            "[" * 100_000,
            "7",
            '{"headers": []}',
            '{"headers": {"porch_sent": "soon"}}',
            '{"headers": {"porch_sent": NaN}}',
            json.dumps(envelope("x")),
        ],
        ids=lambda element: str(element)[:20],
    )
    def test_is_unknown_where_it_does_not_say(self, element: Any) -> None:
        assert age_of(element) is None


class TestWorkers:
    ANSWER = {"time": 160.0, "queues": ["porch.sweep"], "unswept": 2}  # noqa: RUF012

    def test_tell_their_queues_and_their_clock(self) -> None:
        told = told_by(self.ANSWER, 100.0, 102.0)
        assert told == Worker(frozenset({"porch.sweep"}), Reading(59.0, 1.0), 2.0)

    @pytest.mark.parametrize(
        "answer", [{"error": "KeyError('porch_health')"}, None, [], {**ANSWER, "time": "noon"}]
    )
    def test_of_another_release_tell_nothing(self, answer: Any) -> None:
        assert told_by(answer, 100.0, 102.0) is None

    def test_that_are_asked_for_sweeps_are_well(self) -> None:
        check = workers_check({"a@h": worker(), "b@h": worker("porch.submit", unswept=900)})
        assert check.level is Level.OK
        assert check.looked_at == {
            "workers": 2,
            "last_sweep_seconds": 1.0,
            "longest_in_hand_seconds": None,
        }

    def test_of_another_release_are_a_warning(self) -> None:
        check = workers_check({"a@h": worker(), "b@h": None})
        assert check.level is Level.WARNING
        assert said(check) == ["worker b@h cannot tell how it is: is it of this release?"]

    def test_are_missed(self) -> None:
        check = workers_check({})
        assert check.level is Level.WRONG
        assert said(check) == ["no worker answers"]

    def test_that_nobody_asks_for_a_sweep_are_a_warning(self) -> None:
        check = workers_check({"a@h": worker(unswept=11), "b@h": worker(unswept=99)})
        assert check.level is Level.WARNING
        assert said(check) == ["nobody has asked for a sweep for 11 s"]
        assert check.findings[0].look == "porch-server beat"
