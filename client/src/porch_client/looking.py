"""The methods of `Porch` that look and change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from porch_client.asking import Asking
from porch_client.model import Event, Pipeline, Task

_PAGE = 1_000


class Looking(Asking):
    """Tasks and pipelines, shown, listed and counted."""

    def show(
        self, task: str, *, version: str | None = None, pipeline: str | None = None
    ) -> tuple[Task, list[Event]]:
        """One task with its events, oldest first. ``task`` may be a prefix."""
        body = {"pipeline": pipeline, "version": version, "task": task}
        answer = self._ask("show", "porch.query", body)
        return Task.from_wire(answer["task"]), [Event.from_wire(e) for e in answer["events"]]

    def list(
        self,
        *,
        pipeline: str | None = None,
        version: str | None = None,
        status: Sequence[str] = (),
        since: str | None = None,
        text: str | None = None,
        message: str | None = None,
        stale: int | None = None,
        limit: int | None = None,
    ) -> Iterator[Task]:
        """The tasks that fit, in order of registration, fetched page by page.

        ``since``: changed at or after this time (ISO 8601 with offset); ``text``: in the input;
        ``message``: in the last message, where % stands for anything; ``stale``: held by somebody
        who was not heard of for so many seconds, and has no lease that runs.
        """
        body = _search(pipeline, version, status, since, text, message, stale)
        after: int | None = 0
        while after is not None and (limit is None or limit > 0):
            size = _PAGE if limit is None else min(_PAGE, limit)
            page = self._ask("list", "porch.query", {**body, "after": after, "limit": size})
            yield from (Task.from_wire(sent) for sent in page["tasks"])
            after = page["next"]
            limit = None if limit is None else limit - len(page["tasks"])

    def count(
        self,
        *,
        pipeline: str | None = None,
        version: str | None = None,
        status: Sequence[str] = (),
        since: str | None = None,
        text: str | None = None,
        message: str | None = None,
        stale: int | None = None,
    ) -> dict[str, int]:
        """How many tasks fit, per status; statuses with none are left out."""
        body = _search(pipeline, version, status, since, text, message, stale)
        counts: dict[str, int] = self._ask("count", "porch.query", body)["counts"]
        return counts

    def pipelines(self) -> Sequence[Pipeline]:
        """All pipelines, with their tasks counted."""
        return self._pipelines("pipelines", {})

    def pipeline(self, name: str) -> Pipeline:
        """One pipeline, with its tasks counted."""
        return self._pipelines("pipelines", {"pipeline": name})[0]

    def _pipelines(self, verb: str, body: Mapping[str, Any]) -> Sequence[Pipeline]:
        answer = self._ask(verb, "porch.query", body)
        return [Pipeline.from_wire(sent) for sent in answer["pipelines"]]


def _search(
    pipeline: str | None,
    version: str | None,
    status: Sequence[str],
    since: str | None,
    text: str | None,
    message: str | None,
    stale: int | None,
) -> dict[str, Any]:
    return {
        "pipeline": pipeline,
        "version": version,
        "status": list(status),
        "since": since,
        "text": text,
        "message": message,
        "stale": stale,
    }
