"""The ledger's methods for tokens: their hashes, how long they are good, when they were used."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

from sqlalchemy import Select, func, select, text, update
from sqlalchemy.dialects import postgresql

from coordinator.errors import LedgerAway, TokenEnded, TokenExists
from coordinator.model import Origin, Pipeline, Token
from coordinator.requests import Rotation
from db import schema
from db.admin_events import AdminEventLedger, note
from db.rows import token_of
from db.translate import translated

_K = schema.token.c

#: The old token of a rotation, until the transaction ends: one rotation of it at a time.
LOCK_TOKEN = text(
    """
    SELECT *, revoked_at IS NULL AND coalesce(expires_at > now(), true) AS good
    FROM porch.token WHERE token_id = :token_id
    FOR NO KEY UPDATE
    """
)

#: The new one is for the same; with the lifetime that the old one was meant to have, unless told.
SUCCEED = text(
    """
    INSERT INTO porch.token (digest, pipeline_id, description, expires_at)
    SELECT :digest, pipeline_id, description,
        now() + coalesce(make_interval(secs => :lifetime), expires_at - created_at)
    FROM porch.token WHERE token_id = :token_id
    RETURNING token_id
    """
)

#: An end that comes sooner stays.
END_OLD = text(
    """
    UPDATE porch.token
    SET replaced_by = :new, expires_at = least(expires_at, now() + make_interval(secs => :overlap))
    WHERE token_id = :token_id
    """
)

#: Asked again, as others may have noted it meanwhile; and who is noting it now is not waited for.
NOTE_USE = text(
    """
    UPDATE porch.token SET used_at = now()
    WHERE token_id IN (
        SELECT token_id FROM porch.token
        WHERE token_id = ANY(CAST(:token_ids AS bigint[]))
            AND coalesce(used_at < now() - interval '5 minutes', true)
        FOR NO KEY UPDATE SKIP LOCKED
    )
    """
)


class TokenLedger(AdminEventLedger):
    """Tokens: see ``coordinator.ledger`` for what each method promises."""

    def add_token(
        self,
        digest: bytes,
        pipeline: Pipeline | None,
        description: str,
        *,
        lifetime: int | None = None,
        origin: Origin | None = None,
    ) -> Token:
        pipeline_id = None if pipeline is None else pipeline.pipeline_id
        adding = (
            postgresql.insert(schema.token)
            .values(
                digest=digest,
                pipeline_id=pipeline_id,
                description=description,
                expires_at=None if lifetime is None else _from_now(lifetime),
            )
            .on_conflict_do_nothing(constraint="token_digest_key")
            .returning(_K.token_id)
        )
        with self._transaction() as connection:
            added = connection.execute(adding).scalar_one_or_none()
            token = token_of(connection.execute(_tokens().where(_K.digest == digest)).one())
            if added is not None:
                said = {"description": description, "lifetime": lifetime}
                note(
                    connection,
                    "issue_token",
                    origin or _by_hand(),
                    said,
                    pipeline_id=pipeline_id,
                    subject_id=added,
                )
        if token.pipeline != (pipeline.name if pipeline else None):
            raise TokenExists("this token is registered for something else", "make a new one")
        return token

    def tokens(self, pipeline: Pipeline | None) -> list[Token]:
        wanted = _tokens().order_by(_K.token_id)
        if pipeline is not None:
            wanted = wanted.where(_K.pipeline_id == pipeline.pipeline_id)
        return [token_of(row) for row in self._read(wanted)]

    def rotate_token(self, rotation: Rotation, origin: Origin) -> tuple[Token, Token] | None:
        target = {"token_id": rotation.token_id}
        with self._transaction() as connection:
            old = connection.execute(LOCK_TOKEN, target).one_or_none()
            if old is None:
                return None
            same = select(_K.token_id).where(_K.digest == rotation.digest)
            new = connection.execute(same).scalar_one_or_none()
            if new is None:
                _require_good(old)
                given = {"digest": rotation.digest, "lifetime": rotation.lifetime}
                new = connection.execute(SUCCEED, {**target, **given}).scalar_one()
                connection.execute(END_OLD, {**target, "new": new, "overlap": rotation.overlap})
                note(
                    connection,
                    "rotate_token",
                    origin,
                    {"replaced_by": new, "overlap": rotation.overlap},
                    pipeline_id=old.pipeline_id,
                    subject_id=old.token_id,
                )
            elif old.replaced_by != new:
                raise TokenExists("this token is registered for something else", "make a new one")
            rows = connection.execute(_tokens().where(_K.token_id.in_([new, old.token_id]))).all()
        tokens = {row.token_id: token_of(row) for row in rows}
        return tokens[new], tokens[old.token_id]

    def revoke_token(self, token_id: int, origin: Origin) -> Token | None:
        revoking = (
            update(schema.token)
            .where(_K.token_id == token_id, _K.revoked_at.is_(None))
            .values(revoked_at=func.now())
            .returning(_K.pipeline_id)
        )
        with self._transaction() as connection:
            revoked = connection.execute(revoking).one_or_none()
            row = connection.execute(_tokens().where(_K.token_id == token_id)).first()
            if revoked is not None:
                pipeline_id = revoked.pipeline_id
                note(
                    connection,
                    "revoke_token",
                    origin,
                    {},
                    pipeline_id=pipeline_id,
                    subject_id=token_id,
                )
        return None if row is None else token_of(row)

    def _note_use(self, token_ids: Sequence[int]) -> None:
        """Note that these were used. That is for people: what they are used for goes on without."""
        with (
            suppress(LedgerAway),
            self._transaction() as connection,
            translated(bounded=True),
            # It may be the transaction of what they are used for, which must not fail with it.
            connection.begin_nested(),
        ):
            connection.execute(NOTE_USE, {"token_ids": list(token_ids)})


def _require_good(old: Any) -> None:
    if old.replaced_by is not None:
        raise TokenEnded(
            f"token {old.token_id} is replaced already, by token {old.replaced_by}",
            f"rotate that: `porch token rotate {old.replaced_by}`",
        )
    if not old.good:
        raise TokenEnded(
            f"token {old.token_id} is revoked or has expired", "issue a new one instead"
        )


def _by_hand() -> Origin:
    """Of what is done with access to the database, which needs no token."""
    return Origin(0, uuid4(), socket.gethostname())


def _from_now(seconds: int) -> Any:
    # By position: make_interval(years, months, weeks, days, hours, mins, secs).
    return func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _tokens() -> Select[Any]:
    return select(schema.token, schema.pipeline.c.name.label("pipeline")).join_from(
        schema.token, schema.pipeline, isouter=True
    )
