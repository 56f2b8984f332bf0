"""Requests out, answers back, over Celery; until the coordinator has answered or time is up.

A broker alone can lose a message (a worker killed between taking it and noting it), and a
connection can break between a request and its answer. So a request that stays unanswered is sent
again with the same request_id, which the coordinator carries out once. The request_id is the Celery
task id, so both copies answer in the same place.

One Channel belongs to one thread: Celery's result consumer is not made for several. Channels of
several threads share nothing (see ``celery_app``).
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from celery import Celery
from celery.exceptions import TimeoutError as NoResultYet
from celery.result import AsyncResult
from kombu.exceptions import ChannelError, OperationalError
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from porch_client.celery_app import close_app, make_app
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

#: Seconds to look for an answer before a request is sent again, however long ago it was sent.
_LOOK = 1.0

#: Of all that Celery can speak: what coordinators are run on. Others fail in their own ways, each
#: for want of its library.
_RESULTS = ("redis", "rediss", "sentinel")
_BROKERS = (*_RESULTS, "amqp", "amqps", "pyamqp")

#: What a lost or refused connection looks like, seen through Celery, kombu and redis-py. Celery
#: wraps the second failure of its result consumer in a RuntimeError.
_CONNECTION_LOST = (OperationalError, RedisError, OSError, RuntimeError)
_NOT_CONNECTED = (ConnectionRefusedError, socket.gaierror)
_TIMED_OUT = (OperationalError, RedisTimeout, TimeoutError, RuntimeError)


@dataclass(slots=True)
class Pending:
    """A request that waits for its answer. ``about`` is what logs and Flower may show of it."""

    verb: str
    queue: str
    text: str
    about: str
    request_id: str
    sent: bool = False
    sent_at: float = 0.0
    perhaps_sent: bool = False
    lost: Exception | None = field(default=None, repr=False)


class Channel:
    """The way to one broker with one token. ``timeout``: seconds that one answer may take."""

    def __init__(self, broker: str, result: str | None, token: str | None, timeout: float) -> None:
        _check("PORCH_BROKER_URL", broker, _BROKERS)
        _check("PORCH_RESULT_URL", result or broker, _RESULTS)
        self.timeout = timeout
        # One operation on a connection that has gone silent may take this long, so that the whole
        # stays within the timeout.
        self._patience = min(10.0, max(0.5, timeout / 4))
        self._broker = broker
        self._result = result or broker
        self._token = token
        self._host = socket.gethostname()
        self._app: Celery | None = None
        self._lost = False
        self._results: dict[str, AsyncResult] = {}

    def close(self) -> None:
        """Give up the connections, and the answers that are still expected over them."""
        for request_id in list(self._results):
            self._drop_result(request_id)
        app, self._app = self._app, None
        if app is not None:
            # Nothing of what is said on leaving matters to us any more.
            with suppress(*_CONNECTION_LOST):
                close_app(app)

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
        """Publish the request without waiting; a broker that is away is met again in ``wait``.

        Once, and not anew for each that is to be under way: each try may take its time.
        """
        if self._lost:
            return
        try:
            self._publish(pending)
        except _CONNECTION_LOST as lost:
            self._forget_connections(pending, lost)

    def wait(self, pending: Pending, *, unsent: float | None = None) -> dict[str, Any]:
        """The answer to a request, within the timeout from now; publishes it where it must.

        ``unsent``: seconds to try where nothing can even be sent, instead of the timeout. Raises
        the coordinator's refusal as a typed error, or Unreachable, saying what is away.
        """
        began = time.monotonic()
        deadline = began + self.timeout
        resend_after, pause = RESEND_AFTER, 0.05
        while (left := deadline - time.monotonic()) > 0:
            try:
                if not pending.sent:
                    self._publish(pending)
                # Since it was sent, not since we wait: of several under way that a killed worker
                # had in hand, the second need not wait anew when the first is answered.
                silent = time.monotonic() - pending.sent_at
                answer = self._get(pending, min(left, max(resend_after - silent, _LOOK)))
            except NoResultYet:
                pending.sent, pending.lost = False, None
                resend_after *= 2
            except _CONNECTION_LOST as lost:
                self._forget_connections(pending, lost)
                pause = _rest(pause, deadline)
                if unsent is not None and not pending.perhaps_sent:
                    deadline = min(deadline, began + unsent)
                if isinstance(lost, _TIMED_OUT) and deadline - time.monotonic() < self._patience:
                    break
            else:
                if not isinstance(answer, Exception):
                    return _opened(answer)
                # Celery's word and not the coordinator's: a worker could not store its answer.
                # Celery would repeat it for ever, having seen it once.
                pending.sent, pending.lost = False, None
                self.close()
                pause = _rest(pause, deadline)
        raise self._diagnosis(pending)

    def ask(self, pending: Pending) -> dict[str, Any]:
        """The answer to a request that has not been sent yet: see ``wait``."""
        return self.wait(pending)

    # ----------------------------------------------------------------------------------------

    def _publish(self, pending: Pending) -> None:
        headers: dict[str, Any] = {"porch_sent": time.time()}
        if self._token:
            headers["porch_token"] = self._token
        result = self._celery().send_task(
            f"porch.{pending.verb}",
            args=[pending.text],
            task_id=pending.request_id,
            queue=pending.queue,
            headers=headers,
            argsrepr=pending.about,
            kwargsrepr="",
            retry=False,
        )
        # Held until the answer is there: a result that is dropped ends its subscription. When the
        # request was sent before, the first result is the one that listens.
        if self._results.setdefault(pending.request_id, result) is not result:
            result.backend = None
        pending.sent = pending.perhaps_sent = True
        pending.sent_at = time.monotonic()
        pending.lost, self._lost = None, False

    def _get(self, pending: Pending, seconds: float) -> Any:
        result = self._results.get(pending.request_id)
        if result is None:
            result = self._celery().AsyncResult(pending.request_id)
            self._results[pending.request_id] = result
        answer = result.get(timeout=seconds, propagate=False)
        # A wrapper's Redis user may be one that must not delete; the answer expires by itself.
        with suppress(ResponseError):
            result.forget()
        self._drop_result(pending.request_id)
        return answer

    def _drop_result(self, request_id: str) -> None:
        """Forget an expected answer. Its finalizer would talk to the broker once more, and print
        a traceback where that has gone away; without a backend it keeps still."""
        result = self._results.pop(request_id, None)
        if result is not None:
            result.backend = None

    def _celery(self) -> Celery:
        if self._app is None:
            self._app = make_app(self._broker, self._result, self._patience)
        return self._app

    def _forget_connections(self, pending: Pending, lost: Exception) -> None:
        """Start anew with fresh connections: what Celery keeps of broken ones is not to be trusted.

        Only the request in hand is published again at once; others that are under way are asked
        for again, and published again when they stay unanswered.
        """
        if any(isinstance(cause, AuthenticationError) for cause in _causes(lost)):
            raise Misconfigured(
                "broker_refused",
                f"the broker at {_shown(self._broker)} refuses the password, or wants one",
                "check PORCH_BROKER_URL: redis://:password@host:6379/0",
            ) from lost
        refused = any(isinstance(cause, _NOT_CONNECTED) for cause in _causes(lost))
        pending.perhaps_sent = pending.perhaps_sent or not refused
        pending.sent, pending.lost, self._lost = False, lost, True
        self.close()

    def _diagnosis(self, pending: Pending) -> PorchError:
        """Why there is no answer: the broker, the workers or the database."""
        waited = f"no answer within {self.timeout:g} s"
        again = "it may still be carried out; repeating it is safe"
        if pending.lost is not None:
            sent = again if pending.perhaps_sent else "nothing was sent"
            away = BrokerAway(
                "broker_away",
                f"cannot reach the broker at {_shown(self._broker)} ({_root_of(pending.lost)})",
                f"is it running, and PORCH_BROKER_URL right? {sent}",
            )
            away.perhaps_sent = pending.perhaps_sent
            return away
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


def _rest(pause: float, deadline: float) -> float:
    """Sleep for ``pause`` seconds, within the deadline; how long to sleep the next time."""
    time.sleep(max(0.0, min(pause, deadline - time.monotonic())))
    return min(2 * pause, 2.0)


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


def _check(name: str, url: str, schemes: Container[str]) -> None:
    try:
        parts = urlsplit(url)
        flaw = "" if parts.scheme in schemes else parts.scheme or "no scheme"
        if parts.port == 0:
            flaw = "port 0"
    except ValueError as error:  # of the host or the port, and says so; never of the password
        flaw = str(error)
    if flaw:
        raise Misconfigured(
            "no_broker",
            f"{name} is not a URL that porch can use ({flaw})",
            "write redis://:password@host:6379/0",
        )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it comes from, outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _root_of(error: BaseException) -> str:
    """What it comes from in the end, in one line: Celery's own words hide it."""
    told = [cause for cause in _causes(error) if isinstance(cause, OSError | RedisError)]
    root = told[-1] if told else error
    return (str(root).strip() or type(root).__name__).splitlines()[0][:200]


def _shown(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")
