"""Porch under attack, for a moment; `make faults` does it for as long as one likes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import SystemRandom

import pytest
from rich.console import Console

from config.server_home import remove_state_dir
from tests.faults.run import run
from tests.faults.table import show

SECONDS = 7.0


@pytest.fixture
def arena_folder(scratch: Callable[[str], Path]) -> Iterator[Path]:
    """Removed with the servers' data, which are elsewhere as root."""
    folder = scratch("faults")
    yield folder
    for name in ("one", "two"):
        remove_state_dir(folder / name)


def test_under_attack_nothing_is_lost_nothing_runs_twice_nothing_is_stuck(
    arena_folder: Path,
) -> None:
    seed = int(os.environ.get("FAULTS_SEED") or SystemRandom().randrange(1_000_000))
    print(f"FAULTS_SEED={seed} repeats this schedule")
    result = run(seed, SECONDS, arena_folder)
    for blow in result.blows:
        print(blow)
    show(Console(width=100), [result], f"seed {seed}")
    assert result.violations == []
    assert result.injected.total() > 0
    assert result.verified["accepted definitions"] > 0
    assert result.verified["attempts begun"] > 0
