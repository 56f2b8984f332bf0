"""Who may do what in the database, beside its owner, who migrates it.

Roles to which logins are added. ``porch_worker``: workers and gateways. It adds, and changes
what the verbs change; it rewrites no input and no event, and removes nothing. ``porch_reader``:
people who look, and ``porch-server doctor``; it sees everything but the hashes of tokens.
``porch_archiver``: ``porch-server archive`` and ``restore``, which alone remove anything: inputs
and events of what has ended, and claims of long ago.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

#: By somebody who may make roles, once for a server. Roles belong to all databases of one.
ROLES = """\
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['porch_worker', 'porch_reader', 'porch_archiver'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        END IF;
    END LOOP;
END $$;
"""

#: By the owner, after each migration. Rights are given anew as a whole, so that none is left over.
GRANTS = """\
REVOKE ALL ON SCHEMA porch FROM PUBLIC, porch_worker, porch_reader;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA porch FROM PUBLIC, porch_worker, porch_reader;
REVOKE ALL ON ALL TABLES IN SCHEMA porch FROM PUBLIC, porch_worker, porch_reader;
GRANT USAGE ON SCHEMA porch TO porch_worker, porch_reader;

GRANT SELECT ON ALL TABLES IN SCHEMA porch TO porch_worker;
GRANT INSERT (name, uri, request_id),
    UPDATE (identity, lease_seconds, max_attempts, retry_seconds, keep_done_seconds,
        keep_failed_seconds, keep_cancelled_seconds) ON porch.pipeline TO porch_worker;
GRANT INSERT (pipeline_id, version, request_id) ON porch.version TO porch_worker;
GRANT INSERT (digest, pipeline_id, description, expires_at),
    UPDATE (revoked_at, expires_at, used_at, replaced_by) ON porch.token TO porch_worker;
GRANT INSERT, UPDATE (scope, status, attempt, updated_at, lease_until, job_id, retry_at)
    ON porch.task TO porch_worker;
GRANT USAGE ON SEQUENCE porch.task_task_id_seq TO porch_worker;
GRANT INSERT (pipeline_id, request_id) ON porch.claim TO porch_worker;
-- The times of events are PostgreSQL's, and nobody else's.
GRANT INSERT (task_id, from_status, to_status, attempt, token_id, request_id, host, message, job_id,
    refused) ON porch.event TO porch_worker;
GRANT INSERT (action, token_id, request_id, host, pipeline_id, subject_id, detail)
    ON porch.admin_event TO porch_worker;
GRANT INSERT (name, event_id), UPDATE (event_id, moved_at, failing_since, said)
    ON porch.feed_position TO porch_worker;

GRANT SELECT ON porch.pipeline, porch.version, porch.task, porch.claim, porch.event,
    porch.admin_event, porch.feed_position, porch.pruning, porch.migration TO porch_reader;
GRANT SELECT (token_id, pipeline_id, description, created_at, revoked_at, expires_at, used_at,
    replaced_by) ON porch.token TO porch_reader;
"""

#: As above, where a server has this role too: it is younger than the others.
ARCHIVER_GRANTS = """\
REVOKE ALL ON SCHEMA porch FROM porch_archiver;
REVOKE ALL ON ALL TABLES IN SCHEMA porch FROM porch_archiver;
GRANT USAGE ON SCHEMA porch TO porch_archiver;
GRANT SELECT ON porch.pipeline, porch.task, porch.claim, porch.event, porch.pruning,
    porch.migration TO porch_archiver;
GRANT SELECT (token_id, description) ON porch.token TO porch_archiver;
GRANT UPDATE (task_input, pruned_at, restored_at, pruned_events) ON porch.task TO porch_archiver;
GRANT DELETE ON porch.event, porch.claim TO porch_archiver;
GRANT INSERT, UPDATE ON porch.pruning TO porch_archiver;
"""

_MADE = text("SELECT count(*) = 2 FROM pg_roles WHERE rolname IN ('porch_worker', 'porch_reader')")
_ARCHIVER_MADE = text("SELECT count(*) = 1 FROM pg_roles WHERE rolname = 'porch_archiver'")


def printed() -> str:
    """All of it as SQL, for psql; it may be run again at any time."""
    return f"BEGIN;\n{ROLES}\n{GRANTS}\n{ARCHIVER_GRANTS}COMMIT;\n"


def grant(connection: Connection) -> bool:
    """Give the roles their rights, if a server has them; whether it has."""
    made = bool(connection.execute(_MADE).scalar_one())
    if made:
        connection.exec_driver_sql(GRANTS)
    if connection.execute(_ARCHIVER_MADE).scalar_one():
        connection.exec_driver_sql(ARCHIVER_GRANTS)
    return made
