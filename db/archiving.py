"""Pruning: the statements by which inputs and histories of what ended long ago are taken away.

What is left of a task is a tombstone: its row without the input, so that the same definition is
known for ever, and its last event, which says how it ended and by whose word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Engine, text

from coordinator.status import ENDED, Status
from db.base import PostgresBase


class Due(NamedTuple):
    """A task to prune. ``line``: all of it, with its history, as a JSON object. ``gone``: the
    event_ids of what is to be pruned of the history, which is all but the last change."""

    task_id: int
    updated_at: datetime
    line: str
    gone: list[int]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a pipeline keeps of what ended in one status: ``before`` that time, nothing."""

    pipeline_id: int
    pipeline: str
    status: Status
    before: datetime
    pruned_to: datetime | None


_POLICIES = text(
    """
    SELECT p.pipeline_id, p.name, k.status, now() - make_interval(secs => k.seconds) AS before,
        r.pruned_to
    FROM porch.pipeline p
        CROSS JOIN LATERAL (VALUES ('DONE', p.keep_done_seconds),
            ('FAILED', p.keep_failed_seconds), ('CANCELLED', p.keep_cancelled_seconds))
            AS k (status, seconds)
        LEFT JOIN porch.pruning r ON r.pipeline_id = p.pipeline_id AND r.status = k.status
    WHERE k.seconds IS NOT NULL
    ORDER BY p.name, k.status
    """
)

#: The oldest first, by the index of that status, and not again through what has been pruned before.
#: What is due to be tried again has not ended, and what was given back is kept once more. The lines
#: are made here, so that an input is written out as it is kept. Looked up one by one, as
#: ``db.glances`` does and for the same reasons.
_DUE = """
    WITH due AS MATERIALIZED (
        SELECT t.* FROM porch.task t
        WHERE (t.pipeline_id, t.updated_at, t.task_id)
                > (:pipeline_id, CAST(:at AS timestamptz), :after)
            AND (t.pipeline_id, t.updated_at) < (:pipeline_id, CAST(:before AS timestamptz))
            AND t.status = '{status}' AND t.pruned_at IS NULL AND t.retry_at IS NULL
            AND (t.restored_at IS NULL OR t.restored_at < CAST(:before AS timestamptz))
        ORDER BY t.pipeline_id, t.updated_at, t.task_id
        LIMIT :most
    )
    SELECT d.task_id, d.updated_at, e.gone, CAST(json_build_object(
            'pipeline', CAST(:pipeline AS text), 'version', d.version,
            'task_input_id', encode(d.task_input_id, 'hex'), 'task_input', d.task_input,
            'status', d.status, 'attempt', d.attempt, 'priority', d.priority,
            'created_at', d.created_at, 'updated_at', d.updated_at, 'job_id', d.job_id,
            'task_id', d.task_id, 'events', e.events) AS text) AS line
    FROM due d CROSS JOIN LATERAL (
        SELECT array_agg(h.event_id) FILTER (WHERE h.event_id <> h.last) AS gone,
            json_agg(json_build_object(
                'event_id', h.event_id, 'at', h.at, 'from_status', h.from_status,
                'to_status', h.to_status, 'attempt', h.attempt, 'token_id', h.token_id,
                'token', k.description, 'request_id', h.request_id, 'host', h.host,
                'message', h.message, 'job_id', h.job_id, 'refused', h.refused)
                ORDER BY h.event_id) AS events
        FROM (
            SELECT e.*, max(e.event_id) FILTER (WHERE NOT e.refused) OVER () AS last
            FROM porch.event e WHERE e.task_id = d.task_id OFFSET 0
        ) h LEFT JOIN porch.token k ON k.token_id = h.token_id
    ) e
    ORDER BY d.updated_at, d.task_id
    """

#: Only what is still as it was read: anything that is changed has another ``updated_at``, and what
#: was given back a ``restored_at``. Rows are locked in order, as everywhere. What is gone is
#: counted with the task and with the pipeline, so that a history that was pruned can be told from
#: one that was lost.
_PRUNE = text(
    """
    WITH wanted AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:task_ids AS bigint[]), CAST(:times AS timestamptz[]))
            AS w (task_id, updated_at)
    ), locked AS MATERIALIZED (
        SELECT t.task_id FROM porch.task t JOIN wanted w USING (task_id)
        WHERE t.updated_at = w.updated_at AND t.status = :status AND t.pruned_at IS NULL
            AND (t.restored_at IS NULL OR t.restored_at < CAST(:before AS timestamptz))
        ORDER BY t.task_id
        FOR NO KEY UPDATE OF t
    ), gone AS (
        DELETE FROM porch.event e
        WHERE e.event_id = ANY (CAST(:event_ids AS bigint[]))
            AND e.task_id IN (SELECT task_id FROM locked)
        RETURNING e.task_id, e.event_id, e.refused
    ), pruned AS (
        UPDATE porch.task t
        SET task_input = NULL, pruned_at = now(),
            pruned_events = coalesce(t.pruned_events, 0) + coalesce(g.events, 0)
        FROM locked l LEFT JOIN (
            SELECT task_id, count(*) AS events FROM gone GROUP BY task_id
        ) g USING (task_id)
        WHERE t.task_id = l.task_id
        RETURNING coalesce(g.events, 0) AS events
    )
    INSERT INTO porch.pruning AS p (pipeline_id, status, pruned_to, tasks, events, event_id)
    SELECT :pipeline_id, :status, max(w.updated_at), (SELECT count(*) FROM pruned),
        (SELECT coalesce(sum(events), 0) FROM pruned),
        (SELECT max(event_id) FILTER (WHERE NOT refused) FROM gone)
    FROM wanted w
    ON CONFLICT ON CONSTRAINT pruning_pkey DO UPDATE
    SET pruned_to = greatest(p.pruned_to, excluded.pruned_to), tasks = p.tasks + excluded.tasks,
        events = p.events + excluded.events, event_id = greatest(p.event_id, excluded.event_id)
    RETURNING (SELECT count(*) FROM pruned) AS tasks,
        (SELECT coalesce(sum(events), 0) FROM pruned) AS events
    """
)

