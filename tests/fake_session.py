"""A session that answers what a test has put there, and a task to answer with."""

from __future__ import annotations

import json
from typing import Any

from porch_client.cli import run
from porch_client.model import Task

ID = "015abd7f" + "0" * 56
UUID = "3c1f6b0e-9a5f-4a51-8a43-0a54b1f6a7d1"
TASK = Task(
    "cardinal",
    "1.0",
    ID,
    {"Run": "ERR4182369", "LibraryLayout": "SINGLE"},
    "FAILED",
    2,
    0,
    "2026-11-24T16:04:11+00:00",
    "2026-11-24T16:04:15+00:00",
    None,
)


class FakeSession:
    """Answers every verb by what a test has put there: a value, or an error to raise."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.timeout: float | None = None

    def __enter__(self) -> FakeSession:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getattr__(self, verb: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            self.calls.append((verb, args, options))
            answer = self.answers[verb]
            if isinstance(answer, BaseException):
                raise answer
            return answer(*args, **options) if callable(answer) else answer

        return call

    def porch(self, *arguments: str) -> int:
        def connect(timeout: float | None) -> Any:
            self.timeout = timeout
            return self

        return run(arguments, connect=connect)


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]
