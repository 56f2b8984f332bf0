"""All paths of the second generation."""

from __future__ import annotations

from fastapi import APIRouter

from coordinator.gateway.v2 import administration, bulk, looking, overview, work

PREFIX = "/api/v2"

#: Bodies of any length, read as they come.
STREAMED = frozenset(f"{PREFIX}{path}" for path in bulk.PATHS)

#: Posted to, and changing nothing.
OPEN = frozenset({f"{PREFIX}{bulk.PREVIEW}"})

router = APIRouter(prefix=PREFIX)
# In the order in which they are tried: a path without a name before one with.
for part in (work, bulk, looking, overview, administration):
    router.include_router(part.router)
