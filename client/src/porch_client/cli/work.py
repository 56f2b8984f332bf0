"""The commands of a batch script: claim, update, heartbeat, release."""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from porch_client.cli.door import (
    Door,
    complain,
    emit,
    emit_refused,
    finish,
    pass_door,
    pipeline_option,
    say,
    spooled,
    tell_flushed,
    version_option,
)
from porch_client.drain.command import record
from porch_client.errors import PorchError, Unreachable
from porch_client.model import STATUSES, Change, NotReported, Reported, Spooled
from porch_client.render import many
from porch_client.request_ids import new_request_id

job_option = click.option(
    "--job-id", metavar="ID", help="What LSF, Slurm or wr calls the job; shown with the task."
)
tasks_argument = click.argument("tasks", nargs=-1, required=True, metavar="ID...")
attempt_option = click.option(
    "--attempt",
    type=click.IntRange(min=0),
    help="The attempt you hold; refused if there has been a later one. Below `porch drain` it is "
    "that of the task you were started for.",
)
message_option = click.option("--message", metavar="TEXT", help="Kept in the task's history.")
status_choice = click.Choice(STATUSES, case_sensitive=False)


@click.command()
@click.option(
    "-n",
    "count",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many at most.",
)
@pipeline_option
@version_option
@click.option(
    "--request-id",
    type=click.UUID,
    help="Name of this claim: repeating it returns the same tasks and claims no more.",
)
@job_option
@pass_door
def claim(
    door: Door,
    count: int,
    pipeline: str | None,
    version: str | None,
    request_id: uuid.UUID | None,
    job_id: str | None,
) -> None:
    """Claim up to N PENDING tasks; one JSON line each, none when the claim queue is empty."""
    name = str(request_id or new_request_id())
    undo = f"`porch release --claim {name}` gives back what it claimed"
    try:
        with door.porch() as porch:
            claimed = porch.claim(
                count, pipeline=pipeline, version=version, job_id=job_id, request_id=name
            )
        for task in claimed:
            emit(record(task))
        sys.stdout.flush()
    except Unreachable as error:
        if not error.perhaps_sent:
            raise
        again = f"repeating it with `--request-id {name}` returns the same tasks, {undo}"
        cure = f"{error.cure}; {again}" if error.cure else again
        raise type(error)(error.code, error.message, cure) from None
    except (KeyboardInterrupt, OSError):  # or stdout takes no more: a closed pipe, a full disk
        say(f"porch: the claim was interrupted; {undo}")
        raise
    if not claimed:
        say("  nothing to claim")


@click.command()
@tasks_argument
@click.option(
    "--status",
    type=status_choice,
    required=True,
    help="What they are now: RUNNING, DONE or FAILED.",
)
@message_option
@attempt_option
@job_option
@click.option(
    "--permanent",
    is_flag=True,
    help="Of a failure, also afterwards: do not try it again by itself.",
)
@click.option(
    "--spool",
    type=click.Path(),
    metavar="DIR",
    help="Keep the report in DIR until it is answered, and send first what it keeps from before.",
)
@version_option
@pipeline_option
@pass_door
def update(
    door: Door,
    tasks: tuple[str, ...],
    status: str,
    message: str | None,
    attempt: int | None,
    job_id: str | None,
    permanent: bool,
    spool: str | None,
    version: str | None,
    pipeline: str | None,
) -> None:
    """Report what became of tasks. ID is a task_input_id or an unambiguous prefix of one.

    With --spool, a broker or coordinator out of reach is no failure: the report is on disk in DIR
    when its line says "spooled", and the exit code is 0. It needs --attempt and --pipeline; below
    `porch drain` both are those of the task you were started for.
    """
    if permanent and status != "FAILED":
        raise click.UsageError(f"--permanent is said of a failure, not of {status}")
    changes = [
        Change(
            task,
            status,
            _held_attempt(task, attempt),
            message,
            version,
            job_id,
            permanent=permanent,
        )
        for task in tasks
    ]
    with door.porch() as porch:
        if spool is None:
            show_results(tasks, porch.update(changes, pipeline=pipeline))
            return
        whose = pipeline or _pipeline_of(tasks)
        kept = partial(tell_flushed, spool)
        show_results(
            tasks, porch.update(changes, pipeline=whose, spool=spool, on_flush=kept), spool
        )


@click.command()
@tasks_argument
@attempt_option
@version_option
@pipeline_option
@pass_door
def heartbeat(
    door: Door,
    tasks: tuple[str, ...],
    attempt: int | None,
    version: str | None,
    pipeline: str | None,
) -> None:
    """Say that you still work on tasks: renews their leases."""
    with door.porch() as porch:
        show_results(tasks, porch.heartbeat(held(tasks, attempt, version), pipeline=pipeline))


@click.command()
@click.argument("tasks", nargs=-1, metavar="[ID...]")
@click.option(
    "--claim",
    "request_id",
    type=click.UUID,
    help="Give back everything of this claim that has not been started.",
)
@message_option
@attempt_option
@version_option
@pipeline_option
@pass_door
def release(
    door: Door,
    tasks: tuple[str, ...],
    request_id: uuid.UUID | None,
    message: str | None,
    attempt: int | None,
    version: str | None,
    pipeline: str | None,
) -> None:
    """Give claimed tasks back, by their ids or by the request id of the claim."""
    if not tasks and request_id is None:
        raise click.UsageError("give the ids of tasks, or --claim with the request id of a claim")
    with door.porch() as porch:
        results = porch.release(
            held(tasks, attempt, version),
            claim=None if request_id is None else str(request_id),
            pipeline=pipeline,
            message=message,
        )
        show_results(tasks, results)


def held(
    tasks: Sequence[str], attempt: int | None, version: str | None
) -> list[tuple[str, int | None, str | None]]:
    """Tasks as they are named to heartbeat and release."""
    return [(task, _held_attempt(task, attempt), version) for task in tasks]


def _held_attempt(task: str, given: int | None) -> int | None:
    """The attempt that was given, or the one in our hands where `porch drain` started us for it.

    So that a report is fenced even where the script does not think of it.
    """
    ours = _of_drain(task) if given is None else {}
    return int(ours["attempt"]) if ours else given


def _pipeline_of(tasks: Sequence[str]) -> str | None:
    return _of_drain(tasks[0]).get("pipeline")


def _of_drain(task: str) -> dict[str, Any]:
    """The task that `porch drain` started us for, where it is this one; empty otherwise."""
    try:
        ours = json.loads(os.environ.get("PORCH_TASK", "null"))
        mine = bool(task) and ours["task_input_id"].startswith(task.lower())
        return {**ours, "attempt": int(ours["attempt"])} if mine else {}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}  # it is somebody else's variable, or too long to be there


def show_results(
    tasks: Sequence[str],
    results: Sequence[Reported | NotReported | Spooled],
    spool: str | None = None,
) -> None:
    """One JSON line for each result; ends the command with 1 where any was refused."""
    refused: list[PorchError] = []
    if results and isinstance(results[0], Spooled) and spool is not None:
        complain(spooled(many(len(results), "report"), results[0].error, spool))
    for result in results:
        if isinstance(result, Spooled):
            emit({"position": result.position, "spooled": True})
            continue
        if isinstance(result, NotReported):
            about = tasks[result.position] if result.position < len(tasks) else ""
            complain(result.error, about)
            emit_refused(result.position, result.error)
            refused.append(result.error)
        else:
            emit(result)
    finish(refused)
