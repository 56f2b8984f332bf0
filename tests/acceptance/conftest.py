"""Who types the commands, and a house to break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house import House, User


@pytest.fixture
def user(house: House) -> Iterator[User]:
    """Somebody with a pipeline of their own in the shared house."""
    with User(house) as someone:
        yield someone


@pytest.fixture(scope="session")
def broken_house(scratch: Callable[[str], Path]) -> Iterator[House]:
    """A house for tests that break it; each leaves it mended."""
    with House(scratch("house") / "state") as running:
        yield running


@pytest.fixture(scope="session")
def hostile_directory(scratch: Callable[[str], Path]) -> Path:
    """The working directory of a wrapper whose files have the names of our packages."""
    path = scratch("hostile")
    for name in (
        *("config", "tasks", "db", "coordinator", "client"),
        *("celeryconfig", "celery", "porch_client"),
    ):
        (path / f"{name}.py").write_text('raise SystemExit("hostile")\n')
    return path
