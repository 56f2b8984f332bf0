"""A ledger as an institute would have it after a few months, made by SQL and not by its verbs."""

from __future__ import annotations

from sqlalchemy import Engine, text

#: Pipelines of unequal size: the second has half as many tasks as the first, the third a third.
PIPELINES = 30
DAYS = 90

_MAKE = [
    "SET LOCAL statement_timeout = 0",
    # The foreign keys hold by construction; checking them row by row would take minutes.
    "SET LOCAL session_replication_role = replica",
    "SELECT setseed(0.4)",
    """
    INSERT INTO porch.pipeline (name, uri)
    SELECT 'pipeline-' || to_char(n, 'FM00'), 'https://example.org/' || n
    FROM generate_series(1, :pipelines) n
    """,
    """
    INSERT INTO porch.version (pipeline_id, version)
    SELECT pipeline_id, '1.0' FROM porch.pipeline
    """,
    """
    CREATE TEMPORARY TABLE story ON COMMIT DROP AS
    WITH share AS (
        SELECT array_agg(CAST(upto AS float) ORDER BY n) FILTER (WHERE n < :pipelines) AS bounds
        FROM (
            SELECT n, sum(1.0 / n) OVER (ORDER BY n) / sum(1.0 / n) OVER () AS upto
            FROM generate_series(1, :pipelines) n
        ) s
    ), drawn AS (
        SELECT n, now() - make_interval(days => :days) * (1 - n / CAST(:tasks AS float)) AS created,
            -- The last pipeline has been quiet for long.
            CASE WHEN n > :tasks * 0.1 THEN least(p, :pipelines - 2) ELSE p END AS p, r, s,
            make_interval(secs => exp(6 + p / 10.0 + (random() + random() + random() - 1.5)))
                AS took, random() AS w
        FROM (
            SELECT n, random() AS r, random() AS s,
                width_bucket(random(), (SELECT bounds FROM share)) AS p
            FROM generate_series(1, CAST(:tasks AS bigint)) n OFFSET 0
        ) d
    )
    SELECT n AS task_id, p + 1 AS pipeline_id, created,
        created + make_interval(secs => 60 + 3000 * w) AS claimed, took,
        CASE WHEN r < 0.03 THEN 'FAILED' WHEN r < 0.04 THEN 'CANCELLED'
            WHEN n <= :tasks * 0.9 THEN 'DONE'
            WHEN s < 0.05 THEN 'CLAIMED' WHEN s < 0.1 THEN 'RUNNING' WHEN s < 0.4 THEN 'PENDING'
            ELSE 'DONE' END AS status
    FROM drawn
    """,
    """
    INSERT INTO porch.task (task_id, pipeline_id, version, scope, task_input_id, task_input,
        status, attempt, created_at, updated_at)
    OVERRIDING SYSTEM VALUE
    SELECT task_id, pipeline_id, '1.0', '1.0', sha256(CAST(CAST(task_id AS text) AS bytea)),
        CAST('{"id_run":' || 40000 + task_id / 400 || ',"lane":' || task_id % 8 + 1
            || ',"library":"DN' || 100000 + task_id * 7 % 899999 || 'K","sample":"SAMEA'
            || 10000000 + task_id || '","study":"Study of ' || task_id % 37
            || ' populations","tag_index":' || task_id % 384 || '}' AS json),
        status, CASE WHEN status IN ('PENDING', 'CANCELLED') THEN 0 ELSE 1 END, created,
        least(now(), CASE WHEN status = 'PENDING' THEN created
            WHEN status IN ('DONE', 'FAILED') THEN claimed + took ELSE claimed END)
    FROM story ORDER BY task_id
    """,
    """
    INSERT INTO porch.event (task_id, at, from_status, to_status, attempt, request_id, message)
    SELECT task_id, least(at, now()), from_status, to_status, attempt, gen_random_uuid(),
        CASE WHEN to_status = 'FAILED' THEN CASE task_id % 23 % 12
            WHEN 0 THEN 'exit 1: bgzip: No space left on device (/lustre/scratch/run_'
                || task_id || '/lane1.vcf.gz)'
            WHEN 1 THEN 'exit 137: killed, used ' || task_id % 64000 || ' MB of 32000 MB'
            WHEN 2 THEN 'no such file: /nfs/irods/seq/' || task_id || '/' || task_id || '#3.cram'
            WHEN 3 THEN 'iRODS: connection to irods-' || task_id % 9 || ' timed out after '
                || task_id % 300 || ' s'
            WHEN 4 THEN 'checksum ' || md5(CAST(task_id AS text)) || ' is not '
                || md5(CAST(task_id + 1 AS text))
            WHEN 5 THEN 'sample ''SAMEA' || task_id || ''' is not in the manifest'
            WHEN 6 THEN 'Nextflow: process "align:bwa (' || task_id || ')" terminated'
            WHEN 7 THEN 'TERM_RUNLIMIT: job killed after ' || task_id % 700 || ' min'
            WHEN 8 THEN 'request ' || gen_random_uuid() || ' was refused'
            WHEN 9 THEN 'Traceback: KeyError: "' || task_id || '" in ' || repeat('frame ', 20)
            WHEN 10 THEN 'samtools: truncated file ' || task_id || '.bam'
            ELSE 'segmentation fault at 0x' || to_hex(task_id * 4096) END END
    FROM story CROSS JOIN LATERAL (VALUES
        (created, NULL, 'PENDING', 0),
        (CASE WHEN status = 'CANCELLED' THEN claimed END, 'PENDING', 'CANCELLED', 0),
        (CASE WHEN status NOT IN ('PENDING', 'CANCELLED') THEN claimed END,
            'PENDING', 'CLAIMED', 1),
        (CASE WHEN status IN ('RUNNING', 'DONE', 'FAILED')
            THEN claimed + least(took / 2, interval '10 s') END, 'CLAIMED', 'RUNNING', 1),
        (CASE WHEN status IN ('DONE', 'FAILED') THEN claimed + took END, 'RUNNING', status, 1)
    ) e (at, from_status, to_status, attempt)
    WHERE at IS NOT NULL
    ORDER BY least(at, now()), attempt, task_id
    """,
    "SELECT setval('porch.task_task_id_seq', max(task_id)) FROM porch.task",
]


def make(engine: Engine, tasks: int) -> None:
    """Fill an empty ledger with ``tasks`` tasks of the last months and their events."""
    values = {"tasks": tasks, "pipelines": PIPELINES, "days": DAYS}
    with engine.begin() as connection:
        for statement in _MAKE:
            connection.execute(text(statement), values)
