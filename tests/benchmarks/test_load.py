"""The race and the words that every contestant shares."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchmarks import load

ROOT = Path(__file__).parents[2]


def test_no_two_definitions_are_equal() -> None:
    made = [str(load.definition(seed, i)) for seed in (0, 1, 7) for i in range(500)]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize(("share", "known"), [(0, []), (0.5, [0, 2, 4]), (1, [0, 1, 2, 3, 4])])
def test_the_known_share_is_spread_over_all(share: float, known: list[int]) -> None:
    assert list(load.known([0, 1, 2, 3, 4], share)) == known


def test_each_operation_of_a_race_has_a_number_of_its_own() -> None:
    run = load.race(5, 4, lambda _: lambda i: i)
    assert sorted(run.values) == list(range(20))
    assert sorted(run.warming) == list(range(20, 25))
    assert len(run.latencies) == 20


def test_callers_race_in_threads_of_several_processes() -> None:
    run = load.race(4, 1, lambda _: lambda _: (os.getpid(), threading.get_ident()))
    assert len({process for process, _ in run.values}) == load.PROCESSES
    assert len(set(run.values)) == 4


def test_what_fails_is_counted_and_not_timed() -> None:
    def make_caller(_: int) -> load.Operation:
        return lambda i: 1 // (i - 3)

    run = load.race(2, 3, make_caller)
    assert len(run.errors) == 1
    assert len(run.latencies) == len(run.values) == 5


def test_a_caller_that_cannot_be_made_ends_the_race() -> None:
    def make_caller(k: int) -> load.Operation:
        raise ValueError(k)

    with pytest.raises(RuntimeError, match="could not be made"):
        load.race(2, 1, make_caller)


def test_a_task_that_two_calls_were_handed_is_a_double() -> None:
    assert load.doubles([["a", "b"], ["c"], ["b"]]) == 1


def test_a_driver_answers_lines_whatever_it_prints_and_goes_on_after_an_error() -> None:
    driver = (
        "import load; load.serve({'add': lambda a, b: print('noise') or {'sum': a + b}}, 'x', '1')"
    )
    answers = subprocess.run(
        [sys.executable, "-c", driver],
        input='{"do":"add","a":1,"b":"x"}\n{"do":"add","a":1,"b":2}\n',
        cwd=ROOT / "benchmarks",
        capture_output=True,
        text=True,
        check=True,
    )
    ready, failed, done = answers.stdout.splitlines()
    assert '"offers": ["add"]' in ready
    assert "TypeError" in failed
    assert done == '{"sum": 3}'
