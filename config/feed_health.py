"""Whether status messages get out: each outlet of the feed, and what it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.exc import ProgrammingError

from config.bounded import within
from coordinator.errors import PorchError
from coordinator.health import Check, Finding, Level
from db.outlets import Outlets, Standing

_PATIENCE = 5.0
#: Seconds after which somebody should look. A relay that is restarted takes a few.
_LONG = 60
_SECTION = "feed-behind"


def examine_feed(engine: Engine) -> Check:
    """How far each outlet has come. It harms no task if one is behind: these are warnings."""
    outlets = Outlets(engine)
    try:
        standings = within(_PATIENCE, outlets.standings)
        writers = within(_PATIENCE, lambda: outlets.writers(_LONG))
    except (PorchError, TimeoutError, ProgrammingError) as error:
        said = str(error).splitlines()[0]
        return Check.of("feed", {}, [Finding(f"it cannot be looked at: {said}", Level.WARNING)])
    findings = [finding for one in standings for finding in _findings(one)]
    findings += [
        Finding(
            f"the feed waits for what session {one.pid} of {one.user} ({one.application or '-'}) "
            f"has not committed for {one.seconds:.0f} s",
            Level.WARNING,
            look=f"to end it: SELECT pg_terminate_backend({one.pid})",
            runbook=_SECTION,
        )
        for one in writers
    ]
    behind = max((one.behind for one in standings), default=0)
    return Check.of("feed", {"outlets": len(standings), "behind": behind}, findings)


def _findings(one: Standing) -> Iterator[Finding]:
    wait = f"{one.name} is {one.behind:,} events behind"
    if one.failing_since is not None:
        failing = (datetime.now(UTC) - one.failing_since).total_seconds()
        if failing > _LONG:
            what = f"{wait}, nobody has taken them for {failing:.0f} s: {one.said}"
            yield Finding(what, Level.WARNING, "it is tried again for ever", _SECTION)
    elif one.waits is not None and one.waits > _LONG:
        what = f"{wait}, the first for {one.waits:.0f} s"
        yield Finding(what, Level.WARNING, "is a `porch-server relay` running?", _SECTION)
