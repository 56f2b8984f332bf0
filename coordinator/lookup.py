"""Who is asking, and which pipeline and tasks are meant: what every verb begins with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from coordinator import access
from coordinator.errors import MissingToken, PorchError
from coordinator.identity import Limits
from coordinator.ledger import Ledger
from coordinator.model import Change, Origin, Outcome, Permission, Pipeline, Task
from coordinator.naming import MOST_MATCHES, key_range, may_be_a_name, pick_task, unknown_pipeline
from coordinator.observer import Observer
from coordinator.operations import tell
from coordinator.proofs import Opener
from coordinator.requests import Caller, Name, Reported
from coordinator.status import REPORTABLE

T = TypeVar("T")

#: Good for looking only: no verb that changes anything takes it.
_ANYBODY = Permission(0, "anybody", None)


class Lookup:
    """A ledger, and the ways from a caller's words to what they mean in it."""

    def __init__(
        self,
        ledger: Ledger,
        limits: Limits | None = None,
        *,
        open_reads: bool = False,
        observer: Observer | None = None,
    ) -> None:
        self.ledger = ledger
        self.limits = limits or Limits()
        self.observer = observer or Observer()
        #: Opens what comes instead of tokens over a broker.
        self.proofs = Opener(ledger)
        #: Whether anybody may look, without a token.
        self.open_reads = open_reads

    def _enter(self, caller: Caller) -> tuple[Permission, Origin]:
        return or_raise(self._enter_all([caller])[0])

    def _enter_all(self, callers: Sequence[Caller]) -> list[tuple[Permission, Origin] | PorchError]:
        """Who each caller is, or why they may not enter; one look for all of them."""
        digests = [_digest(caller) for caller in callers]
        known = self.ledger.permissions({d for d in digests if isinstance(d, bytes)})
        entered: list[tuple[Permission, Origin] | PorchError] = []
        for caller, digest in zip(callers, digests, strict=True):
            who = known[digest] if isinstance(digest, bytes) else digest
            entered.append(
                who
                if isinstance(who, PorchError)
                else (who, Origin(who.token_id, caller.request_id, caller.host))
            )
        return entered

    def _onlooker(self, caller: Caller) -> Permission:
        """Who wants to look: where reads are open, anybody, at all there is."""
        if caller.secret is None and self.open_reads:
            return _ANYBODY
        return self._enter(caller)[0]

    def _named(self, who: Permission, name: str) -> Pipeline:
        tell(pipeline=name)
        if who.pipeline is not None and who.pipeline.name == name:
            tell(pipeline=who.pipeline.name if who.pipeline else None)
            return who.pipeline
        found = self.ledger.pipeline(name) if may_be_a_name(name) else None
        if found is None:
            raise unknown_pipeline(name, self.ledger.pipeline_names())
        return found

    def _own(self, who: Permission, name: str | None) -> Pipeline:
        """The pipeline to work on: the one named, or the token's own."""
        own = access.require_worker(who, name)
        target = own if name is None else self._named(who, name)
        access.require_look(who, target)
        tell(pipeline=target.name)
        return target

    def _look(self, who: Permission, name: str | None) -> Pipeline | None:
        """The pipeline to look at; None for an administrator who looks at all."""
        if name is None:
            return who.pipeline
        target = self._named(who, name)
        access.require_look(who, target)
        return target

    def _find(self, pipeline: Pipeline | None, names: Sequence[Name]) -> list[Task | PorchError]:
        """The task that each name means, or why it means none, in order."""
        found: dict[int, Task | PorchError] = {}
        ranges = []
        for position, name in enumerate(names):
            try:
                ranges.append((position, key_range(name)))
            except PorchError as refusal:
                found[position] = refusal
        matches = self.ledger.find(pipeline, [keys for _, keys in ranges], MOST_MATCHES)
        for (position, _), fitting in zip(ranges, matches, strict=True):
            found[position] = pick_task(names[position], fitting)
        return [found[position] for position in range(len(names))]

    def _find_all(self, wanted: Sequence[tuple[Pipeline, Name]]) -> list[Task | PorchError]:
        """As ``_find``, each name in a pipeline of its own; the tasks come without their inputs."""
        found: dict[int, Task | PorchError] = {}
        ranges = []
        for position, (pipeline, name) in enumerate(wanted):
            try:
                ranges.append((position, (pipeline, key_range(name))))
            except PorchError as refusal:
                found[position] = refusal
        matches = self.ledger.find_all([one for _, one in ranges], MOST_MATCHES) if ranges else ()
        for (position, _), fitting in zip(ranges, matches, strict=True):
            found[position] = pick_task(wanted[position][1], fitting)
        return [found[position] for position in range(len(wanted))]

    def _verdicts(
        self,
        wanted: Sequence[tuple[Task, Change] | PorchError],
        outcomes: Sequence[Outcome],
        verdict: Callable[[Task, Change, Outcome], Reported | PorchError],
    ) -> list[Reported | PorchError]:
        """Of each change that was wanted what became of it, and each refusal in its place."""
        became = iter(outcomes)
        answers: list[Reported | PorchError] = []
        for pair in wanted:
            if isinstance(pair, PorchError):
                answers.append(pair)
                continue
            outcome = next(became)
            self._observe(pair[0], outcome)
            answers.append(verdict(*pair, outcome))
        return answers

    def _observe(self, task: Task, outcome: Outcome) -> None:
        """Tell the observer of a report that was taken."""
        if outcome.changed and outcome.status in REPORTABLE:
            self.observer.reported(task.pipeline, outcome.status, outcome.since_claim)


def _digest(caller: Caller) -> bytes | PorchError:
    if not caller.secret:
        return MissingToken(
            "no token came with this request",
            f"set PORCH_TOKEN; an administrator issues one: {access.issuing()}",
        )
    try:
        return access.digest(caller.secret)
    except PorchError as refusal:
        return refusal


def or_raise(answer: T | PorchError) -> T:
    """The answer, unless it is an error, which is raised."""
    if isinstance(answer, PorchError):
        raise answer
    return answer
