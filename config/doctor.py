"""``porch-server doctor``: everything that can be proven about a porch, in one examination."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from kombu.utils.url import maybe_sanitize_url
from sqlalchemy import Engine
from sqlalchemy.exc import ProgrammingError

from config.bounded import within
from config.broker_health import Brokered, examine_broker, unusable
from config.clocks import Reading, compared
from config.database_health import Seen, examine_database, examine_pipelines, whose_token
from config.feed_health import examine_feed
from config.queues import QUEUES
from coordinator.health import Check, Finding, Health, Level
from db.audit import audit
from db.engine import make_engine

#: Seconds for all that is asked of the broker and of the workers; more means that it hangs.
_BROKER_SECONDS = 12.0


def examine(
    database_url: str,
    broker_url: str | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    quick: bool = False,
    data: Path | None = None,
) -> Health:
    """Examine a database and, where one is named, the broker and the workers that it serves.

    Changes nothing, and takes no lock. ``progress`` is told how many tasks have been read.
    ``quick``: only what takes a moment, neither the tasks and events nor the schema. ``data``:
    where PostgreSQL's are, if that is known, and on this host. A PostgreSQL or a broker that is
    away, or hangs, is a finding; LedgerAway is raised where it goes meanwhile.
    """
    began = time.monotonic()
    engine = make_engine(database_url)
    try:
        database = examine_database(engine, whole=not quick, data=data)
        checks = tuple(_checks(engine, database, broker_url, progress, quick))
    finally:
        engine.dispose()
    return Health(checks, time.monotonic() - began)


def _checks(
    engine: Engine,
    database: Seen,
    broker_url: str | None,
    progress: Callable[[int], None],
    quick: bool,
) -> Iterator[Check]:
    yield from database.checks
    brokered = None
    clocks = {"this host": Reading(0.0, 0.0)}
    if broker_url is None:
        yield Check("broker", skipped="PORCH_BROKER_URL is not set: neither workers nor queues")
    else:
        brokered = _brokered(broker_url, engine if database.usable else None)
        # Requests that wait for PostgreSQL are no fault of workers or senders.
        yield from (check if database.usable else check.calm() for check in brokered.checks)
        clocks |= brokered.clocks
    if database.clock is None:
        yield Check("tasks", skipped="PostgreSQL comes first")
        return
    yield compared(database.clock, clocks)
    if not database.migrated:
        yield Check("tasks", skipped="the migrations come first")
        return
    yield examine_pipelines(engine)
    feed = examine_feed(engine)
    # Without a broker nobody takes what goes into its streams.
    without = brokered is not None and any(c.level is Level.WRONG for c in brokered.checks)
    yield feed.calm() if without else feed
    if quick:
        return
    try:
        yield from audit(engine, progress)
    except ProgrammingError as error:  # a table or column is not there
        said = str(error.orig).splitlines()[0]
        yield Check.of("tasks", {}, [Finding(f"the database cannot be read: {said}")])


def _brokered(url: str, engine: Engine | None) -> Brokered:
    whose = whose_token(engine) if engine else lambda _: None
    try:
        return within(_BROKER_SECONDS, lambda: examine_broker(url, QUEUES, whose))
    except TimeoutError as hangs:
        return Brokered([unusable(maybe_sanitize_url(url), hangs)])


def as_text(health: Health) -> str:
    """The examination, to read: a line for each check, and below it what was found."""
    width = max(len(check.name) for check in health.checks)
    lines = []
    for check in health.checks:
        word = "WRONG" if check.level is Level.WRONG else check.level.value
        told = check.skipped or ": ".join(filter(None, (check.about, _looked_at(check))))
        lines.append(f"{word:<8} {check.name:<{width}}  {told}".rstrip())
        for finding in check.findings:
            lines.append(f"{'':9}- {finding.what}")
            where = finding.runbook and f"(docs/runbook.md#{finding.runbook})"
            more = " ".join(filter(None, (finding.look, where)))
            if more:
                lines.append(f"{'':11}{more}")
        if check.found > len(check.findings):
            lines.append(f"{'':9}- and {check.found - len(check.findings):,} more")
    verdict = "healthy" if health.healthy else f"NOT healthy: {_names(health.wrong)}"
    verdict += f" ({health.seconds:.1f} s)"
    if health.warned:
        verdict += f"; look at: {_names(health.warned)}"
    return "\n".join([*lines, "", verdict])


def _names(checks: Iterable[Check]) -> str:
    return ", ".join(check.name for check in checks)


def _looked_at(check: Check) -> str:
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"
        for name, value in check.looked_at.items()
        if value is not None
    )
