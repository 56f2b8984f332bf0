"""Who may do what: an admin token registers pipelines and handles tokens, a pipeline token does
everything else for its one pipeline. Both may look."""

from __future__ import annotations

import hmac
import re
import secrets
from hashlib import sha256
from uuid import UUID

from coordinator.commands import command
from coordinator.errors import Forbidden, UnknownToken
from coordinator.model import Permission, Pipeline

_FORM = re.compile(r"\A[0-9a-f]{32}\Z")


def new_secret() -> str:
    """A fresh token: 128 random bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)


def secret_of(admin_secret: str, request_id: UUID) -> str:
    """The token that this request issues, however often it comes: only its sender can know it.

    HMAC-SHA256 (RFC 2104) of the request_id under the administrator's own secret, as far as a
    token has digits.
    """
    return hmac.digest(admin_secret.encode(), request_id.bytes, "sha256").hex()[:32]


def digest(secret: str) -> bytes:
    """What is kept of a token: its SHA-256, 32 bytes.

    A plain hash is enough: the secret has 128 random bits, so there is nothing to guess at.
    Raises UnknownToken for what cannot be a token, without repeating it.
    """
    if not _FORM.match(secret):
        raise UnknownToken(
            "this is not a porch token: one has 32 digits 0-9a-f", "check PORCH_TOKEN"
        )
    return sha256(secret.encode()).digest()


def require_admin(who: Permission) -> None:
    """Raises Forbidden unless ``who`` holds an admin token."""
    if who.pipeline is not None:
        raise Forbidden(
            f'the token "{who.description}" is for the pipeline "{who.pipeline.name}"',
            "this needs an admin token: ask an administrator of porch",
        )


def issuing(name: str | None = None) -> str:
    """The command by which an administrator issues a token of the pipeline ``name``."""
    words = ("porch", "token", "issue", "--pipeline", name or "NAME", "--description", "TEXT")
    return f"`{command(*words)}`"


def require_worker(who: Permission, name: str | None) -> Pipeline:
    """The pipeline of the token. Raises Forbidden for an admin token, which has none."""
    if who.pipeline is None:
        raise Forbidden(
            "an admin token cannot submit, claim or report",
            f"use a token of the pipeline: {issuing(name)}",
        )
    return who.pipeline


def require_own(who: Permission, name: str) -> Pipeline:
    """The pipeline of the token. Raises Forbidden unless ``name`` is its name.

    Also where there is no pipeline of that name: nobody can hold a token of it.
    """
    own = require_worker(who, name)
    if own.name != name:
        raise _of_another(who, own, name)
    return own


def require_look(who: Permission, pipeline: Pipeline) -> None:
    """Raises Forbidden if ``who`` holds a token of another pipeline."""
    if who.pipeline is not None and who.pipeline.pipeline_id != pipeline.pipeline_id:
        raise _of_another(who, who.pipeline, pipeline.name)


def _of_another(who: Permission, own: Pipeline, name: str) -> Forbidden:
    return Forbidden(
        f'the token "{who.description}" is for the pipeline "{own.name}", not for "{name}"',
        "use a token of that pipeline",
    )
