"""A gateway by itself, over a database and with settings of the test's choice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from config.ports import free_port
from tests.house import environment, wait_until


@contextmanager
def gateway_alone(
    database_url: str,
    *options: str,
    answers: Callable[[int], bool] | None = None,
    **settings: str,
) -> Iterator[str]:
    """The URL of a gateway that runs while the block does; ``answers``: how its port is tried."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "config", "gateway", "--port", str(port), *options],
        env=environment({"PORCH_DATABASE_URL": database_url, **settings}),
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(port) if answers else _answers(url), what="the gateway answers")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live").is_success
    except httpx.TransportError:
        return False
