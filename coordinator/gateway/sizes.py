"""What is refused before a body is read, or with what has been read of it: without a token of the
right form, and what is too large to be held in memory as a whole."""

from __future__ import annotations

from collections.abc import Container

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator import access
from coordinator.errors import PorchError
from coordinator.gateway import problems
from coordinator.gateway.callers import secret_of

#: As large as a message on the queue may be; and as a form of a page.
MOST_BYTES = 32 * 2**20
MOST_OF_A_FORM = 2**20

_API = frozenset({"pipelines", "versions", "tasks", "api"})
_CHANGING = frozenset({"POST", "PUT", "PATCH"})


class BoundedBodies:
    """An ASGI middleware: a body that is too large is 413, and a change without a token 403.

    ``streamed``: the paths that read theirs piece by piece; ``open_``: those that need no token.
    """

    def __init__(self, app: ASGIApp, streamed: Container[str], open_: Container[str]) -> None:
        self.app = app
        self.streamed = streamed
        self.open = open_

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _CHANGING:
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        path = scope["path"]
        of_api = path.split("/")[1] in _API
        most = MOST_BYTES if of_api else MOST_OF_A_FORM
        streamed = path in self.streamed
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > most:
                raise _too_large(most)
            return message

        try:
            if of_api and path not in self.open:
                access.digest(secret_of(request))
            if not streamed and _length(request) > most:
                raise _too_large(most)
        except PorchError as refusal:
            await problems.on_porch_error(request, refusal)(scope, receive, send)
        except HTTPException as refusal:
            await problems.on_http_error(request, refusal)(scope, receive, send)
        else:
            await self.app(scope, receive if streamed else counted, send)


def _length(request: Request) -> int:
    said = request.headers.get("content-length", "")
    return int(said) if said.isdecimal() else 0


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"a body of more than {most:,} bytes")
