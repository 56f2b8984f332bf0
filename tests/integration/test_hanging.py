"""Requests that hang until their process is killed for it: tried again, and given up in the end."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from celery import Celery
from sqlalchemy import text
from sqlalchemy.engine import make_url

from config.embedded import EmbeddedUrls
from config.wiring import worker_argv
from config.worker_health import COMMAND
from coordinator.requests import Search
from coordinator.service import Coordinator
from porch_client.client import Porch
from porch_client.errors import Refused
from tests.factories import caller, pipeline
from tests.faults.proxy import Proxy
from tests.house import environment, wait_until

#: Seconds after which a process is killed; in `porch-server worker`, 45.
LIMIT = "1"


@contextmanager
def worker(servers: EmbeddedUrls, database_url: str, folder: Path) -> Iterator[Path]:
    """A worker of one process with a short limit; its log."""
    env = {
        "PORCH_DATABASE_URL": database_url,
        "PORCH_BROKER_URL": servers.broker_url,
        "PORCH_READY_FILE": str(folder / "ready"),
    }
    argv = [*worker_argv("porch.submit,porch.query", 1, "hanging"), "--time-limit", LIMIT]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(argv, env=environment(env), stdout=log, stderr=log)
    try:
        wait_until((folder / "ready").exists)
        yield folder / "log"
    finally:
        # It would wait for what hangs.
        for one in [*psutil.Process(process.pid).children(), process]:
            one.kill()
        process.wait(30)


def hang(porch: Coordinator) -> None:
    """Make whoever registers {"hangs": ...} hang, for longer than the limit."""
    with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
        connection.execute(
            text(
                "CREATE FUNCTION public.hang() RETURNS trigger LANGUAGE plpgsql AS"
                " $$BEGIN PERFORM pg_sleep(7); RETURN NEW; END$$;"
                " CREATE TRIGGER hang BEFORE INSERT ON porch.task FOR EACH ROW"
                " WHEN (NEW.task_input ->> 'hangs' IS NOT NULL) EXECUTE FUNCTION public.hang()"
            )
        )


def counted(broker_url: str) -> Any:
    """What the worker tells of requests that have killed its processes."""
    with Celery(broker=broker_url, fixups=[]) as app:
        (answer,) = app.control.broadcast(COMMAND, reply=True, limit=1, timeout=10)
    (told,) = answer.values()
    return told["deadly"]


def test_what_hangs_one_process_after_the_other_is_given_up(
    porch: Coordinator, database_url: str, servers: EmbeddedUrls, tmp_path: Path
) -> None:
    _, secret = pipeline(porch)
    hang(porch)
    with (
        worker(servers, database_url, tmp_path) as log,
        Porch(servers.broker_url, secret, timeout=60) as client,
    ):
        with pytest.raises(Refused, match="internal_error: 5 processes"):
            list(client.submit([{"hangs": 1}]))
        assert log.read_text().count("given up: 5 processes") == 1
        list(client.submit([{"hangs": None}]))
    assert porch.count(caller(secret), Search()) == {"PENDING": 1}


def test_what_hangs_with_postgresql_is_tried_until_that_answers(
    porch: Coordinator,
    database_url: str,
    servers: EmbeddedUrls,
    tmp_path: Path,
) -> None:
    _, secret = pipeline(porch)
    url = make_url(database_url)
    assert url.port is not None
    with Proxy(url.port) as proxy:
        behind = url.set(port=proxy.port).render_as_string(hide_password=False)
        with (
            worker(servers, behind, tmp_path) as log,
            Porch(servers.broker_url, secret, timeout=60) as client,
            ThreadPoolExecutor() as pool,
        ):
            client.count()
            proxy.swallow()
            answer = pool.submit(client.count)
            wait_until(lambda: log.read_text().count("Hard time limit") >= 2)
            assert counted(servers.broker_url) == []
            proxy.heal()
            assert answer.result() == {}
