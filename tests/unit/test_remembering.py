"""Answers that are kept for a moment, and the past that is read once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

import pytest

from coordinator.remembering import Remembered
from coordinator.throughput import SETTLED, Throughput, intervals
from coordinator.views import Happened

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class TestAnAnswer:
    def test_that_took_long_is_kept_for_a_multiple_of_that(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = [0.0]
        monkeypatch.setattr("coordinator.remembering.time.monotonic", lambda: clock[0])
        kept: Remembered[float] = Remembered(times=20, most=10)

        def slow() -> float:
            clock[0] += 0.25
            return clock[0]

        answers = []
        for moment in (0.0, 4.9, 5.1):  # 20 times a quarter of a second
            clock[0] = max(clock[0], moment)
            answers.append(kept.get("key", slow))
        assert answers == [0.25, 0.25, pytest.approx(5.35)]

    def test_is_never_kept_for_longer_than_it_may(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = iter([0.0, 100.0, 9.9, 10.1, 10.1])
        monkeypatch.setattr("coordinator.remembering.time.monotonic", lambda: next(clock))
        kept: Remembered[str] = Remembered(times=20, most=10)
        asked = iter(["one", "two"])
        assert [kept.get(None, lambda: next(asked)) for _ in range(3)] == ["one", "one", "two"]

    def test_is_worked_out_once_for_all_who_wait(self) -> None:
        kept: Remembered[int] = Remembered(times=1e9)
        together, worked_out = Barrier(4), []

        def ask() -> None:
            together.wait()
            kept.get("key", lambda: worked_out.append(1) or 1)  # type: ignore[func-returns-value]

        threads = [Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert worked_out == [1]

    def test_of_another_question_is_another(self) -> None:
        kept: Remembered[str] = Remembered(times=1e9)
        assert [kept.get(key, lambda key=key: key) for key in ("a", "b", "a")] == ["a", "b", "a"]

    def test_is_none_where_there_was_an_error(self) -> None:
        kept: Remembered[int] = Remembered(times=1e9)
        with pytest.raises(ZeroDivisionError):
            kept.get("key", lambda: 1 // 0)
        assert kept.get("key", lambda: 2) == 2


class Past:
    """A history with one submission every minute until ``now``, that notes what is read of it."""

    def __init__(self) -> None:
        self.time = NOON
        self.read: list[tuple[datetime, datetime]] = []
        self.of: set[int | None] = set()

    def now(self) -> datetime:
        return self.time

    def happened(self, pipeline_id: int | None, begin: datetime, end: datetime) -> list[Happened]:
        self.read.append((begin, end))
        self.of.add(pipeline_id)
        found: dict[datetime, int] = {}
        moment = begin.replace(second=0)
        while moment < end:
            if moment >= begin:
                tick = moment.replace(minute=moment.minute // 10 * 10)
                found[tick] = found.get(tick, 0) + 1
            moment += MINUTE
        return [Happened(tick, amount, 0, 0) for tick, amount in found.items()]


def submitted(
    throughput: Throughput, past: Past, hours: int = 24, pipeline_id: int | None = None
) -> list[int]:
    ticks, current = throughput.of_late(past, pipeline_id, hours * 6)
    return [i.submitted for i in intervals(ticks, current, hours)]


class TestThePast:
    def test_is_read_once_and_then_what_is_new(self) -> None:
        past, throughput, settled = Past(), Throughput(), timedelta(seconds=SETTLED)
        for later in (0, 7, 55):
            past.time = NOON + later * MINUTE
            past.read.clear()
            counts = submitted(throughput, past)
            assert counts == [30] * 47 + [(later % 30) or 0]
        assert past.read == [
            (NOON + 7 * MINUTE - settled, NOON + 55 * MINUTE - settled),
            (NOON + 55 * MINUTE - settled, NOON + 55 * MINUTE),
        ]

    def test_further_back_is_read_when_somebody_asks(self) -> None:
        past, throughput = Past(), Throughput()
        past.time = NOON + 5 * MINUTE
        submitted(throughput, past, 1)
        past.read.clear()
        assert sum(submitted(throughput, past, 24)) == 47 * 30 + 5
        begin = NOON - timedelta(hours=23, minutes=50)
        assert past.read[0] == (begin, NOON - timedelta(minutes=50))
        assert submitted(throughput, past, 1) == [10] * 5 + [5]

    def test_of_a_pipeline_is_read_by_itself(self) -> None:
        past, throughput = Past(), Throughput()
        submitted(throughput, past, 24)
        assert past.of == {None}  # whose it was is not asked
        past.read.clear()
        assert submitted(throughput, past, 1, 7) == [10] * 5 + [0]
        assert (past.of, past.read[0][0]) == ({None, 7}, NOON - timedelta(minutes=50))

    def test_is_read_again_after_a_while(self, monkeypatch: pytest.MonkeyPatch) -> None:
        past, throughput = Past(), Throughput()
        submitted(throughput, past, 1)
        past.read.clear()
        monkeypatch.setattr("coordinator.throughput.REREAD", -1.0)
        submitted(throughput, past, 1)
        assert past.read[0][0] == NOON - timedelta(minutes=50)

    def test_is_worked_out_anew_once_it_is_forgotten(self) -> None:
        kept: Remembered[int] = Remembered(times=1e9)
        asked = iter([1, 2])
        kept.get(None, lambda: next(asked))
        kept.forget()
        assert kept.get(None, lambda: next(asked)) == 2
