"""The statements in which races are decided, each written so that PostgreSQL decides them.

Task rows are locked in the order of task_id, so that overlapping batches queue behind each other
instead of deadlocking.
"""

from __future__ import annotations

from sqlalchemy import text

from db.prepared import Prepared

#: When a task that fails now is tried again: retry_seconds, doubled with each attempt, up to a day,
#: give or take a quarter, so that a thousand that failed together do not come back together.
_RETRY_AT = """
            CASE WHEN j.to_status = 'FAILED' AND NOT j.permanent
                AND j.at_attempt < j.max_attempts AND j.retry_seconds IS NOT NULL
            THEN now() + make_interval(secs => (0.75 + random() / 2) * least(
                j.retry_seconds * power(2, least(j.at_attempt - 1, 30)),
                greatest(j.retry_seconds, 86400))) END"""

#: What came from an attempt that is over, as an event that is none of the task's path.
_NOTE_LATE = """
        INSERT INTO porch.event (task_id, from_status, to_status, attempt, token_id, request_id,
            host, message, job_id, refused)
        SELECT j.task_id, j.from_status, j.to_status, j.attempt, j.token_id, j.request_id, j.host,
            j.message, j.job_id, true
        FROM judged j"""

#: Whether the current attempt has ended without a word of its holder: taken back, given back, or
#: failed by a sweep, whose events are the only ones without a token.
_OVER = """
            l.attempt > 0 AND (l.status = 'PENDING' OR l.status = 'FAILED' AND (
                SELECT e.token_id IS NULL FROM porch.event e
                WHERE e.task_id = l.task_id AND NOT e.refused
                ORDER BY e.event_id DESC LIMIT 1))"""

#: From an earlier attempt, or from one that is over. Noted at most once an hour for each kind of
#: report: a forgotten job may go on for days.
_IS_LATE = """
            (j.attempt BETWEEN 1 AND j.at_attempt - 1
                OR j.attempt = j.at_attempt AND j.over
                    AND NOT (j.from_status = 'PENDING' AND j.to_status = 'PENDING'))
            AND NOT EXISTS (
                SELECT FROM porch.event e
                WHERE e.task_id = j.task_id AND e.refused AND e.attempt = j.attempt
                    AND e.to_status = j.to_status AND e.at > now() - interval '1 hour')"""

#: Of a report that was taken, the seconds since the claim. The task's own row does not tell: each
#: sign of life overwrites the time of the last one.
_SINCE_CLAIM = """CASE WHEN c.from_status IN ('CLAIMED', 'RUNNING')
                AND c.status IN ('RUNNING', 'DONE', 'FAILED')
            THEN (SELECT CAST(extract(epoch FROM now() - e.at) AS double precision)
                FROM porch.event e
                WHERE e.task_id = c.task_id AND e.attempt = c.attempt AND e.to_status = 'CLAIMED')
        END AS since_claim"""
_UNTIMED = "CAST(NULL AS double precision) AS since_claim"

#: Locks those of the tasks that nobody else has locked, and tells which: who carries out many
#: requests together waits for nobody's, as the others would wait along.
HOLD = Prepared(
    "porch_hold",
    """
    SELECT task_id FROM porch.task
    WHERE task_id = ANY (CAST(:task_ids AS bigint[]))
    ORDER BY task_id
    FOR NO KEY UPDATE SKIP LOCKED
    """,
)

#: Notes a claim as carried out, so that its message, still under way, is handed nothing.
CLOSE_CLAIM = text(
    """
    INSERT INTO porch.claim (pipeline_id, request_id) VALUES (:pipeline_id, :claim)
    ON CONFLICT ON CONSTRAINT claim_pkey DO NOTHING
    """
)

#: What a closed claim had been handed.
HANDED = text(
    """
    SELECT e.task_id, e.attempt
    FROM porch.event e JOIN porch.task t USING (task_id)
    WHERE e.request_id = :claim AND e.to_status = 'CLAIMED' AND t.pipeline_id = :pipeline_id
    ORDER BY e.task_id
    """
)

