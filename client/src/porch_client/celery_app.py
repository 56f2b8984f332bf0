"""The Celery application of one Channel, with connections that are nobody else's.

Celery keeps its connections in pools of the process, one for each URL and set of options. Two
channels would share one there: while the first waits for a broker that is silent, the second waits
for the first. And a limit that we set would be set for a wrapper's own Celery as well. So ours
publishes over a pool that no one else can find, and `close` ends what it has opened.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property

from celery import Celery
from celery.app.amqp import AMQP
from kombu.exceptions import LimitExceeded
from kombu.pools import ProducerPool


class _OwnPool(AMQP):
    """How Celery publishes: here, over one connection of its own."""

    @cached_property
    def producer_pool(self) -> ProducerPool:
        connections = self.app.connection_for_write().Pool(limit=1)
        return ProducerPool(connections, limit=1)  # type: ignore[no-untyped-call]


def make_app(broker: str, result: str, patience: float) -> Celery:
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


def close_app(app: Celery) -> None:
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
