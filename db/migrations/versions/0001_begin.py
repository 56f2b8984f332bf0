"""The first tables: pipelines, versions, tokens, tasks, claims, events.

A migration is a record of what was done, so it says its SQL itself and does not follow
``db.schema``. There is no way down: porch is rolled back by running the older release on the newer
schema, which every migration must allow.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATUSES = "('PENDING', 'CLAIMED', 'RUNNING', 'DONE', 'FAILED', 'CANCELLED')"

_TABLES = [
    """
    CREATE TABLE porch.pipeline (
        pipeline_id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pipeline_pkey PRIMARY KEY,
        name text NOT NULL CONSTRAINT pipeline_name_key UNIQUE,
        uri text NOT NULL,
        identity text NOT NULL DEFAULT 'version'
            CONSTRAINT pipeline_identity_check CHECK (identity IN ('version', 'pipeline')),
        lease_seconds integer CONSTRAINT pipeline_lease_check CHECK (lease_seconds > 0),
        max_attempts integer CONSTRAINT pipeline_max_attempts_check CHECK (max_attempts > 0),
        created_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE porch.version (
        pipeline_id bigint NOT NULL CONSTRAINT version_pipeline_fkey REFERENCES porch.pipeline,
        version text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT version_pkey PRIMARY KEY (pipeline_id, version)
    )
    """,
    """
    CREATE TABLE porch.token (
        token_id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT token_pkey PRIMARY KEY,
        digest bytea NOT NULL CONSTRAINT token_digest_key UNIQUE
            CONSTRAINT token_digest_check CHECK (octet_length(digest) = 32),
        pipeline_id bigint CONSTRAINT token_pipeline_fkey REFERENCES porch.pipeline,
        description text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        revoked_at timestamptz
    )
    """,
    f"""
    CREATE TABLE porch.task (
        task_id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT task_pkey PRIMARY KEY,
        pipeline_id bigint NOT NULL,
        version text NOT NULL,
        scope text NOT NULL,
        task_input_id bytea NOT NULL
            CONSTRAINT task_input_id_check CHECK (octet_length(task_input_id) = 32),
        task_input json NOT NULL,
        status text NOT NULL DEFAULT 'PENDING'
            CONSTRAINT task_status_check CHECK (status IN {_STATUSES}),
        attempt integer NOT NULL DEFAULT 0 CONSTRAINT task_attempt_check CHECK (attempt >= 0),
        priority smallint NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        lease_until timestamptz,
        CONSTRAINT task_once_key UNIQUE (pipeline_id, task_input_id, scope),
        CONSTRAINT task_version_fkey FOREIGN KEY (pipeline_id, version) REFERENCES porch.version,
        CONSTRAINT task_lease_check
            CHECK (lease_until IS NULL OR status IN ('CLAIMED', 'RUNNING'))
    )
    """,
    """
    CREATE INDEX task_claim_queue ON porch.task (pipeline_id, priority DESC, task_id)
        WHERE status = 'PENDING'
    """,
    """
    CREATE INDEX task_not_done ON porch.task (pipeline_id, status, task_id)
        WHERE status <> 'DONE'
    """,
    """
    CREATE TABLE porch.claim (
        pipeline_id bigint NOT NULL CONSTRAINT claim_pipeline_fkey REFERENCES porch.pipeline,
        request_id uuid NOT NULL,
        claimed_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT claim_pkey PRIMARY KEY (pipeline_id, request_id)
    )
    """,
    f"""
    CREATE TABLE porch.event (
        event_id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT event_pkey PRIMARY KEY,
        task_id bigint NOT NULL CONSTRAINT event_task_fkey REFERENCES porch.task,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        from_status text,
        to_status text NOT NULL,
        attempt integer NOT NULL,
        token_id bigint CONSTRAINT event_token_fkey REFERENCES porch.token,
        request_id uuid NOT NULL,
        host text,
        message text,
        CONSTRAINT event_once_key UNIQUE (task_id, request_id, to_status),
        CONSTRAINT event_status_check CHECK (
            to_status IN {_STATUSES} AND (from_status IS NULL OR from_status IN {_STATUSES}))
    )
    """,
    """
    CREATE UNIQUE INDEX event_one_claim_per_attempt ON porch.event (task_id, attempt)
        WHERE to_status = 'CLAIMED'
    """,
    """
    CREATE INDEX event_of_claim ON porch.event (request_id) WHERE to_status = 'CLAIMED'
    """,
]


def upgrade() -> None:
    """Make the tables."""
    for statement in _TABLES:
        op.execute(statement)
