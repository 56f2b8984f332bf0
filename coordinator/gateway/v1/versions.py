"""/versions: the versions of a pipeline, as npg_porch 3.0 has them."""

from __future__ import annotations

from fastapi import APIRouter

from coordinator.errors import UnknownPipeline, VersionExists
from coordinator.gateway.callers import Porch, Reader, Writer
from coordinator.gateway.v1.models import Text, Version
from coordinator.gateway.v1.refusals import documented, no_pipeline, worded

router = APIRouter(prefix="/versions", tags=["versions"], strict_content_type=False)


@router.get("/{name:path}", responses=documented())
def get_versions(porch: Porch, caller: Reader, name: Text) -> list[Version]:
    """The versions of a pipeline, oldest first; of a pipeline that there is not, none."""
    try:
        (pipeline,) = porch.catalogue(caller, name)
    except UnknownPipeline:
        return []
    return [Version.of(pipeline, version) for version in pipeline.versions]


@router.post("", status_code=201, responses=documented(400, 404, 409))
def create_version(porch: Porch, caller: Writer, asked: Version) -> Version:
    """Add a version to a pipeline, with a token of that pipeline."""
    name = asked.of_pipeline
    with (
        worded(UnknownPipeline, no_pipeline(name)),
        worded(VersionExists, "Version already exists for this pipeline"),
    ):
        pipeline = porch.add_own_version(caller, name, asked.version)
    return Version.of(pipeline, asked.version)
