"""Text for people: closing lines, the history of a task, tables. Programs get JSON instead."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

from porch_client.model import STATUSES, Event, Flushed, Pipeline, StatusMessage, Task, Token
from porch_client.printable import padded, printable, width

_ORDER = {status: place for place, status in enumerate(STATUSES)}


def statuses(counts: Mapping[str, int]) -> str:
    """`6,200 PENDING, 689 DONE`, in the order of a task's life, without zeros."""
    known = sorted(counts, key=lambda status: _ORDER.get(status, len(_ORDER)))
    return ", ".join(f"{counts[status]:,} {status}" for status in known if counts[status])


def submitted(new: int, known: Mapping[str, int], unit: str = "definition", **others: int) -> str:
    """How many definitions, new, known by status, and what else became of some."""
    seen = sum(known.values())
    total = new + seen + sum(others.values())
    parts = [many(total, unit), f"{new:,} new", f"{seen:,} known"]
    if seen:
        parts[-1] += f" ({statuses(known)})"
    parts += [f"{number:,} {what}" for what, number in others.items() if number]
    return "  " + "  ".join(parts)


def flushed(found: Flushed) -> str:
    """As `submitted`, of what a spool kept."""
    unit = "item" if found.reports else "definition"
    others = {"reported": found.reported, "refused": found.refused}
    others |= {"kept": found.kept, "left": found.left}
    return submitted(found.created, found.known, unit, **others)


def drained(
    claimed: int, ended: Mapping[str, int], pipeline: str | None, *, full: bool = False
) -> str:
    """What became of the claimed tasks; `ended` holds DONE, FAILED and what else happened. `full`:
    as many were claimed as were to be."""
    if not claimed:
        return "  0 claimed: the claim queue is empty"
    failed = ended.get("FAILED", 0)
    parts = [f"{claimed:,} claimed", f"{ended.get('DONE', 0):,} DONE", f"{failed:,} FAILED"]
    parts += [f"{n:,} {what}" for what, n in ended.items() if n and what not in ("DONE", "FAILED")]
    if full:
        parts.append(" --max reached: there may be more")
    if failed:
        name = f" --pipeline {shlex.quote(pipeline)}" if pipeline else ""
        parts.append(f" why: porch failures{name}")
    return "  " + "  ".join(parts)


def seen(task: Task) -> str:
    """One line: what a re-run or a cancel goes by."""
    return f"  {task.task_input_id[:12]}  {task.status}  attempt {task.attempt}"


def history(task: Task, events: Sequence[Event]) -> str:
    """A task and everything that happened to it. Times are in UTC, each day named once."""
    task_input = json.dumps(task.task_input, ensure_ascii=False)
    if task.task_input is None:
        task_input = "(pruned: its input and earlier history are no longer kept)"
    head = f"{task.pipeline} {task.version}  {task_input}   {task.status}  attempt {task.attempt}"
    lines = [head, _facts(task)]
    day, token, host = "", None, None
    changes = [_change(event) for event in events]
    columns = max(map(len, changes), default=0)
    for event, change in zip(events, changes, strict=True):
        if event.at[:10] != day:
            day = event.at[:10]
            lines.append(f"{day} UTC")
        who = [f'token "{event.token}"'] if event.token and event.token != token else []
        if event.host and event.host != host:
            who.append(f"host {event.host}")
        token, host = event.token, event.host
        # A message of several lines goes on below its first one.
        if event.job_id:
            who.append(f"job {event.job_id}")
        message = (event.message or "").strip().replace("\n", "\n" + " " * 12)
        cells = [event.at[11:19], change.ljust(columns), *who, message]
        lines.append("  ".join(cell for cell in cells if cell).rstrip())
    return printable("\n".join("  " + line for line in lines))


def told(message: StatusMessage) -> str:
    """One line: a change that has just happened."""
    change = f"{message.from_status or ''} -> {message.to_status}".lstrip()
    said = " ".join((message.message or "").split())
    cells = [
        f"{message.at[:10]} {message.at[11:19]}",
        f"{message.pipeline} {message.version}",
        message.task_input_id[:12],
        f"{change}  attempt {message.attempt}" if message.attempt else change,
        f'token "{message.token}"' if message.token else "",
        f"host {message.host}" if message.host else "",
        f"job {message.job_id}" if message.job_id else "",
        said,
    ]
    return printable("  ".join(cell for cell in cells if cell))


def _facts(task: Task) -> str:
    facts = [task.task_input_id]
    if task.priority:
        facts.append(f"priority {task.priority}")
    if task.lease_until:
        facts.append(f"lease until {_when(task.lease_until)}")
    if task.retry_at:
        facts.append(f"tried again at {_when(task.retry_at)}")
    if task.job_id:
        facts.append(f"job {task.job_id}")
    return "  ".join(facts)


def _when(at: str) -> str:
    return f"{at[:19].replace('T', ' ')} UTC"


def _change(event: Event) -> str:
    if event.refused:
        return f"refused: {event.to_status} of attempt {event.attempt}, too late"
    change = f"{event.from_status or ''} -> {event.to_status}".lstrip()
    return f"{change}  attempt {event.attempt}" if event.to_status == "CLAIMED" else change


def pipelines(found: Sequence[Pipeline]) -> str:
    """A table of pipelines: versions, counts per status, the age of the oldest PENDING task."""
    rows = [
        (
            p.name,
            " ".join(p.versions),
            statuses(p.counts) or "no tasks",
            age(p.oldest_pending),
            p.uri,
        )
        for p in found
    ]
    return table(("PIPELINE", "VERSIONS", "TASKS", "OLDEST PENDING", "URI"), rows)


def pipeline(found: Pipeline) -> str:
    """One pipeline with its policy."""
    limit = "none" if found.max_attempts is None else str(found.max_attempts)
    facts = {
        "uri": found.uri,
        "versions": " ".join(found.versions),
        "identity": found.identity,
        "lease": "none" if found.lease is None else age(found.lease),
        "max attempts": limit,
        "retry": "none" if found.retry is None else f"after {age(found.retry)}, then twice that",
        "kept": " ".join(f"{s} {age(n)}" for s, n in found.keep.items() if n) or "for ever",
        "tasks": statuses(found.counts) or "none",
        "oldest pending": age(found.oldest_pending),
    }
    return printable("\n".join([found.name, *(f"  {k:<14}  {v}" for k, v in facts.items())]))


def tokens(found: Sequence[Token]) -> str:
    """A table of tokens, never with their secrets."""
    rows = [
        (
            str(t.token_id),
            t.pipeline or "(admin)",
            t.description,
            t.created_at[:19].replace("T", " "),
            *((at or "-")[:19].replace("T", " ") for at in (t.used_at, t.expires_at, t.revoked_at)),
        )
        for t in found
    ]
    header = ("ID", "PIPELINE", "DESCRIPTION", "CREATED", "USED", "EXPIRES", "REVOKED")
    return table(header, rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under their names, as wide as their widest cell."""
    cells = [[printable(cell).replace("\n", " ") for cell in row] for row in [header, *rows]]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(padded(cell, columns) for cell, columns in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def age(length: float | None) -> str:
    """Seconds as `3d 4h`, `2h`, `5m 10s`: at most two units."""
    if length is None:
        return "-"
    parts: list[tuple[int, str]] = []
    rest = int(length)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, rest = divmod(rest, size)
        if number or parts:
            parts.append((number, unit))
    return " ".join(f"{number}{unit}" for number, unit in parts[:2] if number) or "0s"


def many(number: int, noun: str) -> str:
    """`1 definition`, `2 definitions`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
