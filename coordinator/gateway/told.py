"""One line in the log for each request, and its name in the answer: ``X-Request-ID``."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import cache
from http import HTTPStatus

from fastapi import Request
from fastapi.routing import iter_route_contexts
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.operations import OK, Operation, begin, request_id, tell
from coordinator.request_ids import new_request_id
from coordinator.tracing import tracer

HEADER = b"x-request-id"
#: Answers of this kind are of interest only where they are refusals.
_ROUTINE = ("/health/", "/metrics", "/page/static/", "/static-offline-docs/")
#: The verb of what found none.
_NO_VERB = "http"
#: What the queue calls the verbs that the first generation of the API has other names for.
_VERBS = {
    "get_tasks": "list",
    "list_tasks": "list",
    "create_task": "submit",
    "update_task": "update",
    "claim_tasks": "claim",
    "counts": "count",
    "events": "show",
    "get_pipelines": "pipelines",
    "get_pipeline": "pipelines",
    "pipeline": "pipelines",
    "get_versions": "pipelines",
    "versions": "pipelines",
    "create_pipeline": "register_pipeline",
    "create_version": "add_version",
    "create_token": "issue_token",
}
#: Where the functions are that answer requests of the API.
_API = re.compile(r"\.gateway\.v[12]\.")


class OneLine:
    """The outermost ASGI middleware: what becomes of a request further in is told to its
    Operation."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        operation = Operation(_NO_VERB, new_request_id())
        begin(operation)
        if tracer() is not None:
            operation.trace(_traceparent(scope), around=True)
        status = 0

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                name = (HEADER, operation.name.encode())
                message["headers"] = [*message["headers"], name]
            await send(message)

        try:
            await self.app(scope, receive, answered)
        except Exception:
            status, operation.outcome = 500, "internal_error"
            raise
        finally:
            _log(operation, scope, status)


def _log(operation: Operation, scope: Scope, status: int) -> None:
    path = scope["path"]
    if operation.outcome == OK and status >= 400:
        operation.outcome = HTTPStatus(status).name.lower()
    elif not status:
        operation.outcome = "disconnected"
    if operation.verb == _NO_VERB and operation.outcome != OK:
        operation.verb = _meant(scope)
    client = scope["client"]
    # Without the query: people write into addresses what is nobody's business.
    operation.http = (status, client[0] if client else "-", scope["method"], path)
    routine = operation.outcome == OK and path.startswith(_ROUTINE)
    operation.log(logging.DEBUG if routine else None)


def _traceparent(scope: Scope) -> str:
    return next((v.decode("latin-1") for name, v in scope["headers"] if name == b"traceparent"), "")


def tell_verb(request: Request) -> None:
    """Tell which verb a request is, by the name of the function that answers it."""
    tell(_verb(request.scope["endpoint"]))


def _verb(endpoint: Callable[..., object]) -> str:
    name = endpoint.__name__
    if ".pages." in endpoint.__module__:
        return f"page.{name}"
    return f"porch.{_VERBS.get(name, name)}"


def _meant(scope: Scope) -> str:
    """The verb of a request that was refused on its way: its token, or its body, was no good."""
    path = scope["path"].rstrip("/")
    for route in iter_route_contexts(scope["app"].routes):
        answers = route.endpoint
        if answers is None or route.path is None or not _API.search(answers.__module__):
            continue
        if scope["method"] in (route.methods or ()) and _pattern(route.path).match(path):
            return _verb(answers)
    return _NO_VERB


@cache
def _pattern(path: str) -> re.Pattern[str]:
    return compile_path(path)[0]


def name_of_request() -> tuple[str, str]:
    """The header that names the request, for what is answered outside of all middleware."""
    return HEADER.decode(), str(request_id())
