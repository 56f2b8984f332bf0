"""What a request is answered: the data on the wire, see ``tasks.wire``, and what is told of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from coordinator.errors import PorchError


class Reply:
    """An answer: JSON on the wire, one sentence in logs and in Flower."""

    def __init__(self, answer: dict[str, Any], sentence: str, pipeline: str | None = None) -> None:
        self.answer = answer
        self.sentence = sentence
        self.pipeline = pipeline

    def __json__(self) -> str:
        try:
            return orjson.dumps(self.answer).decode()
        except orjson.JSONEncodeError:  # half of a surrogate that somebody sent is told back
            return json.dumps(self.answer, separators=(",", ":"))

    def __repr__(self) -> str:
        return f"pipeline={self.pipeline or '-'} {self.sentence}".rstrip()


def sentence(facts: Mapping[str, object]) -> str:
    """What is told of an answer, in words: ``n=1 new=1``."""
    return " ".join(f"{name}={fact}" for name, fact in facts.items())


def refusal(error: PorchError, pipeline: str | None = None) -> Reply:
    """The answer that says no."""
    return Reply({"error": error.as_wire()}, f"refused: {error.code}", pipeline)
