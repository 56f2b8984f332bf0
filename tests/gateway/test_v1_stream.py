"""GET /tasks where it is long, and where PostgreSQL goes away before it or in the middle of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from coordinator.service import Coordinator
from tests.factories import pipeline, submit
from tests.gateway.alone import gateway_alone

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gateway_stream.py"


def test_a_long_list_is_whole_and_takes_little_memory() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--tasks", "60000", "--clients", "2"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("120,000 tasks")


@pytest.fixture
def url(porch: Coordinator, database_url: str) -> Iterator[str]:
    """A gateway over a database of the test's own, which has more than fits between two sockets."""
    _, secret = pipeline(porch)
    for batch in range(8):
        submit(porch, secret, [{"n": (batch, n), "x": "x" * 10_000} for n in range(1_000)])
    with gateway_alone(database_url) as made:
        yield made


def cut_off(porch: Coordinator) -> None:
    """End every connection to the database but this one."""
    with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


def test_before_the_first_byte_it_is_a_proper_reply(porch: Coordinator, url: str) -> None:
    assert httpx.get(f"{url}/tasks?status=DONE").json() == []
    cut_off(porch)
    reply = httpx.get(f"{url}/tasks")
    assert reply.status_code == 503
    assert "PostgreSQL" in reply.json()["detail"]
    assert reply.headers["retry-after"]
    assert len(httpx.get(f"{url}/tasks").json()) == 8_000


def test_in_the_middle_nobody_takes_what_came_for_the_whole(porch: Coordinator, url: str) -> None:
    with httpx.stream("GET", f"{url}/tasks") as reply:
        chunks = reply.iter_raw()
        assert next(chunks).startswith(b"[")
        cut_off(porch)
        with pytest.raises(httpx.RemoteProtocolError):
            list(chunks)
