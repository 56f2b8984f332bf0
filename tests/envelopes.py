"""Celery messages as they lie in a Redis list, made by hand, as whoever may publish can."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import uuid4

from porch_client.proof import proof

QUEUE = "porch.query"


def text(**fields: Any) -> str:
    """A request in the wire format."""
    return json.dumps({"wire": 1, **fields})


def envelope(
    *args: Any,
    task: Any = "porch.count",
    kwargs: Any = None,
    embed: Any = None,
    token: str | None = None,
    body: Any = None,
    content_type: Any = "application/json",
    **headers: Any,
) -> dict[str, Any]:
    """A message as Celery publishes it, with ``headers`` on top; ``body`` stands for the whole."""
    request_id = str(uuid4())
    plain = json.dumps([list(args), kwargs or {}, embed or {}]) if body is None else body
    return {
        "body": base64.b64encode(plain.encode()).decode() if isinstance(plain, str) else plain,
        "content-encoding": "utf-8",
        "content-type": content_type,
        "headers": {
            "lang": "py",
            "task": task,
            "id": request_id,
            "root_id": request_id,
            "parent_id": None,
            "group": None,
            "retries": 0,
            "timelimit": [None, None],
            "eta": None,
            "expires": None,
            "ignore_result": False,
            **({"porch_proof": proof(token, task, request_id, _text(args))} if token else {}),
            **headers,
        },
        "properties": {
            "correlation_id": request_id,
            "reply_to": str(uuid4()),
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid4()),
        },
    }


def _text(args: tuple[Any, ...]) -> str:
    return args[0] if args and isinstance(args[0], str) else ""


def without(message: dict[str, Any], *path: str) -> dict[str, Any]:
    """The message without one of its parts."""
    outer = message
    for name in path[:-1]:
        outer = outer[name]
    del outer[path[-1]]
    return message


def replaced(message: dict[str, Any], value: Any, *path: str) -> dict[str, Any]:
    """The message with another value for one of its parts."""
    outer = message
    for name in path[:-1]:
        outer = outer[name]
    outer[path[-1]] = value
    return message
