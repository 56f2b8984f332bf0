"""/pipelines: what can be run, and tokens for it."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException

from coordinator import access
from coordinator.errors import PipelineExists, UnknownPipeline
from coordinator.gateway.callers import NewToken, Porch, Reader, Writer
from coordinator.gateway.v1.models import NewPipeline, Pipeline, Text, Token
from coordinator.gateway.v1.refusals import documented, no_pipeline, worded
from coordinator.operations import tell

router = APIRouter(prefix="/pipelines", tags=["pipelines"], strict_content_type=False)


@router.get("", responses=documented())
def get_pipelines(
    porch: Porch, caller: Reader, uri: str | None = None, version: str | None = None
) -> list[Pipeline]:
    """All pipelines, each in its newest version; or those with this uri, in this version."""
    return [
        Pipeline.of(pipeline, version or pipeline.versions[-1])
        for pipeline in porch.catalogue(caller)
        if (not uri or pipeline.uri == uri) and (not version or version in pipeline.versions)
    ]


@router.get("/{name:path}", responses=documented(404))
def get_pipeline(porch: Porch, caller: Reader, name: Text) -> Pipeline:
    """One pipeline, in its newest version."""
    with worded(UnknownPipeline, no_pipeline(name)):
        (pipeline,) = porch.catalogue(caller, name)
    return Pipeline.of(pipeline, pipeline.versions[-1])


@router.post("", status_code=201, responses=documented(400, 409))
def create_pipeline(porch: Porch, caller: Writer, asked: NewPipeline) -> Pipeline:
    """Register a pipeline, with an admin token."""
    tell(pipeline=asked.name)
    porch.check_admin(caller)
    if not (asked.name and asked.uri and asked.version):
        raise HTTPException(400, "Pipeline must specify a name and URI and version")
    with worded(PipelineExists, "Pipeline already exists"):
        load = porch.register_pipeline(
            caller, asked.name, uri=asked.uri, version=asked.version, anew=True
        )
    return Pipeline.of(load.pipeline, asked.version)


@router.post("/{name:path}/token/{description}", status_code=201, responses=documented(404))
def create_token(
    porch: Porch, caller: Writer, secret: NewToken, name: Text, description: str
) -> Token:
    """Issue a token for a pipeline, with an admin token. It is shown this once."""
    with worded(UnknownPipeline, no_pipeline(name)):
        digest = access.digest(secret)
        porch.add_token(caller, digest, pipeline=name, description=description)
    return Token(name=name, description=description, token=secret)
