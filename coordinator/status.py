"""The life of a task: which status may follow which, and through what.

A task is born PENDING. A claim makes it CLAIMED and counts an attempt. Its holder reports
RUNNING, and DONE or FAILED at the end; or gives it back (PENDING). FAILED, CANCELLED and, said
twice, DONE work may be run again, which makes it PENDING.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """The six statuses of a task."""

    PENDING = "PENDING"
    CLAIMED = "CLAIMED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


_S = Status

#: From each status, where a task may go, and by which verb.
TRANSITIONS: dict[Status, dict[Status, str]] = {
    _S.PENDING: {_S.CLAIMED: "claim", _S.CANCELLED: "cancel"},
    _S.CLAIMED: {
        _S.RUNNING: "update",
        _S.DONE: "update",
        _S.FAILED: "update",
        _S.CANCELLED: "cancel",
        _S.PENDING: "release",
    },
    _S.RUNNING: {
        _S.RUNNING: "heartbeat",
        _S.DONE: "update",
        _S.FAILED: "update",
        _S.CANCELLED: "cancel",
        _S.PENDING: "release",
    },
    _S.DONE: {_S.PENDING: "rerun"},
    _S.FAILED: {_S.PENDING: "rerun"},
    _S.CANCELLED: {_S.PENDING: "rerun"},
}

#: A task in one of these is held by the claimer of its current attempt.
HELD = frozenset({_S.CLAIMED, _S.RUNNING})

#: Nothing happens to a task in one of these unless somebody decides so: it may be pruned.
ENDED = frozenset({_S.DONE, _S.FAILED, _S.CANCELLED})

#: What a holder may report with ``update``.
REPORTABLE = frozenset({_S.RUNNING, _S.DONE, _S.FAILED})


def sources(verb: str, to: Status) -> frozenset[Status]:
    """The statuses from which ``verb`` may take a task to ``to``.

    >>> sorted(sources("update", Status.DONE))
    [<Status.CLAIMED: 'CLAIMED'>, <Status.RUNNING: 'RUNNING'>]
    """
    return frozenset(before for before, after in TRANSITIONS.items() if after.get(to) == verb)


def verbs_from(status: Status) -> str:
    """What is allowed from ``status``, as a person would write it: ``RUNNING (update), ...``."""
    return ", ".join(f"{to} ({verb})" for to, verb in TRANSITIONS[status].items())
