"""A coordinator within reach of a function call, that a test can send away."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from porch_client.bundle import Bundle, encoded
from porch_client.client import Porch
from porch_client.errors import BrokerAway, PorchError, Unreachable
from porch_client.spool import Spool

SECRET = "5ec7e7" * 5 + "00"
AWAY = BrokerAway("broker_away", "cannot reach the broker", "is it running?")


class Coordinator:
    """A channel and all that is behind it. Definitions that have "bad" are refused.

    ``away``: what waiting for an answer raises; ``stays``: after how many answers it goes away.
    ``says``: what it answers to everything of a pipeline. ``registered``: in order, each once.
    ``reported``: pipeline, request and change, in order, as often as they came; what is of attempt
    0 is stale.
    """

    timeout = 0.3

    def __init__(self, away: Unreachable | None = None) -> None:
        self.away = away
        self.stays: int | None = None
        self.says: dict[str, PorchError] = {}
        self.sent: list[dict[str, Any]] = []
        self.waits = 0
        self.waited_for: list[dict[str, Any]] = []
        self.registered: list[tuple[str, Any]] = []
        self.reported: list[tuple[str, str, dict[str, Any]]] = []
        self.before_answering: Callable[[], object] = lambda: None

    def client(self) -> Porch:
        """A client of it."""
        porch = Porch("redis://127.0.0.1:1/0", SECRET)
        porch._channel = self  # type: ignore[assignment]
        return porch

    def prepare(
        self,
        verb: str,
        _queue: str,
        body: dict[str, Any],
        *,
        encoded: dict[str, str] | None = None,
        about: str,
        request_id: str | None = None,
    ) -> dict[str, Any]:
        if encoded is None:
            return {**body, "verb": verb, "request_id": request_id}
        return {**body, "definitions": json.loads(encoded["definitions"])}

    def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def wait(self, message: dict[str, Any], **_: object) -> dict[str, Any]:
        self.waits += 1
        self.waited_for.append(message)
        if self.stays is not None and self.waits > self.stays:
            raise self.away or AWAY
        if self.stays is None and self.away is not None:
            raise self.away
        self.before_answering()
        if message["pipeline"] in self.says:
            raise self.says[message["pipeline"]]
        if "changes" in message:
            return {"results": [self._report(message, change) for change in message["changes"]]}
        return {"results": [self._register(message, one) for one in message["definitions"]]}

    def close(self) -> None:
        pass

    def _report(self, message: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
        if change["attempt"] == 0:
            return {"error": {"code": "stale_attempt", "message": "it is over", "cure": "stop"}}
        self.reported.append((message["pipeline"], message["request_id"], change))
        names = ("status", "attempt", "version")
        return {
            "task_input_id": change["task"],
            "changed": True,
            **{name: change[name] for name in names},
        }

    def _register(self, message: dict[str, Any], definition: Any) -> dict[str, Any]:
        if "bad" in definition:
            return {"error": {"code": "not_representable", "message": "$.bad", "cure": "mend it"}}
        task = (message["pipeline"], definition)
        created = task not in self.registered
        if created:
            self.registered.append(task)
        return {"task_input_id": json.dumps(task), "status": "PENDING", "created": created}


def bundle(*definitions: Any, pipeline: str = "p", version: str | None = None) -> Bundle:
    """Definitions as they are spooled."""
    return Bundle(pipeline, version, 0, [encoded(definition) for definition in definitions])


def numbered(numbers: Iterable[int]) -> list[dict[str, int]]:
    """One definition for each number."""
    return [{"n": n} for n in numbers]


def kept(folder: Path) -> list[Any]:
    """The definitions in a folder of the spool, oldest first."""
    names = Spool(folder).waiting() if folder.exists() else []
    texts = [(folder / name).read_text() for name in names]
    return [definition for text in texts for definition in json.loads(text)["definitions"]]
