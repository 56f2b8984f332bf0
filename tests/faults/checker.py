"""Compares what wrappers were told with what the history says. Each rule yields its violations.

The wrappers' journals are the witness: a request was made, an answer was heard, work was begun.
The history is the accused. A rule counts in ``verified`` what it has looked at, so that a run in
which nothing happened does not pass for a good one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from coordinator.identity import Limits, identify
from coordinator.status import TRANSITIONS, Status
from tests.faults.history import Event, History
from tests.faults.journal import Operation, Record

#: What a wrapper may be refused for: it came too late, or somebody else decided.
EXPECTED_REFUSALS = frozenset({"stale_attempt", "illegal_change", "status_changed"})
_LIMITS = Limits()
_CLOCK = 0.05  # seconds that two readings of one machine's clock may differ by

Rule = Callable[[Record, History, Counter[str]], Iterator[str]]


def check(record: Record, history: History, lease: float) -> tuple[list[str], Counter[str]]:
    """Every violation, as a sentence; and how much of what was verified."""
    verified: Counter[str] = Counter()
    found = [violation for rule in _RULES for violation in rule(record, history, verified)]
    found += taken_back_early(record, history, verified, lease)
    return found, verified


# Nothing is lost, nothing is invented ---------------------------------------------------------


def lost_definitions(record: Record, history: History, verified: Counter[str]) -> Iterator[str]:
    """Every acknowledged definition is a task, under the key that we compute for it."""
    tasks = Counter(row.task for row in history.rows)
    for operation in record.of("submit"):
        for definition, result in operation.results:
            if "error" in result:
                continue
            key = _key(definition)
            if key != result["task"]:
                yield f"{operation.op}: {definition} was answered as {result['task']}"
            if tasks[key] != 1:
                yield f"{operation.op}: {definition} was accepted, and is there {tasks[key]} times"
            verified["accepted definitions"] += 1


def created_twice(record: Record, history: History, verified: Counter[str]) -> Iterator[str]:
    """Of all who submit a definition, at most one is told that it is new."""
    told: Counter[str] = Counter()
    for operation in record.of("submit"):
        told.update(result["task"] for _, result in operation.results if result.get("changed"))
    yield from (f"{task} was called new {n} times" for task, n in told.items() if n > 1)


def invented_tasks(record: Record, history: History, verified: Counter[str]) -> Iterator[str]:
    """Every task was submitted by somebody."""
    asked = {_key(definition) for op in record.of("submit") for definition in op.items}
    yield from (f"{row.task} was never submitted" for row in history.rows if row.task not in asked)
    verified["tasks"] += len(history.rows)


# Nothing runs twice ---------------------------------------------------------------------------


def double_starts(record: Record, history: History, verified: Counter[str]) -> Iterator[str]:
    """An attempt is begun once, by the wrapper to which it was handed."""
    begun = Counter((start.task, start.attempt) for start in record.starts)
    yield from (f"{of} was begun {n} times" for of, n in begun.items() if n > 1)
    for start in record.starts:
        claims = history.changes[start.task, start.attempt, "CLAIMED"]
        if [claim.by for claim in claims] != [_name(start.wrapper)]:
            yield f"{start} has the claims {claims}"
        verified["attempts begun"] += 1


def claims_answered(record: Record, history: History, verified: Counter[str]) -> Iterator[str]:
    """A request_id is handed the same whenever it asks, and that is what the history has."""
    for operation in record.of("claim"):
        claimed = sorted((e.task, e.attempt) for e in history.claims[operation.op])
        for answer in operation.answers:
            handed = sorted((task, attempt) for task, attempt in answer)
            if handed != claimed:
                yield f"claim {operation.op} was handed {handed}, the history has {claimed}"
            verified["claims"] += 1
    asked = {operation.op for operation in record.of("claim")}
    yield from (f"claim {op} was made by nobody" for op in history.claims if op not in asked)


def finished_without_a_run(
    record: Record, history: History, verified: Counter[str]
) -> Iterator[str]:
    """What is DONE was begun, in that attempt."""
    begun = {(start.task, start.attempt) for start in record.starts}
    for (task, attempt, to), events in history.changes.items():
        if to == Status.DONE:
            verified["DONE attempts"] += 1
            if len(events) > 1:
                yield f"{task} was DONE {len(events)} times in attempt {attempt}"
            if (task, attempt) not in begun:
                yield f"{task} is DONE in attempt {attempt}, which nobody has begun"


# What was answered has happened, what was refused has not -------------------------------------


def reports_answered(record: Record, history: History, verified: Counter[str]) -> Iterator[str]:
    """A report, release, re-run or cancellation that was acknowledged is in the history.

    Wrappers write the id of the operation into the message, by which its event is known.
    """
    for operation in record.of("update", "release", "rerun", "cancel"):
        for (task, attempt, to), result in operation.results:
            made = [e for e in history.said[task, operation.op] if e.to == to]
            if "error" in result and made:
                yield f"{operation.verb} {operation.op} of {task} was refused, and has {made}"
            elif "error" not in result and not history.changes[task, attempt, to]:
                yield f"{operation.verb} {operation.op}: {task} never was {to} in {attempt}"
            elif result.get("changed") and not made:
                yield f"{operation.verb} {operation.op} changed {task}, and has no event"
            verified["reports refused" if "error" in result else "reports acknowledged"] += 1
        for task, attempt, to in operation.items:
            made = [e for e in history.said[task, operation.op] if e.to == to]
            if len(made) > 1 or any(event.attempt != attempt for event in made):
                yield f"{operation.verb} {operation.op} of {task} in {attempt} has {made}"


def unexpected_refusals(record: Record, history: History, verified: Counter[str]) -> Iterator[str]:
    """Nobody is refused but for coming too late."""
    for operation in record.operations:
        codes = set(operation.refusals)
        if operation.verb != "claim":
            codes |= {result["error"] for _, result in operation.results if "error" in result}
        for code in sorted(codes - EXPECTED_REFUSALS):
            yield f"{operation.verb} {operation.op} of {operation.wrapper} was refused: {code}"


def stale_reports(record: Record, history: History, verified: Counter[str]) -> Iterator[str]:
    """What a holder says counts only while it holds the task: same attempt, same holder."""
    for path in history.paths.values():
        holder: Event | None = None
        for event in path:
            if event.to == "CLAIMED":
                holder = event
            elif _said_by_holder(event):
                verified["reports in the history"] += 1
                if holder is None or (event.attempt, event.by) != (holder.attempt, holder.by):
                    yield f"{event} was accepted, while {holder} holds the task"


def _said_by_holder(event: Event) -> bool:
    return event.before in ("CLAIMED", "RUNNING") and event.by is not None


def late_notes(record: Record, history: History, verified: Counter[str]) -> Iterator[str]:
    """What is noted as refused was not acknowledged.

    But for a report of what held already, which has no event that a copy of it, delivered after the
    task was taken over, could be known by.
    """
    made = {(event.task, event.message) for path in history.paths.values() for event in path}
    acknowledged = {
        (task, operation.op)
        for operation in record.of("update")
        for (task, _, _), result in operation.results
        if "error" not in result and (result["changed"] or (task, operation.op) in made)
    }
    for event in history.late:
        verified["late reports noted"] += 1
        if (event.task, event.message) in acknowledged:
            yield f"{event} is noted as refused, and was acknowledged"


def taken_back_early(
    record: Record, history: History, verified: Counter[str], lease: float
) -> Iterator[str]:
    """A claim, a report of RUNNING or a heartbeat that was acknowledged holds for a whole lease."""
    heard: dict[tuple[str, int], list[float]] = defaultdict(list)
    for operation in record.of("claim", "update", "heartbeat"):
        for task, attempt in _signs_of_life(operation):
            heard[task, attempt].append(operation.at)
            verified["signs of life"] += 1
    for path in history.paths.values():
        for event in path:
            if event.by is None and event.before in ("CLAIMED", "RUNNING"):
                verified["leases run out"] += 1
                last = max(heard[event.task, event.attempt], default=0.0)
                if event.at < last + lease - _CLOCK:
                    yield f"{event} took back what was alive {event.at - last:.2f} s before"


def _signs_of_life(operation: Operation) -> Iterator[tuple[str, int]]:
    if operation.verb == "claim":
        yield from ((task, attempt) for answer in operation.answers for task, attempt in answer)
        return
    for (task, attempt, to), result in operation.results:
        # Unchanged, it may be the answer to a copy: what it repeats is then long past.
        if to == "RUNNING" and result.get("changed"):
            yield task, attempt


# Nothing is stuck or broken -------------------------------------------------------------------


def stuck_tasks(record: Record, history: History, verified: Counter[str]) -> Iterator[str]:
    """In the end nothing waits and nobody holds anything."""
    for row in history.rows:
        if row.status in ("PENDING", "CLAIMED", "RUNNING") or row.waits:
            yield f"{row} is not finished"


def broken_paths(record: Record, history: History, verified: Counter[str]) -> Iterator[str]:
    """The events of a task are a path in the status table that ends where the task stands."""
    for row in history.rows:
        path = history.paths[row.task]
        status, attempt = None, 0
        for event in path:
            attempt += event.to == "CLAIMED"
            allowed = event.to in TRANSITIONS[Status(status)] if status else event.to == "PENDING"
            if event.before != status or event.attempt != attempt or not allowed:
                yield f"{event} follows {status} in attempt {attempt}"
                break
            status = event.to
        if (status, attempt) != (row.status, row.attempt):
            yield f"{row} has events that end with {status} in attempt {attempt}"
        verified["events"] += len(path)


def _key(definition: Any) -> str:
    return identify(definition, _LIMITS).key.hex()


def _name(life: str) -> str:
    """The wrapper, whichever of its lives it was."""
    return life.partition(".")[0]


_RULES: tuple[Rule, ...] = (
    lost_definitions,
    created_twice,
    invented_tasks,
    double_starts,
    claims_answered,
    finished_without_a_run,
    reports_answered,
    unexpected_refusals,
    stale_reports,
    late_notes,
    stuck_tasks,
    broken_paths,
)
