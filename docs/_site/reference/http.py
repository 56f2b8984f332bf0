"""Every path of the gateway, from the OpenAPI document that it makes of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from _site.reference.shapes import Schema, fields, kind
from _site.reference.writing import code, fenced, prose, table
from coordinator.gateway.app import make_gateway

#: By tag, in the order in which they are told.
_GROUPS = {
    "v2: bulk": "Submitting",
    "v2: work": "Working",
    "v2: looking": "Looking",
    "v2: administration": "Administering",
    "pipelines": "npg_porch's paths: pipelines",
    "versions": "npg_porch's paths: versions",
    "tasks": "npg_porch's paths: tasks",
    "health": "Health",
}
#: Documented by each path of the second generation, and no different there.
_PROBLEM = "application/problem+json"
_KEY = "Idempotency-Key"


def document() -> dict[str, Any]:
    """The document; no ledger is asked for it."""
    made: dict[str, Any] = make_gateway(None).openapi()  # type: ignore[arg-type]
    return made


def operations(told: Schema) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each operation."""
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def markdown() -> str:
    """A section for each group of paths, and one for each shape."""
    told = document()
    parts = []
    for tag, title in _GROUPS.items():
        parts.append(f"## {title}\n")
        parts += [_operation(*one) for one in operations(told) if one[2]["tags"] == [tag]]
    parts.append("## Shapes\n")
    for name, schema in told["components"]["schemas"].items():
        parts += [f"### {name}\n", prose(schema.get("description", "")) + "\n"]
        parts.append(f"{kind(schema)}\n" if "enum" in schema else fields(schema))
    return "\n".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    given = operation.get("parameters", [])
    answers = operation["responses"]
    parts = [
        f"### {method} {path}\n",
        prose(operation["description"]) + "\n",
        " ".join(_in_words(operation, [one["name"] for one in given])) + "\n",
        table(
            ("parameter", "in", "is", "what it is"),
            (_parameter(one) for one in given if one["name"] != _KEY),
        ),
        *(
            f"Body, {code(media)}: {_content(content)}"
            for media, content in operation.get("requestBody", {}).get("content", {}).items()
        ),
        table(
            ("status", "when", "answer"),
            ((status, _when(of), _answer(of)) for status, of in answers.items() if status < "400"),
        ),
        _refusals({status: of for status, of in answers.items() if status >= "400"}),
    ]
    return "\n".join(part for part in parts if part.strip())


def _in_words(operation: dict[str, Any], given: list[str]) -> Iterator[str]:
    if operation.get("security"):
        yield "With a token."
    if _KEY in given:
        yield f"Takes an {code(_KEY)}."


def _parameter(one: dict[str, Any]) -> tuple[str, ...]:
    is_ = kind(one["schema"]).removesuffix(" or null")
    return code(one["name"]), one["in"], is_, prose(one.get("description", ""))


def _content(content: Schema) -> str:
    if "example" in content:
        return f"for example\n\n{fenced(content['example'])}"
    return f"{kind(content['schema'])}\n"


def _when(answer: Schema) -> str:
    said = str(answer["description"])
    return "it is done" if said == "Successful Response" else prose(said)


def _answer(answer: Schema) -> str:
    for media, content in answer.get("content", {}).items():
        if media == _PROBLEM:
            return "problem details"
        if "ndjson" in media:
            return "JSON lines, as " + code(content["example"].strip().splitlines()[0])
        if content.get("schema"):
            return kind(content["schema"])
    return "empty"


def _refusals(answers: dict[str, Schema]) -> str:
    if not answers:
        return ""
    by_shape: dict[str, list[str]] = {}
    for status, answer in answers.items():
        by_shape.setdefault(_answer(answer), []).append(status)
    told = "; ".join(f"{', '.join(statuses)} ({shape})" for shape, statuses in by_shape.items())
    return f"Refused with {told}.\n"
