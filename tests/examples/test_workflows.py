"""Snakemake, the real one, and Nextflow, against a stand-in: one task, one run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.examples.typed import EXAMPLES, STANDINS, Typist
from tests.examples.workflows import installed_snakemake
from tests.house import BIN


@pytest.fixture(scope="module")
def snakemake() -> Path:
    """The folder of the real snakemake."""
    return installed_snakemake()


def counter(typist: Typist) -> str:
    """A program that counts, and fails for what is called bad unless it has been mended."""
    return typist.write(
        "count.sh",
        "#!/bin/sh\n"
        f"echo $1 >> {typist.here}/ran.txt\n"
        f'[ "$1" != bad ] || [ -e {typist.here}/mended ] || '
        "{ echo no space left >&2; exit 4; }\n"
        "echo 42\n",
    )


def made(typist: Typist) -> list[str]:
    """The names of what the workflows made."""
    return sorted(path.name for path in (typist.here / "work").rglob("*.counted"))


def test_snakemake_runs_once_for_each_row_and_says_why_it_failed(
    typist: Typist, snakemake: Path
) -> None:
    path = f"{snakemake}:{BIN}:{os.environ['PATH']}"
    words = (typist.user.pipeline, typist.sheet("a", "bad"), "Run", "work")
    options = ("--config", f"count={counter(typist)}")
    done = typist.type("snakemake/start.sh", *words, *options, env={"PATH": path})
    assert done.returncode == 0, done.stderr
    assert typist.fates() == {"a": "DONE", "bad": "FAILED"}
    assert made(typist) == ["a.counted"]
    told = str(typist.words("bad")[-1])
    assert told.startswith("exit 1: Error in rule count:\nno space left\n"), told

    (typist.here / "mended").touch()
    typist.user.porch("rerun", "--status", "FAILED", "--reason", "mended", "--yes")
    done = typist.type("snakemake/start.sh", *words, *options, env={"PATH": path})
    assert typist.fates() == {"a": "DONE", "bad": "DONE"}, done.stderr
    assert made(typist) == ["a.counted", "bad.counted"]
    assert typist.ran() == ["a", "bad", "bad"]


def test_nextflow_runs_once_for_each_row_and_says_why_it_failed(typist: Typist) -> None:
    words = (typist.user.pipeline, typist.sheet("a", "bad"), "Run", "work")
    done = typist.type("nextflow/start.sh", *words, "--count", counter(typist))
    assert done.returncode == 0, done.stderr
    assert typist.fates() == {"a": "DONE", "bad": "FAILED"}
    assert "no space left" in str(typist.words("bad")[-1])
    assert "a.counted" in made(typist)
    names = [call["name"] for call in typist.called()]
    assert len(names) == 2
    assert all(name.endswith("-1") for name in names)


@pytest.mark.parametrize("example", ["snakemake", "nextflow"])
def test_a_second_attempt_does_not_run_beside_the_first(typist: Typist, example: str) -> None:
    folder = typist.here / "work" / "0123456789abcdef"
    folder.mkdir(parents=True)
    task = '{"task_input_id": "0123456789abcdef", "attempt": 2, "task_input": {"Run": "a"}}'
    script = EXAMPLES / example / "one_run.sh"
    done = subprocess.run(
        ["flock", str(folder / "lock"), str(script), str(typist.here / "work")],
        input=task,
        env=typist.env({"PATH": f"{STANDINS}:{os.environ['PATH']}"}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "an earlier attempt still runs" in done.stderr
