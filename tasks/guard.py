"""What is refused before it reaches a verb: messages that ask for more than porch offers.

Whoever may publish can name any task, embed callbacks, chains and far etas in a Celery message, or
send something that is no request at all. The guard looks at each message in the worker's main
process, answers those that it refuses, and acknowledges them, so that they neither run nor stay.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Mapping
from typing import Any
from uuid import UUID

from celery.worker import consumer

from config.queues import QUEUES
from config.wiring import counting
from coordinator.errors import BadRequest, PorchError, TooLarge
from coordinator.operations import Operation
from coordinator.tracing import well_formed
from tasks.reply import refusal
from tasks.telling import Telling
from tasks.together import TOGETHER, Gatherer, has_come_again
from tasks.wire import MOST_CHARACTERS

logger = logging.getLogger("porch")

#: What a worker's Celery makes a request's context of: any other name could be that of a callback
#: or a chain, which Celery takes from here as well as from the body.
_HEADERS = frozenset(
    {
        *("lang", "task", "id", "root_id", "parent_id", "origin", "argsrepr", "kwargsrepr"),
        *("retries", "timelimit", "ignore_result", "redelivered"),
        *("shadow", "eta", "expires", "group", "group_index", "replaced_task_nesting"),
        *("stamped_headers", "stamps"),
        *("traceparent", "tracestate", "baggage"),  # W3C Trace Context: they name, and do nothing
    }
)
_OURS = "porch_"
_UNWANTED_HEADERS = (
    *("shadow", "eta", "expires", "group", "group_index", "replaced_task_nesting"),
    *("stamped_headers", "stamps"),
)
_LONGEST_ID = 255
#: Characters of one header. They are shown in logs and in Flower.
_LONGEST_HEADER = 20_000
#: What porch's clients tell of a request, and how much of it is shown. Others may leave it to
#: Celery, which shows what was sent.
_SENTENCE = "pipeline="
_LONGEST_SENTENCE = 300
_CURE = "use porch_client, of about the same age as the coordinator"


class Consumer(Telling, consumer.Consumer):
    """Celery's consumer of messages, behind the guard."""

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], Any]:
        """What is called with each message."""
        accept = super().create_task_handler(*args, **options)
        known = self.app.tasks.keys() - {TOGETHER}
        # Anew for each connection: what was gathered over an old one comes again.
        gatherer = Gatherer(self, accept)

        def on_message(message: Any) -> Any:
            if has_come_again(message):
                counting().redelivered()
            try:
                refuse_unwanted(message, known)
            except PorchError as error:
                self._answer(message, error)
                message.ack_log_error(logger, self.connection_errors)
                return None
            show_no_more_than_a_sentence(message.headers)
            return None if gatherer.takes(message) else accept(message)

        return on_message

    def _answer(self, message: Any, error: PorchError) -> None:
        request_id = message.headers.get("id")
        name = message.headers.get("task")
        known = isinstance(name, str) and name in self.app.tasks
        operation = Operation(name if known else "-", str(request_id)[:100])
        operation.outcome, operation.facts = error.code, {"why": error.message}
        operation.log(logging.WARNING, 0.0)
        counting().turn_away(error)
        if isinstance(request_id, str) and 0 < len(request_id) <= _LONGEST_ID:
            self.app.backend.store_result(request_id, refusal(error), "SUCCESS")


def refuse_unwanted(message: Any, known: Container[str]) -> None:
    """Raises BadRequest or TooLarge for a message that is not one plain request to a known task."""
    headers = message.headers
    name = headers.get("task")
    if not isinstance(name, str) or name not in known:
        raise BadRequest(f"this coordinator has no task {str(name)[:80]!r}", _CURE)
    try:
        UUID(headers["id"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadRequest("the message's id is not a UUID", _CURE) from None
    if message.content_type != "application/json":
        raise BadRequest(f"the message is {str(message.content_type)[:80]!r}, not JSON", _CURE)
    # Python has decoders that take hours over some megabytes, and this is the main process.
    if message.content_encoding != "utf-8":
        raise BadRequest("the message is not in UTF-8", _CURE)
    if not isinstance(message.body, bytes | str):
        raise BadRequest("the message has no body", _CURE)
    if len(message.body) > MOST_CHARACTERS:
        raise TooLarge(
            f"the message has {len(message.body):,} bytes, the limit is {MOST_CHARACTERS:,}",
            "send fewer definitions at once",
        )
    _refuse_unwanted_headers(headers)
    _refuse_another_way_back(message)
    _refuse_unwanted_body(message)


def show_no_more_than_a_sentence(headers: dict[str, Any]) -> None:
    """Keep from Flower, from ``celery inspect`` and from logs what is no client's own sentence."""
    said = headers.get("argsrepr")
    if not (isinstance(said, str) and said.startswith(_SENTENCE)):
        said = "-"
    headers["argsrepr"] = said[:_LONGEST_SENTENCE]
    headers["kwargsrepr"] = ""


def _refuse_unwanted_headers(headers: Mapping[str, Any]) -> None:
    for name, value in headers.items():
        if name not in _HEADERS and not name.startswith(_OURS):
            raise BadRequest(f"messages with a header {name[:80]!r} are not accepted", _CURE)
        if isinstance(value, str) and len(value) > _LONGEST_HEADER:
            raise BadRequest(f"the header {name} has {len(value):,} characters", _CURE)
    for unwanted in _UNWANTED_HEADERS:
        if headers.get(unwanted):
            raise BadRequest(f"messages with {unwanted} are not accepted", _CURE)
    if headers.get("traceparent") is not None and well_formed(headers["traceparent"]) is None:
        raise BadRequest("the header traceparent is not of the form of W3C Trace Context", _CURE)
    if headers.get("timelimit") not in (None, [None, None]):
        raise BadRequest("messages with a time limit are not accepted", _CURE)


def _refuse_another_way_back(message: Any) -> None:
    """A message that is given back goes where it says that it came from: that must be a queue of
    ours, lest a worker puts it where its sender may not."""
    came = message.delivery_info
    elsewhere = not isinstance(came, dict) or came.get("exchange")
    if elsewhere or came.get("routing_key") not in QUEUES:
        raise BadRequest("the message says that it comes from elsewhere", _CURE)
    if type(message.properties.get("priority")) not in {int, type(None)}:
        raise BadRequest("the message's priority is no number", _CURE)


def _refuse_unwanted_body(message: Any) -> None:
    try:
        args, kwargs, embed = message.payload
    except Exception as error:
        raise BadRequest(f"the message cannot be read: {type(error).__name__}", _CURE) from error
    if not (isinstance(args, list) and len(args) == 1 and kwargs == {}):
        raise BadRequest("the message has not just one argument", _CURE)
    if not isinstance(embed, dict) or any(embed.values()):
        raise BadRequest("messages with callbacks, chains or chords are not accepted", _CURE)