#: Tries one change for each of many tasks, of one request or of several (``ns``: which one, from
#: 1). The rows are locked first, in order, so that each is judged by what it is now and not by what
#: it was when the statement began; a change happens only from the statuses and in the attempt that
#: the caller allows, and only if this request has not made it before (``made_in``: in which
#: attempt). The event is written by the same statement. A report of RUNNING that holds already is a
#: sign of life, and one of FAILED may call a retry off. What comes from an attempt that is over
#: changes nothing, and is noted. Every wanted row gets an answer.
CHANGE = Prepared(
    "porch_change",
    f"""
    WITH request AS MATERIALIZED (
        SELECT *
        FROM unnest(CAST(:token_ids AS bigint[]), CAST(:request_ids AS uuid[]),
            CAST(:hosts AS text[])) WITH ORDINALITY AS r (token_id, request_id, host, n)
    ), wanted AS MATERIALIZED (
        SELECT w.*, request.token_id, request.request_id, request.host
        FROM unnest(CAST(:ns AS integer[]), CAST(:task_ids AS bigint[]), CAST(:tos AS text[]),
            CAST(:sources AS text[]), CAST(:attempts AS integer[]), CAST(:messages AS text[]),
            CAST(:job_ids AS text[]), CAST(:permanents AS boolean[]), CAST(:held AS boolean[]))
            AS w (n, task_id, to_status, sources, attempt, message, job_id, permanent, of_holder)
            JOIN request USING (n)
    ), locked AS MATERIALIZED (
        SELECT t.task_id, t.status, t.attempt, p.lease_seconds, p.max_attempts, p.retry_seconds
        FROM porch.task t
            JOIN porch.pipeline p USING (pipeline_id)
        WHERE t.task_id IN (SELECT task_id FROM wanted)
        ORDER BY t.task_id
        FOR NO KEY UPDATE OF t
    ), judged AS MATERIALIZED (
        SELECT w.*, l.status AS from_status, l.attempt AS at_attempt, l.lease_seconds,
            l.max_attempts, l.retry_seconds, {_OVER} AS over,
            (
                SELECT e.attempt FROM porch.event e
                WHERE e.task_id = w.task_id AND e.request_id = w.request_id
                    AND e.to_status = w.to_status AND NOT e.refused
            ) AS made_in
        FROM wanted w JOIN locked l USING (task_id)
    ), changed AS (
        UPDATE porch.task t
        SET status = j.to_status, updated_at = now(),
            lease_until = CASE WHEN j.to_status = 'RUNNING'
                THEN now() + make_interval(secs => j.lease_seconds) END,
            job_id = COALESCE(j.job_id, t.job_id),
            retry_at = {_RETRY_AT}
        FROM judged j
        WHERE t.task_id = j.task_id AND j.made_in IS NULL
            AND j.from_status = ANY (string_to_array(j.sources, ','))
            AND (j.attempt IS NULL OR j.attempt = j.at_attempt)
        RETURNING t.task_id, t.status, j.from_status, t.attempt, j.message, j.job_id, j.token_id,
            j.request_id, j.host
    ), alive AS (
        UPDATE porch.task t
        SET updated_at = now(), lease_until = now() + make_interval(secs => j.lease_seconds)
        FROM judged j
        WHERE t.task_id = j.task_id AND j.from_status = 'RUNNING' AND j.to_status = 'RUNNING'
            AND j.made_in IS NULL AND (j.attempt IS NULL OR j.attempt = j.at_attempt)
    ), called_off AS (
        UPDATE porch.task t
        SET retry_at = NULL
        FROM judged j
        WHERE t.task_id = j.task_id AND j.from_status = 'FAILED' AND j.to_status = 'FAILED'
            AND j.permanent AND (j.attempt IS NULL OR j.attempt = j.at_attempt)
    ), noted AS (
        INSERT INTO porch.event
            (task_id, from_status, to_status, attempt, token_id, request_id, host, message, job_id)
        SELECT task_id, from_status, status, attempt, token_id, request_id, host, message, job_id
        FROM changed ORDER BY task_id
    ), late AS (
        {_NOTE_LATE}
        WHERE j.of_holder AND j.made_in IS NULL AND {_IS_LATE}
        ORDER BY j.task_id
        ON CONFLICT ON CONSTRAINT event_once_key DO NOTHING
    )
    SELECT j.task_id, COALESCE(c.status, j.from_status) AS status, j.at_attempt AS attempt,
        CASE WHEN j.to_status = 'RUNNING' THEN j.lease_seconds END AS lease, j.over,
        c.task_id IS NOT NULL AS changed,
        j.made_in IS NOT NULL AND j.made_in = COALESCE(j.attempt, j.made_in) AS repeated,
        {_UNTIMED}
    FROM judged j LEFT JOIN changed c USING (task_id)
    """,  # noqa: S608 (put together of constants)
)

#: The same, and it tells the time since the claim, which makes it dearer by 3 to 8%.
CHANGE_TIMED = Prepared("porch_change_timed", CHANGE.statement.text.replace(_UNTIMED, _SINCE_CLAIM))

#: Extends the leases of tasks that are held, in an attempt given; rows are locked in order. A sign
#: of life from an earlier attempt is noted, as in CHANGE.
HEARTBEAT = Prepared(
    "porch_heartbeat",
    f"""
    WITH wanted AS MATERIALIZED (
        SELECT w.*, 'RUNNING' AS to_status, 'heartbeat' AS message, CAST(NULL AS text) AS job_id,
            CAST(:token_id AS bigint) AS token_id, CAST(:request_id AS uuid) AS request_id,
            CAST(:host AS text) AS host
        FROM unnest(CAST(:task_ids AS bigint[]), CAST(:attempts AS integer[]))
            AS w (task_id, attempt)
    ), locked AS MATERIALIZED (
        SELECT t.task_id, t.status, t.attempt, p.lease_seconds
        FROM porch.task t JOIN porch.pipeline p USING (pipeline_id)
        WHERE t.task_id IN (SELECT task_id FROM wanted)
        ORDER BY t.task_id
        FOR NO KEY UPDATE OF t
    ), judged AS MATERIALIZED (
        SELECT w.*, l.status AS from_status, l.attempt AS at_attempt, l.lease_seconds,
            {_OVER} AS over
        FROM wanted w JOIN locked l USING (task_id)
    ), alive AS (
        UPDATE porch.task t
        SET updated_at = now(), lease_until = now() + make_interval(secs => j.lease_seconds)
        FROM judged j
        WHERE t.task_id = j.task_id AND j.from_status IN ('CLAIMED', 'RUNNING')
            AND (j.attempt IS NULL OR j.attempt = j.at_attempt)
        RETURNING t.task_id
    ), late AS (
        {_NOTE_LATE}
        WHERE {_IS_LATE}
        ORDER BY j.task_id
        ON CONFLICT ON CONSTRAINT event_once_key DO NOTHING
    )
    SELECT j.task_id, j.from_status AS status, j.at_attempt AS attempt, j.lease_seconds AS lease,
        j.over, a.task_id IS NOT NULL AS changed, false AS repeated,
        {_UNTIMED}
    FROM judged j LEFT JOIN alive a USING (task_id)
    """,  # noqa: S608 (put together of constants)
)
