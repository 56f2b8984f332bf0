"""What schemathesis cannot know: how JSON lines are written, and what there is in the house."""

from __future__ import annotations

import json
import os
from typing import Any

import schemathesis

#: Words of paths and queries that name something, and what they may be.
KNOWN = json.loads(os.environ["KNOWN_NAMES"])


@schemathesis.serializer("application/x-ndjson")
def json_lines(_: Any, value: Any) -> bytes:
    """Any text will do: a line that cannot be used is answered, as every other."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def _known(_: Any, words: dict[str, Any] | None) -> dict[str, Any] | None:
    """Every other name is one that exists: what is made up is hardly ever found."""
    if not isinstance(words, dict):
        return words
    return {
        word: KNOWN[word] if word in KNOWN and len(str(value)) % 2 else value
        for word, value in words.items()
    }


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    return _known(context, path_parameters)


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    return _known(context, query)
