"""The Celery application, and why each setting is as it is."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.signals import setup_logging
from kombu.transport import TRANSPORT_ALIASES

from config.logs import configure_logging
from config.settings import Settings

#: Seconds after which Redis hands an unacknowledged message to another worker. A message counts
#: as unacknowledged from the moment a worker prefetches it, so this must be more than the time that
#: all it has prefetched may take: (PREFETCH + 1) * PATIENCE. It is also how long a message waits
#: when a whole worker is killed; the client resends sooner. Every worker must use the same.
VISIBILITY_TIMEOUT = 60
PREFETCH = 4
#: Seconds that a handler keeps trying while PostgreSQL is away, before it gives the message back.
PATIENCE = 10
#: Seconds that an answer waits to be fetched.
RESULT_EXPIRES = 900
#: Seconds between sweeps. What runs out is taken back within this, and the time a sweep takes.
SWEEP_EVERY = 2.0

# For the brokers that are Redis: kombu looks transports up by the scheme of the URL.
TRANSPORT_ALIASES.update(
    redis="tasks.transport:Transport",
    rediss="tasks.transport:Transport",
    sentinel="tasks.transport:SentinelTransport",
)


def make_app(broker_url: str, result_url: str) -> Celery:
    """The application with its settings; the verbs register when ``tasks.verbs`` is imported."""
    app = Celery(
        "porch",
        broker=broker_url,
        backend=result_url,
        task_cls="tasks.poison:Task",
        fixups=[],
    )
    app.conf.update(_settings())
    # Celery's own tasks (chains, groups, map) would let a publisher run things in other ways than
    # the verbs offer.
    for name in [name for name in app.tasks if name.startswith("celery.")]:
        app.tasks.unregister(name)
    return app


def _settings() -> dict[str, Any]:
    transport = {
        "visibility_timeout": VISIBILITY_TIMEOUT,
        # By default a lost message is looked for only every 100 s.
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 30,
        # Priorities cost a BRPOP key each; queues of their own serve better.
        "priority_steps": [0],
        "queue_order_strategy": "round_robin",
        "socket_timeout": 10,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }
    return {
        # JSON and nothing else: a pickle is code.
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        # Acknowledged when the answer is stored, which is after PostgreSQL has committed.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_track_started": False,
        # A handler that hangs is killed, and its request answered as a defect, before the broker
        # gives the message to a second worker.
        "task_time_limit": VISIBILITY_TIMEOUT - 15,
        "task_create_missing_queues": True,
        "worker_consumer": "tasks.guard:Consumer",
        "worker_prefetch_multiplier": PREFETCH,
        # True would kill the worker's main process when the connection is lost.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_soft_shutdown_timeout": 10,
        "worker_send_task_events": False,
        "broker_transport_options": transport,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "redis_socket_timeout": 10,
        "redis_socket_connect_timeout": 3,
        "redis_socket_keepalive": True,
        "redis_backend_health_check_interval": 10,
        # Some seconds of patience while the answer cannot be stored: without it, Celery stores the
        # error that met the answer in its place once the broker is back; the client must resend.
        "result_backend_always_retry": True,
        "result_backend_max_retries": 12,
        "result_backend_max_sleep_between_retries_ms": 2_000,
        "result_expires": RESULT_EXPIRES,
        "beat_scheduler": "tasks.beat:Scheduler",
        "beat_schedule": {
            "sweep": {
                "task": "porch.sweep",
                "schedule": SWEEP_EVERY,
                "args": ['{"wire":1}'],
                # A queue of its own: a flood of reports does not keep it waiting.
                "options": {"queue": "porch.sweep", "argsrepr": "-", "ignore_result": True},
            }
        },
    }


def _app_from_environment() -> Celery:
    settings = Settings.from_environment()
    broker = settings.required("broker_url")
    return make_app(broker, settings.result_url or broker)


@setup_logging.connect
def _log_as_porch_does(**_: object) -> None:
    configure_logging(Settings.from_environment())


app = _app_from_environment()
