"""``porch-server flower``: Flower, behind a password, on events that workers send while it runs.

It is started from here and not by its own command, which would take its settings from a
``flowerconfig.py`` in the working directory, from any ``FLOWER_*`` in the environment, and the
password from its arguments, which all users of the machine can see.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import signal
import sys
from typing import Any

from celery import Celery
from flower.app import Flower
from flower.options import options
from flower.urls import settings as web_settings
from flower.views import BaseHandler
from kombu.exceptions import OperationalError

from config.flower_home import USER, FlowerHome
from config.logs import configure_logging
from config.ports import check_address, free_port
from config.queues import QUEUES
from config.settings import Settings

logger = logging.getLogger("porch")

#: Of each task, Flower keeps about 3 kB.
_MOST_TASKS = 10_000
#: A worker in a container has a new name at each start.
_FORGET_WORKERS_SECONDS = 86_400
#: What is lost when it is killed.
_SAVE_MILLISECONDS = 5 * 60_000
#: For which answers of workers are waited; Flower itself waits as long.
_ANSWER_SECONDS = 1.0
_ASK_AGAIN_SECONDS = 1.0
#: In this order a row begins like a sentence: `porch.submit  pipeline=cardinal n=500 new=480`.
_COLUMNS = "name,result,args,state,received,runtime,worker,uuid"


def serve(host: str, port: int, settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C; port 0 is any that is free. Raises Misconfigured."""
    port = port or free_port()
    check_address(host, port, "Flower", "PORCH_FLOWER")
    os.umask(0o077)
    configure_logging(settings)
    # One line for each look at a page is no news.
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    home = FlowerHome(settings.state_dir)
    # It opens its interface to all websites where no password is set and this is.
    os.environ.pop("FLOWER_UNAUTHENTICATED_API", None)
    chosen: dict[str, Any] = {
        "address": host,
        "port": port,
        "basic_auth": [f"{USER}:{settings.flower_password or home.password()}"],
        # Whoever stops a worker or revokes a request does it with `celery control`, on purpose.
        "read_only": True,
        "persistent": True,
        "db": str(home.events),
        "state_save_interval": _SAVE_MILLISECONDS,
        "max_tasks": _MOST_TASKS,
        "purge_offline_workers": _FORGET_WORKERS_SECONDS,
        "tasks_columns": _COLUMNS,
    }
    for name, value in chosen.items():
        setattr(options, name, value)
    # Flower would show the queues of those workers only that had answered when it started.
    BaseHandler.get_active_queue_names = lambda _: sorted(QUEUES)
    _run(Flower(capp=make_app(settings.required("broker_url")), options=options, **web_settings))


def make_app(broker_url: str) -> Celery:
    """What Flower asks workers through: it knows no task, and where no answer is."""
    # Without results: an answer may be a thousand task_inputs, and is none of an operator's.
    app = Celery("porch-flower", broker=broker_url, backend="disabled://", fixups=[])
    app.conf.update(
        accept_content=["json"],
        broker_connection_timeout=3,
        broker_transport_options={
            "priority_steps": [0],
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 10,
            # Every consumer of kombu's gives back what workers have had in hand for too long, by
            # its own idea of that. Flower looks where nothing is, and holds no lock of theirs.
            "unacked_key": "celeryev.flower.unacked",
            "unacked_index_key": "celeryev.flower.unacked_index",
            "unacked_mutex_key": "celeryev.flower.unacked_mutex",
        },
    )
    return app


def _run(flower: Flower) -> None:
    def end(*_: object) -> None:
        sys.exit(0)

    # It saves what it has seen when it is stopped.
    atexit.register(flower.stop)
    signal.signal(signal.SIGTERM, end)
    flower.start_http_server()
    logger.info("Flower listens on %s, port %s", options.address, options.port)
    try:
        _look(flower)
    except (KeyboardInterrupt, SystemExit):
        # Nobody listens any more; workers go on telling until they are told.
        with contextlib.suppress(OperationalError):
            flower.capp.control.disable_events()


def _look(flower: Flower) -> None:
    """As its own ``start``, which would ask workers at once how they are. `up` starts them at the
    same time: it would hear nothing, complain, and not ask again."""
    flower.events.start()
    flower.started = True
    flower.io_loop.add_callback(_ask_workers, flower)
    flower.io_loop.start()


async def _ask_workers(flower: Flower) -> None:
    """Ask them all how they are, once one of them answers at all."""
    while not await flower.io_loop.run_in_executor(None, _is_answered, flower.capp):
        await asyncio.sleep(_ASK_AGAIN_SECONDS)
    flower.update_workers()


def _is_answered(app: Celery) -> bool:
    try:
        return bool(app.control.ping(timeout=_ANSWER_SECONDS))
    except (OperationalError, *app.connection_for_read().recoverable_connection_errors):
        return False  # whoever reads events tells that the broker is away
