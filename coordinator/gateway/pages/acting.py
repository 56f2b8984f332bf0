"""What operators do from a page: a verb of the Coordinator, and what to tell them of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from coordinator.errors import BadInput, Conflict, Forbidden, NotFound, PorchError
from coordinator.gateway.pages.cures import in_a_line
from coordinator.gateway.pages.session import Said
from coordinator.gateway.pages.shapes import Alike, Chosen, told
from coordinator.model import Task
from coordinator.requests import Caller, Decision, Name, Reported, Seen
from coordinator.service import Coordinator

#: Tasks in one round of re-running a group, and seconds for which new rounds are begun: a browser
#: or a proxy gives up after a minute or so, and the group is still there to go on with.
_BATCH = 1_000
_SECONDS = 20.0
#: What may be wrong with a wish. Of what is wrong with the session, or with porch, a page of its
#: own tells.
REFUSALS = (Forbidden, BadInput, NotFound, Conflict)
Answers = list[Reported | PorchError]


def act(
    porch: Coordinator,
    who: Caller,
    verb: str,
    chosen: Sequence[Chosen],
    reason: str | None,
    *,
    force: bool = False,
) -> Said:
    """Re-run, cancel or release the chosen tasks, where they are still as they were seen."""
    answers: Answers = []
    for pipeline, of_it in groupby(sorted(chosen, key=lambda c: c.pipeline), lambda c: c.pipeline):
        answers += _of_one(porch, who, verb, pipeline, list(of_it), reason, force)
    porch.look_anew()
    return told(verb, *_counted(answers))


def _of_one(
    porch: Coordinator,
    who: Caller,
    verb: str,
    pipeline: str,
    chosen: Sequence[Chosen],
    reason: str | None,
    force: bool,
) -> Answers:
    decisions = [
        Decision(Name(c.task_input_id, c.version), Seen(c.status, c.attempt)) for c in chosen
    ]
    try:
        if verb == "release":
            return porch.release_seen(who, decisions, pipeline=pipeline, reason=reason)
        if verb == "cancel":
            return porch.cancel(who, decisions, pipeline=pipeline, reason=reason)
        return porch.rerun(who, decisions, pipeline=pipeline, reason=reason, force=force)
    except REFUSALS as refusal:
        return [refusal] * len(chosen)


def rerun_failures(porch: Coordinator, who: Caller, alike: Alike, reason: str | None) -> Said:
    """Re-run a whole group of failures, batch by batch; what fails only now waits to be seen."""
    answers: Answers = []
    more: int | None = 0
    time_is_up = time.monotonic() + _SECONDS
    while more is not None:
        batch, more = porch.failures(
            who, alike.pipeline, alike.group, after=more, limit=_BATCH, until=alike.last
        )
        if batch:
            decisions = [_decision(task) for task in batch]
            answers += porch.rerun(who, decisions, pipeline=alike.pipeline, reason=reason)
        if answers and time.monotonic() > time_is_up:
            break
    porch.look_anew()
    if not answers:
        words = "No task is left of this group as it was shown"
        return Said("mixed", words, ("Somebody may have been faster",))
    said = told("rerun", *_counted(answers))
    return (
        replace(said, kind="mixed", text=f"{said.text} so far; the group has more")
        if more is not None
        else said
    )


def _decision(task: Task) -> Decision:
    return Decision(Name(task.task_input_id, task.version), Seen(task.status, task.attempt))


def _counted(answers: Answers) -> tuple[int, int, list[str]]:
    done = sum(isinstance(a, Reported) and a.changed for a in answers)
    settled = sum(isinstance(a, Reported) and not a.changed for a in answers)
    return done, settled, [in_a_line(a) for a in answers if isinstance(a, PorchError)]
