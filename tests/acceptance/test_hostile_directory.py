"""porch in the working directory of a wrapper that has files with the names of our packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house import House, User, json_lines

DJANGO = {"DJANGO_SETTINGS_MODULE": "hostile.settings"}


@pytest.fixture(scope="module")
def hostile(hostile_directory: Path, scratch: Callable[[str], Path]) -> Iterator[User]:
    """A user of a house that was started in the hostile directory."""
    with (
        House(scratch("house") / "state", env=DJANGO, cwd=hostile_directory) as house,
        User(house) as user,
    ):
        yield user


def test_up_starts_workers_that_answer(hostile: User) -> None:
    assert hostile.register({"n": 1})


@pytest.mark.parametrize(
    ("argv", "printed"),
    [
        (("submit", "-"), 1),
        (("claim",), 1),
        (("drain", "--", "true"), 0),
        (("list",), 2),
        (("show", "{task}", "--json"), 1),
    ],
)
def test_the_command_works(
    hostile: User, hostile_directory: Path, argv: tuple[str, ...], printed: int
) -> None:
    (task, _) = hostile.register({"n": 1}, {"n": 2})
    words = [word.format(task=task) for word in argv]
    done = hostile.porch(*words, env=DJANGO, cwd=hostile_directory, input='{"n": 1}')
    assert done.returncode == 0, done.stderr
    assert len(json_lines(done.stdout)) == printed


def test_up_ends_well_and_has_printed_one_line(hostile: User) -> None:
    assert hostile.house.close() == 0
    assert hostile.house.output == ""
