"""Requests out, answers back; until the coordinator has answered or time is up.

A broker alone can lose a message (a worker killed between taking it and noting it), and a
connection can break between a request and its answer. So a request that stays unanswered is sent
again with the same request_id, which the coordinator carries out once. The request_id is the Celery
task id, so both copies answer in the same place.

One Channel belongs to one thread. Channels of several threads share nothing.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from porch_client import tracing
from porch_client.errors import (
    BrokerAway,
    DatabaseAway,
    Misconfigured,
    NoAnswer,
    NoWorker,
    PorchError,
    from_wire,
)
from porch_client.link import Address
from porch_client.over_redis import OverRedis
from porch_client.proof import proof, sealed
from porch_client.request_ids import new_request_id
from porch_client.way import Message, NoAnswerOfOurs, NotYet, Way, WrongPassword

if TYPE_CHECKING:
    from porch_client.otel import Span

WIRE = 1

#: Seconds without an answer after which a request is sent again; doubled each time.
RESEND_AFTER = 10.0

#: Seconds after which a broker that takes nothing at all is away, where there is a spool: what has
#: never left us needs no waiting for an answer. More than a restart of the broker takes.
UNSENT = 15.0

#: Seconds to look for an answer before a request is sent again, however long ago it was sent.
_LOOK = 1.0

#: Where workers leave a notice while they cannot reach PostgreSQL, for those whose requests wait
#: behind the ones that they have in hand.
_EVERYBODY = "porch.database"

#: Of all that Celery can speak: what coordinators are run on. Others fail in their own ways, each
#: for want of its library.
_REDIS = ("redis", "rediss")
_RESULTS = (*_REDIS, "sentinel")
_BROKERS = (*_RESULTS, "amqp", "amqps", "pyamqp")

#: Where nothing was ever reached, and so nothing sent.
_NOT_CONNECTED = (ConnectionRefusedError, socket.gaierror)


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
    lost: OSError | None = field(default=None, repr=False)
    span: Span | None = field(default=None, repr=False)


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
        self._way: Way | None = None
        self._lost = False

    def close(self) -> None:
        """Give up the connections, and the answers that are still expected over them."""
        way, self._way = self._way, None
        if way is not None:
            way.close()

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
        name = request_id or new_request_id()
        span = tracing.begin(f"porch.{verb}", name, body.get("pipeline"))
        return Pending(verb, queue, text, shown, name, span=span)

    def send(self, pending: Pending) -> None:
        """Publish the request without waiting; a broker that is away is met again in ``wait``.

        Once, and not anew for each that is to be under way: each try may take its time.
        """
        if self._lost:
            return
        try:
            self._publish(pending)
        except OSError as lost:
            self._forget_connections(pending, lost)

    def wait(self, pending: Pending, *, unsent: float | None = None) -> dict[str, Any]:
        """The answer to a request, within the timeout from now; publishes it where it must.

        ``unsent``: seconds to try where nothing can even be sent, instead of the timeout. Raises
        the coordinator's refusal as a typed error, or Unreachable, saying what is away.
        """
        if pending.span is None:
            return self._wait(pending, unsent)
        with pending.span:
            return self._wait(pending, unsent)

    def ask(self, pending: Pending) -> dict[str, Any]:
        """The answer to a request that has not been sent yet: see ``wait``."""
        return self.wait(pending)

    def hear(self, signal: str, seconds: float) -> None:
        """Wait until the broker says that there is something new, for so many seconds at most.

        It may return sooner. A broker that is away is met by the question that comes next.
        """
        try:
            self._open_way().hear(signal, seconds)
        except OSError:
            self.close()
            time.sleep(min(seconds, _LOOK))

    # ----------------------------------------------------------------------------------------

    def _wait(self, pending: Pending, unsent: float | None) -> dict[str, Any]:
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
                patience = min(left, max(resend_after - silent, _LOOK))
                return _opened(self._open_way().answer(pending.request_id, patience))
            except NotYet:
                pending.sent, pending.lost = False, None
                resend_after *= 2
            except NoAnswerOfOurs:
                pending.sent, pending.lost = False, None
                # Celery's own consumer would repeat it for ever, having seen it once.
                self.close()
                pause = _rest(pause, deadline)
            except OSError as lost:
                self._forget_connections(pending, lost)
                pause = _rest(pause, deadline)
                if unsent is not None and not pending.perhaps_sent:
                    deadline = min(deadline, began + unsent)
                if isinstance(lost, TimeoutError) and deadline - time.monotonic() < self._patience:
                    break
        raise self._diagnosis(pending)

    def sealed(self, request_id: str, digest: bytes) -> str:
        """The digest of a new token, as this administrator's request with that id may hold it."""
        return sealed(self._token or "", request_id, digest)

    # ----------------------------------------------------------------------------------------

    def _publish(self, pending: Pending) -> None:
        name = f"porch.{pending.verb}"
        headers: dict[str, Any] = {"porch_sent": time.time()}
        if self._token:
            headers["porch_proof"] = proof(self._token, name, pending.request_id, pending.text)
        if pending.span is not None:
            headers["traceparent"] = pending.span.traceparent
        self._open_way().publish(
            Message(
                name,
                pending.queue,
                pending.request_id,
                pending.text,
                pending.about,
                headers,
                pending.perhaps_sent,
            )
        )
        pending.sent = pending.perhaps_sent = True
        pending.sent_at = time.monotonic()
        pending.lost, self._lost = None, False

    def _open_way(self) -> Way:
        if self._way is None:
            self._way = self._make_way()
        return self._way

    def _make_way(self) -> Way:
        schemes = {urlsplit(url).scheme for url in (self._broker, self._result)}
        if schemes.issubset(_REDIS):
            return OverRedis(self._broker, self._result, self._patience)
        # Imported where it is needed: it takes longer than all else that a command does.
        from porch_client.over_celery import OverCelery  # noqa: PLC0415

        return OverCelery(self._broker, self._result, self._patience)

    def _forget_connections(self, pending: Pending, lost: OSError) -> None:
        """Start anew with fresh connections.

        Only the request in hand is published again at once; others that are under way are asked
        for again, and published again when they stay unanswered.
        """
        if isinstance(lost, WrongPassword):
            raise Misconfigured(
                "broker_refused",
                f"the broker at {_shown(self._broker)} refuses the password, or wants one",
                "check PORCH_BROKER_URL: redis://:password@host:6379/0",
            ) from lost
        pending.perhaps_sent = pending.perhaps_sent or not isinstance(lost, _NOT_CONNECTED)
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
                f"cannot reach the broker at {_shown(self._broker)} ({_said(pending.lost)})",
                f"is it running, and PORCH_BROKER_URL right? {sent}",
            )
            away.perhaps_sent = pending.perhaps_sent
            return away
        try:
            states = [self._open_way().state(i) for i in (pending.request_id, _EVERYBODY)]
            waiting = self._open_way().waiting(pending.queue)
        except OSError as lost:
            pending.lost = lost
            return self._diagnosis(pending)
        if "DATABASE_AWAY" in states:
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
        if not flaw and parts.scheme in _REDIS:
            Address.of(url)
    except ValueError as error:  # of the host or the port, and says so; never of the password
        flaw = str(error)
    if flaw:
        raise Misconfigured(
            "no_broker",
            f"{name} is not a URL that porch can use ({flaw})",
            "write redis://:password@host:6379/0",
        )


def _said(lost: OSError) -> str:
    """What was said of it, in one line."""
    return (str(lost).strip() or type(lost).__name__).splitlines()[0][:200]


def _shown(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")
