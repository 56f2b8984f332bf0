"""`make faults` ends with what was found: status 0 only if it was nothing."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.faults import __main__ as command
from tests.faults.run import Result
from tests.faults.schedule import schedule


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """The seeds that were run; the run of seed 8 finds something."""
    seeds: list[int] = []

    def run(seed: int, seconds: float, folder: Path, *_: Any) -> Result:
        seeds.append(seed)
        result = Result(seed, schedule(seed, seconds))
        result.injected = Counter({"kill a worker": 3})
        result.operations = Counter({("claim", "attempted"): 21, ("claim", "acknowledged"): 20})
        result.violations = ["task x [1] was begun 2 times"] if seed == 8 else []
        return result

    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return seeds


def test_every_seed_is_run_and_all_are_added_up(asked: list[int]) -> None:
    done = CliRunner().invoke(command.main, ["--seeds", "3", "--seed", "1"])
    assert (done.exit_code, asked) == (0, [1, 2, 3])
    total = done.output.partition("3 seeds, from 1 on")[2]
    assert ["kill", "a", "worker", "9", "0"] in [line.split() for line in total.splitlines()]
    assert ["claim", "63", "60", "0", "0", "0"] in [line.split() for line in total.splitlines()]


def test_the_first_violation_ends_it_and_tells_how_to_repeat_it(asked: list[int]) -> None:
    done = CliRunner().invoke(command.main, ["--seeds", "3", "--seed", "7", "--seconds", "35"])
    assert (done.exit_code, asked) == (1, [7, 8])
    assert "task x [1] was begun 2 times" in done.output
    assert "make faults SEEDS=1 SEED=8 SECONDS=35" in done.output


def test_without_a_seed_one_is_drawn_and_told(asked: list[int]) -> None:
    done = CliRunner().invoke(command.main, ["--seeds", "1"])
    assert f"seed {asked[0]}: " in done.output
