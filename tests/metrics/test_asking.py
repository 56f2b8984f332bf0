"""A scrape asks others, and waits for none of them."""

from __future__ import annotations

import time
from threading import Event

import pytest

from config.metrics.asking import Asking
from coordinator.errors import LedgerAway


def test_it_tells_the_answer() -> None:
    assert Asking(lambda: 7).answer() == 7


def test_what_is_away_has_no_answer_until_it_is_back() -> None:
    away = True

    def ask() -> int:
        if away:
            raise LedgerAway("away")
        return 7

    asking = Asking(ask)
    assert asking.answer() is None
    away = False
    assert asking.answer() == 7


def test_a_defect_is_no_answer_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert Asking(lambda: 1 // 0).answer() is None
    assert "ZeroDivisionError" in caplog.text


class TestWhoHangs:
    def test_is_waited_for_briefly_and_asked_once(self) -> None:
        asked = 0
        hangs = Event()

        def ask() -> int:
            nonlocal asked
            asked += 1
            hangs.wait(30)
            return 7

        asking = Asking(ask, 0.05)
        begin = time.monotonic()
        assert [asking.answer() for _ in range(4)] == [None] * 4
        assert time.monotonic() - begin < 5
        hangs.set()
        assert asking.answer() == 7
        assert asked <= 2

    @pytest.mark.parametrize(("good_for", "told"), [(60.0, 1), (0.0, None)])
    def test_has_said_something_before_which_is_good_for_a_while(
        self, good_for: float, told: int | None
    ) -> None:
        answers = iter([1, 2])
        hangs = Event()

        def ask() -> int:
            answer = next(answers)
            if answer == 2:
                hangs.wait(30)
            return answer

        asking = Asking(ask, 0.05, good_for)
        assert asking.answer() == 1
        assert asking.answer() == told
        hangs.set()
