"""The statements of an import into porch."""

from __future__ import annotations

from sqlalchemy import text

BOUNDS = text("SET LOCAL statement_timeout = '120s'; SET LOCAL lock_timeout = '120s'")

#: Any number that nothing else locks: imports at the same time take turns, batch by batch.
TAKE_TURNS = text("SELECT pg_advisory_xact_lock(2025786723)")

PIPELINES = text("SELECT pipeline_id, name, uri, identity FROM porch.pipeline WHERE name = :name")

ADD_PIPELINE = text(
    "INSERT INTO porch.pipeline (name, uri) VALUES (:name, :uri) RETURNING pipeline_id"
)

VERSIONS = text("SELECT version FROM porch.version WHERE pipeline_id = :pipeline_id")

ADD_VERSION = text("INSERT INTO porch.version (pipeline_id, version) VALUES (:pipeline_id, :v)")

TOKEN = text("SELECT token_id, pipeline_id, revoked_at FROM porch.token WHERE digest = :digest")

ADD_TOKEN = text(
    """
    INSERT INTO porch.token (digest, pipeline_id, description, created_at, revoked_at)
    VALUES (:digest, :pipeline_id, :description, COALESCE(:issued, now()), :revoked)
    RETURNING token_id
    """
)

REVOKE = text("UPDATE porch.token SET revoked_at = :at WHERE token_id = :token_id")

#: FOR KEY SHARE holds off a change of the policy until the commit, and nothing else.
POLICIES = text(
    """
    SELECT pipeline_id, identity FROM porch.pipeline
    WHERE pipeline_id = ANY (CAST(:ids AS bigint[])) ORDER BY pipeline_id FOR KEY SHARE
    """
)

KNOWN = text(
    """
    SELECT t.task_id, t.pipeline_id, t.scope, t.task_input_id, t.status, t.attempt,
        t.updated_at, t.lease_until
    FROM unnest(CAST(:pipelines AS bigint[]), CAST(:scopes AS text[]), CAST(:keys AS bytea[]))
            AS g (pipeline_id, scope, task_input_id)
        JOIN porch.task t USING (pipeline_id, scope, task_input_id)
    """
)

REQUESTS = text(
    """
    SELECT task_id, request_id, at, to_status, attempt FROM porch.event
    WHERE task_id = ANY (CAST(:ids AS bigint[])) ORDER BY event_id
    """
)

#: Which of the tasks given are here, known by the request_id of their creation.
LANDED = text(
    """
    SELECT g.number
    FROM unnest(CAST(:pipelines AS bigint[]), CAST(:scopes AS text[]), CAST(:keys AS bytea[]),
            CAST(:requests AS uuid[]), CAST(:numbers AS bigint[]))
            AS g (pipeline_id, scope, task_input_id, request_id, number)
        JOIN porch.task t USING (pipeline_id, scope, task_input_id)
    WHERE EXISTS (
        SELECT FROM porch.event e WHERE e.task_id = t.task_id AND e.request_id = g.request_id
    )
    """
)

#: Guarded by all that was seen of a task: what porch has changed or heard of since stays, and so
#: does what has lost the events by which we would know how far it had come.
BRING_FORWARD = text(
    """
    UPDATE porch.task t
    SET status = g.status, attempt = g.attempt, updated_at = g.updated_at, retry_at = NULL
    FROM unnest(CAST(:ids AS bigint[]), CAST(:seen AS text[]), CAST(:seen_attempts AS integer[]),
            CAST(:seen_times AS timestamptz[]), CAST(:statuses AS text[]),
            CAST(:attempts AS integer[]), CAST(:times AS timestamptz[]))
            AS g (task_id, seen, seen_attempt, seen_at, status, attempt, updated_at)
    WHERE t.task_id = g.task_id AND t.status = g.seen AND t.attempt = g.seen_attempt
        AND t.updated_at = g.seen_at AND t.lease_until IS NULL AND t.pruned_events IS NULL
    RETURNING t.task_id
    """
)

#: As SUBMIT does: numbers in the order given, which is that of the claim queue, rows in the order
#: of the keys, so that it deadlocks with no submission.
ADD_TASKS = text(
    """
    WITH given AS MATERIALIZED (
        SELECT nextval('porch.task_task_id_seq') AS task_id, g.*
        FROM unnest(CAST(:pipelines AS bigint[]), CAST(:versions AS text[]),
            CAST(:scopes AS text[]), CAST(:keys AS bytea[]), CAST(:inputs AS json[]),
            CAST(:statuses AS text[]), CAST(:attempts AS integer[]),
            CAST(:created AS timestamptz[]), CAST(:updated AS timestamptz[]))
            AS g (pipeline_id, version, scope, task_input_id, task_input, status, attempt,
                created_at, updated_at)
    )
    INSERT INTO porch.task (task_id, pipeline_id, version, scope, task_input_id, task_input,
        status, attempt, created_at, updated_at)
    OVERRIDING SYSTEM VALUE
    SELECT task_id, pipeline_id, version, scope, task_input_id, task_input,
        status, attempt, created_at, updated_at
    FROM given ORDER BY pipeline_id, task_input_id, scope
    ON CONFLICT ON CONSTRAINT task_once_key DO NOTHING
    RETURNING task_id, pipeline_id, scope, task_input_id
    """
)

ADD_CLAIMS = text(
    """
    INSERT INTO porch.claim (pipeline_id, request_id, claimed_at)
    SELECT * FROM unnest(CAST(:pipelines AS bigint[]), CAST(:requests AS uuid[]),
        CAST(:times AS timestamptz[]))
    ON CONFLICT ON CONSTRAINT claim_pkey DO NOTHING
    """
)

#: Lines are numbered as they come, which is the order in which events of a task happened.
COPY_EVENTS = """
    COPY porch.event (task_id, at, from_status, to_status, attempt, token_id, request_id, message)
    FROM STDIN
"""
