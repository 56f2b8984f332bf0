"""The feed: events in the order of their numbers, up to where nothing can be added any more.

A number is drawn from a sequence before its transaction commits, so that 7 may be there before 6
is. Whoever asked for what is beyond 7 then would never see 6. So nothing is told beyond the first
number that may still be missing. Whoever draws a number holds ROW EXCLUSIVE on porch.event, from
before it is drawn until the transaction is over and seen by all; so what is missing below the
newest number belongs to those that hold that lock now, and is settled when they are gone. Other
transactions, however long they take, are of no interest.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, text

from coordinator.messages import MOST_CHARACTERS, FeedPage, StatusMessage, Wanted
from coordinator.status import Status
from db.base import PostgresBase

#: The newest event, and who holds the lock. In this order: the snapshot, by which events are seen,
#: is taken when the statement begins, and the locks are looked at later, as they are then.
WRITING = text(
    """
    SELECT (SELECT coalesce(max(event_id), 0) FROM porch.event) AS newest, ARRAY(
        SELECT virtualtransaction FROM pg_locks
        WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
            AND relation = CAST('porch.event' AS regclass)
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS writers
    """
)

#: What a relay has found settled, for when somebody writes for a long time.
FOUND_SETTLED = text("SELECT coalesce(max(event_id), 0) FROM porch.feed_position")

#: Read after the events: what is pruned in between is told too often rather than never.
_PRUNED = text(
    """
    SELECT coalesce(max(event_id), 0) FROM porch.pruning
    WHERE CAST(:pipeline_id AS bigint) IS NULL OR pipeline_id = :pipeline_id
    """
)

#: The events that fit, of the next few; and how far that has looked. Their tasks are looked up by
#: an array, or a planner that knows little of a young ledger would rather read all of its tasks.
_FEED = """
    WITH looked AS MATERIALIZED (
        SELECT * FROM porch.event
        WHERE event_id > :after AND event_id <= :upto {of}
        ORDER BY {order}
        LIMIT :look_at
    ), fit AS (
        SELECT e.event_id, e.at, t.pipeline_id, p.name AS pipeline, t.version,
            encode(t.task_input_id, 'hex') AS task_input_id, e.from_status, e.to_status, e.attempt,
            k.description AS token, e.host, e.job_id,
            CASE WHEN char_length(e.message) > :most_characters
                THEN left(e.message, :most_characters - 1) || '…' ELSE e.message END AS message
        FROM looked e
            JOIN porch.task t USING (task_id)
            JOIN porch.pipeline p ON p.pipeline_id = t.pipeline_id
            LEFT JOIN porch.token k ON k.token_id = e.token_id
        WHERE NOT e.refused AND t.task_id = ANY (ARRAY(SELECT task_id FROM looked))
            AND (CAST(:pipeline_id AS bigint) IS NULL OR t.pipeline_id = :pipeline_id)
            AND (CAST(:statuses AS text[]) IS NULL OR e.to_status = ANY (:statuses))
        ORDER BY e.event_id
        LIMIT :most
    )
    SELECT whole.looked_at, whole.last, fit.*
    FROM (SELECT count(*) AS looked_at, max(event_id) AS last FROM looked) AS whole
        LEFT JOIN fit ON true
    ORDER BY fit.event_id
    """

#: The events that fit, of the next few; and how far that has looked.
FEED = text(_FEED.format(of="", order="event_id"))

#: Said before FEED: of events that are newer than what the planner knows it expects a handful, and
#: would sort all of a backlog, again for each page, to find the first thousand.
_IN_ORDER = text("SET LOCAL enable_bitmapscan = off")

#: The same of one task, whose events are few: they are found by the index on it. By
#: ``event_id + 0``: a planner that knows little would rather walk the primary key to the end.
FEED_OF_TASK = text(_FEED.format(of="AND task_id = :task_id", order="event_id + 0"))

_STATUS = {status.value: status for status in Status}


@dataclass(slots=True)
class Settling:
    """Finds out, look by look, up to which event nothing can be added any more.

    However many come to write meanwhile: those that were there first are waited for, and no others.
    """

    settled: int = 0
    _newest: int = 0
    _writers: set[str] = field(default_factory=set)

    def look(self, connection: Connection) -> int:
        """The number up to which all is settled. Events are to be read by a later statement."""
        newest, now = connection.execute(WRITING).one()
        if newest < self.settled:
            # A backup, or a standby that had not heard of the last events: what comes now has
            # numbers that were settled before.
            self.settled, self._writers = 0, set()
        if self._writers:
            self._writers.intersection_update(now)
            if not self._writers:
                self.settled = max(self.settled, self._newest)
        if not self._writers:
            self._newest, self._writers = newest, set(now)
            if not self._writers:
                self.settled = max(self.settled, newest)
        return self.settled


class FeedLedger(PostgresBase):
    """Settled, feed: see ``coordinator.ledger`` for what each promises."""

    def settled(self, seconds: float) -> int:
        deadline = time.monotonic() + seconds
        settling, pause = Settling(), 0.001
        with self._transaction(bounded=False) as connection:
            wanted = connection.execute(WRITING).one().newest
            while settling.look(connection) < wanted and time.monotonic() < deadline:
                time.sleep(pause)
                pause = min(2 * pause, 0.02)
            if settling.settled >= wanted:
                return settling.settled
            found: int = connection.execute(FOUND_SETTLED).scalar_one()
            return max(settling.settled, found)

    def feed(self, wanted: Wanted, after: int, upto: int, look_at: int, most: int) -> FeedPage:
        with self._transaction(bounded=False) as connection:
            return read_page(connection, wanted, after, upto, look_at, most)


def read_page(
    connection: Connection, wanted: Wanted, after: int, upto: int, look_at: int, most: int
) -> FeedPage:
    """See ``coordinator.ledger``: what ``feed`` promises."""
    # Where all but a few fit, more than are told would be read for nothing.
    look_at = min(look_at, most) if wanted == Wanted() else look_at
    values: dict[str, Any] = {
        "after": after,
        "upto": upto,
        "look_at": look_at,
        "most": most,
        "pipeline_id": wanted.pipeline_id,
        "statuses": sorted(wanted.statuses) or None,
        "most_characters": MOST_CHARACTERS,
    }
    feed = FEED
    if wanted.task_id is not None:
        feed, values["task_id"] = FEED_OF_TASK, wanted.task_id
    else:
        connection.execute(_IN_ORDER)
    rows = connection.execute(feed, values).all()
    messages = [_message_of(row) for row in rows if row.event_id is not None]
    pruned: int = connection.execute(_PRUNED, {"pipeline_id": wanted.pipeline_id}).scalar_one()
    if len(messages) == most:
        return FeedPage(messages, messages[-1].event_id, more=True, pruned=pruned)
    if rows[0].looked_at == look_at:
        return FeedPage(messages, rows[0].last, more=True, pruned=pruned)
    return FeedPage(messages, max(after, upto), more=False, pruned=pruned)


def _message_of(row: Row[Any]) -> StatusMessage:
    _, _, event_id, at, pipeline_id, pipeline, version, key, was, now, *others = tuple(row)
    was, now = None if was is None else _STATUS[was], _STATUS[now]
    return StatusMessage(event_id, at, pipeline_id, pipeline, version, key, was, now, *others)
