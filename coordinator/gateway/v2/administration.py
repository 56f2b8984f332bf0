"""Pipelines, their versions and policies, and tokens: changed with an admin token."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from coordinator import access, shapes
from coordinator.gateway.callers import NewToken, Porch, Reader, Writer
from coordinator.gateway.v2.answers import (
    AdminEventsAnswer,
    IssuedAnswer,
    PipelinesAnswer,
    RotatedAnswer,
    TokensAnswer,
    VersionsAnswer,
)
from coordinator.gateway.v2.bodies import (
    PipelineBody,
    PolicyBody,
    RotationBody,
    TokenBody,
    VersionBody,
)
from coordinator.gateway.v2.documents import problems
from coordinator.model import PipelineLoad
from coordinator.operations import tell
from coordinator.requests import Rotation
from coordinator.sent import SentInAddress, SentRowId
from coordinator.shapes import PipelineShape, TokenShape

router = APIRouter(tags=["v2: administration"], responses=problems(400, 404, 409, 413))

_MADE: dict[int | str, dict[str, Any]] = {
    200: {"description": "It was there already"},
    201: {"description": "This request made it", "model": PipelineShape},
}


@router.get("/pipelines")
def pipelines(porch: Porch, caller: Reader) -> PipelinesAnswer:
    """All pipelines, with their tasks counted."""
    return {"pipelines": [shapes.pipeline(load) for load in porch.pipelines(caller)]}


@router.post("/pipelines", responses=_MADE)
def register_pipeline(
    response: Response, porch: Porch, caller: Writer, body: PipelineBody
) -> PipelineShape:
    """Add a pipeline. The same again is no error; another one of that name is a conflict."""
    tell(pipeline=body.name)
    return _made(
        porch.register_pipeline(caller, body.name, uri=body.uri, version=body.version), response
    )


# A name may have a slash in it: the longer paths come first.
@router.get("/pipelines/{name:path}/versions")
def versions(porch: Porch, caller: Reader, name: SentInAddress) -> VersionsAnswer:
    """The versions of a pipeline."""
    return {"versions": list(porch.pipelines(caller, name)[0].pipeline.versions)}


@router.post("/pipelines/{name:path}/versions", responses=_MADE)
def add_version(
    response: Response, porch: Porch, caller: Writer, name: SentInAddress, body: VersionBody
) -> PipelineShape:
    """Add a version to a pipeline. The same again is no error."""
    return _made(porch.add_version(caller, name, body.version), response)


@router.get("/pipelines/{name:path}")
def pipeline(porch: Porch, caller: Reader, name: SentInAddress) -> PipelineShape:
    """One pipeline, with its tasks counted."""
    return shapes.pipeline(porch.pipelines(caller, name)[0])


@router.patch("/pipelines/{name:path}")
def set_policy(
    porch: Porch, caller: Writer, name: SentInAddress, body: PolicyBody
) -> PipelineShape:
    """Set policies of a pipeline: identity, lease, max_attempts, retry, keep."""
    return shapes.pipeline(porch.set_policy(caller, name, body.policy()))


@router.get("/tokens")
def tokens(porch: Porch, caller: Writer, pipeline: SentInAddress | None = None) -> TokensAnswer:
    """The tokens of a pipeline, or all: never their secrets."""
    return {"tokens": [shapes.token(token) for token in porch.tokens(caller, pipeline=pipeline)]}


@router.post("/tokens", status_code=201)
def issue_token(porch: Porch, caller: Writer, secret: NewToken, body: TokenBody) -> IssuedAnswer:
    """Issue a token. Under an Idempotency-Key, the same one every time."""
    token = porch.add_token(
        caller,
        access.digest(secret),
        pipeline=body.pipeline,
        description=body.description,
        lifetime=body.expires,
    )
    return {**shapes.token(token), "token": secret}


@router.post("/tokens/{token_id}/rotate", status_code=201)
def rotate_token(
    porch: Porch, caller: Writer, secret: NewToken, token_id: SentRowId, body: RotationBody
) -> RotatedAnswer:
    """Issue a token in the place of one, which is good for the overlap yet.

    Under an Idempotency-Key, the same one every time.
    """
    rotation = Rotation(token_id, access.digest(secret), body.overlap, body.expires)
    new, old = porch.rotate_token(caller, rotation)
    return {**shapes.token(new), "token": secret, "replaces": shapes.token(old)}


@router.delete("/tokens/{token_id}")
def revoke_token(porch: Porch, caller: Writer, token_id: SentRowId) -> TokenShape:
    """Make a token worthless from now on; it stays in the list, for who did what."""
    return shapes.token(porch.revoke_token(caller, token_id))


@router.get("/admin-events")
def admin_events(
    porch: Porch, caller: Writer, after: SentRowId = 0, limit: int = 1_000
) -> AdminEventsAnswer:
    """What administrators did, and when, with which token and from where, oldest first."""
    events = porch.admin_events(caller, after=after, limit=limit)
    return {
        "events": [shapes.admin_event(event) for event in events],
        "next": events[-1].admin_event_id if len(events) == limit else None,
    }


def _made(load: PipelineLoad, response: Response) -> PipelineShape:
    response.status_code = 201 if load.created else 200
    return shapes.pipeline(load)
