"""Whether claims notice that a million finished tasks are being pruned beside them.

    python -m benchmarks.retention [--tasks N] [--windows N]

``porch-server archive`` runs on a ledger of that many finished tasks, and is stopped and let go on
by turns (SIGSTOP, SIGCONT), while claims of one task each go on one after the other: what disturbs
the machine disturbs both. Printed are the milliseconds of a claim without and beside the pruning,
their ratio (the median over pairs of windows), and how much was pruned in that time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import create_engine, text

from benchmarks.growth_fill import BENCHMARKED, fill
from config.embedded import embedded_servers
from config.server_home import remove_state_dir
from config.wiring import make_coordinator
from coordinator.access import digest, new_secret
from coordinator.request_ids import new_request_id
from coordinator.requests import Caller
from coordinator.service import Coordinator
from db.migrate import upgrade

#: How many times as long a claim may take beside the pruning.
MOST = 1.3

WINDOW_SECONDS = 2.0
_KEEP = "UPDATE porch.pipeline SET keep_done_seconds = 86400, keep_failed_seconds = 86400"
_PRUNED = "SELECT count(*) FROM porch.task WHERE pruned_at IS NOT NULL"


def main() -> int:
    """Exits 1 where claims take longer than they may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--windows", type=int, default=20, help="pairs of windows")
    asked = parser.parse_args()
    state = Path(tempfile.mkdtemp(prefix="porch-retention-"))
    try:
        with embedded_servers(state / "state") as urls:
            upgrade(urls.database_url)
            fill(urls.database_url, asked.tasks)
            ratio = measured(urls.database_url, state / "archive", asked.windows)
    finally:
        remove_state_dir(state / "state")
        shutil.rmtree(state, ignore_errors=True)
    return 0 if ratio <= MOST else 1


def measured(database_url: str, folder: Path, windows: int) -> float:
    """How many times as long a claim takes beside the pruning."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text(_KEEP))
    porch, secret = make_coordinator(database_url), new_secret()
    porch.ledger.add_token(digest(secret), porch.ledger.pipeline(BENCHMARKED), "benchmark")
    window(porch, secret, WINDOW_SECONDS)
    argv = [sys.executable, "-m", "config", "archive", "--to", str(folder)]
    archiving = subprocess.Popen(argv, env={**os.environ, "PORCH_DATABASE_URL": database_url})
    without, beside = [], []
    began = time.perf_counter()
    for _ in range(windows):
        if archiving.poll() is not None:
            break
        beside.append(window(porch, secret, WINDOW_SECONDS))
        archiving.send_signal(signal.SIGSTOP)
        without.append(window(porch, secret, WINDOW_SECONDS))
        archiving.send_signal(signal.SIGCONT)
    seconds = (time.perf_counter() - began) / 2
    archiving.kill()
    archiving.wait()
    with engine.connect() as connection:
        pruned = connection.execute(text(_PRUNED)).scalar_one()
    engine.dispose()
    ratio = statistics.median(b / w for b, w in zip(beside, without, strict=True))
    print(
        f"a claim: {statistics.median(without):.2f} ms alone, {statistics.median(beside):.2f} ms "
        f"beside the pruning: {ratio:.2f} times as long, over {len(beside)} pairs of windows; "
        f"{pruned:,} tasks pruned in {seconds:.0f} s"
    )
    return ratio


def window(porch: Coordinator, secret: str, seconds: float) -> float:
    """The mean milliseconds of a claim, over so many seconds."""
    claims, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        porch.claim(Caller(secret, new_request_id(), "bench"), 1)
        claims += 1
    return took * 1000 / claims


if __name__ == "__main__":
    sys.exit(main())
