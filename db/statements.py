"""The statements in which races are decided, each written so that PostgreSQL decides them.

Task rows are locked in the order of task_id, and keys are inserted in the order of the key, so that
overlapping batches queue behind each other instead of deadlocking.
"""

from __future__ import annotations

from sqlalchemy import text

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
#: At most one scope is live in a pipeline, so the one that fits is "" or the version.
STANDING = text(
    """
    SELECT t.task_input_id, t.status
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
            lease_until = now() + make_interval(secs => target.lease_seconds)
        FROM due, target
        WHERE t.task_id = due.task_id
        RETURNING t.*
    ), noted AS (
        INSERT INTO porch.event
            (task_id, from_status, to_status, attempt, token_id, request_id, host)
        SELECT task_id, 'PENDING', 'CLAIMED', attempt, CAST(:token_id AS bigint),
            CAST(:request_id AS uuid), CAST(:host AS text)
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
        t.priority, t.created_at, e.at AS updated_at,
        CASE WHEN t.attempt = e.attempt THEN t.lease_until END AS lease_until
    FROM porch.event e JOIN porch.task t USING (task_id)
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
#: made it before (``made_in``: in which attempt). The event is written by the same statement. Every
#: wanted row gets an answer.
CHANGE = text(
    """
    WITH wanted AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:task_ids AS bigint[]), CAST(:tos AS text[]),
            CAST(:sources AS text[]), CAST(:attempts AS integer[]), CAST(:messages AS text[]))
            AS w (task_id, to_status, sources, attempt, message)
    ), locked AS MATERIALIZED (
        SELECT t.task_id, t.status, t.attempt, p.lease_seconds
        FROM porch.task t
            JOIN porch.pipeline p USING (pipeline_id)
        WHERE t.task_id IN (SELECT task_id FROM wanted)
        ORDER BY t.task_id
        FOR NO KEY UPDATE OF t
    ), judged AS MATERIALIZED (
        SELECT w.*, l.status AS from_status, l.attempt AS at_attempt, l.lease_seconds,
            (
                SELECT e.attempt FROM porch.event e
                WHERE e.task_id = w.task_id AND e.request_id = :request_id
                    AND e.to_status = w.to_status
            ) AS made_in
        FROM wanted w JOIN locked l USING (task_id)
    ), changed AS (
        UPDATE porch.task t
        SET status = j.to_status, updated_at = now(),
            lease_until = CASE WHEN j.to_status = 'RUNNING'
                THEN now() + make_interval(secs => j.lease_seconds) END
        FROM judged j
        WHERE t.task_id = j.task_id AND j.made_in IS NULL
            AND j.from_status = ANY (string_to_array(j.sources, ','))
            AND (j.attempt IS NULL OR j.attempt = j.at_attempt)
        RETURNING t.task_id, t.status, j.from_status, t.attempt, j.message
    ), noted AS (
        INSERT INTO porch.event
            (task_id, from_status, to_status, attempt, token_id, request_id, host, message)
        SELECT task_id, from_status, status, attempt, CAST(:token_id AS bigint),
            CAST(:request_id AS uuid), CAST(:host AS text), message
        FROM changed ORDER BY task_id
    )
    SELECT j.task_id, COALESCE(c.status, j.from_status) AS status, j.at_attempt AS attempt,
        c.task_id IS NOT NULL AS changed,
        j.made_in IS NOT NULL AND j.made_in = COALESCE(j.attempt, j.made_in) AS repeated
    FROM judged j LEFT JOIN changed c USING (task_id)
    """
)

#: Extends the leases of tasks that are held, in an attempt given; rows are locked in order.
HEARTBEAT = text(
    """
    WITH wanted AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:task_ids AS bigint[]), CAST(:attempts AS integer[]))
            AS w (task_id, attempt)
    ), locked AS MATERIALIZED (
        SELECT t.task_id, t.status, t.attempt, p.lease_seconds
        FROM porch.task t JOIN porch.pipeline p USING (pipeline_id)
        WHERE t.task_id IN (SELECT task_id FROM wanted)
        ORDER BY t.task_id
        FOR NO KEY UPDATE OF t
    ), alive AS (
        UPDATE porch.task t
        SET updated_at = now(), lease_until = now() + make_interval(secs => l.lease_seconds)
        FROM locked l JOIN wanted w USING (task_id)
        WHERE t.task_id = l.task_id AND l.status IN ('CLAIMED', 'RUNNING')
            AND (w.attempt IS NULL OR w.attempt = l.attempt)
        RETURNING t.task_id
    )
    SELECT l.task_id, l.status, l.attempt, a.task_id IS NOT NULL AS changed, false AS repeated
    FROM locked l LEFT JOIN alive a USING (task_id)
    """
)

#: For each range of keys, the first tasks in it. A range is a prefix that a person typed, or a
#: whole key; the unique index serves both, in each pipeline that may be meant.
FIND = text(
    """
    SELECT r.n, p.name AS pipeline, t.*
    FROM unnest(CAST(:lows AS bytea[]), CAST(:highs AS bytea[]), CAST(:versions AS text[]))
            WITH ORDINALITY AS r (low, high, version, n)
        CROSS JOIN porch.pipeline p
        CROSS JOIN LATERAL (
            SELECT * FROM porch.task t
            WHERE t.pipeline_id = p.pipeline_id AND t.task_input_id BETWEEN r.low AND r.high
                AND (r.version IS NULL OR t.version = r.version)
            ORDER BY t.task_input_id
            LIMIT :most
        ) t
    WHERE CAST(:pipeline_id AS bigint) IS NULL OR p.pipeline_id = :pipeline_id
    ORDER BY r.n, t.task_id
    """
)

#: A token with its pipeline and the versions of that, in one round trip.
PERMISSION = text(
    """
    SELECT k.token_id, k.digest, k.description, k.revoked_at, p.*,
        ARRAY(SELECT v.version FROM porch.version v WHERE v.pipeline_id = p.pipeline_id
              ORDER BY v.created_at, v.version) AS versions
    FROM porch.token k LEFT JOIN porch.pipeline p USING (pipeline_id)
    WHERE k.digest = :digest
    """
)

#: A pipeline with its versions, in the order in which they were added.
PIPELINE = text(
    """
    SELECT p.*, ARRAY(SELECT v.version FROM porch.version v WHERE v.pipeline_id = p.pipeline_id
                      ORDER BY v.created_at, v.version) AS versions
    FROM porch.pipeline p
    WHERE CAST(:name AS text) IS NULL OR p.name = :name
    ORDER BY p.name
    """
)

#: Tasks of each pipeline per status, and how long the oldest PENDING one has been so (seconds).
LOADS = text(
    """
    SELECT t.pipeline_id, t.status, count(*) AS tasks,
        extract(epoch FROM now() - min(t.updated_at)) AS oldest
    FROM porch.task t JOIN porch.pipeline p USING (pipeline_id)
    WHERE CAST(:name AS text) IS NULL OR p.name = :name
    GROUP BY t.pipeline_id, t.status
    """
)

#: Adds a pipeline with its first version; no row if the name is taken.
REGISTER = text(
    """
    WITH added AS (
        INSERT INTO porch.pipeline (name, uri) VALUES (:name, :uri)
        ON CONFLICT ON CONSTRAINT pipeline_name_key DO NOTHING
        RETURNING pipeline_id
    )
    INSERT INTO porch.version (pipeline_id, version) SELECT pipeline_id, :version FROM added
    RETURNING pipeline_id
    """
)

#: Holds off submissions to a pipeline (they take FOR KEY SHARE) while its identity changes.
LOCK_PIPELINE = text(
    "SELECT identity FROM porch.pipeline WHERE pipeline_id = :pipeline_id FOR UPDATE"
)

#: Moves tasks that exist to the scope of the new identity policy; task_once_key refuses what
#: would make one task of two. Rows are locked in order, as everywhere.
RESCOPE = text(
    """
    WITH locked AS MATERIALIZED (
        SELECT task_id FROM porch.task WHERE pipeline_id = :pipeline_id
        ORDER BY task_id
        FOR UPDATE
    )
    UPDATE porch.task AS t
    SET scope = CASE CAST(:identity AS text) WHEN 'version' THEN version ELSE '' END
    FROM locked
    WHERE t.task_id = locked.task_id
    """
)
