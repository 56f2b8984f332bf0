"""A porch that is set up as docs/security.md says, shared by the tests that attack it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house import User
from tests.security.broker import GuardedBroker, GuardedHouse


@pytest.fixture(scope="session")
def broker(scratch: Callable[[str], Path]) -> Iterator[GuardedBroker]:
    with GuardedBroker(scratch("broker")) as running:
        yield running


@pytest.fixture(scope="session")
def house(scratch: Callable[[str], Path], broker: GuardedBroker) -> Iterator[GuardedHouse]:
    with GuardedHouse(scratch("house") / "state", broker) as running:
        yield running


@pytest.fixture
def user(house: GuardedHouse) -> Iterator[User]:
    """Somebody with a pipeline of their own."""
    with User(house) as someone:
        yield someone
