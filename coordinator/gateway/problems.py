"""Refusals over HTTP: which status each has, and how each generation of the API tells it."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from coordinator.errors import (
    AccessDenied,
    BadInput,
    BadRequest,
    Conflict,
    InternalError,
    LedgerAway,
    NotFound,
    PorchError,
    TooLarge,
    TooSlow,
)
from coordinator.gateway.headers import headers_of
from coordinator.gateway.told import name_of_request
from coordinator.operations import request_id

logger = logging.getLogger(__name__)

#: The first that fits counts. 403 also without a token: the clients of npg_porch expect it.
_STATUS: tuple[tuple[type[PorchError], int], ...] = (
    (AccessDenied, 403),
    (NotFound, 404),
    (Conflict, 409),
    (TooLarge, 413),
    (BadInput, 422),
    (LedgerAway, 503),
    (TooSlow, 503),
)
#: When to come again, where porch is not able just now.
RETRY_SECONDS = "5"


class _Json(JSONResponse):
    """JSON in ASCII: a sentence may repeat what was sent, and UTF-8 cannot hold all of that."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()


def status_of(error: PorchError) -> int:
    """The HTTP status of a refusal."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def is_v2(request: Request) -> bool:
    """Whether the request came by the second generation of the API."""
    return request.url.path.startswith("/api/v2")


def problem(error: PorchError) -> JSONResponse:
    """Problem details as RFC 9457 has them, with our code and cure as extensions."""
    status = status_of(error)
    return _Json(
        {
            "type": f"urn:porch:{error.code}",
            "title": (type(error).__doc__ or "").strip().splitlines()[0],
            "status": status,
            "detail": error.message,
            "code": error.code,
            "cure": error.cure,
        },
        status,
        headers={"Retry-After": RETRY_SECONDS} if status == 503 else None,
        media_type="application/problem+json",
    )


def detail(error: PorchError) -> JSONResponse:
    """As npg_porch tells it: one sentence."""
    status = status_of(error)
    sentence = error.message + (f"; {error.cure}" if error.cure else "")
    headers = {"Retry-After": RETRY_SECONDS} if status == 503 else None
    return _Json({"detail": sentence}, status, headers=headers)


def on_porch_error(request: Request, error: PorchError) -> JSONResponse:
    """Reply to a refusal by a rule."""
    request.app.state.porch.observer.turn_away(error)
    if status_of(error) == 500:
        log_defect(error)
    return problem(error) if is_v2(request) else detail(error)


def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
    """Reply to what the framework refuses: no such path, a method that a path has not."""
    if not is_v2(request):
        return _Json({"detail": error.detail}, error.status_code, headers=error.headers)
    title = HTTPStatus(error.status_code).phrase
    said = {"detail": error.detail} if error.detail != title else {}
    return _Json(
        {"type": "about:blank", "title": title, "status": error.status_code, **said},
        error.status_code,
        headers=error.headers,
        media_type="application/problem+json",
    )


def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """Reply to a request that has not the shape that the path needs: where, and what is wrong."""
    request.app.state.porch.observer.turn_away(BadRequest("the request has not the right shape"))
    # Without what was sent: it may be large, or hold what no JSON can.
    found = [
        {"loc": [_tellable(part) for part in e["loc"]], "msg": e["msg"], "type": e["type"]}
        for e in error.errors()
    ]
    if not is_v2(request):
        return _Json({"detail": jsonable_encoder(found)}, 422)
    first = found[0]
    return _Json(
        {
            "type": "urn:porch:bad_request",
            "title": "The request has not the shape that the path needs.",
            "status": 422,
            "detail": f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}",
            "code": "bad_request",
            "errors": jsonable_encoder(found),
        },
        422,
        media_type="application/problem+json",
    )


def _tellable(part: str | int) -> str | int:
    """A part of a path: the name of a field that a caller made up may be no Unicode text."""
    return part if isinstance(part, int) else part[:200].encode("utf-8", "replace").decode()


def on_defect(request: Request, error: Exception) -> JSONResponse:
    """Reply to a defect of ours: the log has the details, the caller gets none of them."""
    log_defect(error)
    ours = InternalError("the gateway failed on this request", "its log has the details")
    request.app.state.porch.observer.turn_away(ours)
    reply = problem(ours) if is_v2(request) else detail(ours)
    # Made outside of all middleware, which would have added them.
    reply.headers.update(headers_of(request.url.path))
    reply.headers.append(*name_of_request())
    return reply


def log_defect(error: Exception) -> None:
    """Log the details of a defect of ours, by the name that its request has."""
    logger.error("%s failed: a defect of porch", request_id(), exc_info=error)
