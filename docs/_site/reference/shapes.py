"""JSON shapes in words: of a JSON schema, as pydantic makes it of our classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from _site.reference.writing import code, prose, table

Schema = Mapping[str, Any]
#: A bound that is that of a column, and nothing that anybody would reach.
_ANY = 2**31 - 1
_WORDS = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
    "object": "object",
    "array": "list",
}


def kind(schema: Schema, link: str = "") -> str:
    """What a value may be. Named shapes are links to their sections on the page ``link``."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}]({link}#{name.lower()})"
    if alternatives := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(kind(one, link) for one in alternatives))
    if values := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return " or ".join(code(str(one)) for one in values)
    # Of a list, and of an object with any names: what is in it.
    inside = schema.get("items") or schema.get("additionalProperties")
    word = _WORDS.get(schema.get("type", ""), "any JSON")
    return f"{word} of {kind(inside, link)}" if isinstance(inside, dict) else word + _bounds(schema)


def _bounds(schema: Schema) -> str:
    if schema.get("format"):
        return f" ({schema['format']})"
    if "pattern" in schema:
        return f" ({code(schema['pattern'])})"
    if "maxLength" in schema:
        least = f"{schema['minLength']:,} to " if schema.get("minLength") else "up to "
        return f" ({least}{schema['maxLength']:,} characters)"
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None and high < _ANY:
        return f" ({low:,.0f} to {high:,.0f})"
    return f" (from {low:,.0f})" if low is not None else ""


def fields(schema: Schema, link: str = "") -> str:
    """A table of the fields of an object."""
    of = schema.get("properties", {})
    needed = set(schema.get("required", ()))
    columns = {
        "field": [code(name) for name in of],
        "is": [kind(one, link) for one in of.values()],
        "unless given": [_default(name, one, needed) for name, one in of.items()],
        "what it is": [prose(one.get("description", "")) for one in of.values()],
    }
    # Of an answer, all fields are there; and what a field is, its name may say.
    if needed.issuperset(of):
        del columns["unless given"]
    if not any(columns["what it is"]):
        del columns["what it is"]
    return table(list(columns), list(zip(*columns.values(), strict=True)))


def _default(name: str, schema: Schema, needed: set[str]) -> str:
    if name in needed:
        return "needed"
    default = schema.get("default")
    return "left out" if default is None else code(str(default).lower())
