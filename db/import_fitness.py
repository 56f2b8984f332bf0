"""Which pipelines of npg_porch porch's own rules let in, and what stands for what they do not."""

from __future__ import annotations

from collections.abc import Sequence

from coordinator.administration import check_text
from coordinator.errors import BadRequest
from coordinator.reconciliation import Reconciliation
from db.npg_porch_source import SourcePipeline

#: Stands for a URI that is none.
NO_URI = "unknown:npg_porch"


def fit(pipelines: Sequence[SourcePipeline], account: Reconciliation) -> list[SourcePipeline]:
    """Those that our own rules let in, each with its versions that they let in."""
    fit: dict[str, SourcePipeline] = {}
    for pipeline in pipelines:
        row = f"pipeline {pipeline.pipeline_id}, {pipeline.name!r:.80}"
        why = _unfit("name", pipeline.name)
        if why is None and pipeline.name in fit:
            why = "another pipeline has its name"
        if why is not None:
            account.skip("pipeline", row, why)
            for version in pipeline.versions:
                account.skip("version", f"{version!r:.80} of {row}", "its pipeline is skipped")
            continue
        uri = pipeline.uri
        if _unfit("uri", uri, 2_000) is not None:
            uri = NO_URI
            account.notes.append(f'{row} has no fit uri: it is here with "{NO_URI}"')
        versions = []
        for version in pipeline.versions:
            why = _unfit("version", version)
            if why is None:
                versions.append(version)
            else:
                account.skip("version", f"{version!r:.80} of {row}", why)
        fit[pipeline.name] = pipeline._replace(uri=uri, versions=tuple(versions))
    return list(fit.values())


def _unfit(what: str, value: str | None, most: int = 200) -> str | None:
    """Why a text may not be here, None if it may."""
    try:
        check_text(what, value or "", most)
    except BadRequest:
        return f"its {what} is empty, too long, or has outer spaces or unprintable characters"
    return None
