"""Porch: submit, claim, report, look and administer, from Python.

with Porch(broker="redis://...", token="...") as porch:
    for registered in porch.submit([{"run": 1}, {"run": 2}]):
        print(registered.task_input_id, registered.created)
    for claimed in porch.claim(10):
        claimed.running()
        claimed.done()
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, overload

from porch_client.administering import Administering
from porch_client.channel import Channel
from porch_client.claimed import Claimed, Held
from porch_client.errors import Misconfigured, Unreachable, from_wire
from porch_client.model import (
    Change,
    Decision,
    Flushed,
    NotRegistered,
    NotReported,
    Registered,
    Reported,
    Spooled,
    Task,
)
from porch_client.request_ids import new_request_id
from porch_client.settings import Settings
from porch_client.submission import WINDOW, Answer, Submission

Folder = str | os.PathLike[str]


class Porch(Administering):
    """One connection to porch. It belongs to one thread; a process may have several.

    Every method raises ``errors.Refused`` when a rule says no, and ``errors.Unreachable`` when no
    answer came within ``timeout`` seconds; the request may then still be carried out, and repeating
    it is safe. With the same ``request_id`` (a UUID of your own), where a method takes one, the
    repeat is answered as the first would have been. ``pipeline`` may be left out where the token is
    of one pipeline, and ``version`` where the pipeline has just one.
    """

    def __init__(
        self,
        broker: str,
        token: str | None,
        *,
        result: str | None = None,
        timeout: float = 60.0,
    ) -> None:
        super().__init__(Channel(broker, result, token, timeout))

    @classmethod
    def from_environment(cls) -> Porch:
        """One as PORCH_BROKER_URL, PORCH_RESULT_URL, PORCH_TOKEN and PORCH_TIMEOUT say.

        Raises Misconfigured: one is missing, misspelt or wrong, or a file that holds one is.
        """
        settings = Settings.from_environment()
        if settings.broker_url is None:
            raise Misconfigured(
                "no_broker",
                "PORCH_BROKER_URL is not set",
                "`porch-server up` tells it: `. STATE_DIR/env.sh`",
            )
        return cls(
            settings.broker_url,
            settings.token,
            result=settings.result_url,
            timeout=settings.timeout,
        )

    def __enter__(self) -> Porch:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def submit(
        self,
        definitions: Iterable[Any],
        *,
        pipeline: str | None = None,
        version: str | None = None,
        priority: int = 0,
        spool: Folder | None = None,
        on_flush: Callable[[Flushed], object] | None = None,
    ) -> Iterator[Answer]:
        """Register definitions (JSON objects); yield how each stands, in order.

        Works for iterables of any length in constant memory: definitions are read as answers are
        taken. What has been yielded is committed in PostgreSQL. A definition that is refused is
        yielded as NotRegistered and does not keep the others out; an element that is itself a
        PorchError is passed through at its position.

        ``spool``: a folder for what cannot be delivered, which is yielded as Spooled once it is on
        disk there, instead of raising Unreachable. What it keeps from earlier calls is sent first,
        unless somebody is just doing that; ``on_flush`` is told what became of it. Needs
        ``pipeline``. Raises Misconfigured where the folder cannot be written to.
        """
        kept = None
        if spool is not None:
            if pipeline is None:
                raise Misconfigured(
                    "spool_needs_pipeline",
                    "no pipeline is named, and who sends the spool may have another token",
                    "name the pipeline where you give a spool (--pipeline NAME)",
                )
            from porch_client.spool import Spool  # noqa: PLC0415 (only with a spool)

            kept = Spool(spool)
            kept.make()
        run = Submission(self._channel, pipeline, version, priority, kept, on_flush).run
        return run(definitions)

    @overload
    def submit_one(
        self,
        task_input: Mapping[str, Any],
        *,
        pipeline: str | None = None,
        version: str | None = None,
        priority: int = 0,
        spool: None = None,
    ) -> Registered: ...

    @overload
    def submit_one(
        self,
        task_input: Mapping[str, Any],
        *,
        pipeline: str,
        version: str | None = None,
        priority: int = 0,
        spool: Folder,
    ) -> Registered | Spooled: ...

    def submit_one(
        self,
        task_input: Mapping[str, Any],
        *,
        pipeline: str | None = None,
        version: str | None = None,
        priority: int = 0,
        spool: Folder | None = None,
    ) -> Registered | Spooled:
        """Register one definition; how it stands. Spooled only where a spool is given.

        Raises BadInput for a definition that porch cannot hold, and what `submit` raises.
        """
        (answer,) = self.submit(
            [task_input], pipeline=pipeline, version=version, priority=priority, spool=spool
        )
        if isinstance(answer, NotRegistered):
            raise answer.error
        return answer

    def flush(self, spool: Folder) -> Flushed:
        """Send what a spool keeps, oldest first; what became of it.

        Raises Misconfigured where there is no such folder, and Unreachable (spool_busy) where
        somebody else is sending it all the time.
        """
        from porch_client.flushing import Flush  # noqa: PLC0415 (only with a spool)
        from porch_client.spool import Spool  # noqa: PLC0415

        kept = Spool(spool)
        kept.waiting()  # a name that is mistyped is not an empty spool
        with kept.lock(self._channel.timeout) as ours:
            if not ours:
                raise Unreachable(
                    "spool_busy",
                    f"another process has been sending {kept.path} for {self._channel.timeout:g} s",
                    "let it finish, or try again",
                )
            return Flush(self._channel, kept, WINDOW).run()

    def claim(
        self,
        n: int = 1,
        *,
        pipeline: str | None = None,
        version: str | None = None,
        job_id: str | None = None,
        request_id: str | None = None,
    ) -> list[Claimed]:
        """Take up to ``n`` PENDING tasks, so that nobody else gets them.

        ``job_id``: what your scheduler calls the job that claims, for whoever looks for it later.

        The same ``request_id`` (a UUID) gets the same tasks again, and no more: give one of your
        own to be able to ask again after Unreachable, or to release what you never saw.
        """
        answer = self._ask(
            "claim",
            "porch.claim",
            {"pipeline": pipeline, "version": version, "n": n, "job_id": job_id},
            about=f"n={n}",
            request_id=request_id,
        )
        return [Claimed(Task.from_wire(sent), self) for sent in answer["tasks"]]

    @overload
    def update(
        self,
        changes: Iterable[Change],
        *,
        pipeline: str | None = None,
        request_id: str | None = None,
        spool: None = None,
    ) -> list[Reported | NotReported]: ...

    @overload
    def update(
        self,
        changes: Iterable[Change],
        *,
        pipeline: str | None = None,
        request_id: str | None = None,
        spool: Folder,
        on_flush: Callable[[Flushed], object] | None = None,
    ) -> list[Reported | NotReported] | list[Spooled]: ...

    def update(
        self,
        changes: Iterable[Change],
        *,
        pipeline: str | None = None,
        request_id: str | None = None,
        spool: Folder | None = None,
        on_flush: Callable[[Flushed], object] | None = None,
    ) -> list[Reported | NotReported] | list[Spooled]:
        """Report RUNNING, DONE or FAILED of any number of tasks; what became of each, in order.

        A report that is refused is told as NotReported, and keeps no other from being recorded.
        ``spool``: as for ``submit``, a folder; the reports are on disk there before they are sent,
        and Spooled if nobody has answered. Needs ``pipeline``, and the attempt of each change.
        """
        sent = list(changes)
        if spool is not None:
            return self._report(sent, pipeline, request_id, spool, on_flush)
        answer = self._ask(
            "update",
            "porch.update",
            {"pipeline": pipeline, "changes": [change.as_wire() for change in sent]},
            about=f"n={len(sent)}",
            request_id=request_id,
        )
        return _reports(answer["results"])

    def _report(
        self,
        changes: Sequence[Change],
        pipeline: str | None,
        request_id: str | None,
        spool: Folder,
        on_flush: Callable[[Flushed], object] | None,
    ) -> list[Reported | NotReported] | list[Spooled]:
        from porch_client.reporting import kept_reports, report  # noqa: PLC0415 (only with a spool)
        from porch_client.spool import Spool  # noqa: PLC0415

        reports = kept_reports(pipeline, request_id or new_request_id(), changes)
        kept = Spool(spool)
        kept.make()
        results = report(self._channel, kept, reports, on_flush)
        if isinstance(results, Unreachable):
            return [Spooled(position, results) for position in range(len(changes))]
        return _reports(results)

    def heartbeat(
        self, tasks: Iterable[Held], *, pipeline: str | None = None
    ) -> list[Reported | NotReported]:
        """Say that their holder is alive: extends the leases; what became of each, in order.

        What is not held in that attempt any more is told as NotReported: stop working on it.
        """
        named = [_held(held) for held in tasks]
        body = {"pipeline": pipeline, "tasks": named}
        answer = self._ask("heartbeat", "porch.update", body, about=f"n={len(named)}")
        return _reports(answer["results"])

    def release(
        self,
        tasks: Iterable[Held] = (),
        *,
        claim: str | None = None,
        pipeline: str | None = None,
        message: str | None = None,
        request_id: str | None = None,
    ) -> list[Reported | NotReported]:
        """Give tasks back, so that they are PENDING again; what became of each, in order.

        ``claim``: the request_id of a claim, of which everything that has not been started is given
        back; a claim that is still under way will be handed nothing.
        """
        named = [_held(held) for held in tasks]
        body = {"pipeline": pipeline, "tasks": named, "claim": claim, "message": message}
        about = f"n={len(named)}"
        answer = self._ask("release", "porch.claim", body, about=about, request_id=request_id)
        return _reports(answer["results"])

    def rerun(
        self,
        decisions: Iterable[Decision],
        *,
        pipeline: str | None = None,
        reason: str | None = None,
        force: bool = False,
        request_id: str | None = None,
    ) -> Sequence[Reported | NotReported]:
        """Make finished work PENDING again, where it is still in the status and attempt you saw.

        ``force`` and a ``reason`` are needed for what is DONE. What has changed since is told as
        NotReported (Conflict, code ``status_changed``).
        """
        more = {"pipeline": pipeline, "reason": reason, "force": force}
        return self._decide("rerun", decisions, more, request_id)

    def cancel(
        self,
        decisions: Iterable[Decision],
        *,
        pipeline: str | None = None,
        reason: str | None = None,
        request_id: str | None = None,
    ) -> Sequence[Reported | NotReported]:
        """Cancel work that is not finished, where it is still in the status and attempt you saw.

        What has changed since is told as NotReported (Conflict, code ``status_changed``).
        """
        more = {"pipeline": pipeline, "reason": reason}
        return self._decide("cancel", decisions, more, request_id)

    def _decide(
        self,
        verb: str,
        decisions: Iterable[Decision],
        more: Mapping[str, Any],
        request_id: str | None,
    ) -> Sequence[Reported | NotReported]:
        tasks = [asdict(decision) for decision in decisions]
        body, about = {**more, "tasks": tasks}, f"n={len(tasks)}"
        answer = self._ask(verb, "porch.update", body, about=about, request_id=request_id)
        return _reports(answer["results"])


def _reports(results: Sequence[Mapping[str, Any]]) -> list[Reported | NotReported]:
    return [
        NotReported(position, from_wire(sent["error"]))
        if "error" in sent
        else Reported.from_wire(sent)
        for position, sent in enumerate(results)
    ]


def _held(held: Held) -> dict[str, Any]:
    task, attempt, version = held
    return {"task": task, "attempt": attempt, "version": version}
