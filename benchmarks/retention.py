"""Whether claims notice that a million finished tasks are being pruned beside them.

    python -m benchmarks.retention [--tasks N] [--windows N]

``porch-server archive`` prunes all of them, and is stopped and let go on by turns (SIGSTOP,
SIGCONT), while claims of one task each go on one after the other: what disturbs the machine
disturbs both. Printed are the milliseconds of a claim before the pruning, between its turns and
beside it, how many times as long it takes beside it (the median over pairs of windows, and where
the middle half of them lies), and how much was pruned how fast. That nothing is lost is checked
at the end: ``Lost`` is raised otherwise.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, text

from benchmarks.growth_fill import BACKLOG, BENCHMARKED, DAYS, fill
from config.embedded import embedded_servers
from config.server_home import remove_state_dir
from config.wiring import make_coordinator
from coordinator.access import digest, new_secret
from coordinator.model import Standing
from coordinator.request_ids import new_request_id
from coordinator.requests import Caller
from coordinator.service import Coordinator
from db.migrate import upgrade

#: How many times as long a claim may take beside the pruning.
MOST = 1.3

WINDOW_SECONDS = 2.0
#: As a share of that: for how long the pruning is stopped between two of them.
_REST = 0.5
#: Windows of claims before the pruning begins.
_BEFORE = 10

_KEEP = "UPDATE porch.pipeline SET keep_done_seconds = 86400, keep_failed_seconds = 86400"
#: What has become due since the archive looked is for the next one.
_DUE = """
    SELECT count(*) FROM porch.task WHERE status IN ('DONE', 'FAILED') AND pruned_at IS NULL
        AND updated_at < now() - interval '25 hours'
    """
_COUNTS = """
    SELECT count(*) AS tasks, count(pruned_at) AS pruned,
        count(*) FILTER (WHERE status = 'CLAIMED') AS claimed,
        coalesce(sum(pruned_events), 0) AS events_pruned,
        (SELECT count(*) FROM porch.event) AS events
    FROM porch.task
    """
#: Inputs that are pruned; submitted again, they must be known.
_SAMPLE = """
    SELECT CAST(task_input AS text) FROM porch.task
    WHERE pipeline_id = (SELECT pipeline_id FROM porch.pipeline WHERE name = :name)
        AND status = 'DONE' AND updated_at < now() - interval '2 days'
    ORDER BY task_id LIMIT 100
    """


class Lost(Exception):
    """Something is not there any more, or not pruned, that should be."""


@dataclass
class Windows:
    """Milliseconds of every claim, window by window."""

    before: list[list[float]]
    beside: list[list[float]]
    between: list[list[float]]

    @property
    def ratios(self) -> list[float]:
        """How many times as long a claim took beside the pruning, for each pair of windows."""
        pairs = zip(self.beside, self.between, strict=True)
        return [statistics.fmean(b) / statistics.fmean(w) for b, w in pairs]


def main() -> int:
    """Exits 1 where claims take longer than they may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000, help="finished, to be pruned")
    parser.add_argument("--windows", type=int, help="pairs at most; until the end if not given")
    asked = parser.parse_args()
    state = Path(tempfile.mkdtemp(prefix="porch-retention-"))
    try:
        with embedded_servers(state / "state") as urls:
            upgrade(urls.database_url)
            # Of the last of so many days, nothing is due.
            fill(urls.database_url, asked.tasks * DAYS // (DAYS - 1), _backlog(asked.tasks))
            ratio = measured(urls.database_url, state / "archive", asked.windows)
    finally:
        remove_state_dir(state / "state")
        shutil.rmtree(state, ignore_errors=True)
    return 0 if ratio <= MOST else 1


def _backlog(tasks: int) -> int:
    """Enough to claim for as long as the pruning takes."""
    return max(BACKLOG, tasks // 2)


def measured(
    database_url: str, folder: Path, windows: int | None, seconds: float = WINDOW_SECONDS
) -> float:
    """How many times as long a claim takes beside the pruning. Raises Lost."""
    engine = create_engine(database_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(_KEEP))
        there = connection.execute(text(_COUNTS)).one()
        known = connection.execute(text(_SAMPLE), {"name": BENCHMARKED}).scalars().all()
        porch, secret = claimer(database_url)
        found = Windows([], [], [])
        window(porch, secret, seconds)
        found.before += [window(porch, secret, seconds) for _ in range(_BEFORE)]
        began = time.perf_counter()
        with _archiving(database_url, folder) as archiving:
            while archiving.poll() is None and len(found.beside) != windows:
                beside = window(porch, secret, seconds)
                if archiving.poll() is not None:
                    break  # it ended in the midst of this one
                archiving.send_signal(signal.SIGSTOP)
                found.between.append(window(porch, secret, seconds * _REST))
                found.beside.append(beside)
                archiving.send_signal(signal.SIGCONT)
            took = time.perf_counter() - began - seconds * _REST * len(found.between)
            ended = archiving.poll()
        if ended:
            raise Lost(f"the archive ended with {ended}")
        if whole := ended == 0:
            _nothing_is_lost(connection, there, folder)
            _all_is_known(porch, secret, known)
        pruned = connection.execute(text(_COUNTS)).one().pruned
    engine.dispose()
    return _told(found, pruned, took, whole=whole)


def claimer(database_url: str) -> tuple[Coordinator, str]:
    """Who claims what is benchmarked: a Coordinator, and the secret of a token."""
    porch, secret = make_coordinator(database_url), new_secret()
    porch.ledger.add_token(digest(secret), porch.ledger.pipeline(BENCHMARKED), "benchmark")
    return porch, secret


@contextmanager
def _archiving(database_url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", "config", "archive", "--to", str(folder)]
    env = {**os.environ, "PORCH_DATABASE_URL": database_url}
    process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def window(porch: Coordinator, secret: str, seconds: float) -> list[float]:
    """The milliseconds of each claim, over so many seconds."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        if not porch.claim(Caller(secret, new_request_id(), "bench"), 1):
            raise Lost("nothing is left to claim: the backlog was too small")
        took.append((time.perf_counter() - begin) * 1000)
    return took


def _nothing_is_lost(connection: Connection, before: Any, folder: Path) -> None:
    """All that is due is pruned, and in the archive; every task is there; every event too, or it
    is counted."""
    now = connection.execute(text(_COUNTS)).one()
    due = connection.execute(text(_DUE)).scalar_one()
    claims = now.claimed - before.claimed
    lines = 0
    for path in folder.glob("*.gz"):
        with gzip.open(path) as packed:
            lines += sum(1 for _ in packed)
    wrong = {
        "tasks": now.tasks - before.tasks,
        "still due": due,
        "not in the archive": now.pruned - lines,
        "events": before.events + claims - now.events - now.events_pruned,
    }
    if any(wrong.values()):
        raise Lost(f"{wrong}")


def _all_is_known(porch: Coordinator, secret: str, known: Sequence[str]) -> None:
    caller = Caller(secret, new_request_id(), "bench")
    answers = porch.submit(caller, [json.loads(task_input) for task_input in known])
    if any(not isinstance(answer, Standing) or answer.created for answer in answers):
        raise Lost("what was pruned is not known any more")


def _told(found: Windows, pruned: int, took: float, *, whole: bool) -> float:
    ratio = statistics.median(found.ratios)
    low, _, high = statistics.quantiles(found.ratios, n=4)
    for name in ("before", "between", "beside"):
        claims = sorted(ms for window in getattr(found, name) for ms in window)
        middle, slow = claims[len(claims) // 2], claims[len(claims) * 99 // 100]
        print(
            f"a claim {name} the pruning: {statistics.fmean(claims):.2f} ms "
            f"(median {middle:.2f}, 99th percentile {slow:.2f}), {len(claims):,} claims"
        )
    print(
        f"beside it {ratio:.2f} times as long as between its turns, over {len(found.ratios)} pairs "
        f"of windows (middle half {low:.2f} to {high:.2f})"
    )
    share = f"{pruned:,} tasks pruned" + ("" if whole else ", stopped before the end")
    print(f"{share}, in {took:.0f} s of its own: {pruned / took:,.0f} a second")
    return ratio


if __name__ == "__main__":
    sys.exit(main())
