"""The verbs for tasks that there are: give back, run again, cancel."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from uuid import UUID

from coordinator.arrivals import check_amount
from coordinator.errors import PorchError
from coordinator.lookup import Lookup, or_raise
from coordinator.model import Change, Origin, Outcome, Swept, Task
from coordinator.request_ids import new_request_id
from coordinator.requests import Caller, Decision, Name, Reported
from coordinator.status import HELD, Status
from coordinator.verdicts import check_decision, clean_message, on_decision, on_report

#: Tasks of one kind in one round of a sweep, and seconds for which a sweep begins new rounds.
MOST_SWEPT = 1_000
SWEEP_SECONDS = 10.0


class Work(Lookup):
    """What batch scripts and operators do with tasks, each with a token of their pipeline."""

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
        check_amount(len(names))
        text = clean_message(message)
        wanted = [
            (task, Change(task.task_id, Status.PENDING, HELD, name.attempt, text))
            if isinstance(task, Task)
            else task
            for name, task in zip(names, self._find(target, names), strict=True)
        ]
        return self._judged(wanted, origin, on_report)

    def release_seen(
        self,
        caller: Caller,
        decisions: Sequence[Decision],
        *,
        pipeline: str | None = None,
        reason: str | None = None,
    ) -> list[Reported | PorchError]:
        """Give back tasks that others hold, where they are still as the caller saw them."""
        return self._decide(
            caller, decisions, "release", Status.PENDING, pipeline, reason, force=False
        )

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
                Change(task_id, Status.PENDING, claimed, attempt, text, of_holder=False)
                for task_id, attempt in handed
            ],
            origin,
        )
        return sum(outcome.changed or outcome.repeated for outcome in outcomes)

    def rerun(
        self,
        caller: Caller,
        decisions: Sequence[Decision],
        *,
        pipeline: str | None = None,
        reason: str | None = None,
        force: bool = False,
    ) -> list[Reported | PorchError]:
        """Make finished work PENDING again, where it is still as the caller saw it."""
        return self._decide(
            caller, decisions, "rerun", Status.PENDING, pipeline, reason, force=force
        )

    def cancel(
        self,
        caller: Caller,
        decisions: Sequence[Decision],
        *,
        pipeline: str | None = None,
        reason: str | None = None,
    ) -> list[Reported | PorchError]:
        """Take work out of the queue or out of its holder's hands, where it is still as seen."""
        return self._decide(
            caller, decisions, "cancel", Status.CANCELLED, pipeline, reason, force=False
        )

    def sweep(self, most: int = MOST_SWEPT) -> Swept:
        """Take back what has run out and try again what is due; needs no token, as nobody asks.

        Goes on until nothing is due, for some seconds at most: the next sweep takes the rest. Each
        round is a request of its own, also where the message that asked comes again.
        """
        until = time.monotonic() + SWEEP_SECONDS
        swept = self.ledger.sweep(new_request_id(), most)
        while swept.more and time.monotonic() < until:
            swept += self.ledger.sweep(new_request_id(), most)
        return swept

    def _judged(
        self,
        wanted: Sequence[tuple[Task, Change] | PorchError],
        origin: Origin,
        verdict: Callable[[Task, Change, Outcome], Reported | PorchError],
    ) -> list[Reported | PorchError]:
        changes = [pair[1] for pair in wanted if isinstance(pair, tuple)]
        outcomes = self.ledger.change(changes, origin) if changes else ()
        return self._verdicts(wanted, outcomes, verdict)

    def _decide(
        self,
        caller: Caller,
        decisions: Sequence[Decision],
        verb: str,
        to: Status,
        pipeline: str | None,
        reason: str | None,
        *,
        force: bool,
    ) -> list[Reported | PorchError]:
        who, origin = self._enter(caller)
        target = self._own(who, pipeline)
        check_amount(len(decisions))
        text = clean_message(reason)
        wanted: list[tuple[Task, Change] | PorchError] = []
        found = self._find(target, [decision.name for decision in decisions])
        for task, decision in zip(found, decisions, strict=True):
            try:
                task, seen = or_raise(task), decision.seen  # noqa: PLW2901
                allowed = check_decision(task, seen, verb, reason, force=force)
            except PorchError as refusal:
                wanted.append(refusal)
                continue
            change = Change(task.task_id, to, allowed, seen.attempt, text, of_holder=False)
            wanted.append((task, change))
        return self._judged(wanted, origin, on_decision)
