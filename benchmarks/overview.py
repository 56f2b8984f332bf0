"""How long operators wait for what they look at, with a million tasks.

    python -m benchmarks.overview [--tasks N] [--keep DIRECTORY] [--times N] [--unanalysed]

Each question is put to a Coordinator that has just begun, and put to it again: what a large ledger
has answered is remembered for a moment. The table also tells how often a whole table was read.
Builds the ledger in servers of its own; with --keep, only where the directory does not exist yet.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Engine, create_engine, text

from benchmarks.million import make
from config.embedded import embedded_servers
from config.server_home import remove_state_dir
from config.wiring import make_coordinator
from coordinator.overview import View
from coordinator.requests import Caller
from coordinator.service import Coordinator
from coordinator.status import Status
from db.engine import make_engine
from db.migrate import upgrade

ANYBODY = Caller(None, uuid4())
_OTHERS = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'porch'")
_SCANS = text(
    "SELECT sum(seq_scan) FROM pg_stat_user_tables"
    " WHERE schemaname = 'porch' AND relname IN ('task', 'event')"
)
BIG, SMALL, QUIET = "pipeline-01", "pipeline-20", "pipeline-30"


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--keep", type=Path, help="where the ledger is, or will be, kept")
    parser.add_argument(
        "--unanalysed", action="store_true", help="as if no vacuum had ever come by (new ledger)"
    )
    given = parser.parse_args()
    with ledger(given.keep, given.tasks, vacuum=not given.unanalysed) as url:
        measure(url, given.times)


@contextlib.contextmanager
def ledger(keep: Path | None, tasks: int, *, vacuum: bool = True) -> Iterator[str]:
    """The URL of a ledger with so many tasks, in a folder that is kept or removed."""
    with contextlib.ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "state"
        is_new = not folder.exists()
        if keep is None:
            stack.callback(remove_state_dir, folder)
        urls = stack.enter_context(embedded_servers(folder))
        if is_new:
            build(urls.database_url, tasks, vacuum=vacuum)
        yield urls.database_url


def build(url: str, tasks: int, *, vacuum: bool) -> None:
    """Fill the ledger."""
    begin = time.perf_counter()
    upgrade(url)
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        if not vacuum:
            connection.execute(text("ALTER SYSTEM SET autovacuum = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
        engine = make_engine(url)
        make(engine, tasks)
        engine.dispose()
        if vacuum:
            connection.execute(text("VACUUM ANALYZE"))
    say(f"{tasks:,} tasks in {time.perf_counter() - begin:.0f} s\n")


def measure(url: str, times: int) -> None:
    """Each verb and each filter, several times; the table of how long they took."""
    say(f"{'what':40} {'median':>8} {'worst':>8} {'again':>8} {'whole':>6}  answer")
    say(f"{'':40} {'ms':>8} {'ms':>8} {'ms':>8} {'tables':>6}")
    observer = create_engine(url, isolation_level="AUTOCOMMIT")
    for name, ask in questions().items():
        took: list[float] = []
        again: list[float] = []
        answer: object = None
        before = whole_scans(observer)
        for _ in range(times):
            # One of its own: what another one remembers must not flatter.
            porch = make_coordinator(url, open_reads=True)
            porch.check_ledger()
            for turn in (took, again):
                begin = time.perf_counter()
                answer = ask(porch)
                turn.append((time.perf_counter() - begin) * 1_000)
            porch.ledger.engine.dispose()  # type: ignore[attr-defined]
        say(
            f"{name:40} {statistics.median(took):8.1f} {max(took):8.1f} "
            f"{statistics.median(again):8.1f} {whole_scans(observer) - before:6}  {answer}"
        )


def whole_scans(engine: Engine) -> int:
    """How often all of the tasks or events have been read, by sessions that have ended."""
    with engine.connect() as connection:
        while connection.execute(_OTHERS).scalar_one():
            time.sleep(0.05)  # a session tells what it has done when it ends
        return int(connection.execute(_SCANS).scalar_one())


def questions() -> dict[str, Callable[[Coordinator], object]]:
    """What is asked, by name; the answers are cut down to what one can read in a table."""

    def page(after: str | None = None, **view: object) -> Callable[[Coordinator], object]:
        def ask(porch: Coordinator) -> object:
            shown = porch.page(ANYBODY, View(**view), after=after)  # type: ignore[arg-type]
            age = shown.searched_to
            return f"{len(shown.tasks)} tasks" + (f", searched to {age:%Y-%m-%d}" if age else "")

        return ask

    def throughput(hours: int, pipeline: str | None = None) -> Callable[[Coordinator], object]:
        return lambda porch: len(porch.throughput(ANYBODY, pipeline=pipeline, hours=hours))

    def first_view(porch: Coordinator) -> object:
        porch.page(ANYBODY, View())
        porch.counts(ANYBODY)
        porch.throughput(ANYBODY)
        porch.run_times(ANYBODY)
        return f"{len(porch.failure_groups(ANYBODY))} groups"

    asked: dict[str, Callable[[Coordinator], object]] = {
        "first view: all of these, one by one": first_view,
        "page": page(),
        "counts": lambda porch: f"{len(porch.counts(ANYBODY))} pipelines",
        "throughput, 24 hours": throughput(24),
        "throughput, 7 days": throughput(168),
        "throughput, 31 days": throughput(744),
        f"throughput, 24 hours, {BIG}": throughput(24, BIG),
        f"throughput, 7 days, {BIG}": throughput(168, BIG),
        f"throughput, 31 days, {BIG}": throughput(744, BIG),
        f"throughput, 31 days, {SMALL}": throughput(744, SMALL),
        "run times": lambda porch: f"{len(porch.run_times(ANYBODY))} pipelines",
        "failure groups": lambda porch: f"{len(porch.failure_groups(ANYBODY, most=1_000))} groups",
        "failures of the largest group": largest_group,
        "page, half-way down": page(after="n500000"),
        "page, oldest": page(after="n40"),
    }
    for pipeline in (BIG, SMALL, QUIET):
        asked[f"page, {pipeline}"] = page(pipeline=pipeline)
    for status in Status:
        asked[f"page, {status}"] = page(status=status)
    asked[f"page, {SMALL} FAILED"] = page(pipeline=SMALL, status=Status.FAILED)
    for kind in ("not_done", "long_running", "recent_failures"):
        asked[f"page, {kind}"] = page(kind=kind)
        asked[f"page, {kind}, {SMALL}"] = page(kind=kind, pipeline=SMALL)
    asked["page, recent_failures, half-way"] = page(
        kind="recent_failures", after=f"c{int((time.time() - 45 * 86_400) * 1e6)}-1"
    )
    for what, words in {"new": '"samea10999', "old": "SAMEA10000017", "none": "nowhere"}.items():
        asked[f"page, text ({what})"] = page(text=words)
        asked[f"page, text ({what}), {BIG}"] = page(text=words, pipeline=BIG)
        asked[f"page, text ({what}), not_done"] = page(text=words, kind="not_done")
        asked[f"page, text ({what}), FAILED"] = page(text=words, kind="recent_failures")
        asked[f"page, text ({what}), DONE, {SMALL}"] = page(
            text=words, status=Status.DONE, pipeline=SMALL
        )
    return asked


def largest_group(porch: Coordinator) -> object:
    group = porch.failure_groups(ANYBODY)[0]
    return f"{len(porch.failures(ANYBODY, group.pipeline, group.group)[0])} tasks"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
