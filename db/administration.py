"""The ledger's methods for pipelines, policies and tokens."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from sqlalchemy import Row, select, text, update
from sqlalchemy.dialects import postgresql

from coordinator import access
from coordinator.errors import (
    AccessDenied,
    ExpiredToken,
    RevokedToken,
    TooSlow,
    UnknownToken,
)
from coordinator.model import Origin, Permission, Pipeline, PipelineLoad
from coordinator.requests import Policy
from coordinator.status import Status
from db import questions, schema
from db.admin_events import is_noted, note
from db.rows import pipeline_of
from db.tokens import TokenLedger

#: Adds a pipeline with its first version; nothing if the name is taken.
REGISTER = text(
    """
    WITH added AS (
        INSERT INTO porch.pipeline (name, uri, request_id)
        VALUES (:name, :uri, CAST(:request_id AS uuid))
        ON CONFLICT ON CONSTRAINT pipeline_name_key DO NOTHING
        RETURNING pipeline_id
    )
    INSERT INTO porch.version (pipeline_id, version, request_id)
    SELECT pipeline_id, :version, CAST(:request_id AS uuid) FROM added
    """
)

#: One change of policies at a time; submissions and claims (they take FOR KEY SHARE) go on.
LOCK_POLICY = text(
    """
    SELECT identity, lease_seconds, max_attempts, retry_seconds, keep_done_seconds,
        keep_failed_seconds, keep_cancelled_seconds
    FROM porch.pipeline
    WHERE pipeline_id = :pipeline_id
    FOR NO KEY UPDATE
    """
)

#: Holds off submissions and claims as well, while the identity changes.
LOCK_PIPELINE = text("SELECT FROM porch.pipeline WHERE pipeline_id = :pipeline_id FOR UPDATE")

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

_POLICIES = {
    "identity": "identity",
    "lease": "lease_seconds",
    "max_attempts": "max_attempts",
    "retry": "retry_seconds",
}


class AdministrationLedger(TokenLedger):
    """Pipelines and tokens: see ``coordinator.ledger`` for what each method promises."""

    def pipeline(self, name: str) -> Pipeline | None:
        rows = self._read(questions.PIPELINE, name=name)
        return pipeline_of(rows[0]) if rows else None

    def pipelines(self) -> list[Pipeline]:
        return [pipeline_of(row) for row in self._read(questions.PIPELINE, name=None)]

    def pipeline_names(self) -> list[str]:
        return [row.name for row in self._read(questions.PIPELINE, name=None)]

    def loads(self, name: str | None = None) -> list[PipelineLoad]:
        pipelines = [pipeline_of(row) for row in self._read(questions.PIPELINE, name=name)]
        counts: dict[int, dict[Status, int]] = {}
        oldest: dict[int, float] = {}
        for row in self._read(questions.LOADS, name=name):
            counts.setdefault(row.pipeline_id, {})[Status(row.status)] = row.tasks
            if row.status == Status.PENDING:
                oldest[row.pipeline_id] = float(row.oldest)
        return [
            PipelineLoad(p, counts.get(p.pipeline_id, {}), oldest.get(p.pipeline_id))
            for p in pipelines
        ]

    def register_pipeline(self, name: str, uri: str, version: str, origin: Origin) -> bool:
        p = schema.pipeline.c
        said = {"uri": uri, "version": version}
        known = select(p.pipeline_id, p.request_id).where(p.name == name)
        with self._transaction() as connection:
            connection.execute(
                REGISTER, {"name": name, **said, "request_id": str(origin.request_id)}
            )
            pipeline = connection.execute(known).one()
            if pipeline.request_id == origin.request_id:
                note(connection, "register", origin, said, pipeline_id=pipeline.pipeline_id)
        return bool(pipeline.request_id == origin.request_id)

    def add_version(self, pipeline: Pipeline, version: str, origin: Origin) -> bool:
        v = schema.version.c
        values = {"pipeline_id": pipeline.pipeline_id, "version": version}
        adding = (
            postgresql.insert(schema.version)
            .values(request_id=origin.request_id, **values)
            .on_conflict_do_nothing(constraint="version_pkey")
        )
        kept = select(v.request_id).where(
            v.pipeline_id == pipeline.pipeline_id, v.version == version
        )
        with self._transaction() as connection:
            connection.execute(adding)
            added = bool(connection.execute(kept).scalar_one() == origin.request_id)
            if added:
                said = {"version": version}
                note(connection, "add_version", origin, said, pipeline_id=pipeline.pipeline_id)
        return added

    def set_policy(self, pipeline: Pipeline, policy: Policy, origin: Origin) -> None:
        p = schema.pipeline
        target = {"pipeline_id": pipeline.pipeline_id}
        given = _columns(policy)
        try:
            with self._transaction(bounded=False) as connection:
                before = connection.execute(LOCK_POLICY, target).one()._asdict()
                # What comes again must not undo what was set since.
                if is_noted(connection, "set_policy", origin):
                    return
                changed = {name: [before[name], to] for name, to in given.items()}
                changed = {name: both for name, both in changed.items() if both[0] != both[1]}
                if "identity" in changed:
                    connection.execute(LOCK_PIPELINE, target)
                    connection.execute(RESCOPE, {**target, "identity": given["identity"]})
                if changed:
                    setting = update(p).where(p.c.pipeline_id == pipeline.pipeline_id)
                    connection.execute(setting.values(given))
                # Also where nothing has changed: it may come again when there is something.
                note(connection, "set_policy", origin, changed, **target)
        except TooSlow as slow:
            raise TooSlow(
                f'pipeline "{pipeline.name}" has too many tasks to change its identity policy in a '
                "few seconds; it stays as it was",
                "choose the identity policy while a pipeline has few tasks, or register it anew",
            ) from slow

    def permissions(self, digests: Collection[bytes]) -> dict[bytes, Permission | AccessDenied]:
        if not digests:
            return {}
        with self._transaction(bounded=False) as connection:
            rows = questions.PERMISSION.execute(connection, {"digests": list(digests)})
            found = {bytes(row.digest): row for row in rows}
        allowed = {digest: _allowed(digest, found.get(digest)) for digest in digests}
        unnoted = [
            row.token_id
            for digest, row in found.items()
            if row.use_unnoted and isinstance(allowed[digest], Permission)
        ]
        if unnoted:
            self._note_use(unnoted)
        return allowed

    def keys(self, names: Collection[bytes]) -> dict[bytes, bytes]:
        rows = self._read(questions.KEYS, names=list(names))
        return {sha256(row.digest).digest(): bytes(row.digest) for row in rows}


def _allowed(digest: bytes, row: Row[Any] | None) -> Permission | AccessDenied:
    # The index found it by equality, which tells an attacker nothing about a secret that is hashed
    # first; the comparison that decides takes the same time for every digest all the same.
    if row is None or not compare_digest(bytes(row.digest), digest):
        return UnknownToken(
            "no such token was issued here",
            "check PORCH_TOKEN, and that PORCH_BROKER_URL is the porch that issued it",
        )
    if row.revoked_at is not None:
        return RevokedToken(
            f'the token "{row.description}" was revoked on {row.revoked_at:%Y-%m-%d %H:%M %Z}',
            "ask an administrator of porch for a new one",
        )
    if row.expired:
        return ExpiredToken(
            f'the token "{row.description}" expired on {row.expires_at:%Y-%m-%d %H:%M %Z}',
            f"ask an administrator of porch for a new one: {access.issuing(row.name)}",
        )
    pipeline = None if row.pipeline_id is None else pipeline_of(row)
    return Permission(row.token_id, row.description, pipeline)


def _columns(policy: Policy) -> dict[str, Any]:
    """What is to be set, by the names of columns."""
    given = policy.given()
    kept = given.pop("keep", {})
    columns = {_POLICIES[word]: to for word, to in given.items()}
    return columns | {f"keep_{status.lower()}_seconds": to for status, to in kept.items()}
