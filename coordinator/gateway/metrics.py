"""``/metrics``: what a Prometheus scrapes, open where looking is open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from fastapi import APIRouter, Request, Response

from coordinator.errors import Forbidden

#: From the header Accept, what is told and its media type.
Told = Callable[[str], tuple[bytes, str]]

router = APIRouter()

# Its own: the others may all wait for PostgreSQL, which is when this is needed.
_thread = ThreadPoolExecutor(1, thread_name_prefix="scrape")


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """What this gateway has counted, and how the ledger is. Raises Forbidden."""
    if not request.app.state.porch.open_reads:
        raise Forbidden(
            "here looking needs a token, and a Prometheus has none",
            "set PORCH_METRICS_HOST and PORCH_METRICS_PORT, and scrape that",
        )
    told: Told = request.app.state.told
    accept = request.headers.get("accept", "")
    body, kind = await asyncio.get_running_loop().run_in_executor(_thread, told, accept)
    return Response(body, headers={"Content-Type": kind})
