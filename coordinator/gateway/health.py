"""What load balancers ask: does this process live, and can it do its work."""

from __future__ import annotations

from fastapi import APIRouter

from coordinator.gateway.callers import Porch

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
async def live() -> dict[str, str]:
    """This process answers, also when all of its threads wait for PostgreSQL."""
    return {"status": "alive"}


@router.get("/ready", responses={503: {"description": "PostgreSQL is away"}})
def ready(porch: Porch) -> dict[str, str]:
    """This process answers, and so does PostgreSQL."""
    porch.check_ledger()
    return {"status": "ready"}
