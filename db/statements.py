"""The statements in which races are decided, each written so that PostgreSQL decides them.

Task rows are locked in the order of task_id, and keys are inserted in the order of the key, so that
overlapping batches queue behind each other instead of deadlocking.
"""

from __future__ import annotations

from sqlalchemy import text

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
        SELECT j.task_id, j.from_status, j.to_status, j.attempt, CAST(:token_id AS bigint),
            CAST(:request_id AS uuid), CAST(:host AS text), j.message, j.job_id, true
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

#: Registers what is new and notes its first event. One statement, so that no task is without one.
#: ON CONFLICT DO NOTHING settles equal keys within the batch and between batches; the sort keeps
#: batches that overlap in different orders from deadlocking, while the numbers are drawn before it,
#: so that the claim queue has the order of the submission. FOR KEY SHARE on the pipeline makes a
#: change of the identity policy wait for us, or us for it, so that the scope is always right.
SUBMIT = text(
    """
    WITH target AS MATERIALIZED (
        SELECT CASE identity WHEN 'version' THEN CAST(:version AS text) ELSE '' END AS scope
        FROM porch.pipeline WHERE pipeline_id = :pipeline_id FOR KEY SHARE
    ), given AS MATERIALIZED (
        SELECT nextval('porch.task_task_id_seq') AS task_id, task_input_id, task_input
        FROM unnest(CAST(:keys AS bytea[]), CAST(:inputs AS json[]))
            AS g (task_input_id, task_input)
    ), fresh AS (
        INSERT INTO porch.task
            (task_id, pipeline_id, version, scope, task_input_id, task_input, priority)
        OVERRIDING SYSTEM VALUE
        SELECT given.task_id, :pipeline_id, CAST(:version AS text), target.scope,
            given.task_input_id, given.task_input, :priority
        FROM target CROSS JOIN given
        ORDER BY given.task_input_id
        ON CONFLICT ON CONSTRAINT task_once_key DO NOTHING
        RETURNING task_id, task_input_id
    ), noted AS (
        INSERT INTO porch.event (task_id, to_status, attempt, token_id, request_id, host)
        SELECT task_id, 'PENDING', 0, CAST(:token_id AS bigint),
            CAST(:request_id AS uuid), CAST(:host AS text)
        FROM fresh ORDER BY task_id
    )
    SELECT task_input_id FROM fresh
    """
)

#: How definitions stand that SUBMIT found known: a statement of its own, since what a concurrent
#: transaction has just committed is visible only to a later snapshot than the one that met it.
#: At most one scope is live in a pipeline, so the one that fits is "" or the version. A message
#: that comes again, since the worker died with its answer, is told what it has created.
STANDING = text(
    """
    SELECT t.task_input_id, t.status, EXISTS (
        SELECT FROM porch.event e
        WHERE e.task_id = t.task_id AND e.request_id = CAST(:request_id AS uuid)
            AND e.to_status = 'PENDING' AND NOT e.refused AND e.from_status IS NULL
    ) AS ours
    FROM porch.task t JOIN unnest(CAST(:keys AS bytea[])) AS g (task_input_id)
        USING (task_input_id)
    WHERE t.pipeline_id = :pipeline_id AND t.scope IN ('', :version)
    """
)

#: Hands out PENDING tasks. The claim row comes first: of several messages with one request_id,
#: the others wait on its key, insert nothing, and so claim nothing (see CLAIMED_BEFORE). SKIP
#: LOCKED lets claimers pass each other; the lock is taken in a CTE of its own, MATERIALIZED,
#: because a planner that inlines it may run the LIMIT more than once and claim too much. FOR KEY
#: SHARE on the pipeline is what the foreign key of the claim takes anyway, but at the end: taken
#: first, a change of the identity policy, which locks the pipeline and then its tasks, cannot
#: deadlock with us.
CLAIM = text(
    """
    WITH target AS MATERIALIZED (
        SELECT pipeline_id, lease_seconds FROM porch.pipeline
        WHERE pipeline_id = :pipeline_id FOR KEY SHARE
    ), asked AS MATERIALIZED (
        INSERT INTO porch.claim (pipeline_id, request_id)
        SELECT pipeline_id, CAST(:request_id AS uuid) FROM target
        ON CONFLICT ON CONSTRAINT claim_pkey DO NOTHING
        RETURNING request_id
    ), due AS MATERIALIZED (
        SELECT task_id FROM porch.task
        WHERE pipeline_id = :pipeline_id AND status = 'PENDING'
            AND (CAST(:version AS text) IS NULL OR version = :version)
            AND EXISTS (SELECT FROM asked)
        ORDER BY priority DESC, task_id
        LIMIT :n
        FOR NO KEY UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE porch.task AS t
        SET status = 'CLAIMED', attempt = t.attempt + 1, updated_at = now(),
            lease_until = now() + make_interval(secs => target.lease_seconds),
            job_id = CAST(:job_id AS text)
        FROM due, target
        WHERE t.task_id = due.task_id
        RETURNING t.*, target.lease_seconds
    ), noted AS (
        INSERT INTO porch.event
            (task_id, from_status, to_status, attempt, token_id, request_id, host, job_id)
        SELECT task_id, 'PENDING', 'CLAIMED', attempt, CAST(:token_id AS bigint),
            CAST(:request_id AS uuid), CAST(:host AS text), job_id
        FROM claimed
    )
    SELECT asked.request_id AS asked, claimed.*
    FROM asked LEFT JOIN claimed ON true
    ORDER BY claimed.priority DESC, claimed.task_id
    """
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

#: Tries one change for each of many tasks. The rows are locked first, in order, so that each is
#: judged by what it is now and not by what it was when the statement began; a change happens only
#: from the statuses and in the attempt that the caller allows, and only if this request has not
#: made it before (``made_in``: in which attempt). The event is written by the same statement. A
#: report of RUNNING that holds already is a sign of life, and one of FAILED may call a retry off.
#: What comes from an attempt that is over changes nothing, and is noted. Every wanted row gets an
#: answer.
CHANGE = text(
    f"""
    WITH wanted AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:task_ids AS bigint[]), CAST(:tos AS text[]),
            CAST(:sources AS text[]), CAST(:attempts AS integer[]), CAST(:messages AS text[]),
            CAST(:job_ids AS text[]), CAST(:permanents AS boolean[]), CAST(:held AS boolean[]))
            AS w (task_id, to_status, sources, attempt, message, job_id, permanent, of_holder)
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
                WHERE e.task_id = w.task_id AND e.request_id = :request_id
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
        RETURNING t.task_id, t.status, j.from_status, t.attempt, j.message, j.job_id
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
        SELECT task_id, from_status, status, attempt, CAST(:token_id AS bigint),
            CAST(:request_id AS uuid), CAST(:host AS text), message, job_id
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
        j.made_in IS NOT NULL AND j.made_in = COALESCE(j.attempt, j.made_in) AS repeated
    FROM judged j LEFT JOIN changed c USING (task_id)
    """  # noqa: S608 (put together of constants)
)

#: Extends the leases of tasks that are held, in an attempt given; rows are locked in order. A sign
#: of life from an earlier attempt is noted, as in CHANGE.
HEARTBEAT = text(
    f"""
    WITH wanted AS MATERIALIZED (
        SELECT w.*, 'RUNNING' AS to_status, 'heartbeat' AS message, CAST(NULL AS text) AS job_id
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
        j.over, a.task_id IS NOT NULL AS changed, false AS repeated
    FROM judged j LEFT JOIN alive a USING (task_id)
    """  # noqa: S608 (put together of constants)
)
