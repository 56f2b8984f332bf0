"""What PostgreSQL says happened: every task and event, read behind porch's back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.house import House

_TASKS = """
    SELECT encode(task_input_id, 'hex'), status, attempt, retry_at IS NOT NULL FROM porch.task
"""
_EVENTS = """
    SELECT encode(task_input_id, 'hex'), extract(epoch FROM e.at)::float8, e.from_status,
        e.to_status, e.attempt, k.description, e.request_id::text, e.message, e.refused
    FROM porch.event e JOIN porch.task t USING (task_id) LEFT JOIN porch.token k USING (token_id)
    ORDER BY e.event_id
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A task as it is in the end."""

    task: str
    status: str
    attempt: int
    waits: bool = False  # for its backoff to be over


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``by``: the description of the token, None for the sweeper."""

    task: str
    at: float
    before: str | None
    to: str
    attempt: int
    by: str | None
    request_id: str
    message: str | None
    refused: bool = False


class History:
    """Tasks, and the events that changed them, in order."""

    def __init__(self, rows: Sequence[Row], events: Sequence[Event]) -> None:
        self.rows = rows
        self.paths: Mapping[str, list[Event]] = defaultdict(list)
        self.changes: Mapping[tuple[str, int, str], list[Event]] = defaultdict(list)
        self.late = [event for event in events if event.refused]
        self.claims: Mapping[str, list[Event]] = defaultdict(list)
        self.said: Mapping[tuple[str, str | None], list[Event]] = defaultdict(list)
        for event in events:
            if event.refused:
                continue
            self.paths[event.task].append(event)
            self.changes[event.task, event.attempt, event.to].append(event)
            self.said[event.task, event.message].append(event)
            if event.to == "CLAIMED":
                self.claims[event.request_id].append(event)


def read(house: House) -> History:
    """The history of the only pipeline in a house."""
    return History(
        [Row(*row) for row in house.ask(_TASKS)], [Event(*row) for row in house.ask(_EVENTS)]
    )
