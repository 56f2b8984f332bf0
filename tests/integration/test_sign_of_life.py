"""The file that says that a worker, or beat, lives."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import make_url

from config.embedded import EmbeddedUrls
from config.wiring import beat_argv, worker_argv
from tests.faults.proxy import Proxy
from tests.house import environment, wait_until

COMMANDS = {"worker": worker_argv("porch.query", 1, "alive"), "beat": beat_argv()}


@contextmanager
def running(which: str, servers: EmbeddedUrls, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    env = {
        "PORCH_DATABASE_URL": servers.database_url,
        "PORCH_BROKER_URL": servers.broker_url,
        "PORCH_READY_FILE": str(folder / "alive"),
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            COMMANDS[which], env=environment(env), cwd=folder, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("which", COMMANDS)
def test_it_is_touched_while_the_process_goes_round_its_loop_and_no_longer(
    which: str, servers: EmbeddedUrls, tmp_path: Path
) -> None:
    file = tmp_path / "alive"
    with running(which, servers, tmp_path) as process:
        wait_until(file.exists, 30.0, f"the {which} is ready")
        wait_until(changes(file), what="it is touched")
        process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        changed = changes(file)
        with pytest.raises(AssertionError):
            wait_until(changed, 4.0)


@pytest.mark.parametrize("which", COMMANDS)
def test_it_is_not_touched_while_the_broker_is_away(
    which: str, servers: EmbeddedUrls, tmp_path: Path
) -> None:
    url = make_url(servers.broker_url)
    assert url.port
    file = tmp_path / "alive"
    with Proxy(url.port) as proxy:
        through = url.set(port=proxy.port).render_as_string(hide_password=False)
        with running(which, replace(servers, broker_url=through), tmp_path):
            wait_until(file.exists, 30.0, f"the {which} is ready")
            proxy.refuse()
            wait_until(lambda: time.time() - file.stat().st_mtime > 6, 30.0, "it grows old")
            back = changes(file)
            proxy.heal()
            wait_until(back, 60.0, "it is touched again")


def changes(file: Path) -> Callable[[], bool]:
    """Whether it is younger than it is now."""
    then = file.stat().st_mtime_ns
    return lambda: file.stat().st_mtime_ns > then
