"""`porch rerun` and `porch cancel`: for tasks by name, or for all that match.

Both are compare-and-set: each task is changed only if it is still in the status and attempt that
was seen, by whoever typed the command or by the command itself a moment ago.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

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
from porch_client.cli.values import moment
from porch_client.errors import PorchError, Refused
from porch_client.model import STATUSES, Decision, NotReported, Reported, Task
from porch_client.printable import printable
from porch_client.render import seen

if TYPE_CHECKING:
    from porch_client.client import Porch

Verb = Callable[[Sequence[Decision]], Sequence[Reported | NotReported]]

_AT_ONCE = 500
_SHOWN = 5
_TOLD = 20

_OPTIONS = (
    click.argument("tasks", nargs=-1, metavar="[ID...]"),
    click.option(
        "--status",
        type=click.Choice(STATUSES, case_sensitive=False),
        help="With IDs: the status you saw, looked up if not given. Without: which tasks.",
    ),
    click.option("--attempt", type=click.IntRange(min=0), help="With IDs: the attempt you saw."),
    click.option(
        "--message-like",
        metavar="TEXT",
        help="All whose last message holds this; % stands for anything.",
    ),
    click.option("--text", help="All whose input holds this text, or piece of JSON."),
    click.option("--since", type=moment, help="All changed since then: a time, or an age like 2h."),
    click.option("--reason", metavar="TEXT", help="Kept in the task's history."),
    click.option("--yes", is_flag=True, help="Do not ask before changing all that match."),
    version_option,
    pipeline_option,
)


def _deciding(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@_deciding
@click.option("--force", is_flag=True, help="Also tasks that are DONE; needs --reason.")
@click.option("--alike", metavar="GROUP", help="All of a group that `porch failures` shows.")
@click.option("--until", type=moment, help="With --alike: only what had failed by then.")
@pass_door
def rerun(
    door: Door,
    /,
    *,
    reason: str | None,
    force: bool,
    alike: str | None,
    until: str | None,
    **given: Any,
) -> None:
    """Make FAILED or CANCELLED tasks PENDING again, unless they changed since you looked.

    Name them, or say which: `porch rerun --status FAILED --message-like "No space left"`, or the
    command that `porch failures` tells.
    """
    with door.porch() as porch:

        def verb(decisions: Sequence[Decision]) -> Sequence[Reported | NotReported]:
            return porch.rerun(decisions, pipeline=given["pipeline"], reason=reason, force=force)

        if alike is None and until is None:
            _decide(porch, verb, "PENDING", **given)
            return
        others = given.keys() - {"pipeline", "yes"}
        if alike is None or any(given[name] not in (None, ()) for name in others):
            raise click.UsageError("--alike says which: with it go --until and --pipeline only")
        group = porch.failed_alike(alike, pipeline=given["pipeline"], until=until)
        _all_of(group, verb, "FAILED -> PENDING", yes=given["yes"])


@click.command()
@_deciding
@pass_door
def cancel(door: Door, /, *, reason: str | None, **given: Any) -> None:
    """Cancel tasks that are not finished, unless they changed since you looked.

    Name them, or say which: `porch cancel --status PENDING --text SRR118`.
    """
    with door.porch() as porch:

        def verb(decisions: Sequence[Decision]) -> Sequence[Reported | NotReported]:
            return porch.cancel(decisions, pipeline=given["pipeline"], reason=reason)

        _decide(porch, verb, "CANCELLED", **given)


def _decide(
    porch: Porch,
    verb: Verb,
    to: str,
    *,
    tasks: tuple[str, ...],
    status: str | None,
    attempt: int | None,
    message_like: str | None,
    text: str | None,
    since: str | None,
    yes: bool,
    version: str | None,
    pipeline: str | None,
) -> None:
    filters = {"message": message_like, "text": text, "since": since}
    if tasks:
        if any(filters.values()):
            raise click.UsageError("give the IDs of tasks, or --message-like, --text and --since")
        _by_name(porch, verb, tasks, version, pipeline, status, attempt)
    elif status is None or attempt is not None:
        raise click.UsageError("give the IDs of tasks, or --status and what else they must fit")
    else:
        where: dict[str, Any] = {
            **filters,
            "version": version,
            "pipeline": pipeline,
            "status": (status,),
        }
        _all_of(porch.list(**where), verb, f"{status} -> {to}", yes=yes)


def _by_name(
    porch: Porch,
    verb: Verb,
    tasks: Sequence[str],
    version: str | None,
    pipeline: str | None,
    status: str | None,
    attempt: int | None,
) -> None:
    """Do `verb` to each task as it was seen; one that is refused does not keep the others back."""
    errors: dict[int, PorchError] = {}
    decisions: dict[int, Decision] = {}
    for position, task in enumerate(tasks):
        if status is not None and attempt is not None:
            decisions[position] = Decision(task, status, attempt, version)
            continue
        try:
            found, _ = porch.show(task, version=version, pipeline=pipeline)
        except Refused as error:
            errors[position] = error
            continue
        say(seen(found))
        # Named in full from here on: a new task may make the prefix ambiguous.
        decisions[position] = Decision(
            found.task_input_id,
            status or found.status,
            found.attempt if attempt is None else attempt,
            found.version,
        )
    results = dict(zip(decisions, verb([*decisions.values()]) if decisions else (), strict=True))
    for position, task in enumerate(tasks):
        result = results.get(position)
        if isinstance(result, Reported):
            emit(result)
            continue
        refusal = errors[position] if result is None else result.error
        complain(refusal, task)
        emit_refused(position, refusal)
        errors[position] = refusal
    finish([*errors.values()])


def _all_of(found: Iterable[Task], verb: Verb, change: str, *, yes: bool) -> None:
    """Do `verb` to what matches now, as it is now: what changes in between is left alone."""
    first: deque[Task] = deque(maxlen=_SHOWN)
    decisions = [*_matching(found, first)]
    if not decisions:
        say("  nothing matches")
        return
    for task in first:
        task_input = json.dumps(task.task_input, ensure_ascii=False)
        say(printable(f"{seen(task)}  {task_input[:80]}"))
    if len(decisions) > len(first):
        say(f"  ... and {len(decisions) - len(first):,} more")
    what = f"{len(decisions):,} {'tasks' if len(decisions) > 1 else 'task'} {change}"
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"{what}: nobody is there to be asked, so add --yes")
        click.confirm(f"  {what}?", abort=True, err=True)
    done = 0
    refused: list[PorchError] = []
    queue = iter(decisions)
    while batch := [*islice(queue, _AT_ONCE)]:
        for result in verb(batch):
            if isinstance(result, Reported):
                emit(result)
                done += result.changed
                continue
            refused.append(result.error)
            emit_refused(result.position, result.error)
            if len(refused) <= _TOLD:
                complain(result.error)
    say(f"  {what}: {done:,} done" + (f", {len(refused):,} refused" if refused else ""))
    finish(refused)


def _matching(tasks: Iterable[Task], first: deque[Task]) -> Iterator[Decision]:
    for task in tasks:
        if len(first) < _SHOWN:
            first.append(task)
        yield Decision(task.task_input_id, task.status, task.attempt, task.version)
