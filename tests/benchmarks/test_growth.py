"""The benchmark of growth: that it measures a ledger as porch would have made it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text

from benchmarks import growth
from benchmarks.growth_fill import fill
from config.doctor import examine
from config.embedded import EmbeddedUrls
from tests.databases import copy_of

TASKS, BACKLOG = 4_000, 3_000


@pytest.fixture(scope="module")
def filled(servers: EmbeddedUrls) -> Iterator[str]:
    with copy_of(None, servers.database_url) as url:
        fill(url, TASKS, BACKLOG)
        yield url


def scalar(url: str, question: str) -> int:
    engine = create_engine(url)
    with engine.connect() as connection:
        answer = int(connection.execute(text(question)).scalar_one())
    engine.dispose()
    return answer


def test_what_has_been_filled_is_healthy(filled: str) -> None:
    health = examine(filled)
    assert [finding for check in health.checks for finding in check.findings] == []


def test_every_finished_task_has_its_four_events(filled: str) -> None:
    events = scalar(filled, "SELECT count(*) FROM porch.event")
    assert events == 4 * TASKS + BACKLOG


def test_nothing_is_lost_while_it_measures(filled: str) -> None:
    before = scalar(filled, "SELECT count(*) FROM porch.task")
    growth.measure([growth.Ledger(filled, TASKS)], rounds=0)
    submitted = 10 * 1_000 + 4 * 1_000 + 100 + 50
    assert scalar(filled, "SELECT count(*) FROM porch.task") == before + submitted
    done = "SELECT count(*) FROM porch.event WHERE to_status = 'DONE'"
    failed = TASKS // 33
    assert scalar(filled, done) == TASKS - failed + 100 + 12 * 100 + 50
