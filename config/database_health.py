"""What can be seen of PostgreSQL in a moment: is it there, is it fit, has it room."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from config.bounded import within
from config.clocks import Reading, read
from config.flood import Known
from coordinator.errors import LedgerAway, PorchError
from coordinator.health import Check, Finding, Level
from db import vitals
from db.shape import shape
from db.translate import translated

#: Seconds for each of the questions. To connect may take three of them.
_PATIENCE = 5.0
#: Bytes that are left on its disk: too few to go on, and part of it that is soon used up.
_FULL = 16 << 20
_NEARLY = 0.05

_CLOCK = text("SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)")


@dataclass(slots=True)
class Seen:
    """What was found. ``usable``: requests can be carried out; ``migrated``: there are tables."""

    checks: list[Check] = field(default_factory=list)
    clock: Reading | None = None
    usable: bool = False
    migrated: bool = False


def examine_database(engine: Engine, *, whole: bool, data: Path | None = None) -> Seen:
    """PostgreSQL itself; ``whole``: its schema too. One that is away or hangs is a finding.

    ``data``: where its data are, if they are on this host and that is known.
    """
    seen = Seen()
    try:
        seen.checks += within(_PATIENCE * (4 if whole else 1), lambda: shape(engine, whole=whole))
        seen.clock = within(_PATIENCE, lambda: _clock(engine))
        full, where = within(_PATIENCE, lambda: vitals.room(engine))
        seen.checks.append(_disk(full, where))
    except (LedgerAway, TimeoutError) as away:
        said = away.message if isinstance(away, LedgerAway) else f"PostgreSQL hangs: {away}"
        seen.checks[:1] = [_away(said, data)]  # also in its midst
        seen.clock = None
        return seen
    wrong = {check.name for check in seen.checks if check.level is Level.WRONG}
    seen.migrated = "migrations" not in wrong
    seen.usable = seen.migrated and "disk" not in wrong
    return seen


def examine_pipelines(engine: Engine) -> Check:
    """How each pipeline stands."""
    try:
        return within(2 * _PATIENCE, lambda: vitals.pipelines(engine))
    except (PorchError, TimeoutError, ProgrammingError) as error:
        said = str(error).splitlines()[0]
        return Check.of("pipelines", {}, [Finding(f"they cannot be looked at: {said}")])


def whose_token(engine: Engine) -> Callable[[bytes], Known | None]:
    """Names the owners of tokens, as long as PostgreSQL does."""

    def known(name: bytes) -> Known | None:
        try:
            row = within(_PATIENCE, lambda: vitals.owner(engine, name))
        except (PorchError, TimeoutError):
            return None
        return row and Known(row.token_id, row.pipeline, row.description)

    return known


def _clock(engine: Engine) -> Reading:
    with translated(), engine.begin() as connection:
        connection.execute(_CLOCK)  # the first one pays for the connection
        return read(lambda: float(connection.execute(_CLOCK).scalar_one()))


def _away(said: str, data: Path | None) -> Check:
    """It cannot be used. Where it finds no room for its log, it stops."""
    if data is not None and data.exists() and shutil.disk_usage(data).free < _FULL:
        what, look = f"PostgreSQL's disk is full, and it has stopped: {said}", "make room there"
        finding = Finding(what, look=f"{look}, and see that it is started", runbook="disk-full")
    else:
        look = "is it running, and PORCH_DATABASE_URL right?"
        finding = Finding(f"PostgreSQL is away: {said}", look=look, runbook="postgresql-away")
    return Check.of("postgresql", {}, [finding])


def _disk(full: str | None, where: str | None) -> Check:
    """Whether PostgreSQL has room for more; on this host, also for how much."""
    if full is not None:
        finding = Finding(
            f"PostgreSQL's disk is full: {full}",
            look="make room there; workers and wrappers go on by themselves",
            runbook="disk-full",
        )
        return Check.of("disk", {}, [finding])
    free = total = None
    # The path is the server's: it says nothing unless that very server's data are here.
    if where is not None and (Path(where) / "postmaster.pid").exists():
        total, _, free = shutil.disk_usage(where)
    findings = []
    if free is not None and total and free < max(_FULL, _NEARLY * total):
        findings.append(
            Finding(
                f"PostgreSQL's disk is nearly full: {free >> 20:,} of {total >> 20:,} MB are free",
                Level.WRONG if free < _FULL else Level.WARNING,
                "make room there, before it is full",
                "disk-full",
            )
        )
    looked_at = {"free_mb": None if free is None else free >> 20}
    return Check.of("disk", looked_at, findings, "PostgreSQL has room for more")
