"""The verb that follows what happens: status messages, page by page, from any event on."""

from __future__ import annotations

from collections.abc import Collection

from coordinator.errors import BadRequest
from coordinator.lookup import Lookup, or_raise
from coordinator.messages import FeedPage, Wanted, signal_of
from coordinator.requests import Caller, Name
from coordinator.status import Status

MOST_TOLD = 1_000
#: Events of others that are looked at for one page: what bounds its cost.
LOOKED_AT = 10_000
#: Seconds for changes that are being committed just now.
_PATIENCE = 0.1


class Feed(Lookup):
    """What happened to tasks, for whoever wants to hear all of it, once at least."""

    def feed(
        self,
        caller: Caller,
        *,
        pipeline: str | None = None,
        task: str | None = None,
        version: str | None = None,
        statuses: Collection[Status] = (),
        after: int | None = None,
        limit: int = MOST_TOLD,
    ) -> tuple[FeedPage, str]:
        """Up to ``limit`` changes after the event ``after``, in order, and the channel on which
        the broker tells that there are more.

        No ``after``: where the feed ends now, and no messages.
        """
        if not 1 <= limit <= MOST_TOLD:
            raise BadRequest(f"cannot tell {limit} changes at once", f"ask for 1 to {MOST_TOLD:,}")
        who = self._onlooker(caller)
        target = self._look(who, pipeline)
        pipeline_id = target.pipeline_id if target else None
        task_id = None
        if task is not None:
            task_id = or_raise(self._find(target, [Name(task, version)])[0]).task_id
        settled = self.ledger.settled(_PATIENCE)
        if after is None or after >= settled:
            page = FeedPage([], settled if after is None else after, more=False)
        else:
            wanted = Wanted(pipeline_id, task_id, frozenset(statuses))
            page = self.ledger.feed(wanted, after, settled, LOOKED_AT, limit)
        return page, signal_of(pipeline_id)
