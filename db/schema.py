"""The tables of schema ``porch``, as SQLAlchemy Core knows them.

The schema carries the invariants: every constraint has a name, and ``db.translate`` turns the name
into an error. A test compares these tables with what the migrations make.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB, UUID

SCHEMA = "porch"
metadata = MetaData(schema=SCHEMA)

_STATUSES = "('PENDING', 'CLAIMED', 'RUNNING', 'DONE', 'FAILED', 'CANCELLED')"


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


# What can be run, and its policies.
pipeline = Table(
    "pipeline",
    metadata,
    Column("pipeline_id", BigInteger, Identity(always=True)),
    Column("name", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("identity", Text, nullable=False, server_default="version"),
    Column("lease_seconds", Integer),
    Column("max_attempts", Integer),
    # Backoff before the second attempt; None: what failed stays so.
    Column("retry_seconds", Integer),
    # For how long inputs and histories are kept of what ended so; None: for ever.
    Column("keep_done_seconds", Integer),
    Column("keep_failed_seconds", Integer),
    Column("keep_cancelled_seconds", Integer),
    _now("created_at"),
    # Which request added it, for when it comes again; none of what was there before there was this.
    Column("request_id", UUID(as_uuid=True)),
    PrimaryKeyConstraint("pipeline_id", name="pipeline_pkey"),
    UniqueConstraint("name", name="pipeline_name_key"),
    CheckConstraint("identity IN ('version', 'pipeline')", name="pipeline_identity_check"),
    CheckConstraint("lease_seconds > 0", name="pipeline_lease_check"),
    CheckConstraint("max_attempts > 0", name="pipeline_max_attempts_check"),
    CheckConstraint("retry_seconds > 0", name="pipeline_retry_check"),
    CheckConstraint(
        "retry_seconds IS NULL OR max_attempts IS NOT NULL", name="pipeline_retry_limit_check"
    ),
    CheckConstraint("keep_done_seconds >= 86400", name="pipeline_keep_done_check"),
    CheckConstraint("keep_failed_seconds >= 86400", name="pipeline_keep_failed_check"),
    CheckConstraint("keep_cancelled_seconds >= 86400", name="pipeline_keep_cancelled_check"),
)

# Each version of each pipeline.
version = Table(
    "version",
    metadata,
    Column("pipeline_id", BigInteger, nullable=False),
    Column("version", Text, nullable=False),
    _now("created_at"),
    Column("request_id", UUID(as_uuid=True)),
    PrimaryKeyConstraint("pipeline_id", "version", name="version_pkey"),
    ForeignKeyConstraint(
        ["pipeline_id"], ["porch.pipeline.pipeline_id"], name="version_pipeline_fkey"
    ),
)

# Who may ask, by a hash of the secret; no pipeline: an administrator's.
token = Table(
    "token",
    metadata,
    Column("token_id", BigInteger, Identity(always=True)),
    Column("digest", LargeBinary, nullable=False),
    Column(
        "pipeline_id",
        BigInteger,
        ForeignKey("porch.pipeline.pipeline_id", name="token_pipeline_fkey"),
    ),
    Column("description", Text, nullable=False),
    _now("created_at"),
    Column("revoked_at", DateTime(timezone=True)),
    Column("expires_at", DateTime(timezone=True)),
    # To a few minutes: noting each use would cost more than what it is used for.
    Column("used_at", DateTime(timezone=True)),
    Column(
        "replaced_by", BigInteger, ForeignKey("porch.token.token_id", name="token_replaced_fkey")
    ),
    PrimaryKeyConstraint("token_id", name="token_pkey"),
    UniqueConstraint("digest", name="token_digest_key"),
    CheckConstraint("octet_length(digest) = 32", name="token_digest_check"),
)

# How a token is called where it is only proved: see coordinator/proofs.py.
Index("token_name", func.sha256(token.c.digest), unique=True)

# What administrators did, written with what it changed.
admin_event = Table(
    "admin_event",
    metadata,
    Column("admin_event_id", BigInteger, Identity(always=True)),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("action", Text, nullable=False),
    # Whose token; none: somebody who may write to the database.
    Column("token_id", BigInteger),
    Column("request_id", UUID(as_uuid=True), nullable=False),
    Column("host", Text),
    Column("pipeline_id", BigInteger),
    # The token that was issued, revoked or rotated.
    Column("subject_id", BigInteger),
    Column("detail", JSONB, nullable=False),
    PrimaryKeyConstraint("admin_event_id", name="admin_event_pkey"),
    ForeignKeyConstraint(["token_id"], ["porch.token.token_id"], name="admin_event_token_fkey"),
    ForeignKeyConstraint(["subject_id"], ["porch.token.token_id"], name="admin_event_subject_fkey"),
    ForeignKeyConstraint(
        ["pipeline_id"], ["porch.pipeline.pipeline_id"], name="admin_event_pipeline_fkey"
    ),
    # A message delivered twice leaves one.
    UniqueConstraint("request_id", "action", name="admin_event_once_key"),
    CheckConstraint(
        "action IN ('register', 'add_version', 'set_policy', 'issue_token', 'revoke_token', "
        "'rotate_token')",
        name="admin_event_action_check",
    ),
)

# Each definition of work, as it stands.
task = Table(
    "task",
    metadata,
    Column("task_id", BigInteger, Identity(always=True)),
    Column("pipeline_id", BigInteger, nullable=False),
    Column("version", Text, nullable=False),
    # The version under identity policy "version", empty under "pipeline": see set_policy.
    Column("scope", Text, nullable=False),
    Column("task_input_id", LargeBinary, nullable=False),
    # json, not jsonb: jsonb writes 1e22 as an integer, which would no longer give the same key.
    # Of what has been pruned there is none.
    Column("task_input", JSON),
    Column("status", Text, nullable=False, server_default="PENDING"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("priority", SmallInteger, nullable=False, server_default="0"),
    _now("created_at"),
    # When the task last changed, or its holder was last heard of.
    _now("updated_at"),
    Column("lease_until", DateTime(timezone=True)),
    # What the scheduler calls the job that holds it, or held it last.
    Column("job_id", Text),
    Column("retry_at", DateTime(timezone=True)),
    Column("pruned_at", DateTime(timezone=True)),
    # When its input was last given back, which is no change of its status.
    Column("restored_at", DateTime(timezone=True)),
    # How many events were pruned, in all; None: its history is whole.
    Column("pruned_events", Integer),
    PrimaryKeyConstraint("task_id", name="task_pkey"),
    # Keys before scopes, so that a prefix of a key is one range whatever the version.
    UniqueConstraint("pipeline_id", "task_input_id", "scope", name="task_once_key"),
    ForeignKeyConstraint(
        ["pipeline_id", "version"],
        ["porch.version.pipeline_id", "porch.version.version"],
        name="task_version_fkey",
    ),
    CheckConstraint("octet_length(task_input_id) = 32", name="task_input_id_check"),
    CheckConstraint(f"status IN {_STATUSES}", name="task_status_check"),
    CheckConstraint("attempt >= 0", name="task_attempt_check"),
    CheckConstraint(
        "lease_until IS NULL OR status IN ('CLAIMED', 'RUNNING')", name="task_lease_check"
    ),
    CheckConstraint("retry_at IS NULL OR status = 'FAILED'", name="task_retry_check"),
    # What has no input can be neither claimed nor queued.
    CheckConstraint(
        "pruned_at IS NULL OR status IN ('DONE', 'FAILED', 'CANCELLED')", name="task_pruned_check"
    ),
    CheckConstraint(
        "(task_input IS NULL) = (pruned_at IS NOT NULL)", name="task_pruned_input_check"
    ),
    CheckConstraint("pruned_events >= 0", name="task_pruned_events_check"),
)

# The claim queue: what a claim reads, in the order in which it hands out, and nothing else.
Index(
    "task_claim_queue",
    task.c.pipeline_id,
    task.c.priority.desc(),
    task.c.task_id,
    postgresql_where=text("status = 'PENDING'"),
)
# What operators ask for, DONE apart: nearly all tasks are DONE, and they change no more.
Index(
    "task_not_done",
    task.c.pipeline_id,
    task.c.status,
    task.c.task_id,
    postgresql_where=text("status <> 'DONE'"),
)
# The newest tasks of a pipeline that are DONE, and how many there are.
Index(
    "task_done",
    task.c.pipeline_id,
    task.c.task_id,
    postgresql_where=text("status = 'DONE'"),
)
# The latest finished runs of a pipeline.
Index(
    "task_finished",
    task.c.pipeline_id,
    task.c.updated_at,
    task.c.task_id,
    postgresql_where=text("status = 'DONE'"),
)
# The latest failures of a pipeline.
Index(
    "task_failed",
    task.c.pipeline_id,
    task.c.updated_at,
    task.c.task_id,
    postgresql_where=text("status = 'FAILED'"),
)
# What was cancelled, from the oldest on: as the two above, it is what is pruned by.
Index(
    "task_cancelled",
    task.c.pipeline_id,
    task.c.updated_at,
    task.c.task_id,
    postgresql_where=text("status = 'CANCELLED'"),
)
# What the sweeper looks at: the first to run out, the first to be tried again.
Index("task_lease", task.c.lease_until, postgresql_where=text("lease_until IS NOT NULL"))
Index("task_retry", task.c.retry_at, postgresql_where=text("retry_at IS NOT NULL"))

# The claims that were carried out, so that none is twice.
claim = Table(
    "claim",
    metadata,
    Column("pipeline_id", BigInteger, nullable=False),
    Column("request_id", UUID(as_uuid=True), nullable=False),
    _now("claimed_at"),
    PrimaryKeyConstraint("pipeline_id", "request_id", name="claim_pkey"),
    ForeignKeyConstraint(
        ["pipeline_id"], ["porch.pipeline.pipeline_id"], name="claim_pipeline_fkey"
    ),
)

# Each change of a task, written with it.
event = Table(
    "event",
    metadata,
    Column("event_id", BigInteger, Identity(always=True)),
    Column("task_id", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("from_status", Text),
    Column("to_status", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("token_id", BigInteger),
    Column("request_id", UUID(as_uuid=True), nullable=False),
    Column("host", Text),
    Column("message", Text),
    Column("job_id", Text),
    # A late report of an earlier attempt: it changed nothing, and is no part of the task's path.
    Column("refused", Boolean, nullable=False, server_default="false"),
    PrimaryKeyConstraint("event_id", name="event_pkey"),
    ForeignKeyConstraint(["task_id"], ["porch.task.task_id"], name="event_task_fkey"),
    ForeignKeyConstraint(["token_id"], ["porch.token.token_id"], name="event_token_fkey"),
    # A message delivered twice cannot make the same change twice; finds a task's events too.
    UniqueConstraint("task_id", "request_id", "to_status", "refused", name="event_once_key"),
    CheckConstraint(
        f"to_status IN {_STATUSES} AND (from_status IS NULL OR from_status IN {_STATUSES})",
        name="event_status_check",
    ),
)

# How far each outlet of the feed has come.
feed_position = Table(
    "feed_position",
    metadata,
    # Of an outlet: the streams in Redis, or a webhook.
    Column("name", Text, nullable=False),
    # Up to which it has told everything.
    Column("event_id", BigInteger, nullable=False),
    _now("moved_at"),
    # Since when nobody takes what it tells, and what was said last.
    Column("failing_since", DateTime(timezone=True)),
    Column("said", Text),
    PrimaryKeyConstraint("name", name="feed_position_pkey"),
)

# Fencing: an attempt of a task is claimed once.
Index(
    "event_one_claim_per_attempt",
    event.c.task_id,
    event.c.attempt,
    unique=True,
    postgresql_where=text("to_status = 'CLAIMED'"),
)
# What a claim was handed, for when it is asked again.
Index("event_of_claim", event.c.request_id, postgresql_where=text("to_status = 'CLAIMED'"))
# What was submitted, done and failed when. Claims and starts, half of all events, are left out.
Index(
    "event_throughput",
    event.c.at,
    postgresql_where=text(
        "(from_status IS NULL OR to_status IN ('DONE', 'FAILED')) AND NOT refused"
    ),
)

# What has been pruned, and up to which time everything has: where the next run begins to look.
pruning = Table(
    "pruning",
    metadata,
    Column("pipeline_id", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("pruned_to", DateTime(timezone=True)),
    Column("tasks", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    # The newest change that is gone: whoever reads the feed on from before it has a gap.
    Column("event_id", BigInteger),
    PrimaryKeyConstraint("pipeline_id", "status", name="pruning_pkey"),
    ForeignKeyConstraint(
        ["pipeline_id"], ["porch.pipeline.pipeline_id"], name="pruning_pipeline_fkey"
    ),
    CheckConstraint("status IN ('DONE', 'FAILED', 'CANCELLED')", name="pruning_status_check"),
)
