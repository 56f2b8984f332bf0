"""Reports that are not lost: each is on disk before it is sent, and until it is answered.

A job may be killed at the end of its time while it waits for an answer; whoever flushes the spool
next sends what it had to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from porch_client.bundle import Reports
from porch_client.channel import UNSENT, Channel
from porch_client.errors import Misconfigured, PorchError, Unreachable
from porch_client.flushing import PASSING, flush_first
from porch_client.model import Change, Flushed
from porch_client.spool import Spool
from porch_client.submission import WINDOW


def kept_reports(pipeline: str | None, request_id: str, changes: Sequence[Change]) -> Reports:
    """Reports as a spool keeps them. Raises Misconfigured where they do not say enough for that."""
    if pipeline is None:
        raise Misconfigured(
            "spool_needs_pipeline",
            "no pipeline is named, and who sends the spool may have another token",
            "name the pipeline where you give a spool (--pipeline NAME)",
        )
    for change in changes:
        if change.attempt is None:
            raise Misconfigured(
                "spool_needs_attempt",
                f"{change.task[:12]}: no attempt is named, and a report that comes late would be "
                "taken for one of whoever holds the task then",
                "say which attempt you hold (--attempt N): the claim has told it",
            )
    return Reports(pipeline, request_id, [change.as_wire() for change in changes])


def report(
    channel: Channel, spool: Spool, reports: Reports, told: Callable[[Flushed], object] | None
) -> Sequence[Mapping[str, Any]] | Unreachable:
    """Send reports, after what is kept from before. The results, or why they are kept.

    Raises the refusal of all of them; what was refused for no fault of theirs stays in the spool.
    """
    name = spool.put(reports)
    flushed = flush_first(channel, spool, WINDOW, besides=name)
    if told is not None and flushed.any():
        told(flushed)
    if flushed.away is not None:
        return flushed.away
    try:
        answer = channel.wait(reports.prepare(channel), unsent=UNSENT)
    except Unreachable as away:
        return away
    except PorchError as error:
        if error.code not in PASSING:
            spool.remove(name)
        raise
    spool.remove(name)
    results: Sequence[Mapping[str, Any]] = answer["results"]
    return results
