"""The gateway: every HTTP path, over one Coordinator."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio.to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from coordinator.errors import PorchError, UnknownToken
from coordinator.gateway import crowd, guessing, health, metrics, problems
from coordinator.gateway.crowd import Crowd
from coordinator.gateway.headers import SecurityHeaders
from coordinator.gateway.heads import HeadAsGet
from coordinator.gateway.lane import Lane
from coordinator.gateway.pages import render, routes
from coordinator.gateway.paths import WithoutTrailingSlash
from coordinator.gateway.sizes import BoundedBodies
from coordinator.gateway.told import OneLine
from coordinator.gateway.v1 import pipelines, tasks, versions
from coordinator.gateway.v2 import router as v2
from coordinator.gateway.v2 import work
from coordinator.service import Coordinator

#: Requests that one process carries out at a time, beside a crowd's; more of them wait their turn.
THREADS = 16
#: Connections that the ledger of one process needs.
CONNECTIONS = THREADS + crowd.CONNECTIONS


def make_gateway(porch: Coordinator, told: metrics.Told | None = None) -> FastAPI:
    """An ASGI application over ``porch``. Its documents need no internet.

    ``told``: what ``/metrics`` answers; without it there is no such path.
    """
    app = FastAPIOffline(
        title="porch",
        summary="Each pipeline runs once and only once for each definition of work.",
        version=version("porch-coordinator"),
        openapi_url="/api/v1/openapi.json",
        redirect_slashes=False,
        # Ours are those of the queue as well, and hold nothing that a caller sent.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=_lifespan,
    )
    app.state.porch = porch
    app.mount("/page/static", StaticFiles(directory=render.STATIC))
    for part in (pipelines, versions, tasks, health, v2, routes):
        app.include_router(part.router)
    if told is not None:
        app.state.told = told
        app.include_router(metrics.router)
    app.add_middleware(BoundedBodies, streamed=v2.STREAMED, open_=v2.OPEN)
    app.add_middleware(HeadAsGet)
    app.add_middleware(WithoutTrailingSlash)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(
        Lane,
        crowd=lambda: app.state.crowd,
        paths={
            "/tasks": tasks.created,
            "/tasks/claim": tasks.claimed,
            "/api/v2/tasks/claim": work.claimed,
            "/api/v2/tasks/update": work.updated,
        },
    )
    app.add_middleware(OneLine)
    app.exception_handler(PorchError)(problems.on_porch_error)
    app.exception_handler(UnknownToken)(guessing.on_unknown_token)
    app.exception_handler(HTTPException)(problems.on_http_error)
    app.exception_handler(RequestValidationError)(problems.on_invalid)
    app.exception_handler(Exception)(problems.on_defect)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    app.state.crowd = Crowd(app.state.porch)
    # What there is by now stays: the collector need not walk through it again and again.
    gc.collect()
    gc.freeze()
    yield
    app.state.crowd.close()
