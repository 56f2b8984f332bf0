"""Who runs the examples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.typed import Typist
from tests.house import House, User


@pytest.fixture
def typist(house: House, tmp_path: Path) -> Iterator[Typist]:
    """Somebody with a pipeline of their own in the shared house, who types what READMEs say."""
    with User(house) as user:
        typist = Typist(user, tmp_path)
        yield typist
        typist.close()
