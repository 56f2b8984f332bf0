"""Requests out, answers back, over Celery; until the coordinator has answered or time is up.

A broker alone can lose a message (a worker killed between taking it and noting it), and a
connection can break between a request and its answer. So a request that stays unanswered is sent
again with the same request_id, which the coordinator carries out once. The request_id is the Celery
task id, so both copies answer in the same place.

One Channel belongs to one thread: Celery's result consumer is not made for several.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from celery import Celery
from celery.exceptions import TimeoutError as NoResultYet
from kombu.exceptions import ChannelError, OperationalError
from redis.exceptions import AuthenticationError, RedisError

from porch_client.errors import (
    BrokerAway,
    DatabaseAway,
    Misconfigured,
    NoAnswer,
    NoWorker,
    PorchError,
    from_wire,
)

WIRE = 1

#: Seconds without an answer after which a request is sent again; doubled each time.
RESEND_AFTER = 10.0

#: What a lost or refused connection looks like, seen through Celery, kombu and redis-py. Celery
#: wraps the second failure of its result consumer in a RuntimeError.
_CONNECTION_LOST = (OperationalError, RedisError, OSError, RuntimeError)

_CONNECT_SECONDS = 3


@dataclass(slots=True)
class Pending:
    """A request that waits for its answer. ``about`` is what logs and Flower may show of it."""

    verb: str
    queue: str
    text: str
    about: str
    request_id: str
    sent: bool = False
    lost: Exception | None = field(default=None, repr=False)


class Channel:
    """The way to one broker with one token. ``timeout``: seconds that one answer may take."""

    def __init__(self, broker: str, result: str | None, token: str | None, timeout: float) -> None:
        for what, url in (("PORCH_BROKER_URL", broker), ("PORCH_RESULT_URL", result)):
            if url is not None and not urlsplit(url).scheme:
                raise Misconfigured(
                    "no_broker", f"{what} is not a URL", "redis://:password@host:6379/0, say"
                )
        self.timeout = timeout
        self._broker = broker
        self._result = result or broker
        self._token = token
        self._host = socket.gethostname()
        self._app: Celery | None = None

    def close(self) -> None:
        """Give up the connections."""
        app, self._app = self._app, None
        if app is not None:
            app.close()

    def prepare(
        self,
        verb: str,
        queue: str,
        body: Mapping[str, Any],
        *,
        encoded: Mapping[str, str] | None = None,
        about: str = "",
        request_id: str | None = None,
    ) -> Pending:
        """The request, as it will be sent; the token is not in it.

        ``encoded``: more fields of the body, whose values are JSON texts already.
        """
        text = json.dumps({"wire": WIRE, "host": self._host, **body}, separators=(",", ":"))
        for name, value in (encoded or {}).items():
            text = f'{text[:-1]},"{name}":{value}}}'
        shown = f"pipeline={body.get('pipeline') or '-'} {about}".strip()
        return Pending(verb, queue, text, shown, request_id or str(uuid4()))

    def send(self, pending: Pending) -> None:
        """Publish the request; a broker that is away is met again in ``wait``."""
        try:
            self._publish(pending)
        except _CONNECTION_LOST as lost:
            self._forget_connections(pending, lost)

    def wait(self, pending: Pending) -> dict[str, Any]:
        """The answer to a request, within the timeout from now.

        Raises the coordinator's refusal as a typed error, or Unreachable, saying what is away.
        """
        deadline = time.monotonic() + self.timeout
        resend_after, pause = RESEND_AFTER, 0.05
        while (left := deadline - time.monotonic()) > 0:
            try:
                if not pending.sent:
                    self._publish(pending)
                answer = self._get(pending, min(left, resend_after))
            except NoResultYet:
                pending.sent, pending.lost = False, None
                resend_after *= 2
            except _CONNECTION_LOST as lost:
                self._forget_connections(pending, lost)
                time.sleep(max(0.0, min(pause, deadline - time.monotonic())))
                pause = min(2 * pause, 2.0)
            else:
                return _opened(answer)
        raise self._diagnosis(pending)

    def ask(self, pending: Pending) -> dict[str, Any]:
        """Send and wait."""
        self.send(pending)
        return self.wait(pending)

    # ----------------------------------------------------------------------------------------

    def _publish(self, pending: Pending) -> None:
        self._celery().send_task(
            f"porch.{pending.verb}",
            args=[pending.text],
            task_id=pending.request_id,
            queue=pending.queue,
            headers={"porch_token": self._token} if self._token else None,
            argsrepr=pending.about,
            kwargsrepr="",
            retry=False,
        )
        pending.sent = True
        pending.lost = None

    def _get(self, pending: Pending, seconds: float) -> Any:
        result = self._celery().AsyncResult(pending.request_id)
        answer = result.get(timeout=seconds, propagate=False)
        result.forget()
        return answer

    def _celery(self) -> Celery:
        if self._app is None:
            self._app = _make_app(self._broker, self._result)
        return self._app

    def _forget_connections(self, pending: Pending, lost: Exception) -> None:
        """Start anew with fresh connections: what Celery keeps of broken ones is not to be trusted.

        Only the request in hand is published again at once; others that are under way are asked
        for again, and published again when they stay unanswered.
        """
        if isinstance(lost, AuthenticationError) or "invalid username-password" in str(lost):
            raise Misconfigured(
                "broker_refused",
                f"the broker at {_shown(self._broker)} refuses the password",
                "check PORCH_BROKER_URL",
            ) from lost
        pending.sent, pending.lost = False, lost
        self.close()

    def _diagnosis(self, pending: Pending) -> PorchError:
        """Why there is no answer: the broker, the workers or the database."""
        waited = f"no answer within {self.timeout:g} s"
        again = "it may still be carried out; repeating it is safe"
        if pending.lost is not None:
            cause = str(pending.lost).splitlines()[0] if str(pending.lost) else ""
            return BrokerAway(
                "broker_away",
                f"cannot reach the broker at {_shown(self._broker)} ({cause[:200]})",
                f"is it running, and PORCH_BROKER_URL right? {again}",
            )
        try:
            state = self._celery().backend.get_task_meta(pending.request_id)["status"]
            waiting = self._waiting(pending.queue)
        except _CONNECTION_LOST as lost:
            pending.lost = lost
            return self._diagnosis(pending)
        if state == "DATABASE_AWAY":
            return DatabaseAway(
                "database_away",
                f"{waited}: the coordinator cannot reach PostgreSQL",
                f"tell the operator of porch; {again}",
            )
        if waiting:
            return NoWorker(
                "no_worker",
                f"{waited}: {waiting} requests wait in queue {pending.queue}, and no worker takes "
                "them",
                f"is a `porch-server worker` running for this broker? {again}",
            )
        return NoAnswer("no_answer", f"{waited}, although a worker took the request", again)

    def _waiting(self, queue: str) -> int:
        with self._celery().connection_for_write() as connection:
            try:
                declared = connection.default_channel.queue_declare(queue, passive=True)
            except ChannelError:  # an empty queue of Redis does not exist
                return 0
            return int(declared.message_count)


def _make_app(broker: str, result: str) -> Celery:
    # set_as_current=False and fixups=[]: a wrapper may have a Celery or Django of its own.
    app = Celery("porch-client", broker=broker, backend=result, set_as_current=False, fixups=[])
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        broker_connection_timeout=_CONNECT_SECONDS,
        broker_pool_limit=1,
        broker_transport_options={
            "priority_steps": [0],
            "socket_timeout": 10,
            "socket_connect_timeout": _CONNECT_SECONDS,
            "socket_keepalive": True,
        },
        redis_socket_timeout=10,
        redis_socket_connect_timeout=_CONNECT_SECONDS,
        redis_socket_keepalive=True,
        # Our own loop retries; Celery's would outlast the timeout.
        result_backend_transport_options={"retry_policy": {"max_retries": 0}},
    )
    return app


def _opened(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, str):
        raise PorchError(
            "internal_error", f"the coordinator answered {answer!r}", "tell the operator of porch"
        )
    reply = json.loads(answer)
    if "error" in reply:
        raise from_wire(reply["error"])
    data: dict[str, Any] = reply["ok"]
    return data


def _shown(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")
