"""Refusals as pages: what was wrong and what to do, never a traceback."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from coordinator.errors import (
    AccessDenied,
    BadRequest,
    Forbidden,
    InternalError,
    MissingToken,
    NotFound,
    PorchError,
)
from coordinator.gateway import guessing
from coordinator.gateway.pages import render
from coordinator.gateway.pages.session import page_path
from coordinator.gateway.problems import RETRY_SECONDS, log_defect, status_of


class PageRoute(APIRoute):
    """A route whose refusals are pages; those of the API tell theirs as JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_as_page(request: Request) -> Response:
            reply = await answer(request)
            await guessing.hold_back(request)
            return reply

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except PorchError as refusal:
                guessing.note(request, refusal)
                return refused(request, refusal)
            except RequestValidationError:
                return refused(request, BadRequest("the form has not the shape that it needs"))
            except HTTPException as error:
                return refused(request, NotFound(error.detail), error.status_code)
            except Exception as error:  # noqa: BLE001 (its details are logged)
                log_defect(error)
                ours = InternalError("the gateway failed on this page", "its log has the details")
                return refused(request, ours)

        return handle_as_page


def refused(request: Request, refusal: PorchError, status: int | None = None) -> Response:
    """The page that tells a refusal; who needs to enter a token first, is asked for it."""
    request.app.state.porch.observer.turn_away(refusal)
    if isinstance(refusal, MissingToken):
        return RedirectResponse(f"/session?{urlencode({'back': _back(request)})}", 303)
    if isinstance(refusal, AccessDenied) and not isinstance(refusal, Forbidden):
        # The session's token is worth nothing (any more): another one is needed.
        reply: Response = render.page(
            request,
            "session.html",
            403,
            session=None,
            here="session",
            back=_back(request),
            refusal=refusal,
        )
        render.forget(request, reply, "session")
        return reply
    status = status or status_of(refusal)
    reply = render.page(request, "refused.html", status, refusal=refusal, code=status)
    if status == 503:
        reply.headers["Retry-After"] = RETRY_SECONDS
    return reply


def _back(request: Request) -> str:
    """Where to go on once there is a token: here, unless this was a form."""
    if request.method != "GET":
        return "/"
    query = f"?{request.url.query}" if request.url.query else ""
    return page_path(request.url.path + query)
