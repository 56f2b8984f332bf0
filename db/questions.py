"""The statements that only look."""

from __future__ import annotations

from sqlalchemy import text

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
