"""A porch for all pages that are typed into one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house import House


@pytest.fixture(scope="session")
def house(scratch: Callable[[str], Path]) -> Iterator[House]:
    """All of porch, whose log is JSON, as one page reads it."""
    with House(scratch("pages") / "state", {"PORCH_LOG_FORMAT": "json"}) as running:
        yield running
