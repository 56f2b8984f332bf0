"""What the OpenAPI document says of answers that no annotation tells: problems, and JSON lines."""

from __future__ import annotations

from typing import Any

NDJSON = "application/x-ndjson"

_WHY = {
    400: "The body cannot be read",
    403: "No token, or not one for this",
    404: "There is no such thing, or more than one",
    409: "The state of things does not allow it",
    413: "Too large",
    415: "The body is not of the type that this path takes",
    422: "What was sent cannot be used",
    500: "A defect of porch",
    503: "PostgreSQL is away, or would take too long",
}

_TEXT = {"type": "string"}
_PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "Problem details (RFC 9457); code and cure are porch's own.",
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "code": _TEXT,
        "cure": _TEXT,
        "errors": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["type", "title", "status"],
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals with which a path may answer, besides those that any path may give."""
    return {
        status: {
            "description": _WHY[status],
            "content": {"application/problem+json": {"schema": _PROBLEM}},
        }
        for status in sorted({*statuses, 403, 422, 500, 503})
    }


def lines_out(description: str, example: str) -> dict[int | str, dict[str, Any]]:
    """An answer of JSON lines."""
    content = {NDJSON: {"schema": _TEXT, "example": example}}
    return {200: {"description": description, "content": content}}


def lines_in(example: str) -> dict[str, Any]:
    """A body of JSON lines."""
    content = {NDJSON: {"schema": _TEXT, "example": example}}
    return {"requestBody": {"required": True, "content": content}}
