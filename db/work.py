"""The ledger's methods that change tasks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from coordinator.errors import InternalError
from coordinator.model import Change, Changing, Origin, Outcome, Pipeline
from coordinator.status import Status
from db import statements
from db.base import PostgresBase
from db.prepared import Prepared

#: Seconds between two changes of which this process asks how long it was since the claim: enough
#: to see how times are distributed, and too seldom to cost anything.
TIMED_EVERY = 0.1


class WorkLedger(PostgresBase):
    """Close a claim, change, heartbeat: see ``coordinator.ledger`` for what each promises."""

    _timed_at = 0.0

    def close_claim(self, pipeline: Pipeline, origin: Origin, claim: UUID) -> list[tuple[int, int]]:
        values = {"pipeline_id": pipeline.pipeline_id, "claim": str(claim)}
        with self._transaction() as connection:
            connection.execute(statements.CLOSE_CLAIM, values)
            rows = connection.execute(statements.HANDED, values)
            return [(row.task_id, row.attempt) for row in rows]

    def change(self, changes: Sequence[Change], origin: Origin) -> list[Outcome]:
        return self.change_all([(changes, origin)])[0]

    def change_all(self, requests: Sequence[Changing]) -> list[list[Outcome]]:
        wanted = [(n, change) for n, (changes, _) in enumerate(requests, 1) for change in changes]
        told: list[list[Outcome]] = [[] for _ in requests]
        outcomes: dict[int, Outcome] = {}
        statement = self._change_statement()
        origins = _origins([origin for _, origin in requests])
        with self._transaction() as connection:
            for turn in _turns([change for _, change in wanted]):
                batch = [wanted[position] for position in turn]
                found = _change(connection, statement, batch, origins)
                outcomes.update(zip(turn, found, strict=True))
        for position, (n, _) in enumerate(wanted):
            told[n - 1].append(outcomes[position])
        return told

    def hold(self, task_ids: Sequence[int]) -> set[int]:
        values = {"task_ids": list(task_ids)}
        with self._transaction() as connection:
            rows = statements.HOLD.execute(connection, values, len(task_ids))
            return {row.task_id for row in rows}

    def heartbeat(self, tasks: Sequence[tuple[int, int | None]], origin: Origin) -> list[Outcome]:
        values = {
            "task_ids": [task_id for task_id, _ in tasks],
            "attempts": [attempt for _, attempt in tasks],
            "token_id": origin.token_id,
            "request_id": str(origin.request_id),
            "host": origin.host,
        }
        with self._transaction() as connection:
            found = _outcomes(connection, statements.HEARTBEAT, values)
        return [found[task_id] for task_id, _ in tasks]

    def _change_statement(self) -> Prepared:
        now = time.monotonic()
        if now - self._timed_at < TIMED_EVERY:
            return statements.CHANGE
        self._timed_at = now
        return statements.CHANGE_TIMED


def _origins(origins: Sequence[Origin]) -> dict[str, Any]:
    return {
        "token_ids": [origin.token_id for origin in origins],
        "request_ids": [str(origin.request_id) for origin in origins],
        "hosts": [origin.host for origin in origins],
    }


def _turns(changes: Sequence[Change]) -> list[list[int]]:
    """Positions of changes such that each turn has a task once: one statement changes a row once.

    The first turn has every task, so it takes all locks, in order, and later turns wait for none.
    """
    turns: list[list[int]] = []
    seen: dict[int, int] = {}
    for position, change in enumerate(changes):
        turn = seen.get(change.task_id, 0)
        seen[change.task_id] = turn + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(position)
    return turns


def _change(
    connection: Connection,
    statement: Prepared,
    numbered: Sequence[tuple[int, Change]],
    origins: dict[str, Any],
) -> list[Outcome]:
    batch = [change for _, change in numbered]
    values = {
        "ns": [n for n, _ in numbered],
        "task_ids": [change.task_id for change in batch],
        "tos": [change.to.value for change in batch],
        "sources": [",".join(sorted(change.sources)) for change in batch],
        "attempts": [change.attempt for change in batch],
        "messages": [change.message for change in batch],
        "job_ids": [change.job_id for change in batch],
        "permanents": [change.permanent for change in batch],
        "held": [change.of_holder for change in batch],
        **origins,
    }
    found = _outcomes(connection, statement, values)
    return [found[change.task_id] for change in batch]


def _outcomes(
    connection: Connection, statement: Prepared, values: dict[str, Any]
) -> dict[int, Outcome]:
    rows = statement.execute(connection, values, len(values["task_ids"]))
    found = {
        row.task_id: Outcome(
            *(Status(row.status), row.attempt, row.changed, row.repeated, row.lease),
            *(bool(row.over), row.since_claim),
        )
        for row in rows
    }
    missing = set(values["task_ids"]) - found.keys()
    if missing:
        raise InternalError(f"tasks {sorted(missing)[:5]} are gone: was the database restored?")
    return found
