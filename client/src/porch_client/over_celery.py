"""The way to a broker that only Celery can speak to (RabbitMQ, Sentinel), with results in Redis.

Celery keeps its connections in pools of the process, one for each URL and set of options. Two
channels would share one there: while the first waits for a broker that is silent, the second waits
for the first. And a limit that we set would be set for a wrapper's own Celery as well. So ours
publishes over a pool that no one else can find, and `close` ends what it has opened.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from celery.exceptions import TimeoutError as NoResultYet
from celery.result import AsyncResult
from kombu.exceptions import ChannelError, LimitExceeded, OperationalError
from kombu.pools import ProducerPool
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from porch_client.way import Message, NoAnswerOfOurs, NotYet, WrongPassword

#: What a lost or refused connection looks like, seen through Celery, kombu and redis-py. Celery
#: wraps the second failure of its result consumer in a RuntimeError.
_CONNECTION_LOST = (OperationalError, RedisError, OSError, RuntimeError)
#: Seconds between two looks for something new.
_LOOK_AGAIN = 1.0
_NOT_CONNECTED = (ConnectionRefusedError, socket.gaierror)
_TIMED_OUT = (OperationalError, RedisTimeout, TimeoutError, RuntimeError)


class OverCelery:
    """A Way (see there) over connections that are nobody else's.

    Celery's result consumer is not made for several threads.
    """

    def __init__(self, broker: str, result: str, patience: float) -> None:
        self.app = _make_app(broker, result, patience)
        self._results: dict[str, AsyncResult] = {}

    def publish(self, message: Message) -> None:
        with _told():
            result = self.app.send_task(
                message.name,
                args=[message.text],
                task_id=message.request_id,
                queue=message.queue,
                headers=message.headers,
                argsrepr=message.about,
                kwargsrepr="",
                retry=False,
            )
        # Held until the answer is there: a result that is dropped ends its subscription. When the
        # request was sent before, the first result is the one that listens.
        if self._results.setdefault(message.request_id, result) is not result:
            result.backend = None

    def answer(self, request_id: str, seconds: float) -> Any:
        result = self._results.get(request_id)
        if result is None:
            result = self._results[request_id] = self.app.AsyncResult(request_id)
        with _told():
            try:
                answer = result.get(timeout=seconds, propagate=False)
            except NoResultYet:
                raise NotYet from None
            # A wrapper's Redis user may be one that must not delete; the answer expires by itself.
            with suppress(ResponseError):
                result.forget()
        self._drop(request_id)
        if isinstance(answer, Exception):
            raise NoAnswerOfOurs(str(answer))
        return answer

    def state(self, request_id: str) -> str:
        with _told():
            return str(self.app.backend.get_task_meta(request_id)["status"])

    def waiting(self, queue: str) -> int:
        with _told(), self.app.connection_for_write() as connection:
            try:
                declared = connection.default_channel.queue_declare(queue, passive=True)
            except ChannelError:  # an empty queue of Redis does not exist
                return 0
            return int(declared.message_count)

    def hear(self, signal: str, seconds: float) -> None:
        """Celery's way to listen is for results: here, whoever waits looks again soon."""
        time.sleep(min(seconds, _LOOK_AGAIN))

    def close(self) -> None:
        for request_id in list(self._results):
            self._drop(request_id)
        # Nothing of what is said on leaving matters to us any more.
        with suppress(*_CONNECTION_LOST):
            _close_app(self.app)

    def _drop(self, request_id: str) -> None:
        """Forget an expected answer. Its finalizer would talk to the broker once more, and print
        a traceback where that has gone away; without a backend it keeps still."""
        self._results.pop(request_id).backend = None


class _OwnPool(AMQP):
    """How Celery publishes: here, over one connection of its own."""

    @cached_property
    def producer_pool(self) -> ProducerPool:
        connections = self.app.connection_for_write().Pool(limit=1)
        return ProducerPool(connections, limit=1)  # type: ignore[no-untyped-call]


def _make_app(broker: str, result: str, patience: float) -> Celery:
    """An application for one thread. ``patience``: seconds for one operation on a connection."""
    connect = min(3.0, patience)
    # set_as_current=False and fixups=[]: a wrapper may have a Celery or Django of its own.
    app = Celery(
        "porch-client",
        broker=broker,
        backend=result,
        amqp=_OwnPool,
        set_as_current=False,
        fixups=[],
    )
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        broker_connection_timeout=connect,
        broker_transport_options={
            "priority_steps": [0],
            "socket_timeout": patience,
            "socket_connect_timeout": connect,
            "socket_keepalive": True,
            # Between two tries of kombu's, which begins with 2 s and adds as much each time.
            "interval_start": 0.1,
            "interval_step": 0.1,
            "interval_max": 0.5,
        },
        redis_socket_timeout=patience,
        redis_socket_connect_timeout=connect,
        redis_socket_keepalive=True,
        # Our own loop retries; Celery's would outlast the timeout.
        result_backend_transport_options={"retry_policy": {"max_retries": 0}},
    )
    return app


def _close_app(app: Celery) -> None:
    """End its connections, in whatever state they are; called in the thread that used it."""
    app.close()
    # One that a signal tore from a caller's hands is left to the garbage collector; so is one to
    # RabbitMQ, which would be asked for its consent, and may be silent.
    with suppress(LimitExceeded):
        connection = app.amqp.producer_pool.connections.acquire()
        if connection.transport.driver_type == "redis":
            connection.close()
    backend = app.backend
    backend.result_consumer.stop()
    backend.client.connection_pool.disconnect()


@contextmanager
def _told() -> Iterator[None]:
    """Tell of a lost connection in the words of a Way."""
    try:
        yield
    except _CONNECTION_LOST as lost:
        causes = list(_causes(lost))
        root = next((cause for cause in reversed(causes) if isinstance(cause, _ROOTS)), lost)
        said = (str(root).strip() or type(root).__name__).splitlines()[0]
        if any(isinstance(cause, AuthenticationError) for cause in causes):
            raise WrongPassword(said) from lost
        if any(isinstance(cause, _NOT_CONNECTED) for cause in causes):
            raise _NeverConnected(said) from lost
        raise (TimeoutError if isinstance(lost, _TIMED_OUT) else ConnectionError)(said) from lost


_ROOTS = (OSError, RedisError)


class _NeverConnected(ConnectionRefusedError, TimeoutError):
    """Refused, and tried again for as long as a silence may take: that is how kombu connects."""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it comes from, outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
