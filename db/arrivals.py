"""The ledger's methods that register and hand out, for many requests at once, and their statements.

The statements are written so that PostgreSQL decides the races. Keys are inserted in the order of
the key, and claims in that of their request_id, so that overlapping batches queue behind each other
instead of deadlocking.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from coordinator.model import Claim, Pipeline, Registration, Standing, Task
from coordinator.request_ids import made_at
from coordinator.status import Status
from db.base import PostgresBase
from db.prepared import Prepared
from db.rows import task_of

#: Registers what is new and notes its first event. One statement, so that no task is without one.
#: ON CONFLICT DO NOTHING settles equal keys within the batch and between batches; the sort keeps
#: batches that overlap in different orders from deadlocking, while the numbers are drawn before it,
#: so that the claim queue has the order of the submissions, and the first of equal ones is the one
#: that is made. FOR KEY SHARE on the pipelines makes a change of the identity policy wait for us,
#: or us for it, so that the scope is always right.
SUBMIT = Prepared(
    "porch_submit",
    """
    WITH request AS MATERIALIZED (
        SELECT r.n, p.pipeline_id, r.version, r.priority, r.token_id, r.request_id, r.host,
            CASE p.identity WHEN 'version' THEN r.version ELSE '' END AS scope
        FROM unnest(CAST(:pipeline_ids AS bigint[]), CAST(:versions AS text[]),
                CAST(:priorities AS smallint[]), CAST(:token_ids AS bigint[]),
                CAST(:request_ids AS uuid[]), CAST(:hosts AS text[])) WITH ORDINALITY
                AS r (pipeline_id, version, priority, token_id, request_id, host, n)
            JOIN porch.pipeline p USING (pipeline_id)
        ORDER BY p.pipeline_id
        FOR KEY SHARE OF p
    ), given AS MATERIALIZED (
        SELECT nextval('porch.task_task_id_seq') AS task_id, n, task_input_id, task_input
        FROM unnest(CAST(:ns AS bigint[]), CAST(:keys AS bytea[]), CAST(:inputs AS json[]))
            AS g (n, task_input_id, task_input)
    ), fresh AS (
        INSERT INTO porch.task
            (task_id, pipeline_id, version, scope, task_input_id, task_input, priority)
        OVERRIDING SYSTEM VALUE
        SELECT given.task_id, request.pipeline_id, request.version, request.scope,
            given.task_input_id, given.task_input, request.priority
        FROM request JOIN given USING (n)
        ORDER BY given.task_input_id, request.pipeline_id, given.task_id
        ON CONFLICT ON CONSTRAINT task_once_key DO NOTHING
        RETURNING task_id
    ), made AS MATERIALIZED (
        SELECT given.task_id, given.n, given.task_input_id FROM fresh JOIN given USING (task_id)
    ), noted AS (
        INSERT INTO porch.event (task_id, to_status, attempt, token_id, request_id, host)
        SELECT made.task_id, 'PENDING', 0, request.token_id, request.request_id, request.host
        FROM made JOIN request USING (n)
        ORDER BY made.task_id
    )
    SELECT n, task_input_id FROM made
    """,
)

#: How definitions stand that SUBMIT found known: a statement of its own, since what a concurrent
#: transaction has just committed is visible only to a later snapshot than the one that met it.
#: At most one scope is live in a pipeline, so the one that fits is "" or the version. A message
#: that comes again, since the worker died with its answer, is told what it has created: its events
#: are looked for, but not those of tasks that are older than the request, give or take a day for
#: clocks, as that would be a read from the disk for each old task.
STANDING = Prepared(
    "porch_standing",
    """
    SELECT r.n, t.task_input_id, t.status, CASE
        WHEN r.made_at IS NOT NULL
            AND t.created_at < least(now(), r.made_at) - interval '1 day' THEN false
        ELSE EXISTS (
            SELECT FROM porch.event e
            WHERE e.task_id = t.task_id AND e.request_id = r.request_id
                AND e.to_status = 'PENDING' AND NOT e.refused AND e.from_status IS NULL
        ) END AS ours
    FROM unnest(CAST(:pipeline_ids AS bigint[]), CAST(:versions AS text[]),
            CAST(:request_ids AS uuid[]), CAST(:made_ats AS timestamptz[])) WITH ORDINALITY
            AS r (pipeline_id, version, request_id, made_at, n)
        JOIN unnest(CAST(:ns AS bigint[]), CAST(:keys AS bytea[])) AS g (n, task_input_id)
            USING (n)
        CROSS JOIN LATERAL (
            SELECT task_id, task_input_id, status, created_at FROM porch.task
            WHERE pipeline_id = r.pipeline_id AND task_input_id = g.task_input_id
                AND scope IN ('', r.version)
            OFFSET 0
        ) t
    """,
)

#: Hands out PENDING tasks of one pipeline. The claim rows come first: of several messages with one
#: request_id, the others wait on its key, insert nothing, and so claim nothing (see
#: CLAIMED_BEFORE). SKIP LOCKED lets claimers pass each other; the lock is taken in a CTE of its
#: own, MATERIALIZED, because a planner that inlines it may run the LIMIT more than once and claim
#: too much. What is locked is then dealt out, the first request first, and looked up by an array:
#: of a LIMIT that it does not know the planner expects a tenth of the queue, and would rather read
#: all tasks than look up so many. FOR KEY SHARE on the pipeline is what the foreign key of the
#: claim takes anyway, but at the end: taken first, a change of the identity policy, which locks the
#: pipeline and then its tasks, cannot deadlock with us.
CLAIM = Prepared(
    "porch_claim",
    """
    WITH target AS MATERIALIZED (
        SELECT pipeline_id, lease_seconds FROM porch.pipeline
        WHERE pipeline_id = :pipeline_id FOR KEY SHARE
    ), request AS MATERIALIZED (
        SELECT *
        FROM unnest(CAST(:request_ids AS uuid[]), CAST(:amounts AS integer[]),
            CAST(:token_ids AS bigint[]), CAST(:hosts AS text[]), CAST(:job_ids AS text[]))
            WITH ORDINALITY AS r (request_id, amount, token_id, host, job_id, n)
    ), asked AS MATERIALIZED (
        INSERT INTO porch.claim (pipeline_id, request_id)
        SELECT target.pipeline_id, request.request_id FROM target CROSS JOIN request
        ORDER BY request.request_id
        ON CONFLICT ON CONSTRAINT claim_pkey DO NOTHING
        RETURNING request_id
    ), share AS MATERIALIZED (
        SELECT request.* FROM request JOIN asked USING (request_id)
    ), due AS MATERIALIZED (
        SELECT task_id, priority FROM porch.task
        WHERE pipeline_id = :pipeline_id AND status = 'PENDING'
            AND (CAST(:version AS text) IS NULL OR version = :version)
            AND EXISTS (SELECT FROM asked)
        ORDER BY priority DESC, task_id
        LIMIT :most
        FOR NO KEY UPDATE SKIP LOCKED
    ), dealt AS MATERIALIZED (
        SELECT one.task_id, hand.n, hand.job_id
        FROM (SELECT task_id, row_number() OVER (ORDER BY priority DESC, task_id) AS place
              FROM due) AS one
            JOIN (SELECT n, job_id, row_number() OVER (ORDER BY n) AS place
                  FROM share CROSS JOIN LATERAL generate_series(1, amount)) AS hand USING (place)
    ), claimed AS (
        UPDATE porch.task AS t
        SET status = 'CLAIMED', attempt = t.attempt + 1, updated_at = now(),
            lease_until = now() + make_interval(secs => target.lease_seconds),
            job_id = dealt.job_id
        FROM dealt, target
        WHERE t.task_id = dealt.task_id AND t.task_id = ANY (ARRAY(SELECT task_id FROM dealt))
        RETURNING t.task_id, t.version, t.task_input_id, t.task_input, t.status, t.attempt,
            t.priority, t.created_at, t.updated_at, t.lease_until, t.job_id, t.retry_at,
            target.lease_seconds, dealt.n
    ), noted AS (
        INSERT INTO porch.event
            (task_id, from_status, to_status, attempt, token_id, request_id, host, job_id)
        SELECT claimed.task_id, 'PENDING', 'CLAIMED', claimed.attempt, share.token_id,
            share.request_id, share.host, claimed.job_id
        FROM claimed JOIN share USING (n)
    )
    SELECT share.n AS asked, claimed.*
    FROM share LEFT JOIN claimed USING (n)
    ORDER BY claimed.priority DESC, claimed.task_id
    """,
)

#: What a request_id was handed before, in the attempt it was handed, as CLAIM would have told it.
CLAIMED_BEFORE = text(
    """
    SELECT t.task_id, t.version, t.task_input_id, t.task_input, 'CLAIMED' AS status, e.attempt,
        t.priority, t.created_at, e.at AS updated_at, e.job_id,
        CASE WHEN t.attempt = e.attempt THEN t.lease_until END AS lease_until,
        CAST(NULL AS timestamptz) AS retry_at, p.lease_seconds
    FROM porch.event e JOIN porch.task t USING (task_id) JOIN porch.pipeline p USING (pipeline_id)
    WHERE e.request_id = :request_id AND e.to_status = 'CLAIMED'
        AND t.pipeline_id = :pipeline_id
    ORDER BY t.priority DESC, t.task_id
    """
)


class ArrivalsLedger(PostgresBase):
    """Submit and claim: see ``coordinator.ledger`` for what each promises."""

    def submit(self, registrations: Sequence[Registration]) -> list[list[Standing]]:
        batch = Batch(registrations)
        with self._transaction() as connection:
            for row in SUBMIT.execute(connection, batch.values(), batch.unanswered()):
                batch.note(row, Status.PENDING, created=True)
            if batch.unanswered():
                for row in STANDING.execute(connection, batch.values(), batch.unanswered()):
                    batch.note(row, Status(row.status), created=row.ours)
        return batch.answers()

    def claim(self, claims: Sequence[Claim]) -> list[list[Task]]:
        handed: dict[UUID, list[Task]] = {}
        # Pipelines are locked in their order; in each, the first request is served first.
        in_order = sorted(claims, key=lambda claim: claim.pipeline.pipeline_id)
        with self._transaction() as connection:
            for _, several in groupby(in_order, key=_queue):
                handed |= _claim(connection, list(several))
        return [handed[claim.origin.request_id] for claim in claims]


class Batch:
    """Registrations by number, from 1, and what is known of each of their keys so far."""

    def __init__(self, registrations: Sequence[Registration]) -> None:
        self._registrations = list(enumerate(registrations, 1))
        # Of equal ones of one request, the first counts.
        self._unanswered: dict[tuple[int, bytes], str] = {}
        for n, wanted in self._registrations:
            for given in wanted.inputs:
                self._unanswered.setdefault((n, given.key), given.text)
        self._standings: dict[tuple[int, bytes], Standing] = {}

    def values(self) -> dict[str, Any]:
        """The parameters of a statement about what has no answer yet."""
        wanted = [one for _, one in self._registrations]
        return {
            "pipeline_ids": [one.pipeline.pipeline_id for one in wanted],
            "versions": [one.version for one in wanted],
            "priorities": [one.priority for one in wanted],
            "token_ids": [one.origin.token_id for one in wanted],
            "request_ids": [str(one.origin.request_id) for one in wanted],
            "made_ats": [made_at(one.origin.request_id) for one in wanted],
            "hosts": [one.origin.host for one in wanted],
            "ns": [n for n, _ in self._unanswered],
            "keys": [key for _, key in self._unanswered],
            "inputs": list(self._unanswered.values()),
        }

    def unanswered(self) -> int:
        """Of how many keys nothing is known yet."""
        return len(self._unanswered)

    def note(self, row: Row[Any], status: Status, *, created: bool) -> None:
        """What a statement has told of one key."""
        key = bytes(row.task_input_id)
        del self._unanswered[row.n, key]
        self._standings[row.n, key] = Standing(key, status, created)

    def answers(self) -> list[list[Standing]]:
        """How each input of each registration stands; of equal ones, the first was created."""
        answers = []
        for n, wanted in self._registrations:
            mine = []
            told = set()
            for given in wanted.inputs:
                standing = self._standings[n, given.key]
                if given.key in told:
                    standing = standing._replace(created=False)
                told.add(given.key)
                mine.append(standing)
            answers.append(mine)
        return answers


def _queue(claim: Claim) -> tuple[int, str | None]:
    """What is served by one statement: one pipeline, and one version or any."""
    return claim.pipeline.pipeline_id, claim.version


def _claim(connection: Connection, claims: Sequence[Claim]) -> dict[UUID, list[Task]]:
    """What each request_id is handed; a message that has come twice is one request."""
    wanted = {claim.origin.request_id: claim for claim in claims}
    first = claims[0]
    most = sum(claim.n for claim in wanted.values())
    values = {
        "pipeline_id": first.pipeline.pipeline_id,
        "version": first.version,
        "most": most,
        "request_ids": [str(request_id) for request_id in wanted],
        "amounts": [claim.n for claim in wanted.values()],
        "token_ids": [claim.origin.token_id for claim in wanted.values()],
        "hosts": [claim.origin.host for claim in wanted.values()],
        "job_ids": [claim.job_id for claim in wanted.values()],
    }
    numbered = dict(enumerate(wanted, 1))
    handed: dict[UUID, list[Task]] = {}
    for row in CLAIM.execute(connection, values, most):
        mine = handed.setdefault(numbered[row.asked], [])
        if row.task_id is not None:
            mine.append(_handed(row, first.pipeline))
    for request_id in wanted.keys() - handed.keys():  # carried out before
        values = {"pipeline_id": first.pipeline.pipeline_id, "request_id": str(request_id)}
        rows = connection.execute(CLAIMED_BEFORE, values)
        handed[request_id] = [_handed(row, first.pipeline) for row in rows]
    return handed


def _handed(row: Row[Any], pipeline: Pipeline) -> Task:
    return task_of(row, pipeline.name, row.lease_seconds)
