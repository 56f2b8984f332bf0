"""Who asks over HTTP, and with which request: headers in, a Caller out."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Annotated
from uuid import UUID, uuid4, uuid5

from fastapi import Depends, Request

from coordinator import access
from coordinator.errors import BadRequest, MissingToken, UnknownToken
from coordinator.requests import Caller
from coordinator.service import Coordinator

_BEARER = re.compile(r"\ABearer +(\S+) *\Z", re.IGNORECASE)
_SPACE = UUID("6f3c1b0e-1d35-4b0e-9c55-7d3c6b0f7a11")
_LONGEST_KEY = 255


def coordinator(request: Request) -> Coordinator:
    """The Coordinator that this gateway was made over."""
    porch: Coordinator = request.app.state.porch
    return porch


def writer(request: Request) -> Caller:
    """Who asks for a change: needs a token. Raises MissingToken, UnknownToken, BadRequest."""
    return _caller(request, _secret(request))


def reader(request: Request) -> Caller:
    """Who looks: anybody, unless this porch is set to require a token for that too."""
    if coordinator(request).open_reads:
        return _caller(request, None)
    return writer(request)


Porch = Annotated[Coordinator, Depends(coordinator)]
Writer = Annotated[Caller, Depends(writer)]
Reader = Annotated[Caller, Depends(reader)]


def new_token(request: Request, caller: Writer) -> str:
    """The secret for a token to issue: under an Idempotency-Key the same one every time."""
    if caller.secret is None or "idempotency-key" not in request.headers:
        return access.new_secret()
    return access.secret_of(caller.secret, caller.request_id)


NewToken = Annotated[str, Depends(new_token)]


def _caller(request: Request, secret: str | None) -> Caller:
    host = request.client.host if request.client else None
    return Caller(secret, _request_id(request, secret), host)


def _secret(request: Request) -> str:
    header = request.headers.get("authorization")
    if header is None:
        raise MissingToken("no token came with this request", "send: Authorization: Bearer TOKEN")
    sent = _BEARER.match(header)
    if sent is None:
        raise UnknownToken(
            "the Authorization header has not the form of a bearer token",
            "send: Authorization: Bearer TOKEN",
        )
    return sent[1]


def _request_id(request: Request, secret: str | None) -> UUID:
    """A name for this request: of the Idempotency-Key, if there is one, and of where it is used.

    The same key of another token, or on another path, is another request. (The header is that of
    draft-ietf-httpapi-idempotency-key-header-07.)
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return uuid4()
    if not 1 <= len(key) <= _LONGEST_KEY:
        raise BadRequest(
            f"the Idempotency-Key has {len(key)} characters",
            f"send 1 to {_LONGEST_KEY}, a UUID for example",
        )
    owner = sha256((secret or "").encode()).hexdigest()
    return uuid5(_SPACE, f"{owner} {request.method} {request.url.path} {key}")
