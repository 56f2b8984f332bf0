"""What comes while others are under way goes together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coordinator.gathering import SLOW, Gathering


class Yard:
    """A gathering whose loop is turned by hand: `turn` does what was to be done soon."""

    def __init__(self, lanes: int = 2, most: int = 10) -> None:
        self.batches: list[list[int]] = []
        self.ends: list[Callable[[], None]] = []
        self.timers: list[tuple[float, Callable[[], object]]] = []
        self._soon: list[Callable[[], object]] = []
        self.gathering = Gathering[int](
            self._start,
            self._soon.append,
            lambda seconds, then: self.timers.append((seconds, then)),
            lanes=lanes,
            most=most,
        )

    def _start(self, batch: list[int], ended: Callable[[], None]) -> None:
        self.batches.append(batch)
        self.ends.append(ended)

    def add(self, *numbers: int) -> None:
        for number in numbers:
            self.gathering.add(number)

    def turn(self) -> None:
        while self._soon:
            self._soon.pop(0)()

    def pass_time(self) -> None:
        for _, then in self.timers:
            then()
        self.turn()


def test_one_who_is_alone_goes_at_once() -> None:
    yard = Yard()
    yard.add(1)
    yard.turn()
    assert yard.batches == [[1]]


def test_who_comes_at_the_same_moment_goes_together_in_order() -> None:
    yard = Yard()
    yard.add(1, 2, 3)
    yard.turn()
    assert yard.batches == [[1, 2, 3]]


def test_who_comes_meanwhile_goes_together_when_the_first_has_arrived() -> None:
    yard = Yard()
    yard.add(1)
    yard.turn()
    yard.add(2)
    yard.turn()
    yard.add(3)
    yard.turn()
    assert yard.batches == [[1]]
    assert len(yard.gathering) == 2
    yard.ends[0]()
    yard.turn()
    assert yard.batches == [[1], [2, 3]]


def test_a_batch_has_its_limit_and_the_rest_goes_with_the_next() -> None:
    yard = Yard(most=2)
    yard.add(1, 2, 3)
    yard.turn()
    yard.ends[0]()
    yard.turn()
    assert yard.batches == [[1, 2], [3]]


def test_a_slow_batch_does_not_keep_others_waiting() -> None:
    yard = Yard()
    yard.add(1)
    yard.turn()
    yard.add(2)
    assert [seconds for seconds, _ in yard.timers] == [SLOW]
    yard.pass_time()
    assert yard.batches == [[1], [2]]


def test_there_are_never_more_under_way_than_there_are_lanes() -> None:
    yard = Yard(lanes=2)
    for number in range(4):
        yard.add(number)
        yard.turn()
        yard.pass_time()
    assert yard.batches == [[0], [1]]
    yard.ends[1]()
    yard.turn()
    assert yard.batches == [[0], [1], [2, 3]]


@pytest.mark.parametrize("late", ["end", "timer"])
def test_what_is_told_twice_or_late_counts_once(late: str) -> None:
    yard = Yard(lanes=1)
    yard.add(1)
    yard.turn()
    yard.ends[0]()
    yard.add(2)
    yard.turn()
    if late == "end":
        yard.ends[0]()
    else:
        yard.timers[0][1]()
    yard.add(3)
    yard.turn()
    assert yard.batches == [[1], [2]]
