"""What is refused before it reaches a verb: messages that ask for more than porch offers.

Whoever may publish can embed callbacks, chains and far etas in a Celery message, or send something
that is no message at all. The guard looks at each message in the worker's main process, answers
those that it refuses, and acknowledges them, so that they neither run nor stay.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

from celery import Celery, Task
from celery.worker.strategy import default

from coordinator.errors import BadRequest, PorchError, TooLarge
from tasks.wire import MOST_CHARACTERS, refusal

logger = logging.getLogger("porch")

_UNWANTED_HEADERS = ("eta", "group", "expires")


def strategy(task: Task, app: Celery, consumer: Any, **options: Any) -> Callable[..., Any]:
    """Celery's default strategy for ``task``, behind the guard."""
    accept = default(task, app, consumer, **options)

    def on_message(message: Any, body: Any, ack: Any, reject: Any, *rest: Any, **more: Any) -> Any:
        try:
            refuse_unwanted(message, body)
        except PorchError as error:
            request_id = (message.headers or {}).get("id")
            logger.warning("%s %s refused: %s", task.name, request_id, error)
            if isinstance(request_id, str):
                app.backend.store_result(request_id, refusal(error), "SUCCESS")
            ack()
            return None
        return accept(message, body, ack, reject, *rest, **more)

    return on_message


def refuse_unwanted(message: Any, body: Any) -> None:
    """Raises BadRequest or TooLarge for a message that is not one plain request."""
    cure = "use porch_client"
    if body is not None:
        raise BadRequest("the message is not in Celery's protocol 2", cure)
    headers = message.headers
    try:
        UUID(headers["id"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadRequest("the message's id is not a UUID", cure) from None
    if message.content_type != "application/json":
        raise BadRequest(f"the message is {message.content_type}, not JSON", cure)
    if len(message.body) > MOST_CHARACTERS:
        raise TooLarge(
            f"the message has {len(message.body):,} bytes, the limit is {MOST_CHARACTERS:,}",
            "send fewer definitions at once",
        )
    for name in _UNWANTED_HEADERS:
        if headers.get(name):
            raise BadRequest(f"messages with {name} are not accepted", cure)
    if any(headers.get("timelimit") or ()):
        raise BadRequest("messages with a time limit are not accepted", cure)
    try:
        args, kwargs, embed = message.payload
    except Exception as error:
        raise BadRequest(f"the message cannot be read: {type(error).__name__}", cure) from error
    if not (isinstance(args, list) and len(args) == 1 and kwargs == {}):
        raise BadRequest("the message has not just one argument", cure)
    if not isinstance(embed, dict) or any(embed.values()):
        raise BadRequest("messages with callbacks, chains or chords are not accepted", cure)
