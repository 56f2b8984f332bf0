"""How far each outlet of the feed has come: what a relay passes on, and remembers here.

An outlet is the streams in Redis, or one webhook. Any number of relays may run: who locks the row
of an outlet passes on what is next, and the others leave it alone. The lock ends with the
transaction, so it works through PgBouncer too, and a relay that dies has moved nothing: what it
had passed on by then is passed on again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection, Engine, text

from coordinator.feed import LOOKED_AT
from coordinator.messages import StatusMessage, Wanted
from coordinator.status import Status
from db.base import PostgresBase
from db.feed import FeedLedger, Settling, read_page

logger = logging.getLogger("porch")

#: Seconds, when an outlet begins, for whoever is just committing.
_PATIENCE = 5.0
#: Seconds between looks at whether an outlet has lost what it was told, while nothing happens.
_COMPARED = 5.0

BEGIN = text(
    """
    INSERT INTO porch.feed_position (name, event_id) VALUES (:name, :event_id)
    ON CONFLICT ON CONSTRAINT feed_position_pkey DO NOTHING
    """
)

#: Whether there is anything to do, without a lock: mostly there is not.
WAITS = text(
    """
    SELECT event_id, event_id < (SELECT max(event_id) FROM porch.event) AS waits
    FROM porch.feed_position WHERE name = :name
    """
)

PIPELINE = text("SELECT pipeline_id FROM porch.pipeline WHERE name = :name")

LEAD = text(
    """
    SELECT event_id FROM porch.feed_position WHERE name = :name FOR NO KEY UPDATE SKIP LOCKED
    """
)

#: Where nothing was told, the place is noted every few seconds only.
MOVE = text(
    """
    UPDATE porch.feed_position
    SET event_id = :event_id, moved_at = now(), failing_since = NULL, said = NULL
    WHERE name = :name AND (:told OR moved_at < now() - interval '5 seconds')
    """
)

FAILED = text(
    """
    UPDATE porch.feed_position
    SET failing_since = coalesce(failing_since, now()), said = left(:said, 500)
    WHERE name = :name
    """
)

STANDINGS = text(
    """
    SELECT o.name, o.failing_since, o.said,
        (SELECT coalesce(max(event_id), 0) FROM porch.event) - o.event_id AS behind,
        (SELECT CAST(extract(epoch FROM now() - e.at) AS double precision) FROM porch.event e
         WHERE e.event_id > o.event_id ORDER BY e.event_id LIMIT 1) AS waits
    FROM porch.feed_position o
    ORDER BY o.name
    """
)

#: Those whose changes are not committed yet, and for how many seconds.
WRITERS = text(
    """
    SELECT a.pid, a.usename AS "user", a.application_name AS application,
        CAST(extract(epoch FROM now() - a.xact_start) AS double precision) AS seconds
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' AND l.granted
        AND l.relation = CAST('porch.event' AS regclass) AND a.datname = current_database()
        AND a.xact_start < now() - make_interval(secs => :seconds)
    ORDER BY a.xact_start
    """
)


@dataclass(frozen=True, slots=True)
class Standing:
    """How an outlet stands. ``behind``: events that it has not looked at, those of all pipelines
    counted; ``waits``: for how many seconds the first of them has."""

    name: str
    failing_since: datetime | None
    said: str | None
    behind: int
    waits: float | None


@dataclass(frozen=True, slots=True)
class Writer:
    """A session of PostgreSQL whose transaction has written events for so many ``seconds``."""

    pid: int
    user: str
    application: str
    seconds: float


class Outlet(Protocol):
    """Who is told what happens."""

    #: Of the row that says how far it has come.
    name: str
    #: Whose changes: those of this pipeline (which need not be there yet), None for all.
    pipeline: str | None
    #: Which changes; all where it is empty.
    statuses: frozenset[Status]
    #: Changes to be told at once.
    most: int

    def begin(self, position: int) -> int:
        """The event after which to go on: ``position``, or an earlier one, if what has been told
        since was lost."""

    def tell(self, messages: Sequence[StatusMessage]) -> int:
        """Tell them in order; the event_id of the last one that was taken. Raises NotTaken."""

    def close(self) -> None:
        """End the connections; the next ``tell`` makes new ones."""


class NotTaken(Exception):
    """Whoever is to be told takes nothing; the text says why."""


class Outlets(PostgresBase):
    """The positions of the outlets, in PostgreSQL. Safe to use from several threads, each with
    outlets of its own."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._compare_at: dict[str, float] = {}

    def begin(self, name: str) -> None:
        """Let an outlet that is new begin with what happens from now on."""
        settled = FeedLedger(self.engine).settled(_PATIENCE)
        with self._transaction() as connection:
            connection.execute(BEGIN, {"name": name, "event_id": settled})

    def pass_on(self, outlet: Outlet, settling: Settling) -> bool:
        """Let an outlet tell what is next; whether there is more.

        False, too, where another relay has the outlet in hand. Raises what ``tell`` does; nothing
        has moved then.
        """
        name = {"name": outlet.name}
        with self._transaction(bounded=False) as connection:
            place = connection.execute(WAITS, name).one_or_none()
            if place is None or not (place.waits or self._has_lost(outlet, place.event_id)):
                return False
            upto = settling.look(connection)
        with self._transaction(bounded=False) as connection:
            position = connection.execute(LEAD, name).scalar()
            if position is None:
                return False
            after = outlet.begin(position)
            if after >= upto:
                return False
            wanted = _wanted(connection, outlet)
            page = read_page(connection, wanted, after, upto, LOOKED_AT, outlet.most)
            come_to, more = page.next, page.more
            if after and after < page.pruned:
                _tell_gap(outlet.name, after, page.pruned)
            if page.messages:
                last = outlet.tell(page.messages)
                if last != page.messages[-1].event_id:
                    come_to, more = last, True
            told = bool(page.messages) or page.more
            connection.execute(MOVE, {**name, "event_id": come_to, "told": told})
        return more

    def _has_lost(self, outlet: Outlet, position: int) -> bool:
        """Whether it is to be told again what it had been told; not asked each time.

        Without that, what it has lost would come with the next change, which may be tomorrow's.
        """
        now = time.monotonic()
        if now < self._compare_at.get(outlet.name, 0.0):
            return False
        lost = outlet.begin(position) < position
        self._compare_at[outlet.name] = now + _COMPARED
        return lost

    def failed(self, name: str, said: str) -> None:
        """Note that nobody takes what an outlet tells, and why."""
        with self._transaction() as connection:
            connection.execute(FAILED, {"name": name, "said": said})

    def standings(self) -> list[Standing]:
        """How each outlet stands, by name."""
        return [
            Standing(row.name, row.failing_since, row.said, row.behind, row.waits)
            for row in self._read(STANDINGS)
        ]

    def writers(self, seconds: float) -> list[Writer]:
        """Whose changes are still not committed after so many seconds: the feed waits for them."""
        rows = self._read(WRITERS, seconds=seconds)
        return [Writer(row.pid, row.user, row.application, row.seconds) for row in rows]


def _tell_gap(name: str, after: int, pruned: int) -> None:
    logger.error(
        "the feed %s has a gap: changes between the events %d and %d were pruned before anybody "
        "took them; `porch-server archive` has written them away",
        name,
        after,
        pruned,
    )


def _wanted(connection: Connection, outlet: Outlet) -> Wanted:
    if outlet.pipeline is None:
        return Wanted(statuses=outlet.statuses)
    found = connection.execute(PIPELINE, {"name": outlet.pipeline}).scalar()
    nobody = 0
    return Wanted(nobody if found is None else found, statuses=outlet.statuses)
