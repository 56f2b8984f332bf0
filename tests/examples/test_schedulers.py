"""LSF, Slurm and wr: real scripts, against small stand-ins for bsub, sbatch and wr."""

from __future__ import annotations

import pytest

from tests.examples.typed import Typist

JOBS = {"slurm": "slurm.4711_1", "lsf": "lsf.4711[1]", "wr": "wr."}


@pytest.mark.parametrize("scheduler", JOBS)
def test_an_element_for_each_task_runs_it_once(typist: Typist, scheduler: str) -> None:
    words = (typist.user.pipeline, typist.sheet("a", "bad"), "Run", typist.command())
    done = typist.type(f"{scheduler}/start.sh", *words, env={"AT_ONCE": "7"})
    assert done.returncode == 0, done.stderr
    (call,) = typist.called()
    assert (call["elements"], call["at_once"], sorted(call["ended"])) == (2, 7, [0, 1])
    assert typist.fates() == {"a": "DONE", "bad": "FAILED"}
    assert typist.words("bad")[-1] == "exit 1: bgzip: no space left"
    jobs = sorted(str(task.job_id) for task in typist.user.client.list())
    assert jobs[0].startswith(JOBS[scheduler])
    assert len(set(jobs)) == 2
    # An hour later, from cron:
    done = typist.type(f"{scheduler}/start.sh", *words)
    assert done.returncode == 0, done.stderr
    assert len(typist.called()) == 1
    assert typist.ran() == ["a", "bad"]
