"""The ledger's methods for pipelines, policies and tokens."""

from __future__ import annotations

from collections.abc import Collection
from hmac import compare_digest
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, func, select, text, update
from sqlalchemy.dialects import postgresql

from coordinator.errors import AccessDenied, RevokedToken, TokenExists, TooSlow, UnknownToken
from coordinator.model import Permission, Pipeline, PipelineLoad, Token
from coordinator.status import Status
from db import questions, schema
from db.base import PostgresBase
from db.rows import pipeline_of, token_of

_K = schema.token.c

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
    "SELECT identity FROM porch.pipeline WHERE pipeline_id = :pipeline_id FOR NO KEY UPDATE"
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


class AdministrationLedger(PostgresBase):
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

    def register_pipeline(self, name: str, uri: str, version: str, request_id: UUID) -> bool:
        p = schema.pipeline.c
        values = {"name": name, "uri": uri, "version": version, "request_id": str(request_id)}
        with self._transaction() as connection:
            connection.execute(REGISTER, values)
            added_by = connection.execute(select(p.request_id).where(p.name == name)).scalar_one()
        return bool(added_by == request_id)

    def add_version(self, pipeline: Pipeline, version: str, request_id: UUID) -> bool:
        v = schema.version.c
        values = {"pipeline_id": pipeline.pipeline_id, "version": version}
        adding = (
            postgresql.insert(schema.version)
            .values(request_id=request_id, **values)
            .on_conflict_do_nothing(constraint="version_pkey")
        )
        kept = select(v.request_id).where(
            v.pipeline_id == pipeline.pipeline_id, v.version == version
        )
        with self._transaction() as connection:
            connection.execute(adding)
            added_by = connection.execute(kept).scalar_one()
        return bool(added_by == request_id)

    def set_policy(self, wanted: Pipeline) -> None:
        p = schema.pipeline
        target = {"pipeline_id": wanted.pipeline_id}
        setting = (
            update(p)
            .where(p.c.pipeline_id == wanted.pipeline_id)
            .values(
                identity=wanted.identity,
                lease_seconds=wanted.lease,
                max_attempts=wanted.max_attempts,
                retry_seconds=wanted.retry,
            )
        )
        try:
            with self._transaction(bounded=False) as connection:
                before = connection.execute(LOCK_POLICY, target).scalar_one()
                if before != wanted.identity:
                    connection.execute(LOCK_PIPELINE, target)
                    connection.execute(RESCOPE, {**target, "identity": wanted.identity})
                connection.execute(setting)
        except TooSlow as slow:
            raise TooSlow(
                f'pipeline "{wanted.name}" has too many tasks to change its identity policy in a '
                "few seconds; it stays as it was",
                "choose the identity policy while a pipeline has few tasks, or register it anew",
            ) from slow

    def permissions(self, digests: Collection[bytes]) -> dict[bytes, Permission | AccessDenied]:
        rows = self._read(questions.PERMISSION, digests=list(digests)) if digests else []
        found = {bytes(row.digest): row for row in rows}
        return {digest: _allowed(digest, found.get(digest)) for digest in digests}

    def add_token(self, digest: bytes, pipeline: Pipeline | None, description: str) -> Token:
        pipeline_id = None if pipeline is None else pipeline.pipeline_id
        adding = (
            postgresql.insert(schema.token)
            .values(digest=digest, pipeline_id=pipeline_id, description=description)
            .on_conflict_do_nothing(constraint="token_digest_key")
        )
        known = _tokens().where(_K.digest == digest)
        with self._transaction() as connection:
            connection.execute(adding)
            token = token_of(connection.execute(known).one())
        if token.pipeline != (pipeline.name if pipeline else None):
            raise TokenExists("this token is registered for something else", "make a new one")
        return token

    def tokens(self, pipeline: Pipeline | None) -> list[Token]:
        wanted = _tokens().order_by(_K.token_id)
        if pipeline is not None:
            wanted = wanted.where(_K.pipeline_id == pipeline.pipeline_id)
        return [token_of(row) for row in self._read(wanted)]

    def revoke_token(self, token_id: int) -> Token | None:
        revoking = (
            update(schema.token)
            .where(_K.token_id == token_id)
            .values(revoked_at=func.coalesce(_K.revoked_at, func.now()))
        )
        with self._transaction() as connection:
            connection.execute(revoking)
            row = connection.execute(_tokens().where(_K.token_id == token_id)).first()
        return None if row is None else token_of(row)


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
    pipeline = None if row.pipeline_id is None else pipeline_of(row)
    return Permission(row.token_id, row.description, pipeline)


def _tokens() -> Select[Any]:
    return select(schema.token, schema.pipeline.c.name.label("pipeline")).join_from(
        schema.token, schema.pipeline, isouter=True
    )
