"""A Coordinator that tells its observer what each verb does, whichever door it was called by."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from coordinator.arrivals import Handed, Registered
from coordinator.errors import PorchError
from coordinator.model import Standing, Swept
from coordinator.reporting import Updated
from coordinator.requests import Caller, Claiming, Submission, Updating
from coordinator.service import Coordinator
from coordinator.work import MOST_SWEPT

#: Verbs that answer a list, in which there may be refusals.
_OF_MANY = ("heartbeat", "release", "release_seen", "rerun", "cancel", "foresee")
_OF_ONE = (
    *("release_claim", "bring", "show", "tasks", "outlines", "count", "feed"),
    *("page", "counts", "throughput", "busiest", "run_times", "failure_groups", "failures"),
    *("register_pipeline", "add_version", "add_own_version", "set_policy"),
    *("pipelines", "catalogue", "own_pipeline", "check_admin", "recognise"),
    *("add_token", "tokens", "rotate_token", "revoke_token", "admin_events"),
)
#: What all doors call these, and so do logs and traces; the others have one name only.
_WORDS = {
    "add_own_version": "add_version",
    "add_token": "issue_token",
    "bring": "update",
    "catalogue": "pipelines",
    "foresee": "preview",
    "outlines": "list",
    "release_claim": "release",
    "release_seen": "release",
    "tasks": "list",
}


class Observed(Coordinator):
    """Counting costs each call some microseconds, and is the same for every door."""

    def submit_all(self, asked: Sequence[Submission]) -> list[Registered | PorchError]:
        began = time.perf_counter()
        try:
            answers = super().submit_all(asked)
        except PorchError as refusal:
            self._failed(refusal, asked)
            raise
        finally:
            self.observer.took("submit", time.perf_counter() - began, len(asked))
        for one, answer in zip(asked, answers, strict=True):
            if isinstance(answer, PorchError):
                self.observer.refuse((answer,), one.caller.request_id)
                continue
            new = known = 0
            refusals: list[PorchError] = []
            for standing in answer.answers:
                if not isinstance(standing, Standing):
                    refusals.append(standing)
                elif standing.created:
                    new += 1
                else:
                    known += 1
            self.observer.submitted(answer.pipeline.name, new, known)
            self.observer.refuse(refusals, one.caller.request_id)
        return answers

    def claim_all(self, asked: Sequence[Claiming]) -> list[Handed | PorchError]:
        began = time.perf_counter()
        try:
            answers = super().claim_all(asked)
        except PorchError as refusal:
            self._failed(refusal, asked)
            raise
        finally:
            self.observer.took("claim", time.perf_counter() - began, len(asked))
        for one, answer in zip(asked, answers, strict=True):
            if isinstance(answer, PorchError):
                self.observer.refuse((answer,), one.caller.request_id)
            else:
                self.observer.claimed(answer.pipeline.name, one.n, len(answer.tasks))
        return answers

    def update_all(
        self, asked: Sequence[Updating], *, waits: bool | None = None
    ) -> list[Updated | PorchError | None]:
        began = time.perf_counter()
        n = len(asked)
        try:
            answers = super().update_all(asked, waits=waits)
            n -= answers.count(None)  # counted when they are carried out
        except PorchError as refusal:
            self._failed(refusal, asked)
            raise
        finally:
            self.observer.took("update", time.perf_counter() - began, n)
        for one, answer in zip(asked, answers, strict=True):
            told = answer.answers if isinstance(answer, Updated) else (answer,)
            refusals = [each for each in told if isinstance(each, PorchError)]
            self.observer.refuse(refusals, one.caller.request_id)
        return answers

    def sweep(self, most: int = MOST_SWEPT) -> Swept:
        began = time.perf_counter()
        try:
            swept = super().sweep(most)
        except PorchError as refusal:
            self.observer.refuse((refusal,))
            raise
        finally:
            self.observer.took("sweep", time.perf_counter() - began, 1)
        self.observer.swept(swept)
        return swept

    def _failed(
        self, refusal: PorchError, asked: Sequence[Submission | Claiming | Updating]
    ) -> None:
        for one in asked:
            self.observer.refuse((refusal,), one.caller.request_id)


def _observed(name: str, verb: Callable[..., Any], *, of_many: bool) -> Callable[..., Any]:
    word = _WORDS.get(name, name)

    @wraps(verb)
    def observed(self: Observed, caller: Caller, *args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            answer = verb(self, caller, *args, **options)
        except PorchError as refusal:
            self.observer.refuse((refusal,), caller.request_id)
            raise
        finally:
            self.observer.took(word, time.perf_counter() - began, 1)
        if of_many:
            refusals = [one for one in answer if isinstance(one, PorchError)]
            self.observer.refuse(refusals, caller.request_id)
        return answer

    return observed


for _name in (*_OF_MANY, *_OF_ONE):
    _verb = _observed(_name, getattr(Coordinator, _name), of_many=_name in _OF_MANY)
    setattr(Observed, _name, _verb)
