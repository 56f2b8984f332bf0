"""The statements that only look."""

from __future__ import annotations

from sqlalchemy import text

from db.prepared import Prepared

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

#: The same where it is known in which pipeline, without the inputs: who reports needs none.
FIND_OWN = Prepared(
    "porch_find",
    """
    SELECT r.n, t.*
    FROM unnest(CAST(:pipeline_ids AS bigint[]), CAST(:lows AS bytea[]), CAST(:highs AS bytea[]),
            CAST(:versions AS text[])) WITH ORDINALITY AS r (pipeline_id, low, high, version, n)
        CROSS JOIN LATERAL (
            SELECT t.task_id, t.version, t.task_input_id, CAST(NULL AS json) AS task_input,
                t.status, t.attempt, t.priority, t.created_at, t.updated_at, t.lease_until,
                t.job_id, t.retry_at
            FROM porch.task t
            WHERE t.pipeline_id = r.pipeline_id AND t.task_input_id BETWEEN r.low AND r.high
                AND (r.version IS NULL OR t.version = r.version)
            ORDER BY t.task_input_id
            LIMIT :most
        ) t
    ORDER BY r.n, t.task_id
    """,
)

#: How keys stand that are known. At most one scope is live in a pipeline: "" or the version.
KNOWN = text(
    """
    SELECT t.task_input_id, t.status
    FROM unnest(CAST(:keys AS bytea[])) AS g (task_input_id)
        JOIN porch.task t USING (task_input_id)
    WHERE t.pipeline_id = :pipeline_id AND t.scope IN ('', :version)
    """
)

#: Of each input, the last task that is the same but for the value of one key, or but for one key.
#: Both sides are taken apart, each without one of its keys or whole, and what is left is joined by
#: its hash: the cost is that of the inputs plus that of the tasks, not of their product.
LOOK_ALIKES = text(
    """
    WITH given AS MATERIALIZED (
        SELECT n, CAST(input AS jsonb) AS input
        FROM unnest(CAST(:inputs AS text[])) WITH ORDINALITY AS g (input, n)
    ), recent AS MATERIALIZED (
        SELECT task_id, CASE WHEN pg_column_size(task_input) <= :most_bytes
                AND octet_length(CAST(task_input AS text)) <= :most_bytes
            THEN CAST(task_input AS jsonb) END AS input
        FROM porch.task
        WHERE pipeline_id = :pipeline_id AND (CAST(:version AS text) IS NULL OR version = :version)
        ORDER BY task_id DESC
        LIMIT :most + 1
    ), asked AS MATERIALIZED (
        SELECT n, key, input - key AS rest FROM given, jsonb_object_keys(input) AS key
        UNION ALL SELECT n, NULL, input FROM given
    ), kept AS MATERIALIZED (
        SELECT task_id, key, input - key AS rest FROM recent, jsonb_object_keys(input) AS key
        UNION ALL SELECT task_id, NULL, input FROM recent
    ), alike AS (
        SELECT asked.n, max(kept.task_id) AS task_id
        FROM asked JOIN kept USING (rest)
        WHERE asked.key = kept.key OR (asked.key IS NULL) <> (kept.key IS NULL)
        GROUP BY asked.n
    )
    SELECT n, task_id, false AS total, 0 AS tasks, 0 AS large FROM alike
    UNION ALL SELECT NULL, NULL, true, count(*), count(*) FILTER (WHERE input IS NULL) FROM recent
    """
)

#: Tokens, each with its pipeline and the versions of that, in one round trip.
PERMISSION = Prepared(
    "porch_permission",
    """
    SELECT k.token_id, k.digest, k.description, k.revoked_at, k.expires_at, p.pipeline_id, p.name,
        p.uri, p.identity, p.lease_seconds, p.max_attempts, p.retry_seconds,
        p.keep_done_seconds, p.keep_failed_seconds, p.keep_cancelled_seconds,
        coalesce(k.expires_at <= now(), false) AS expired,
        coalesce(k.used_at < now() - interval '5 minutes', true) AS use_unnoted,
        ARRAY(SELECT v.version FROM porch.version v WHERE v.pipeline_id = p.pipeline_id
              ORDER BY v.created_at, v.version) AS versions
    FROM porch.token k LEFT JOIN porch.pipeline p USING (pipeline_id)
    WHERE k.digest = ANY (CAST(:digests AS bytea[]))
    """,
)

#: The digests of tokens, by the hash of each.
KEYS = text("SELECT digest FROM porch.token WHERE sha256(digest) = ANY (CAST(:names AS bytea[]))")

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
