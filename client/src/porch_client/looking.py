"""The methods of `Porch` that look and change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from porch_client.asking import Asking
from porch_client.errors import Conflict, Unreachable
from porch_client.model import Event, Pipeline, StatusMessage, Task

if TYPE_CHECKING:
    from porch_client.overview import FailureGroup, Stats

_PAGE = 1_000
#: Seconds without a word after which whoever watches looks all the same.
_LOOK_AGAIN = 10.0


class Looking(Asking):
    """Tasks and pipelines, shown, listed and counted."""

    def show(
        self, task: str, *, version: str | None = None, pipeline: str | None = None
    ) -> tuple[Task, list[Event]]:
        """One task with its events, oldest first. ``task`` may be a prefix.

        Raises NotFound where no task has that key, or several begin so.
        """
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

    def watch(
        self,
        *,
        pipeline: str | None = None,
        version: str | None = None,
        task: str | None = None,
        status: Sequence[str] = (),
        after: int | None = None,
        on_away: Callable[[Unreachable], object] | None = None,
    ) -> Iterator[StatusMessage]:
        """Every committed change from now on, or after the event ``after`` (0: all that are kept).

        For ever, and in order. To go on later, give the event_id of the last one that you have
        dealt with: each change comes once at least, whatever became of the broker, of porch or of
        you. ``task``: of this one only (``version`` as in `show`); ``status``: changes to one of
        these. Raises Unreachable only where the first answer does not come; later it tries again,
        and tells ``on_away``. Raises Conflict (feed_pruned) where changes after the event that you
        know have been pruned meanwhile: what it tells would not be whole.
        """
        # Who begins with all that is kept does not miss what was pruned before.
        pruned = 0 if after else None
        body = {"pipeline": pipeline, "version": version, "task": task, "status": list(status)}
        reached = False
        while True:
            try:
                page = self._ask("feed", "porch.query", {**body, "after": after})
            except Unreachable as away:
                if not reached:
                    raise
                if on_away is not None:
                    on_away(away)
                continue
            reached = True
            gone = page.get("pruned", 0)  # a coordinator of before tells nothing of it
            if pruned is not None and gone > pruned and after is not None and after < gone:
                raise _gap(after, gone)
            pruned = max(gone, pruned or 0)
            yield from (StatusMessage.from_wire(sent) for sent in page["messages"])
            after = page["next"]
            if not page["more"]:
                self._channel.hear(page["signal"], _LOOK_AGAIN)

    def failures(self, *, pipeline: str | None = None, most: int = 20) -> Sequence[FailureGroup]:
        """FAILED tasks grouped by similar message, the largest group first, ``most`` of them.

        Where thousands have failed, only the latest are grouped and counted.
        """
        from porch_client.overview import FailureGroup  # noqa: PLC0415 (only where it is asked for)

        answer = self._ask("failure_groups", "porch.query", {"pipeline": pipeline, "most": most})
        return [FailureGroup.from_wire(sent) for sent in answer["groups"]]

    def failed_alike(
        self, group: str, *, pipeline: str | None = None, until: str | None = None
    ) -> Iterator[Task]:
        """All tasks of a group of failures, by the name that ``failures`` tells, page by page.

        ``until``: only what failed by then, as the ``last`` of the group (ISO 8601 with offset).
        """
        body = {"pipeline": pipeline, "group": group, "until": until, "limit": _PAGE}
        after: int | None = 0
        while after is not None:
            page = self._ask("failures", "porch.query", {**body, "after": after})
            yield from (Task.from_wire(sent) for sent in page["tasks"])
            after = page["next"]

    def stats(self, *, pipeline: str | None = None, hours: int = 24) -> Stats:
        """What happened in the last ``hours``, and how long runs take; of one pipeline, or of all
        that the token may see."""
        from porch_client.overview import Stats  # noqa: PLC0415 (only where it is asked for)

        return Stats.from_wire(
            self._ask("stats", "porch.query", {"pipeline": pipeline, "hours": hours})
        )

    def pipelines(self) -> Sequence[Pipeline]:
        """All pipelines, with their tasks counted."""
        return self._pipelines("pipelines", {})

    def pipeline(self, name: str) -> Pipeline:
        """One pipeline, with its tasks counted. Raises NotFound."""
        return self._pipelines("pipelines", {"pipeline": name})[0]

    def _pipelines(self, verb: str, body: Mapping[str, Any]) -> Sequence[Pipeline]:
        answer = self._ask(verb, "porch.query", body)
        return [Pipeline.from_wire(sent) for sent in answer["pipelines"]]


def _gap(after: int, gone: int) -> Conflict:
    return Conflict(
        "feed_pruned",
        f"changes between the events {after} and {gone} have been pruned: what follows {after} is "
        "not whole any more",
        f"begin with all that is kept (--after 0), or behind the gap (--after {gone}); what was "
        "pruned is where `porch-server archive` has written it",
    )


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
