"""Who asks over HTTP, and with which request: headers in, a Caller out."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Annotated
from uuid import UUID, uuid5

from fastapi import Depends, Header, Request, Security
from fastapi.security import HTTPBearer

from coordinator import access
from coordinator.errors import MissingToken, UnknownToken
from coordinator.gateway.told import tell_verb
from coordinator.operations import request_id, tell, under_way
from coordinator.requests import Caller
from coordinator.service import Coordinator

_BEARER = re.compile(r"\ABearer +(\S+) *\Z", re.IGNORECASE)
_SPACE = UUID("6f3c1b0e-1d35-4b0e-9c55-7d3c6b0f7a11")


# These wait for nothing, so that they are not to wait for a thread either.
async def coordinator(request: Request) -> Coordinator:
    """The Coordinator that this gateway was made over."""
    tell_verb(request)
    porch: Coordinator = request.app.state.porch
    return porch


# For the document, and the button of its page; ``secret_of`` reads the header itself, to say what
# is wrong with it.
_bearer = HTTPBearer(auto_error=False, description="A token of a pipeline, or an admin token")
_IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Names this request: sent again under the same key, it has no second effect "
        "and is answered the same",
        min_length=1,
        max_length=255,
    ),
]


async def writer(
    request: Request,
    _: Annotated[object, Security(_bearer)],
    idempotency_key: _IdempotencyKey = None,
) -> Caller:
    """Who asks for a change: needs a token. Raises MissingToken, UnknownToken."""
    tell_verb(request)
    secret = secret_of(request)
    return _caller(request, secret, _request_id(request, secret, idempotency_key))


async def reader(request: Request) -> Caller:
    """Who looks: anybody, unless this porch is set to require a token for that too."""
    secret = None if request.app.state.porch.open_reads else secret_of(request)
    return _caller(request, secret, request_id())


Porch = Annotated[Coordinator, Depends(coordinator)]
Writer = Annotated[Caller, Depends(writer)]
Reader = Annotated[Caller, Depends(reader)]


async def new_token(request: Request, caller: Writer) -> str:
    """The secret for a token to issue: under an Idempotency-Key the same one every time."""
    if caller.secret is None or "idempotency-key" not in request.headers:
        return access.new_secret()
    return access.secret_of(caller.secret, caller.request_id)


NewToken = Annotated[str, Depends(new_token)]


def _caller(request: Request, secret: str | None, request_id: UUID) -> Caller:
    host = request.client.host if request.client else None
    return Caller(secret, request_id, host, under_way().traceparent)


def secret_of(request: Request) -> str:
    """The bearer token of a request. Raises MissingToken, UnknownToken."""
    header = request.headers.get("authorization")
    if header is None:
        raise MissingToken("no token came with this request", "send: Authorization: Bearer TOKEN")
    return bearer(header)


def bearer(header: str) -> str:
    """The token in an Authorization header. Raises UnknownToken."""
    sent = _BEARER.match(header)
    if sent is None:
        raise UnknownToken(
            "the Authorization header has not the form of a bearer token",
            "send: Authorization: Bearer TOKEN",
        )
    return sent[1]


def _request_id(request: Request, secret: str, key: str | None) -> UUID:
    """A name for this request: of the Idempotency-Key, if there is one, and of where it is used.

    The same key of another token, or on another path, is another request. (The header is that of
    draft-ietf-httpapi-idempotency-key-header-07.)
    """
    if key is None:
        return request_id()
    owner = sha256(secret.encode()).hexdigest()
    named = uuid5(_SPACE, f"{owner} {request.method} {request.url.path} {key}")
    tell(request_id=named)
    return named
