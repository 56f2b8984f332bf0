"""Reads the whole database and puts every task and event to the rules.

One REPEATABLE READ transaction: all of it is looked at as it was at one instant, while porch goes
on. It takes no lock, but like every long transaction it keeps PostgreSQL from clearing up what has
changed since. Memory stays the same however many tasks there are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.sql import Executable

from coordinator.checkup import RULES, Kept, Step, broken
from coordinator.commands import command
from coordinator.health import MOST_SHOWN, Check, Finding
from db.translate import translated

#: Seconds for which what is due may lie: beat asks for a sweep every two.
GRACE = 10

#: Rows that are fetched at once. An input may have megabytes.
_ROWS = 500

#: Called after so many tasks with how many have been read.
_TELL_EVERY = 100_000
Progress = Callable[[int], None]

_BOUNDS = text(
    """
    SET LOCAL statement_timeout = 0;
    SET LOCAL work_mem = '64MB';
    SET LOCAL cursor_tuple_fraction = 1
    """
)

#: Tables are read, and not their indexes: one that has gone wrong would hide what it has lost.
_WITHOUT_INDEXES = text(
    """
    SET LOCAL enable_indexscan = off;
    SET LOCAL enable_indexonlyscan = off;
    SET LOCAL enable_bitmapscan = off
    """
)
_WITH_INDEXES = text(
    """
    SET LOCAL enable_indexscan = on;
    SET LOCAL enable_indexonlyscan = on;
    SET LOCAL enable_bitmapscan = on
    """
)

_PIPELINES = text("SELECT pipeline_id, name, identity FROM porch.pipeline")

_TASKS = text(
    """
    SELECT task_id, pipeline_id, version, scope, task_input_id, CAST(task_input AS text), status,
        attempt, lease_until IS NOT NULL, retry_at IS NOT NULL, pruned_at IS NOT NULL, pruned_events
    FROM porch.task ORDER BY task_id
    """
)

_EVENTS = text(
    """
    SELECT event_id, task_id, from_status, to_status, attempt, refused, message IS NOT NULL,
        token_id IS NULL
    FROM porch.event ORDER BY task_id, event_id
    """
)

#: A claim by a token of another pipeline, by nobody, or one that nobody asked for.
_CLAIMS = text(
    """
    SELECT t.pipeline_id, t.version, t.task_input_id, count(*) OVER () AS found,
        format('event %s claims attempt %s ', e.event_id, e.attempt)
            || CASE WHEN c.request_id IS NULL THEN 'for a request that there is not'
                WHEN k.token_id IS NULL THEN 'for nobody'
                ELSE 'with a token of something else' END AS what
    FROM porch.event e JOIN porch.task t USING (task_id)
        LEFT JOIN porch.claim c USING (pipeline_id, request_id)
        LEFT JOIN porch.token k ON k.token_id = e.token_id
    WHERE e.to_status = 'CLAIMED' AND NOT e.refused
        AND (c.request_id IS NULL OR k.pipeline_id IS DISTINCT FROM t.pipeline_id)
    ORDER BY e.event_id LIMIT :most
    """
)

_ONCE = text(
    """
    SELECT pipeline_id, min(version) AS version, task_input_id, count(*) OVER () AS found,
        format('it is %s tasks: %s', count(*), string_agg(CAST(task_id AS text), ', ')) AS what
    FROM porch.task
    GROUP BY pipeline_id, task_input_id, scope HAVING count(*) > 1
    ORDER BY min(task_id) LIMIT :most
    """
)

_LEASES = text(
    """
    SELECT pipeline_id, version, task_input_id, count(*) OVER () AS found,
        format('its lease ran out %s s ago, and it is still %s',
            CAST(extract(epoch FROM now() - lease_until) AS bigint), status) AS what
    FROM porch.task WHERE lease_until < now() - make_interval(secs => :grace)
    ORDER BY lease_until LIMIT :most
    """
)

_RETRIES = text(
    """
    SELECT pipeline_id, version, task_input_id, count(*) OVER () AS found,
        format('it was to be tried again %s s ago, and is still %s',
            CAST(extract(epoch FROM now() - retry_at) AS bigint), status) AS what
    FROM porch.task WHERE retry_at < now() - make_interval(secs => :grace)
    ORDER BY retry_at LIMIT :most
    """
)

#: What is gone of histories and what was pruned of them, counted in two places in one transaction.
_PRUNED = text(
    """
    SELECT CAST(NULL AS bytea) AS task_input_id, '' AS version, pipeline_id,
        count(*) OVER () AS found,
        format('pipeline %s: its tasks lack %s events, %s were pruned', pipeline_id,
            coalesce(t.events, 0), coalesce(p.events, 0)) AS what
    FROM (
        SELECT pipeline_id, sum(pruned_events) AS events FROM porch.task
        WHERE pruned_events IS NOT NULL GROUP BY pipeline_id
    ) t FULL JOIN (
        SELECT pipeline_id, sum(events) AS events FROM porch.pruning GROUP BY pipeline_id
    ) p USING (pipeline_id)
    WHERE coalesce(t.events, 0) <> coalesce(p.events, 0)
    ORDER BY pipeline_id LIMIT :most
    """
)

#: How many rows each of them has to look at.
_LOOKED_AT = text(
    """
    SELECT
        (SELECT count(*) FROM porch.event WHERE to_status = 'CLAIMED' AND NOT refused) AS claims,
        count(*) AS once, count(lease_until) AS leases, count(retry_at) AS retries,
        count(pruned_at) AS pruned
    FROM porch.task
    """
)

#: What takes several tables, or several tasks, or a clock to see: what must be so, the rows that
#: are looked at, and the question, whose answers are counter-examples.
_QUESTIONS: dict[str, tuple[str, str, Executable]] = {
    "claims": ("each claim was asked for, with a token of its pipeline", "claims", _CLAIMS),
    "once": ("no definition is two tasks in one scope", "tasks", _ONCE),
    "pruned": ("as many events are gone as were pruned", "tombstones", _PRUNED),
    "leases": (f"what ran out is taken back within {GRACE} s", "leases", _LEASES),
    "retries": (f"what is due is tried again within {GRACE} s", "retries", _RETRIES),
}


def audit(engine: Engine, progress: Progress) -> list[Check]:
    """Every rule of ``coordinator.checkup``, over every task; and what takes several tasks to see.

    Raises LedgerAway, or TooSlow when an operator cancels it.
    """
    with _snapshot(engine) as connection:
        pipelines = {row.pipeline_id: row for row in connection.execute(_PIPELINES)}
        connection.execute(_WITHOUT_INDEXES)
        asked = _asked(connection, pipelines)
        connection.execute(_WITH_INDEXES)
        return [*_ruled(connection, pipelines, progress), *asked]


@contextmanager
def _snapshot(engine: Engine) -> Iterator[Connection]:
    with translated(), engine.connect() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            connection.execute(_BOUNDS)
            yield connection


def _asked(connection: Connection, pipelines: dict[int, Row[Any]]) -> list[Check]:
    looked_at = connection.execute(_LOOKED_AT).one()._mapping
    checks = []
    for name, (about, rows, question) in _QUESTIONS.items():
        found = list(connection.execute(question, {"most": MOST_SHOWN, "grace": GRACE}))
        findings = [
            Finding(row.what)
            if row.task_input_id is None
            else _finding(row.what, row.task_input_id, row.version, pipelines.get(row.pipeline_id))
            for row in found
        ]
        number = found[0].found if found else 0
        checks.append(Check(name, {rows: looked_at[name]}, tuple(findings), number, about))
    return checks


class _Tally:
    """What is found while all is read: the first of each rule, and how many in all."""

    def __init__(self) -> None:
        self.first: defaultdict[str, list[Finding]] = defaultdict(list)
        self.found: Counter[str] = Counter()

    def add(self, rule: str, finding: Finding) -> None:
        self.found[rule] += 1
        if self.found[rule] <= MOST_SHOWN:
            self.first[rule].append(finding)

    def check(self, rule: str, about: str, looked_at: dict[str, int]) -> Check:
        return Check(rule, looked_at, tuple(self.first[rule]), self.found[rule], about)


def _ruled(
    connection: Connection, pipelines: dict[int, Row[Any]], progress: Progress
) -> list[Check]:
    tally = _Tally()
    tasks = events = 0
    for task, steps in _histories(connection, tally):
        tasks += 1
        events += len(steps)
        pipeline = pipelines.get(task.pipeline_id)
        for rule, what in broken(task, pipeline.identity if pipeline else None, steps):
            tally.add(rule, _finding(what, task.key, task.version, pipeline))
        if tasks % _TELL_EVERY == 0:
            progress(tasks)
    looked_at = {"tasks": tasks, "events": events}
    all_events = {"events": events + tally.found["strays"]}
    return [
        *(tally.check(rule, about, looked_at) for rule, about in RULES.items()),
        tally.check("strays", "every event is of a task", all_events),
    ]


def _histories(connection: Connection, tally: _Tally) -> Iterator[tuple[Kept, list[Step]]]:
    """Each task with its events: two streams in the order of task_id, merged.

    Events of no task, which the foreign key forbids, are ``strays``.
    """
    events = (Step._make(row) for row in _stream(connection, _EVENTS))
    event = next(events, None)
    for row in _stream(connection, _TASKS):
        task = Kept._make((*row[:4], bytes(row[4]), *row[5:]))
        steps = []
        while event is not None and event.task_id <= task.task_id:
            if event.task_id == task.task_id:
                steps.append(event)
            else:
                _stray(tally, event)
            event = next(events, None)
        yield task, steps
    while event is not None:
        _stray(tally, event)
        event = next(events, None)


def _stray(tally: _Tally, event: Step) -> None:
    what = f"event {event.event_id} is of task {event.task_id}, which there is not"
    tally.add("strays", Finding(what))


def _stream(connection: Connection, query: Executable) -> Iterable[Any]:
    """The rows of a query by and by, through a cursor on the server."""
    return connection.execute(query, execution_options={"stream_results": True, "yield_per": _ROWS})


def _finding(what: str, key: bytes, version: str, pipeline: Row[Any] | None) -> Finding:
    name = bytes(key).hex()
    look = pipeline and command(
        "porch", "show", name, "--version", version, "--pipeline", pipeline.name
    )
    return Finding(f"task {name[:12]}: {what}", look=look)
