"""How large the body of a request may be, where it is held in memory as a whole."""

from __future__ import annotations

from collections.abc import Container

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: As large as a message on the queue may be.
MOST_BYTES = 32 * 2**20


class BoundedBodies:
    """An ASGI middleware: reading more than ``MOST_BYTES`` of a body is refused with 413.

    ``but``: the paths that read theirs piece by piece.
    """

    def __init__(self, app: ASGIApp, but: Container[str]) -> None:
        self.app = app
        self.but = but

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self.but:
            await self.app(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MOST_BYTES:
                raise HTTPException(413, f"a body of more than {MOST_BYTES:,} bytes")
            return message

        await self.app(scope, counted, send)
