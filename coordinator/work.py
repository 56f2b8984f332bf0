"""The verbs of the work: submit, claim, report, give back, run again, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from coordinator.errors import BadRequest, PorchError, TooLarge
from coordinator.identity import Identified, identify
from coordinator.lookup import Lookup, or_raise
from coordinator.model import Change, Origin, Standing, Task
from coordinator.naming import pick_version
from coordinator.requests import Caller, Name, Report, Reported, Seen
from coordinator.status import HELD, REPORTABLE, Status, sources
from coordinator.verdicts import (
    check_decision,
    clean_message,
    on_decision,
    on_heartbeat,
    on_report,
)

#: Definitions, reports or names in one request; and tasks handed out by one claim.
MOST_AT_ONCE = 10_000
MOST_CLAIMED = 1_000

PRIORITIES = range(-100, 101)


class Work(Lookup):
    """What wrappers and batch scripts do with tasks, each with a token of their pipeline."""

    def submit(
        self,
        caller: Caller,
        definitions: Sequence[object],
        *,
        pipeline: str | None = None,
        version: str | None = None,
        priority: int = 0,
    ) -> list[Standing | PorchError]:
        """Register the definitions that are new; how each stands, or why it was refused, in order.

        One bad definition does not keep the others out.
        """
        who, origin = self._enter(caller)
        target = self._own(who, pipeline)
        chosen = pick_version(target, version)
        _check_amount(len(definitions))
        if priority not in PRIORITIES:
            raise BadRequest(f"priority {priority} is not within -100 and 100", "the default is 0")
        answers = [self._identify(definition) for definition in definitions]
        good = [answer for answer in answers if isinstance(answer, Identified)]
        standings = iter(self.ledger.submit(target, chosen, good, priority, origin) if good else ())
        return [next(standings) if isinstance(a, Identified) else a for a in answers]

    def claim(
        self,
        caller: Caller,
        n: int,
        *,
        pipeline: str | None = None,
        version: str | None = None,
    ) -> list[Task]:
        """Hand out up to ``n`` PENDING tasks; the same ``request_id`` gets the same tasks again."""
        who, origin = self._enter(caller)
        target = self._own(who, pipeline)
        if not 1 <= n <= MOST_CLAIMED:
            raise BadRequest(f"cannot claim {n} tasks at once", f"ask for 1 to {MOST_CLAIMED:,}")
        chosen = None if version is None else pick_version(target, version)
        return self.ledger.claim(target, chosen, n, origin)

    def update(
        self, caller: Caller, reports: Sequence[Report], *, pipeline: str | None = None
    ) -> list[Reported | PorchError]:
        """Record what holders report: RUNNING, DONE or FAILED; each verdict in order."""
        who, origin = self._enter(caller)
        target = self._own(who, pipeline)
        _check_amount(len(reports))
        found = self._find(target, [report.name for report in reports])
        wanted: list[tuple[Task, Change] | PorchError] = []
        for report, task in zip(reports, found, strict=True):
            if isinstance(task, PorchError):
                wanted.append(task)
            elif report.status not in REPORTABLE:
                wanted.append(_not_reportable(report.status))
            else:
                allowed = sources("update", report.status)
                message = clean_message(report.message)
                wanted.append(
                    (
                        task,
                        Change(task.task_id, report.status, allowed, report.name.attempt, message),
                    )
                )
        return self._report(wanted, origin)

    def heartbeat(
        self, caller: Caller, names: Sequence[Name], *, pipeline: str | None = None
    ) -> list[Reported | PorchError]:
        """Say that the holder of each task is alive: extends its lease."""
        who, _ = self._enter(caller)
        target = self._own(who, pipeline)
        _check_amount(len(names))
        found = self._find(target, names)
        held = [
            (task.task_id, name.attempt)
            for name, task in zip(names, found, strict=True)
            if isinstance(task, Task)
        ]
        outcomes = iter(self.ledger.heartbeat(held) if held else ())
        return [
            on_heartbeat(task, name.attempt, next(outcomes)) if isinstance(task, Task) else task
            for name, task in zip(names, found, strict=True)
        ]

    def release(
        self,
        caller: Caller,
        names: Sequence[Name],
        *,
        pipeline: str | None = None,
        message: str | None = None,
    ) -> list[Reported | PorchError]:
        """Give back claimed tasks: they are PENDING again."""
        who, origin = self._enter(caller)
        target = self._own(who, pipeline)
        _check_amount(len(names))
        text = clean_message(message)
        wanted = [
            (task, Change(task.task_id, Status.PENDING, HELD, name.attempt, text))
            if isinstance(task, Task)
            else task
            for name, task in zip(names, self._find(target, names), strict=True)
        ]
        return self._report(wanted, origin)

    def release_claim(
        self,
        caller: Caller,
        claim: UUID,
        *,
        pipeline: str | None = None,
        message: str | None = None,
    ) -> int:
        """Give back everything of one claim that has not been started; how many tasks that was.

        A claim whose message is still under way will be handed nothing.
        """
        who, origin = self._enter(caller)
        target = self._own(who, pipeline)
        text = clean_message(message)
        claimed = frozenset({Status.CLAIMED})
        handed = self.ledger.close_claim(target, origin, claim)
        outcomes = self.ledger.change(
            [
                Change(task_id, Status.PENDING, claimed, attempt, text)
                for task_id, attempt in handed
            ],
            origin,
        )
        return sum(outcome.changed or outcome.repeated for outcome in outcomes)

    def rerun(
        self,
        caller: Caller,
        name: Name,
        seen: Seen,
        *,
        pipeline: str | None = None,
        reason: str | None = None,
        force: bool = False,
    ) -> Reported:
        """Make finished work PENDING again, if it is still as the caller saw it."""
        return self._decide(caller, name, seen, "rerun", Status.PENDING, pipeline, reason, force)

    def cancel(
        self,
        caller: Caller,
        name: Name,
        seen: Seen,
        *,
        pipeline: str | None = None,
        reason: str | None = None,
    ) -> Reported:
        """Take work out of the queue or out of its holder's hands, if it is still as seen."""
        return self._decide(caller, name, seen, "cancel", Status.CANCELLED, pipeline, reason, False)

    def _identify(self, definition: object) -> Identified | PorchError:
        try:
            return identify(definition, self.limits)
        except PorchError as refusal:
            return refusal

    def _report(
        self, wanted: Sequence[tuple[Task, Change] | PorchError], origin: Origin
    ) -> list[Reported | PorchError]:
        changes = [pair[1] for pair in wanted if isinstance(pair, tuple)]
        outcomes = iter(self.ledger.change(changes, origin) if changes else ())
        return [
            on_report(*pair, next(outcomes)) if isinstance(pair, tuple) else pair for pair in wanted
        ]

    def _decide(
        self,
        caller: Caller,
        name: Name,
        seen: Seen,
        verb: str,
        to: Status,
        pipeline: str | None,
        reason: str | None,
        force: bool,
    ) -> Reported:
        who, origin = self._enter(caller)
        task = or_raise(self._find(self._own(who, pipeline), [name])[0])
        allowed = check_decision(task, seen, verb, reason, force=force)
        change = Change(task.task_id, to, allowed, seen.attempt, clean_message(reason))
        outcome = self.ledger.change([change], origin)[0]
        return or_raise(on_decision(task, seen, change, outcome))


def _check_amount(n: int) -> None:
    if n > MOST_AT_ONCE:
        raise TooLarge(f"{n:,} in one request", f"send at most {MOST_AT_ONCE:,} at once")


def _not_reportable(status: Status) -> BadRequest:
    return BadRequest(
        f"{status} cannot be reported",
        "report RUNNING, DONE or FAILED; `porch release`, `porch cancel` and `porch rerun` "
        "do the rest",
    )
