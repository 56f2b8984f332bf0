"""What every reply tells browsers: run nothing but ours, and guess nothing."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.gateway.paths import is_page

#: Nothing may be loaded, run or framed: what API replies need.
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
#: The pages: scripts, styles and images that we serve; no script or style within the HTML.
PAGES = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
#: Swagger UI begins with a script within its page; both make styles as they go, and ReDoc works in
#: a worker. They show our own document only, and may talk to nobody but us.
DOCUMENTS = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)


def policy(path: str) -> str:
    """The Content-Security-Policy of a path."""
    if is_page(path):
        return PAGES
    return DOCUMENTS if path.startswith(("/docs", "/redoc")) else NOTHING


def headers_of(path: str) -> dict[str, str]:
    """What every reply of a path tells."""
    return {
        "Content-Security-Policy": policy(path),
        "X-Content-Type-Options": "nosniff",
        # Not no-referrer: browsers would then send "Origin: null" with our own forms.
        "Referrer-Policy": "same-origin",
    }


class SecurityHeaders:
    """An ASGI middleware that adds them to every reply."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers_of(scope["path"]))
            await send(message)

        await self.app(scope, receive, send_with_headers)