#: How large the table of claims is, in blocks.
_CLAIM_BLOCKS = text(
    """
    SELECT pg_relation_size('porch.claim') / CAST(current_setting('block_size') AS bigint)
    """
)

#: What was asked so long ago, and is the claim of no event any more: it got nothing, or what it got
#: has been pruned. By place: the blocks are where they were written, so that it takes no index that
#: every claim would pay for, and looks at so many blocks and no others.
PRUNE_CLAIMS = text(
    """
    DELETE FROM porch.claim c
    WHERE c.ctid >= CAST(:begin AS tid) AND c.ctid < CAST(:end AS tid)
        AND c.claimed_at < now() - make_interval(days => :days)
        AND NOT EXISTS (
            SELECT FROM porch.event e
            WHERE e.request_id = c.request_id AND e.to_status = 'CLAIMED')
    """
)

#: The key is what proves that it is this task's input. When it ended has not changed: whoever looks
#: at what failed lately is not to be told of it.
_RESTORE = text(
    """
    WITH given AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:pipelines AS text[]), CAST(:versions AS text[]),
            CAST(:keys AS bytea[]), CAST(:inputs AS json[]))
            AS g (pipeline, version, task_input_id, task_input)
    ), locked AS MATERIALIZED (
        SELECT t.task_id, g.task_input
        FROM given g JOIN porch.pipeline p ON p.name = g.pipeline
            JOIN porch.task t USING (pipeline_id, task_input_id)
        WHERE t.scope IN ('', g.version) AND t.pruned_at IS NOT NULL
        ORDER BY t.task_id
        FOR NO KEY UPDATE OF t
    ), restored AS (
        UPDATE porch.task t
        SET task_input = l.task_input, pruned_at = NULL, restored_at = now()
        FROM locked l WHERE t.task_id = l.task_id
        RETURNING t.task_id
    )
    SELECT count(*) FROM restored
    """
)


class Archive(PostgresBase):
    """What is due to be pruned, and the pruning of it; each method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._due = {status: text(_DUE.format(status=status)) for status in ENDED}

    def policies(self) -> list[Kept]:
        """What is kept for less than for ever."""
        return [
            Kept(row.pipeline_id, row.name, Status(row.status), row.before, row.pruned_to)
            for row in self._read(_POLICIES)
        ]

    def due(self, kept: Kept, most: int, *, from_the_start: bool = False) -> Iterator[list[Due]]:
        """What is due, the oldest first, up to ``most`` at a time.

        Begins where pruning has come to, unless told otherwise: what an import has brought since
        may be older than that.
        """
        at: Any = "-infinity" if from_the_start else kept.pruned_to or "-infinity"
        after = -1
        while True:
            with self._transaction() as connection:
                connection.exec_driver_sql("SET LOCAL TimeZone = 'UTC'")
                rows = connection.execute(
                    self._due[kept.status],
                    {
                        "pipeline_id": kept.pipeline_id,
                        "pipeline": kept.pipeline,
                        "at": at,
                        "after": after,
                        "before": kept.before,
                        "most": most,
                    },
                ).all()
            if not rows:
                return
            yield [Due(row.task_id, row.updated_at, row.line, row.gone or []) for row in rows]
            at, after = rows[-1].updated_at, rows[-1].task_id

    def prune(self, kept: Kept, some: Sequence[Due]) -> tuple[int, int]:
        """Take inputs and histories away of those that are still as they were read; how many tasks
        and events that was."""
        values = {
            "pipeline_id": kept.pipeline_id,
            "status": kept.status.value,
            "before": kept.before,
            "task_ids": [one.task_id for one in some],
            "times": [one.updated_at for one in some],
            "event_ids": [event_id for one in some for event_id in one.gone],
        }
        with self._transaction() as connection:
            row = connection.execute(_PRUNE, values).one()
        return row.tasks, int(row.events)

    def prune_claims(self, days: int, blocks: int) -> Iterator[int]:
        """Forget the claims of so many ``days`` ago of which no event is left, some ``blocks`` at a
        time; how many those were."""
        with self._transaction() as connection:
            there = connection.execute(_CLAIM_BLOCKS).scalar_one()
        for first in range(0, there, blocks):
            places = {"begin": f"({first},0)", "end": f"({first + blocks},0)"}
            with self._transaction() as connection:
                yield connection.execute(PRUNE_CLAIMS, {**places, "days": days}).rowcount

    def restore(self, some: Sequence[tuple[str, str, bytes, str]]) -> int:
        """Give inputs back to tasks that have been pruned; how many that were.

        Of each the pipeline, version, key and input, as JSON text that has this key. They are
        due again when they have been kept once more for as long: to a look from the start.
        """
        pipelines, versions, keys, inputs = (list(part) for part in zip(*some, strict=True))
        values = {"pipelines": pipelines, "versions": versions, "keys": keys, "inputs": inputs}
        with self._transaction() as connection:
            return int(connection.execute(_RESTORE, values).scalar_one())
