"""The same seed gives the same schedule, and every schedule keeps within its bounds."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.nemesis import STRIKES
from tests.faults.schedule import FAULTS, FROZEN, LEASE, MOST_DEATHS, schedule

seeds = st.integers(min_value=0, max_value=2**32)


@given(seeds)
def test_the_same_seed_gives_the_same_schedule(seed: int) -> None:
    assert schedule(seed, 35) == schedule(seed, 35)


@given(seeds)
def test_another_seed_gives_another_schedule(seed: int) -> None:
    assert schedule(seed, 35) != schedule(seed + 1, 35)


@given(seeds, st.floats(min_value=1, max_value=300))
def test_blows_come_in_order_and_within_the_run(seed: int, seconds: float) -> None:
    times = [blow.at for blow in schedule(seed, seconds)]
    assert times == sorted(times)
    assert all(0 < at <= seconds for at in times)


@given(seeds, st.floats(min_value=30, max_value=300))
def test_no_server_dies_more_often_than_up_would_bear(seed: int, seconds: float) -> None:
    struck = Counter(blow.fault for blow in schedule(seed, seconds))
    assert struck["kill Valkey"] + struck["restart Valkey"] + struck["empty Valkey"] <= MOST_DEATHS
    assert struck["kill PostgreSQL"] + struck["restart PostgreSQL"] <= MOST_DEATHS


@given(seeds)
def test_a_run_of_a_minute_has_every_fault(seed: int) -> None:
    assert {blow.fault for blow in schedule(seed, 60)} == FAULTS.keys()


def test_every_fault_can_be_struck() -> None:
    assert STRIKES.keys() == FAULTS.keys()


def test_the_frozen_lose_what_they_hold() -> None:
    assert FROZEN[0] > LEASE
