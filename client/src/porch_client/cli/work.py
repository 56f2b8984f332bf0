"""The commands of a batch script: claim, update, heartbeat, release; and re-run and cancel."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Sequence
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
    version_option,
)
from porch_client.drain.command import record
from porch_client.errors import PorchError, Refused, Unreachable
from porch_client.model import STATUSES, Change, NotReported, Reported
from porch_client.render import seen

tasks_argument = click.argument("tasks", nargs=-1, required=True, metavar="ID...")
attempt_option = click.option(
    "--attempt",
    type=click.IntRange(min=0),
    help="The attempt you hold; refused if there has been a later one.",
)
message_option = click.option("--message", metavar="TEXT", help="Kept in the task's history.")
status_choice = click.Choice(STATUSES, case_sensitive=False)


@click.command()
@click.option("-n", "count", type=click.IntRange(min=1), default=1, show_default=True)
@pipeline_option
@version_option
@click.option(
    "--request-id",
    type=click.UUID,
    help="Name of this claim: repeating it returns the same tasks and claims no more.",
)
@pass_door
def claim(
    door: Door, count: int, pipeline: str | None, version: str | None, request_id: uuid.UUID | None
) -> None:
    """Claim up to N PENDING tasks; one JSON line each, none when the claim queue is empty."""
    name = str(request_id or uuid.uuid4())
    undo = f"`porch release --claim {name}` gives back what it claimed"
    try:
        with door.porch() as porch:
            claimed = porch.claim(count, pipeline=pipeline, version=version, request_id=name)
        for task in claimed:
            emit(record(task))
        sys.stdout.flush()
    except Unreachable as error:
        again = f"repeating it with `--request-id {name}` returns the same tasks, {undo}"
        cure = f"{error.cure}; {again}" if error.cure else again
        raise type(error)(error.code, error.message, cure) from None
    except (KeyboardInterrupt, BrokenPipeError):
        say(f"porch: the claim was interrupted; {undo}")
        raise
    if not claimed:
        say("  nothing to claim")


@click.command()
@tasks_argument
@click.option("--status", type=status_choice, required=True)
@message_option
@attempt_option
@version_option
@pipeline_option
@pass_door
def update(
    door: Door,
    tasks: tuple[str, ...],
    status: str,
    message: str | None,
    attempt: int | None,
    version: str | None,
    pipeline: str | None,
) -> None:
    """Report what became of tasks. ID is a task_input_id or an unambiguous prefix of one."""
    changes = [Change(task, status, attempt, message, version) for task in tasks]
    with door.porch() as porch:
        _show(tasks, porch.update(changes, pipeline=pipeline))


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
        _show(tasks, porch.heartbeat([(t, attempt, version) for t in tasks], pipeline=pipeline))


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
            [(task, attempt, version) for task in tasks],
            claim=None if request_id is None else str(request_id),
            pipeline=pipeline,
            message=message,
        )
        _show(tasks, results)


@click.command()
@tasks_argument
@click.option("--status", type=status_choice, help="The status you saw; looked up if not given.")
@click.option("--attempt", type=click.IntRange(min=0), help="The attempt you saw; likewise.")
@click.option("--reason", metavar="TEXT", help="Kept in the task's history.")
@click.option("--force", is_flag=True, help="Also a task that is DONE; needs --reason.")
@version_option
@pipeline_option
@pass_door
def rerun(
    door: Door,
    tasks: tuple[str, ...],
    status: str | None,
    attempt: int | None,
    reason: str | None,
    force: bool,
    version: str | None,
    pipeline: str | None,
) -> None:
    """Make FAILED or CANCELLED tasks PENDING again, unless they changed since you looked."""
    with door.porch() as porch:

        def verb(task: str, **seen_: Any) -> Reported:
            return porch.rerun(task, reason=reason, force=force, **seen_)

        _compare_and_set(porch, verb, tasks, version, pipeline, status, attempt)


@click.command()
@tasks_argument
@click.option("--status", type=status_choice, help="The status you saw; looked up if not given.")
@click.option("--attempt", type=click.IntRange(min=0), help="The attempt you saw; likewise.")
@click.option("--reason", metavar="TEXT", help="Kept in the task's history.")
@version_option
@pipeline_option
@pass_door
def cancel(
    door: Door,
    tasks: tuple[str, ...],
    status: str | None,
    attempt: int | None,
    reason: str | None,
    version: str | None,
    pipeline: str | None,
) -> None:
    """Cancel tasks that are not finished, unless they changed since you looked."""
    with door.porch() as porch:

        def verb(task: str, **seen_: Any) -> Reported:
            return porch.cancel(task, reason=reason, **seen_)

        _compare_and_set(porch, verb, tasks, version, pipeline, status, attempt)


def _compare_and_set(
    porch: Any,
    verb: Callable[..., Reported],
    tasks: Sequence[str],
    version: str | None,
    pipeline: str | None,
    status: str | None,
    attempt: int | None,
) -> None:
    """Do `verb` to each task as it was seen; one that is refused does not keep the others back."""
    refused: list[PorchError] = []
    for position, task in enumerate(tasks):
        where = {"version": version, "pipeline": pipeline}
        saw: dict[str, Any] = {"status": status, "attempt": attempt}
        name = task
        try:
            if status is None or attempt is None:
                found, _ = porch.show(task, **where)
                say(seen(found))
                saw = {"status": status or found.status}
                saw["attempt"] = found.attempt if attempt is None else attempt
                # Named in full from here on: a new task may make the prefix ambiguous.
                name, where["version"] = found.task_input_id, found.version
            emit(verb(name, **where, **saw))
        except Refused as error:
            complain(error, task)
            emit_refused(position, error)
            refused.append(error)
    finish(refused)


def _show(tasks: Sequence[str], results: Sequence[Reported | NotReported]) -> None:
    refused: list[PorchError] = []
    for result in results:
        if isinstance(result, NotReported):
            about = tasks[result.position] if result.position < len(tasks) else ""
            complain(result.error, about)
            emit_refused(result.position, result.error)
            refused.append(result.error)
        else:
            emit(result)
    finish(refused)
