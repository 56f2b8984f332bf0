"""Small requests that come at the same time, carried out together: one transaction, one reply trip.

The worker's main process gathers them while its children are busy, and hands them to a child as one
piece of work. To Celery that is a message like any other: it is acknowledged when all its answers
are stored, and put back, as the single messages it is made of, when a child is lost or PostgreSQL
is away. What is put back comes again alone, so that what kills a child takes nobody else with it.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

from coordinator.gathering import Gathering
from tasks.transport import acknowledge

#: The Celery task that takes several. Nobody may publish it: see ``guard``.
TOGETHER = "porch.together"

#: The verbs that have something to gain.
_VERBS = ("porch.submit", "porch.claim", "porch.update")
#: Messages of one batch, and bytes of each: a larger one may hold hundreds of definitions, and is a
#: batch by itself, lest a hundred of them become one transaction that everybody waits for.
_MOST = 100
_LONGEST = 2 * 1024
#: Different answers that Flower shows of a batch.
_SHOWN = 5

Accept = Callable[[Any], Any]
Errors = tuple[type[Exception], ...]


class Gatherer:
    """Takes what may go together, a Gathering for each verb, and passes it on to ``accept``."""

    def __init__(self, consumer: Any, accept: Accept) -> None:
        self._consumer = consumer
        self._accept = accept
        self._verbs = {
            verb: Gathering[Any](
                self._start,
                consumer.call_soon,
                consumer.timer.call_after,
                lanes=consumer.pool.num_processes,
                most=_MOST,
            )
            for verb in _VERBS
        }

    def takes(self, message: Any) -> bool:
        """Whether it may go together with others; if so, it will."""
        gathering = self._verbs.get(message.headers["task"])
        if (
            gathering is None
            or len(gathering) >= _MOST
            or len(message.body) > _LONGEST
            or has_come_again(message)
        ):
            return False
        # It waits here and keeps no child busy: another may be fetched in its place.
        self._consumer.qos.increment_eventually()
        gathering.add(message)
        return True

    def _start(self, messages: list[Any], ended: Callable[[], None]) -> None:
        qos = self._consumer.qos

        def over() -> None:
            qos.decrement_eventually(len(messages))
            ended()

        self._accept((Several if len(messages) > 1 else Alone)(messages, over))


def has_come_again(message: Any) -> bool:
    """Whether somebody had the message before, and died with it or gave it back."""
    return bool(
        (message.delivery_info or {}).get("redelivered") or message.headers.get("redelivered")
    )


class Alone:
    """A message as it is, but for telling when it is over."""

    def __init__(self, messages: list[Any], ended: Callable[[], None]) -> None:
        self._messages = messages
        self._ended = ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._messages[0], name)

    def ack_log_error(self, log: logging.Logger, errors: Errors, **_: Any) -> None:
        """Acknowledge it; where the connection is gone, it comes again."""
        try:
            acknowledge(self._messages)
        except errors as error:
            log.critical("cannot acknowledge %d messages: %r", len(self._messages), error)
        finally:
            self._ended()

    def reject_log_error(self, log: logging.Logger, errors: Errors, requeue: bool = False) -> None:
        """Put it back, or drop it."""
        try:
            for message in self._messages:
                message.reject_log_error(log, errors, requeue)
        finally:
            self._ended()


class Several(Alone):
    """Messages of one verb, as one message of the task TOGETHER, in the form Celery looks at."""

    content_type = "application/json"
    content_encoding = "utf-8"

    def __init__(self, messages: list[Any], ended: Callable[[], None]) -> None:
        super().__init__(messages, ended)
        verb = messages[0].headers["task"]
        self.headers = {
            "lang": "py",
            "task": TOGETHER,
            "id": str(uuid4()),
            "argsrepr": f"{verb} requests={len(messages)}",
            "kwargsrepr": "",
            "ignore_result": True,
            "retries": 0,
        }
        self.properties: dict[str, Any] = {}
        self.delivery_info: dict[str, Any] = {}
        requests = [
            [
                m.headers["id"],
                m.headers.get("porch_proof"),
                m.payload[0][0],
                m.headers.get("traceparent"),
            ]
            for m in messages
        ]
        embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
        self.payload = [[verb, requests], {}, embed]
        self.body = json.dumps(self.payload)

    def reject_log_error(self, log: logging.Logger, errors: Errors, requeue: bool = True) -> None:
        """Put them back, whatever the reason: it is not known whose fault it was."""
        super().reject_log_error(log, errors, True)


class Told:
    """What Flower shows of several answers: how many said what, the most frequent first."""

    def __init__(self, answers: Iterable[object]) -> None:
        self._said = Counter(map(repr, answers)).most_common()

    def __repr__(self) -> str:
        said = [f"{n} x {what}" for what, n in self._said[:_SHOWN]]
        more = sum(n for _, n in self._said[_SHOWN:])
        return "; ".join([*said, f"and {more} more"] if more else said)
