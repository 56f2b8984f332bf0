"""The verb for callers who know a task by its input and say no more than what it shall become.

The clients of npg_porch have one operation for every change of status. From where the task is,
the table of statuses tells which verb leads there. One way is of their making: from PENDING to
RUNNING, which is a claim and a start in one step.
"""

from __future__ import annotations

import json
from dataclasses import replace

from coordinator import access
from coordinator.errors import ForceNeeded, IllegalChange, LedgerAway, PorchError, StatusChanged
from coordinator.identity import identify
from coordinator.lookup import Lookup, or_raise
from coordinator.model import Change, Origin, Outcome, Permission, Pipeline, Task
from coordinator.requests import Caller, Name, Reported
from coordinator.status import HELD, TRANSITIONS, Status, sources, verbs_from
from coordinator.verdicts import check_input, on_report

#: A task may be moved by others between our look at it and our change; so often we look again.
_LOOKS = 5

#: What no verb's table has: both at once, for who names a task instead of asking for the next.
_START = "claim and start"

_BEGINNINGS = ("claim", _START)


class Moving(Lookup):
    """Bring a task to a status, by whichever verb leads there from where it is."""

    def own_pipeline(self, caller: Caller, name: str) -> Pipeline:
        """The pipeline of the caller's token. Raises Forbidden unless its name is this one."""
        who, _ = self._enter(caller)
        return access.require_own(who, name)

    def bring(
        self,
        caller: Caller,
        task_input: object,
        to: Status,
        *,
        pipeline: str,
        version: str | None = None,
        attempt: int | None = None,
    ) -> Task:
        """The task after the change, or as it was if it has that status already.

        ``attempt``: which one the caller holds; without it, what is said counts for the current
        one, but nobody begins what another has begun. Raises UnknownTask, AmbiguousTask,
        IllegalChange, StaleAttempt, TaskPruned, and ForceNeeded for DONE work.
        """
        who, origin = self._enter(caller)
        target = access.require_own(who, pipeline)
        identified = identify(task_input, self.limits)
        key, given = identified.key.hex(), json.loads(identified.text)
        # Where an input is once for the whole pipeline, it was perhaps another version's.
        scope = version if target.identity == "version" else None
        task = or_raise(self._find(target, [Name(key, scope)])[0])
        meant = _verb(task.status, to)
        for _ in range(_LOOKS):
            change, outcome = self._try(target, task, to, attempt, who, origin)
            told = or_raise(_verdict(task, change, outcome))
            task = replace(task, status=outcome.status, attempt=outcome.attempt)
            if told is not None:
                if attempt is None and not (outcome.changed or outcome.repeated):
                    self._check_begun(task, to, who, origin, lost=meant in _BEGINNINGS)
                return task if task.task_input is not None else replace(task, task_input=given)
            if meant == "rerun" and _verb(task.status, to) == "release":
                raise _moved(task, "it was run again and claimed meanwhile")
        raise LedgerAway(f"task {key[:12]} is being changed by others all the time", "try again")

    def _check_begun(
        self, task: Task, to: Status, who: Permission, origin: Origin, *, lost: bool
    ) -> None:
        """Raises StatusChanged where somebody else has begun what the caller wants to begin.

        From where it was begun it may be said again: an answer may have been lost. ``lost``: the
        task was there to be had when the caller asked, and another was quicker.
        """
        if to in HELD and (lost or not self._began(task, to, who, origin)):
            raise _moved(task, f"it became {to} by the word of another")

    def _began(self, task: Task, to: Status, who: Permission, origin: Origin) -> bool:
        """Whether it was this token, from this address, that brought the task to its status."""
        events = reversed(self.ledger.events(task.task_id))
        begun = next(e for e in events if e.to_status is to and not e.refused)
        return (begun.token, begun.host) == (who.description, origin.host)

    def _try(
        self,
        target: Pipeline,
        task: Task,
        to: Status,
        attempt: int | None,
        who: Permission,
        origin: Origin,
    ) -> tuple[Change, Outcome]:
        verb = _verb(task.status, to)
        if verb == "rerun" and task.status is Status.DONE:
            raise _force_needed(task)
        if verb == "rerun":
            check_input(task)
        change = Change(
            task.task_id,
            to,
            _allowed(verb, task.status, to),
            attempt,
            # A claim that comes late is no report: nobody holds anything yet who claims.
            of_holder=verb not in ("rerun", "cancel") and to is not Status.CLAIMED,
        )
        # Who names an attempt has held the task: PENDING, it is not theirs to claim once more.
        if attempt is None and (
            verb in _BEGINNINGS
            # A stranger's word is no sign of life of who holds it.
            or (task.status is to and to in HELD and not self._began(task, to, who, origin))
        ):
            return change, self.ledger.take(target, task.task_id, to, origin)
        (outcome,) = self.ledger.change([change], origin)
        self._observe(task, outcome)
        return change, outcome


def _verb(status: Status, to: Status) -> str | None:
    if (status, to) == (Status.PENDING, Status.RUNNING):
        return _START
    return TRANSITIONS[status].get(to)


def _allowed(verb: str | None, status: Status, to: Status) -> frozenset[Status]:
    """From where the change may happen; from nowhere, it is only judged."""
    if verb in ("update", "heartbeat"):
        return sources("update", to)
    if verb == "release":
        return HELD
    if verb in ("rerun", "cancel"):
        return frozenset({status})
    return frozenset()


def _verdict(task: Task, change: Change, outcome: Outcome) -> Reported | PorchError | None:
    """None where the task was moved by somebody else meanwhile: look again."""
    verdict = on_report(task, change, outcome)
    if not isinstance(verdict, IllegalChange):
        return verdict
    if outcome.status is not task.status:
        return None
    if change.attempt is not None and change.attempt > outcome.attempt:
        return verdict
    also = f", RUNNING ({_START})" if outcome.status is Status.PENDING else ""
    return IllegalChange(
        verdict.message, f"from {outcome.status} it may go to {verbs_from(outcome.status)}{also}"
    )


def _moved(task: Task, what: str) -> StatusChanged:
    return StatusChanged(
        f"task {task.task_input_id[:12]} is {task.status} in attempt {task.attempt}: {what}",
        "leave it to its holder; whoever holds it says the attempt, or repeats the request under "
        "its Idempotency-Key",
    )


def _force_needed(task: Task) -> ForceNeeded:
    name = task.task_input_id[:12]
    return ForceNeeded(
        f"task {name} is DONE",
        "to run it again needs force and a reason, for which there is no room in this request: "
        f"`porch rerun {name} --force --reason TEXT`, or the re-run of /api/v2",
    )
