"""``porch-server doctor``: everything that can be proven about a porch, in one examination."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from config.broker_health import examine_broker
from config.clocks import Reading, compared, read
from config.wiring import QUEUES
from coordinator.errors import LedgerAway
from coordinator.health import Check, Finding, Health, Level
from db.audit import audit
from db.engine import make_engine
from db.shape import shape
from db.translate import translated

_CLOCK = text("SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)")


def examine(
    database_url: str,
    broker_url: str | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Health:
    """Examine a database and, where one is named, the broker and the workers that it serves.

    Changes nothing, and takes no lock. ``progress`` is told how many tasks have been read. A
    PostgreSQL or a broker that is away is a finding; LedgerAway is raised where it goes meanwhile.
    """
    began = time.monotonic()
    engine = make_engine(database_url)
    try:
        checks = tuple(_checks(engine, broker_url, progress))
    finally:
        engine.dispose()
    return Health(checks, time.monotonic() - began)


def _checks(
    engine: Engine, broker_url: str | None, progress: Callable[[int], None]
) -> Iterator[Check]:
    try:
        found = shape(engine)
        clock: Reading | None = _database_clock(engine)
    except LedgerAway as away:
        finding = Finding(away.message, look="is it running, and PORCH_DATABASE_URL right?")
        found, clock = [Check.of("postgresql", {}, [finding])], None
    yield from found
    clocks = {"this host": Reading(0.0, 0.0)}
    if broker_url is None:
        yield Check("broker", skipped="PORCH_BROKER_URL is not set: neither workers nor queues")
    else:
        brokered = examine_broker(broker_url, QUEUES)
        yield from brokered.checks
        clocks |= brokered.clocks
    if clock is None:
        yield Check("tasks", skipped="PostgreSQL comes first")
        return
    yield compared(clock, clocks)
    if any(check.name == "migrations" and check.level is Level.WRONG for check in found):
        yield Check("tasks", skipped="the migrations come first")
        return
    try:
        yield from audit(engine, progress)
    except ProgrammingError as error:  # a table or column is not there
        said = str(error.orig).splitlines()[0]
        yield Check.of("tasks", {}, [Finding(f"the database cannot be read: {said}")])


def _database_clock(engine: Engine) -> Reading:
    with translated(), engine.begin() as connection:
        connection.execute(_CLOCK)  # the first one pays for the connection
        return read(lambda: float(connection.execute(_CLOCK).scalar_one()))


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
            if finding.look:
                lines.append(f"{'':11}{finding.look}")
        if check.found > len(check.findings):
            lines.append(f"{'':9}- and {check.found - len(check.findings):,} more")
    verdict = "healthy" if health.healthy else f"NOT healthy: {', '.join(_names(health))}"
    return "\n".join([*lines, "", f"{verdict} ({health.seconds:.1f} s)"])


def _names(health: Health) -> list[str]:
    return [check.name for check in health.wrong]


def _looked_at(check: Check) -> str:
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"
        for name, value in check.looked_at.items()
        if value is not None
    )
