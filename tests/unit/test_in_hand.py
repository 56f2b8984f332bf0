"""What workers have in hand for too long, and what kills their processes."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest

from config.bounded import within
from config.in_hand import Deadly, Held, findings
from config.worker_health import told_by

TOLD = {
    "time": 160.0,
    "queues": ["porch.submit"],
    "unswept": 2,
    "in_hand": [{"id": "1", "about": "porch.submit n=1", "seconds": 3}],
    "deadly": [{"id": "2", "about": "x", "deaths": 3, "given_up": False, "seconds": 9}],
}


def said(hand: list[Held], killers: list[Deadly]) -> list[str]:
    return [finding.what for finding in findings("w@h", hand, killers)]


def test_a_worker_tells_both() -> None:
    worker = told_by(TOLD, 100.0, 102.0)
    assert worker is not None
    assert worker.hand == (Held("1", "porch.submit n=1", 3.0),)
    assert worker.killers == (Deadly("2", "x", 3, False, 9.0),)


@pytest.mark.parametrize("wrong", [{"in_hand": 7}, {"in_hand": [{}]}, {"deadly": [{"id": 1}]}])
def test_one_of_another_release_may_tell_otherwise(wrong: dict[str, Any]) -> None:
    assert told_by({**TOLD, **wrong}, 100.0, 102.0) is None


def test_what_kills_again_and_again_is_told() -> None:
    assert said([], [Deadly("id-2", "porch.submit", 3, False, 9.0)]) == [
        "poison message: request id-2 (porch.submit) has killed 3 processes of worker w@h, "
        "the last one 9 s ago; it is tried again"
    ]
    assert said([], [Deadly("2", "x", 5, True, 9.0)])[0].endswith("it was given up")


def test_one_death_is_an_accident_and_an_old_one_is_history() -> None:
    assert said([], [Deadly("1", "x", 1, False, 9.0), Deadly("2", "x", 5, True, 1000.0)]) == []


def test_what_is_in_hand_for_long_is_told() -> None:
    assert said([Held("1", "x", 24.0), Held("2", "y", 31.0)], []) == [
        "poison message? worker w@h has had request 2 (y) in hand for 31 s"
    ]


class TestAQuestionToAServer:
    def test_is_answered(self) -> None:
        assert within(5.0, lambda: 7) == 7

    def test_fails_as_the_server_does(self) -> None:
        def fail() -> int:
            raise ConnectionError("gone")

        with pytest.raises(ConnectionError, match="gone"):
            within(5.0, fail)

    def test_is_given_up_in_time(self) -> None:
        hangs = Event()
        with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
            within(0.05, hangs.wait)
        hangs.set()
