"""The lane for what a crowd asks all day: to register one task, to claim some, to
report of a few.

Most of the time of such a request goes into finding its route, its parameters and their documents.
Here the plain ones are answered before all that: a well-formed request that succeeds. Every other
one, and every refusal, goes on to the routes, which answer it as if there were no lane, and under
the same request_id: it has no second effect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator import access
from coordinator.errors import PorchError
from coordinator.gateway.callers import bearer
from coordinator.gateway.crowd import Crowd
from coordinator.gateway.headers import headers_of
from coordinator.operations import request_id, under_way
from coordinator.requests import Caller

#: The longest body that is taken; a longer one is rare, and has other costs.
_LONGEST = 16 * 1024

#: Answers a plain request with a status and JSON. Raises PorchError or ValueError for one that is
#: not plain, or is refused.
Answering = Callable[[Crowd, Caller, bytes], Awaitable[tuple[int, bytes]]]


class Lane:
    """An ASGI middleware. ``crowd``: tells the Crowd, once it is there; ``paths``: what to POST."""

    def __init__(
        self, app: ASGIApp, crowd: Callable[[], Crowd], paths: Mapping[str, Answering]
    ) -> None:
        self.app = app
        self._crowd = crowd
        self._paths = paths
        self._headers = {
            path: [(name.lower().encode(), value.encode()) for name, value in of_path.items()]
            for path, of_path in ((path, headers_of(path)) for path in paths)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answering = (
            self._paths.get(scope["path"])
            if scope["type"] == "http" and scope["method"] == "POST" and not scope["query_string"]
            else None
        )
        caller = _caller(scope) if answering else None
        if answering is None or caller is None:
            await self.app(scope, receive, send)
            return
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            try:
                status, body = await answering(self._crowd(), caller, message["body"])
            except (PorchError, ValueError):
                pass
            else:
                await self._send(scope["path"], status, body, send)
                return
        await self.app(scope, _replayed(message, receive), send)

    async def _send(self, path: str, status: int, body: bytes, send: Send) -> None:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *self._headers[path],
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _caller(scope: Scope) -> Caller | None:
    """Who asks, if the headers are those of a plain request."""
    authorization = length = kind = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            if authorization is not None:
                return None
            authorization = value
        elif name == b"content-length":
            length = value
        elif name == b"content-type":
            kind = value
        elif name in (b"idempotency-key", b"expect", b"content-encoding"):
            return None
    if authorization is None or kind != b"application/json":
        return None
    if length is None or not 0 < int(length) <= _LONGEST:
        return None
    try:
        secret = bearer(authorization.decode("latin-1"))
        access.digest(secret)
    except PorchError:
        return None
    client = scope["client"]
    host = client[0] if client else None
    return Caller(secret, request_id(), host, under_way().traceparent)


def _replayed(first: Message, receive: Receive) -> Receive:
    """What is received, from the beginning."""
    waiting = [first]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
