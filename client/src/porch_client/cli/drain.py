"""`porch drain`: run a command for every task of a claim queue."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import click

from porch_client.cli.door import (
    Door,
    complain,
    exit_code,
    pass_door,
    pipeline_option,
    say,
    version_option,
)
from porch_client.cli.work import job_option
from porch_client.drain.loop import Drain
from porch_client.drain.plan import ON_STOP, OnStop, Plan
from porch_client.errors import Misconfigured
from porch_client.printable import printable
from porch_client.render import drained

if TYPE_CHECKING:
    from porch_client.claimed import Claimed


@click.command()
@pipeline_option
@version_option
@click.option(
    "-j", "jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Commands at once."
)
@click.option(
    "-n",
    "batch",
    type=click.IntRange(min=1),
    help="Tasks per claim; as many as there is room for if not given.",
)
@click.option(
    "--max",
    "most",
    type=click.IntRange(min=1),
    help="Claim no more than so many tasks in all, then stop: for a job of limited time.",
)
@click.option(
    "--on-stop",
    type=click.Choice(ON_STOP),
    default="fail",
    show_default=True,
    help="What becomes of running commands after SIGTERM or Ctrl-C. fail: they are stopped, and "
    "what ends badly has FAILED; release: it is given back for somebody else; wait: they are not "
    "stopped, and no more is claimed.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="Seconds that running commands have after SIGTERM or Ctrl-C, before they are killed.",
)
@job_option
@click.option(
    "-v/-q",
    "--verbose/--quiet",
    "verbose",
    default=None,
    help="Whether to tell when a command starts and how it ends; if not said, on a terminal.",
)
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD ...")
@pass_door
def drain(
    door: Door,
    pipeline: str | None,
    version: str | None,
    jobs: int,
    batch: int | None,
    most: int | None,
    on_stop: OnStop,
    grace: float,
    job_id: str | None,
    verbose: bool | None,
    words: tuple[str, ...],
) -> None:
    """Claim tasks, run CMD for each and report, until the claim queue is empty.

    CMD gets the task as JSON on stdin and in PORCH_TASK (left out above 128 KiB), scalars of its
    input as PORCH_INPUT_<KEY>; {key} in CMD stands for a scalar of the input, {{ for a brace, and
    {task_input_id}, {attempt}, {pipeline} and {version} for the task's own. No shell sees a value.
    Exit 0 is DONE, everything else FAILED, with the last lines of stderr as message.

    Where the pipeline has a lease, heartbeats renew it until the end is reported; a command whose
    task was taken away is stopped, and its end is not reported.

    The exit code is 0 when the queue is drained, or --max reached, though tasks FAILED: that is in
    their history. A first SIGTERM or Ctrl-C gives back what was not started and stops what runs
    (see --on-stop), a second kills it; the exit code is then 128 and the number of the signal.
    """
    if "{" not in words[0] and shutil.which(words[0]) is None:
        raise Misconfigured(
            "no_command",
            f'there is no command "{words[0]}" that could be run',
            "give its path, or make it executable",
        )
    plan = Plan(words, pipeline, version, jobs, batch, grace, job_id, most, on_stop)
    if verbose is None:
        verbose = sys.stderr.isatty()
    work = Drain(plan, door.porch, complain, _tell if verbose else lambda task, what: None)
    work.run()
    if work.failure is not None:
        complain(work.failure)
    if work.claimed or (work.failure is None and not work.signals):
        say(drained(work.claimed, work.outbox.ended, work.pipeline, full=work.claimed == most))
    if work.failure is not None:
        raise click.exceptions.Exit(exit_code(work.failure))
    if work.signals:
        raise click.exceptions.Exit(128 + work.signals[0])


def _tell(task: Claimed, what: str) -> None:
    say(printable(f"  {task.task_input_id[:12]}  attempt {task.attempt}  {what}"))
