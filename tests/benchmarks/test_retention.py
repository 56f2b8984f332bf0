"""The benchmark of retention, in short: that it prunes all there is, and loses nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.growth_fill import DAYS, fill
from benchmarks.retention import Lost, measured
from config.embedded import EmbeddedUrls
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
        # Nothing is left to claim for so long: it says so, and does not time the empty queue.
        with pytest.raises(Lost, match="nothing is left to claim"):
            measured(url, scratch("archive"), None, seconds=600)
