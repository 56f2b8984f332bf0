"""Which paths are pages; and a trailing slash means nothing, and is answered without a redirect."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


def is_page(path: str) -> bool:
    """Whether a path is one that people open, or a form's."""
    return path in ("/", "/session") or path.startswith(("/page/", "/session/"))


class WithoutTrailingSlash:
    """An ASGI middleware: a redirect would make some clients drop a POST's body or its token."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and len(path) > 1 and path.endswith("/"):
            scope = {**scope, "path": path.rstrip("/") or "/"}
        await self.app(scope, receive, send)
