"""How long operators wait for their page, over HTTP, with a million tasks.

    python -m benchmarks.page [--tasks N] [--keep DIRECTORY] [--times N]

"cold": the first answer of a gateway that has just been started, which remembers nothing. Fails if
any other median is 300 ms or more. Builds the ledger in servers of its own; with --keep, only where
the directory does not exist yet.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import httpx

from benchmarks.gateway_stream import gateway
from benchmarks.overview import BIG, SMALL, ledger, say

MOST_MS = 300

VIEWS = {
    "first view": {},
    "not done": {"kind": "not_done"},
    "long running": {"kind": "long_running"},
    "recent failures": {"kind": "recent_failures"},
    "a large pipeline": {"pipeline": BIG},
    "a small pipeline": {"pipeline": SMALL},
    "FAILED": {"status": "FAILED"},
    "PENDING of a small pipeline": {"status": "PENDING", "pipeline": SMALL},
    "text that many have": {"text": "1"},
    "text that none has": {"text": "no such text"},
    "text, not done, a large pipeline": {"text": "9", "kind": "not_done", "pipeline": BIG},
    "seven days": {"hours": "168"},
}


def main() -> None:
    """Build, ask, print; exit 1 for what is too slow."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--keep", type=Path, help="where the ledger is, or will be, kept")
    given = parser.parse_args()
    with ledger(given.keep, given.tasks) as url:
        slow = measure(url, given.times)
    sys.exit(f"{MOST_MS} ms or more: {', '.join(slow)}" if slow else 0)


def measure(database_url: str, times: int) -> list[str]:
    """Print how long each view takes; the names of those that take too long."""
    say(f"{'what':36} {'median':>8} {'worst':>8}  ms")
    slow = []
    cold = []
    for _ in range(5):
        with gateway(database_url) as (_, url), httpx.Client(base_url=url, timeout=60) as client:
            client.get("/health/ready")
            cold.append(asked(client, {}))
    told("first view, cold", cold, [])
    with gateway(database_url) as (_, url), httpx.Client(base_url=url, timeout=60) as client:
        for name, query in VIEWS.items():
            told(name, [asked(client, query) for _ in range(times)], slow)
    return slow


def asked(client: httpx.Client, query: dict[str, str]) -> float:
    """Milliseconds until all of the page is here."""
    begin = time.perf_counter()
    client.get("/", params=query).raise_for_status()
    return (time.perf_counter() - begin) * 1_000


def told(name: str, took: list[float], slow: list[str]) -> None:
    """Print a line, and note what is too slow."""
    median = statistics.median(took)
    say(f"{name:36} {median:8.1f} {max(took):8.1f}")
    if median >= MOST_MS:
        slow.append(name)


if __name__ == "__main__":
    main()
