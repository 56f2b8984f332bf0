"""The benchmark of retention, in short: that it prunes all there is, and loses nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.growth_fill import DAYS, fill
from benchmarks.retention import Lost, claimer, measured
from config.embedded import EmbeddedUrls
from coordinator.request_ids import new_request_id
from coordinator.requests import Caller, Search
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.databases import copy_of

TASKS = 4_000


def test_all_is_pruned_and_nothing_is_lost_while_it_measures(
    servers: EmbeddedUrls, scratch: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with copy_of(None, servers.database_url) as url:
        fill(url, TASKS * DAYS // (DAYS - 1), 30_000)
        # It checks itself, and raises where a task, an event or a line of the archive is missing.
        assert measured(url, scratch("archive"), None, seconds=0.1) > 0
        said = capsys.readouterr().out
        pruned = int(
            said.rpartition("\n")[0].rpartition("\n")[2].partition(" ")[0].replace(",", "")
        )
        assert TASKS - 5 <= pruned <= TASKS + 5
        # Nothing is left to claim for so long: it says so, and does not time the empty queue. What
        # it would take a minute to claim one by one is claimed for it, but for some.
        porch, secret = claimer(url)
        left = _pending(porch, secret)
        while left > 1_000:
            left -= len(porch.claim(Caller(secret, new_request_id(), "test"), 1_000))
        assert left > 0
        with pytest.raises(Lost, match="nothing is left to claim"):
            measured(url, scratch("archive"), None, seconds=600)


def _pending(porch: Coordinator, secret: str) -> int:
    return porch.count(Caller(secret, new_request_id()), Search())[Status.PENDING]
