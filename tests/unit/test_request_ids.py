"""Names of requests that tell when they were made, at both ends of the wire."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4, uuid5

import pytest

from coordinator import request_ids
from porch_client import request_ids as of_client

MAKERS: list[Callable[[], str | UUID]] = [request_ids.new_request_id, of_client.new_request_id]


@pytest.fixture(params=MAKERS, ids=["coordinator", "client"])
def new(request: pytest.FixtureRequest) -> Callable[[], UUID]:
    return lambda: UUID(str(request.param()))


def test_they_are_uuids_of_version_7(new: Callable[[], UUID]) -> None:
    assert {(n.version, n.variant) for n in (new() for _ in range(100))} == {
        (7, "specified in RFC 4122")
    }


def test_no_two_are_the_same(new: Callable[[], UUID]) -> None:
    assert len({new() for _ in range(10_000)}) == 10_000


def test_later_ones_are_greater(new: Callable[[], UUID]) -> None:
    first = new()
    time.sleep(0.002)  # their clock counts milliseconds
    assert first < new()


def test_they_tell_when_they_were_made(new: Callable[[], UUID]) -> None:
    told = request_ids.made_at(new())
    assert told is not None
    assert abs(datetime.now(UTC) - told) < timedelta(seconds=5)


def test_of_the_example_of_the_rfc_it_is_told_right() -> None:
    # RFC 9562, appendix A.6: 2022-02-22 14:22:22.00-05:00
    told = request_ids.made_at(UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F"))
    assert told == datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)


@pytest.mark.parametrize("other", [uuid4(), uuid5(uuid4(), "x"), UUID(int=0)])
def test_other_names_do_not_tell(other: UUID) -> None:
    assert request_ids.made_at(other) is None
