"""The way to a broker that is a Redis, and back: Celery's messages and results, without Celery.

A request costs one round trip: one write subscribes to its answer and pushes it into its queue, in
this order; then the answer comes by itself. Another write, which nobody waits for, lets go of it.

The message: Celery's protocol 2 (docs.celeryq.dev, "Message Protocol"), in the envelope that kombu
puts into a Redis list. The result: JSON under celery-task-meta-ID, published on a channel of the
same name.
"""

from __future__ import annotations

import json
import os
import socket
import time
from base64 import b64encode
from contextlib import suppress
from typing import Any
from uuid import uuid4

from porch_client.link import Address, Command, ErrorReply, Link, check
from porch_client.way import Message, NoAnswerOfOurs, NotYet

_META = "celery-task-meta-"
#: How Celery calls a request that has its result.
_ENDED = ("SUCCESS", "FAILURE", "REVOKED")
#: Seconds that leaving may take to see that the last commands have arrived.
_LEAVING = 1.0


class OverRedis:
    """A Way (see there) over one connection; over two, where results are in another Redis."""

    def __init__(self, broker: str, result: str, patience: float) -> None:
        self._broker = broker
        self._result = result
        self._patience = patience
        self._links: dict[str, Link] = {}
        self._process = os.getpid()
        self._listening: set[str] = set()
        self._ended: dict[str, dict[str, Any]] = {}
        self._may_delete = True
        #: Channels that tell of something new, and whether they have since it was looked for.
        self._signals: dict[str, bool] = {}

    def publish(self, message: Message) -> None:
        key = _META + message.request_id
        results, queues = self._link(self._result), self._link(self._broker)
        if message.again and not self._listening:
            self._look(results, key)
            if key in self._ended:
                return
        push: Command = (("LPUSH", message.queue, _envelope(message)), check)
        listen = self._listen(key)
        if results is queues:
            results.send(*listen, push)
        else:
            results.send(*listen)
            results.settle()  # or the answer could come before anybody listens
            queues.send(push)
            queues.settle()

    def answer(self, request_id: str, seconds: float) -> Any:
        key = _META + request_id
        results = self._link(self._result)
        if key not in self._listening and key not in self._ended:
            results.send(*self._listen(key))
        meta = self._awaited(results, key, seconds)
        self._listening.discard(key)
        let_go: list[Command] = [(("UNSUBSCRIBE", key), None)]
        if self._may_delete:
            let_go.append((("DEL", key), self._deleted))
        results.send(*let_go)
        if meta["status"] != "SUCCESS":
            raise NoAnswerOfOurs(str(meta.get("result")))
        return meta["result"]

    def state(self, request_id: str) -> str:
        text = self._link(self._result).ask("GET", _META + request_id)
        return "PENDING" if text is None else str(json.loads(text)["status"])

    def waiting(self, queue: str) -> int:
        return int(self._link(self._broker).ask("LLEN", queue))

    def hear(self, signal: str, seconds: float) -> None:
        results = self._link(self._result)
        if signal not in self._signals:
            # Redis replies to no SUBSCRIBE, but to one that it refuses.
            results.send((("SUBSCRIBE", signal), None), (("PING",), check))
            results.settle()
            self._signals[signal] = False
            return
        deadline = time.monotonic() + seconds
        while not self._signals[signal] and (left := deadline - time.monotonic()) > 0:
            results.listen(left)
        self._signals[signal] = False

    def close(self) -> None:
        links, self._links = self._links, {}
        for link in links.values():
            # A connection that is ended with something unread in it may lose what it sent last.
            with suppress(OSError):
                link.settle(_LEAVING)
            link.close()
        self._listening.clear()
        self._ended.clear()
        self._signals.clear()

    # ----------------------------------------------------------------------------------------

    def _link(self, url: str) -> Link:
        if self._process != os.getpid():
            self._leave_to_the_parent()
        if url not in self._links:
            self._links[url] = Link(Address.of(url), self._patience, self._got)
        return self._links[url]

    def _leave_to_the_parent(self) -> None:
        """A forked child makes connections of its own: what it sent or read would be missed."""
        for link in self._links.values():
            link.close()
        self._process = os.getpid()
        self._links.clear()
        self._listening.clear()
        self._ended.clear()
        self._signals.clear()

    def _look(self, results: Link, key: str) -> None:
        """Take an answer that is there, over a connection that listens for none.

        Redis cuts off a listener whom it owes more than 32 MB, which one answer may be.
        """
        text = results.ask("GET", key)
        meta = {} if text is None else json.loads(text)
        if meta.get("status") == "SUCCESS":
            self._ended[key] = meta

    def _listen(self, key: str) -> list[Command]:
        """Hear of a result from now on, and see whether it is there already."""
        self._listening.add(key)
        return [(("SUBSCRIBE", key), None), (("GET", key), lambda reply: self._found(key, reply))]

    def _found(self, key: str, reply: Any) -> None:
        check(reply)
        if reply is not None:
            self._got(key, reply)

    def _got(self, key: str, text: str) -> None:
        if key in self._signals:
            self._signals[key] = True
        if key in self._listening:
            meta = json.loads(text)
            if meta["status"] in _ENDED:
                self._ended[key] = meta

    def _awaited(self, results: Link, key: str, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while key not in self._ended:
            left = deadline - time.monotonic()
            if left <= 0:
                raise NotYet
            results.listen(left)
        return self._ended.pop(key)

    def _deleted(self, reply: Any) -> None:
        """A wrapper's Redis user may be one that must not delete: the answer expires by itself."""
        if isinstance(reply, ErrorReply):
            self._may_delete = False


def _envelope(message: Message) -> str:
    body = json.dumps([[message.text], {}, _NOTHING_EMBEDDED])
    return json.dumps(
        {
            "body": b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": message.name,
                "id": message.request_id,
                "root_id": message.request_id,
                "parent_id": None,
                "group": None,
                "retries": 0,
                "timelimit": [None, None],
                "eta": None,
                "expires": None,
                "ignore_result": False,
                "argsrepr": message.about,
                "kwargsrepr": "",
                "origin": _origin(),
                **message.headers,
            },
            "properties": {
                "correlation_id": message.request_id,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": message.queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid4()),
            },
        }
    )


_NOTHING_EMBEDDED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def _origin() -> str:
    """Who publishes, as Celery names a process."""
    return f"{os.getpid()}@{socket.gethostname()}"
