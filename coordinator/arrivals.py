"""The verbs of a crowd: submit and claim, for one caller or for many who have come at once.

Many wrappers register one definition each, many batch scripts claim one task each. What has come
at the same time is carried out in one transaction, and each request is answered as if alone: who
is refused keeps nobody out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coordinator import access
from coordinator.errors import BadRequest, PorchError, TooLarge
from coordinator.identity import Identified, identified
from coordinator.lookup import Lookup, or_raise
from coordinator.model import Claim, Origin, Permission, Pipeline, Registration, Standing, Task
from coordinator.naming import pick_version
from coordinator.requests import Caller, Claiming, Submission
from coordinator.tracing import in_one_transaction

#: Definitions, reports or names in one request; and tasks handed out by one claim.
MOST_AT_ONCE = 10_000
MOST_CLAIMED = 1_000

PRIORITIES = range(-100, 101)


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of a submission: how each definition stands, or why it was refused, in order."""

    pipeline: Pipeline
    version: str
    answers: list[Standing | PorchError]


@dataclass(frozen=True, slots=True)
class Handed:
    """What a claim was handed, highest priority first, then oldest first."""

    pipeline: Pipeline
    tasks: list[Task]


class Arrivals(Lookup):
    """What wrappers and batch scripts begin with, each with a token of their pipeline."""

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
        asked = Submission(caller, definitions, pipeline, version, priority)
        return or_raise(self.submit_all([asked])[0]).answers

    def claim(
        self,
        caller: Caller,
        n: int,
        *,
        pipeline: str | None = None,
        version: str | None = None,
        job_id: str | None = None,
    ) -> list[Task]:
        """Hand out up to ``n`` PENDING tasks; the same ``request_id`` gets the same tasks again.

        ``job_id``: what the caller's scheduler calls the job that claims.
        """
        asked = Claiming(caller, n, pipeline, version, job_id)
        return or_raise(self.claim_all([asked])[0]).tasks

    @in_one_transaction("submit")
    def submit_all(self, asked: Sequence[Submission]) -> list[Registered | PorchError]:
        """As ``submit``, for each of the submissions."""
        wanted: list[_Wanted | PorchError] = []
        with self.ledger.joined():
            for one, entered in zip(asked, self._enter_all([a.caller for a in asked]), strict=True):
                try:
                    wanted.append(self._wanted(one, *or_raise(entered)))
                except PorchError as refusal:
                    wanted.append(refusal)
            useful = [w for w in wanted if isinstance(w, _Wanted) and w.registration.inputs]
            found = self.ledger.submit([w.registration for w in useful]) if useful else []
        for one_wanted, standings in zip(useful, found, strict=True):
            one_wanted.standings = standings
        return [w.answer() if isinstance(w, _Wanted) else w for w in wanted]

    @in_one_transaction("claim")
    def claim_all(self, asked: Sequence[Claiming]) -> list[Handed | PorchError]:
        """As ``claim``, for each of the wishes; the first is served first."""
        claims: list[Claim | PorchError] = []
        with self.ledger.joined():
            for one, entered in zip(asked, self._enter_all([a.caller for a in asked]), strict=True):
                try:
                    claims.append(self._claim(one, *or_raise(entered)))
                except PorchError as refusal:
                    claims.append(refusal)
            good = [claim for claim in claims if isinstance(claim, Claim)]
            handed = iter(self.ledger.claim(good) if good else ())
        return [Handed(c.pipeline, next(handed)) if isinstance(c, Claim) else c for c in claims]

    def _target(self, asked: Submission | Claiming, who: Permission) -> Pipeline:
        if asked.own and asked.pipeline is not None:
            return access.require_own(who, asked.pipeline)
        return self._own(who, asked.pipeline)

    def _wanted(self, asked: Submission, who: Permission, origin: Origin) -> _Wanted:
        target = self._target(asked, who)
        version = pick_version(target, asked.version)
        check_amount(len(asked.definitions))
        if asked.priority not in PRIORITIES:
            raise BadRequest(
                f"priority {asked.priority} is not within -100 and 100", "the default is 0"
            )
        answers = [identified(definition, self.limits) for definition in asked.definitions]
        good = [answer for answer in answers if isinstance(answer, Identified)]
        return _Wanted(answers, Registration(target, version, good, asked.priority, origin))

    def _claim(self, asked: Claiming, who: Permission, origin: Origin) -> Claim:
        target = self._target(asked, who)
        if not 1 <= asked.n <= MOST_CLAIMED:
            raise BadRequest(
                f"cannot claim {asked.n} tasks at once", f"ask for 1 to {MOST_CLAIMED:,}"
            )
        chosen = None if asked.version is None else pick_version(target, asked.version)
        return Claim(target, chosen, asked.n, asked.job_id, origin)


@dataclass(slots=True)
class _Wanted:
    """A submission whose definitions have been identified: what the good ones want."""

    identified: list[Identified | PorchError]
    registration: Registration
    standings: Sequence[Standing] = ()

    def answer(self) -> Registered:
        standings = iter(self.standings)
        return Registered(
            self.registration.pipeline,
            self.registration.version,
            [next(standings) if isinstance(a, Identified) else a for a in self.identified],
        )


def check_amount(n: int) -> None:
    """Raises TooLarge for more definitions, reports or names than one request may have."""
    if n > MOST_AT_ONCE:
        raise TooLarge(f"{n:,} in one request", f"send at most {MOST_AT_ONCE:,} at once")
