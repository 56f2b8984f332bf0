"""Refusals in the words of npg_porch, where its clients may look at those, and their documents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import HTTPException

from coordinator.errors import PorchError
from coordinator.gateway.problems import status_of
from coordinator.gateway.v1.models import Detail, Faults
from coordinator.operations import tell

_SAID = {
    400: "The request has no JSON, or lacks something that is needed",
    403: "No token, or one that is not good for this",
    404: "There is no such thing",
    409: "The state of things does not allow it",
    422: "The request has not the shape that it needs",
    503: "PostgreSQL is away for the moment",
}
#: These may come at any time.
_ALWAYS = {403, 422, 503}


@contextmanager
def worded(kind: type[PorchError], sentence: str) -> Iterator[None]:
    """Tell a refusal of this kind in this sentence; ``{message}`` in it is what was refused."""
    try:
        yield
    except kind as refusal:
        tell(outcome=refusal.code)
        told = sentence.replace("{message}", refusal.message)
        raise HTTPException(status_of(refusal), told) from refusal


def no_pipeline(name: str) -> str:
    """The sentence for a pipeline that there is not."""
    return f"Pipeline '{name}' not found"


#: The sentence where a version must be named.
WHICH_VERSION = '{message}; name it in the request: {"name": ..., "version": ...}'


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Refusals of these statuses, for OpenAPI, besides those that may come at any time."""
    return {
        status: {"description": _SAID[status], "model": Faults if status == 422 else Detail}
        for status in sorted(_ALWAYS.union(statuses))
    }
