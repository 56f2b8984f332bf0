"""What must be true of a task and its events: pure rules, which know no store.

They follow the design, and not the statements that write tasks and events, so that they can find
those wrong.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from coordinator.errors import PorchError
from coordinator.identity import Limits, identify
from coordinator.status import ENDED, HELD, TRANSITIONS, Status

#: The rules of one task, and what each proves.
RULES = {
    "paths": "events form a path in the table of statuses",
    "attempts": "each claim counts one attempt, and each attempt has one claim",
    "standings": "status and attempt are what the events say",
    "keys": "keys are those of the inputs, scopes those of the policies",
    "holders": "only what is held has a lease, only what failed is to be tried again",
    "tombstones": "only what has ended is pruned, and it keeps its last event",
}

_NEXT: dict[str, frozenset[str]] = {
    str(before): frozenset(map(str, after)) for before, after in TRANSITIONS.items()
}

#: What was accepted under the limits of its day is not judged by those of today.
_NO_LIMITS = Limits(max_bytes=sys.maxsize, max_depth=sys.maxsize)


class Kept(NamedTuple):
    """A task as it is kept. ``text``: its input, None where it has been ``pruned``. ``gone``: how
    many of its events have been pruned, None if it has them all. A tuple: there may be ten million
    of them."""

    task_id: int
    pipeline_id: int
    version: str
    scope: str
    key: bytes
    text: str | None
    status: str
    attempt: int
    leased: bool
    retried: bool
    pruned: bool = False
    gone: int | None = None


class Step(NamedTuple):
    """An event as it is kept. ``explained``: it has a message. ``unattended``: it has no token,
    as only the events of a sweep."""

    event_id: int
    task_id: int
    from_status: str | None
    to_status: str
    attempt: int
    refused: bool
    explained: bool
    unattended: bool = False


class Broken(NamedTuple):
    """A rule that does not hold for a task, by its name, and how."""

    rule: str
    what: str


def broken(task: Kept, identity: str | None, steps: Sequence[Step]) -> Iterator[Broken]:
    """Every rule that is broken by a task, with its events in the order in which they happened.

    ``identity``: the policy of its pipeline, None if there is no such pipeline.
    """
    yield from _key(task, identity)
    yield from _holder(task)
    yield from _tombstone(task, steps)
    yield from _history(task, steps)


def _key(task: Kept, identity: str | None) -> Iterator[Broken]:
    if task.text is not None:
        yield from _input(task.key, task.text)
    scope = task.version if identity == "version" else ""
    if identity is None:
        yield Broken("keys", f"it is of pipeline {task.pipeline_id}, which there is not")
    elif task.scope != scope:
        yield Broken(
            "keys",
            f'its scope is "{task.scope}", under identity policy "{identity}" it is "{scope}"',
        )


def _input(expected: bytes, text: str) -> Iterator[Broken]:
    try:
        key = identify(json.loads(text), _NO_LIMITS).key
    except (PorchError, ValueError, RecursionError) as error:
        said = error.message if isinstance(error, PorchError) else type(error).__name__
        yield Broken("keys", f"its input has no key: {said}")
    else:
        if key != expected:
            yield Broken("keys", f"its input has the key {key.hex()[:12]}")


def _tombstone(task: Kept, steps: Sequence[Step]) -> Iterator[Broken]:
    if (task.text is None) is not task.pruned:
        what = "has been pruned" if task.pruned else "has not been pruned"
        yield Broken("tombstones", f"it {what}, and has {'an' if task.text else 'no'} input")
    if task.pruned and task.gone is None:
        yield Broken("tombstones", "it has been pruned, and nothing says of how many events")
    if task.pruned and task.status not in ENDED:
        yield Broken("tombstones", f"it has been pruned, and is {task.status}")
    if task.gone is not None and (not steps or steps[0].refused):
        yield Broken("tombstones", "the event is gone with which it was pruned")


def _holder(task: Kept) -> Iterator[Broken]:
    if task.status in HELD and task.attempt < 1:
        yield Broken("holders", f"it is {task.status} in attempt {task.attempt}")
    if task.leased and task.status not in HELD:
        yield Broken("holders", f"it has a lease and is {task.status}")
    if task.retried and task.status != Status.FAILED:
        yield Broken("holders", f"it is due to be tried again and is {task.status}")


def _history(task: Kept, steps: Sequence[Step]) -> Iterator[Broken]:
    """One pass over the events; after each break it goes on from what the event itself says, so
    that one break is told once."""
    status: str | None = None
    attempt = 0
    given_up = False  # whether the attempt ended without a word of its holder
    if task.gone is not None and steps and not steps[0].refused:
        # All before the first event that is left has been pruned: it is where the path begins.
        status = steps[0].from_status
        attempt = steps[0].attempt - (steps[0].to_status == Status.CLAIMED)
    for step in steps:
        if step.refused:
            # Not a part of the path: a report of an attempt that was over by then.
            over = step.attempt < attempt or (step.attempt == attempt and given_up)
            if step.attempt < 1 or not over:
                yield Broken(
                    "attempts",
                    f"event {step.event_id} is a late report of attempt {step.attempt}, "
                    f"in attempt {attempt}",
                )
            continue
        yield from _step(status, step)
        claim = step.to_status == Status.CLAIMED
        if claim and 1 <= step.attempt <= attempt:
            yield Broken(
                "attempts", f"event {step.event_id} claims attempt {step.attempt} once more"
            )
        elif step.attempt != attempt + claim:
            yield Broken(
                "attempts",
                f"event {step.event_id} ({step.to_status}) is in attempt {step.attempt}, "
                f"{attempt + claim} was next",
            )
        status, attempt = step.to_status, step.attempt
        given_up = status == Status.PENDING or step.unattended
    if status is None:
        yield Broken("paths", "it has no events")
    elif (status, attempt) != (task.status, task.attempt):
        yield Broken(
            "standings",
            f"it is {task.status} in attempt {task.attempt}, "
            f"its events say {status} in attempt {attempt}",
        )


def _step(status: str | None, step: Step) -> Iterator[Broken]:
    before, to = step.from_status, step.to_status
    if before != status:
        yield Broken(
            "paths",
            f"event {step.event_id} goes from {before or 'nothing'} to {to}, "
            f"the task was {status or 'not there'}",
        )
    elif before is None:
        if to != Status.PENDING:
            yield Broken("paths", f"event {step.event_id}, its first, makes it {to}")
    elif to not in _NEXT.get(before, ()):
        yield Broken("paths", f"event {step.event_id} goes from {before} to {to}")
    elif before == Status.DONE and not step.explained:
        yield Broken("paths", f"event {step.event_id} runs DONE work again without a reason")
