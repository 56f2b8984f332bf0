"""The memory of `porch submit` does not grow with the length of its input."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL, Popen

import pytest

from tests.house import BIN, User, environment

MEBIBYTE = 1024
"""In the kibibytes of ru_maxrss."""


def sheet(path: Path, rows: int) -> Path:
    """Rows that differ little, so that PostgreSQL has little to do."""
    path.write_text("Run,Layout\n" + "".join(f"ERR{n % 500},SINGLE\n" for n in range(rows)))
    return path


def lines(path: Path, rows: int) -> Path:
    path.write_text("".join(f'{{"Run": "ERR{n % 500}", "n": [1]}}\n' for n in range(rows)))
    return path


def peak(user: User, source: Path, *, piped: bool) -> int:
    """The most memory that a submission of ``source`` held, in KiB."""
    with source.open("rb") as file:
        process = Popen(
            [str(BIN / "porch"), "submit", "--quiet", "-" if piped else str(source)],
            env=environment(user.house.env(user.token)),
            stdin=file if piped else DEVNULL,
            stderr=DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_maxrss


@pytest.mark.parametrize(
    ("write", "name", "piped"), [(lines, "runs.jsonl", True), (sheet, "runs.csv", False)]
)
def test_ten_times_the_input_takes_the_same_memory(
    user: User, tmp_path: Path, write: Callable[[Path, int], Path], name: str, piped: bool
) -> None:
    small = peak(user, write(tmp_path / name, 6_000), piped=piped)
    large = peak(user, write(tmp_path / name, 60_000), piped=piped)
    assert large - small < 15 * MEBIBYTE
