"""Moves the contents of an npg_porch database into this one, a batch of tasks a transaction.

What has been moved is known again by the request_ids of its events, which come of the source: no
note is kept of how far an import came, and one that is started again finds what is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple, TypeVar

from sqlalchemy import Engine

from coordinator.errors import PorchError, StatusChanged
from coordinator.identity import Identified, Limits, identify
from coordinator.moving_over import (
    Change,
    Path,
    Reached,
    furthest_first,
    landing_of,
    path_from,
    path_of,
    status_of,
    traces_of,
)
from coordinator.reconciliation import Reconciliation
from coordinator.status import Status
from db.furthest import Furthest
from db.import_target import Arrival, Further, Here, Key, Landing, Place, Target
from db.import_tokens import Tokens, move_tokens
from db.npg_porch_source import NpgPorch, SourceTask

COLLIDES = "its input is that of another task under our identity rule"
REGISTERED = "its definition is registered here already, and not by this import, or pruned since"
MOVED_ON = "npg_porch has gone on with its task since it was imported"
FURTHER = "it is further on in npg_porch, and porch has changed it too since it was imported"
OF_SKIPPED = "its task is skipped"
OF_NONE = "it is of no task"

_Row = TypeVar("_Row")

#: Told what is being done, and with how many tasks it has been done.
Progress = Callable[[str, int], None]


class _Fit(NamedTuple):
    """A task that can be held here."""

    place: Place
    version: str
    identified: Identified
    state: Status

    @property
    def key(self) -> tuple[int, str, bytes]:
        return self.place.source_id, self.place.scope(self.version), self.identified.key


class _Unfit(NamedTuple):
    """A task that cannot, and why."""

    why: str
    what: str = ""


def move_over(
    source: NpgPorch,
    engine: Engine,
    limits: Limits,
    account: Reconciliation,
    *,
    batch: int,
    progress: Progress,
) -> None:
    """Import all of ``source``; ``account`` has what became of each row.

    Raises PipelineExists before anything is written, and NotMigrated. With ``account.dry_run``
    nothing is written at all.
    """
    for name, rows in source.counts().items():
        account[name].read = rows
    target = Target(engine, dry_run=account.dry_run)
    with target.transaction() as landing:
        places = landing.places(source.pipelines(), account)
        tokens = move_tokens(landing, source.tokens(), places, account)
    import_ = _Import(target, places, tokens, limits, account)
    with Furthest() as furthest:
        done = 0
        for tasks in _batches(source.tasks(), batch):
            import_.compare(tasks, furthest)
            done += len(tasks)
            progress("comparing inputs", done)
        done = 0
        for some in _batches(source.histories(), batch):
            import_.move(some, furthest)
            done += len(some)
            progress("moving tasks", done)
    import_.tell_of_further()
    account.notes += source.odd_times()
    for event_id in source.strays():
        account.skip("event", f"event {event_id}", OF_NONE)


class _Import:
    """What stays the same from batch to batch."""

    def __init__(
        self,
        target: Target,
        places: dict[int, Place],
        tokens: Tokens,
        limits: Limits,
        account: Reconciliation,
    ) -> None:
        self._target, self._places, self._tokens = target, places, tokens
        self._limits, self._account = limits, account
        self._began = datetime.now(UTC)
        self._forward = self._left_behind = 0

    def fit(self, task: SourceTask) -> _Fit | _Unfit:
        """Whether a task can be held here."""
        place = self._places.get(task.pipeline_id or 0)
        if place is None or task.version not in place.versions:
            return _Unfit("it has no pipeline, or no version")
        state = status_of(task.state)
        if state is None:
            return _Unfit("its state is none of the six statuses", repr(task.state)[:80])
        try:
            identified = identify(json.loads(task.text or "null"), self._limits)
        except PorchError as error:
            return _Unfit(f"its input cannot be held ({error.code})", error.message)
        except (ValueError, RecursionError) as error:
            return _Unfit("its input is not JSON", str(error)[:200])
        return _Fit(place, task.version, identified, state)

    def compare(self, tasks: Sequence[SourceTask], furthest: Furthest) -> None:
        """Of tasks that are one definition here, the one that has been moved before is kept."""
        fits = [(t, f) for t in tasks if isinstance(f := self.fit(t), _Fit)]
        asked = [(t.task_id, _key_here(f), landing_of(_source(t, f))) for t, f in fits]
        with self._target.transaction() as landing:
            here = landing.landed(asked)
        for task, fit in fits:
            rank = -1 if task.task_id in here else furthest_first(fit.state)
            furthest.add(fit.key, rank, task.task_id)

    def move(self, some: Sequence[tuple[SourceTask, list[Change]]], furthest: Furthest) -> None:
        """One batch, in one transaction."""
        arrivals = []
        for task, changes in some:
            fit = self.fit(task)
            if isinstance(fit, _Unfit):
                self._skip(task, changes, fit.why, fit.what)
                continue
            kept = furthest.of(fit.key)
            if kept != task.task_id:
                what = f"{fit.state} here; task {kept} is kept"
                self._skip(task, changes, COLLIDES, what)
                continue
            arrivals.append(self._arrival(task, changes, fit))
        with self._target.transaction() as landing:
            self._check_policies(landing)
            known = landing.known(arrivals)
            fresh = [arrival for arrival in arrivals if arrival.key not in known]
            written = landing.write(fresh, self._tokens)
            # What somebody has registered between the question and the answer.
            known |= landing.known([a for a in fresh if a.key not in written])
            further = {
                f.arrival.key: f
                for a in arrivals
                if a.key not in written and (f := _further(a, known[a.key])) is not None
            }
            untouched = [f for f in further.values() if _untouched(f)]
            forward = landing.bring_forward(untouched, self._tokens)
        self._tokens.added_to(self._account)
        for arrival in arrivals:
            if arrival.key in written:
                self._count_written(arrival)
            else:
                gone_on = further.get(arrival.key)
                forward_now = arrival.key in forward
                self._count_known(arrival, known[arrival.key], gone_on, forward=forward_now)

    def _arrival(self, task: SourceTask, changes: list[Change], fit: _Fit) -> Arrival:
        times = [change.at for change in changes if change.at is not None]
        created = task.created or min(times, default=self._began)
        source = _source(task, fit)
        path = path_of(source, fit.state, created, changes, None)
        return Arrival(
            task.task_id, fit.place, fit.version, fit.identified, created, source, path, changes,
            fit.state,
        )  # fmt: skip

    def _check_policies(self, landing: Landing) -> None:
        """Scopes follow the identity policies, which nobody may change until the commit."""
        for name in landing.changed_policies(self._places.values()):
            raise StatusChanged(
                f'the identity policy of pipeline "{name}" was changed during the import',
                "start it again: it goes on where it was",
            )

    def _count_written(self, arrival: Arrival) -> None:
        self._account["task"].written += 1
        events = self._account["event"]
        for step in arrival.path.steps:
            events.added += step.filled
            events.written += not step.filled
        self._leave_out(arrival.source_id, arrival.path)

    def _count_known(
        self, arrival: Arrival, here: Here, further: Further | None, *, forward: bool
    ) -> None:
        requests = set(here.requests)
        if landing_of(arrival.source) not in requests:
            self._skip_known(arrival)
            return
        events = self._account["event"]
        self._account["task"].here += 1
        if further is not None and forward:
            self._forward += 1
            events.added += sum(step.filled for step in further.path.steps)
        elif further is not None:
            self._left_behind += 1
            row = f"task {arrival.source_id}: {arrival.state} there, {here.status} here"
            self._account.told("task", row, FURTHER)
        now = {step.request_id for step in further.path.steps} if further and forward else set()
        for step in arrival.path.steps:
            if step.filled:
                continue
            if step.request_id in requests:
                events.here += 1
            elif step.request_id in now:
                events.written += 1
            else:
                row = f"an event of task {arrival.source_id}: {step.message}"
                self._account.skip("event", row, MOVED_ON)
        self._leave_out(arrival.source_id, arrival.path)

    def tell_of_further(self) -> None:
        """Tell how many tasks have gone on in npg_porch since they were moved."""
        if self._left_behind:
            self._account.notes.append(
                f"{self._left_behind:,} tasks are FURTHER ON IN NPG_PORCH THAN HERE, and porch has "
                "changed them as well: they were left as they are here (--skipped FILE names them)"
            )
        if self._forward:
            self._account.notes.append(
                f"{self._forward:,} tasks that had been moved before were brought forward to where "
                "they are in npg_porch by now"
            )

    def _leave_out(self, task_id: int, path: Path) -> None:
        for event_id, why in path.left.items():
            self._account.skip("event", f"event {event_id} of task {task_id}", why)

    def _skip_known(self, arrival: Arrival) -> None:
        what = f"task {arrival.source_id}: {arrival.identified.key.hex()}"
        self._account.skip("task", what, REGISTERED)
        self._skip_events(arrival.source_id, arrival.changes)

    def _skip(self, task: SourceTask, changes: list[Change], why: str, what: str) -> None:
        self._account.skip("task", f"task {task.task_id}" + (f": {what}" if what else ""), why)
        self._skip_events(task.task_id, changes)

    def _skip_events(self, task_id: int, changes: Sequence[Change]) -> None:
        for change in changes:
            row = f"event {change.event_id} of task {task_id}"
            self._account.skip("event", row, OF_SKIPPED)


def _source(task: SourceTask, fit: _Fit) -> str:
    """Names the task, the same in every import."""
    return f"{fit.place.name}/{fit.version}/{task.descriptor}/{task.task_id}"


def _key_here(fit: _Fit) -> Key:
    return fit.place.pipeline_id, fit.place.scope(fit.version), fit.identified.key


def _further(arrival: Arrival, here: Here) -> Further | None:
    """What has happened there since the task was moved; None if nothing, or it was not moved."""
    requests = here.requests
    same = requests == [step.request_id for step in arrival.path.steps]
    if same or landing_of(arrival.source) not in requests:
        return None
    traces = traces_of(arrival.source, arrival.changes)
    last = [event for event in here.events if event.request_id in traces][-1]
    reached = Reached(last.at, Status(last.to_status), last.attempt, set(requests) & traces)
    path = path_from(reached, arrival.source, arrival.state, arrival.created, arrival.changes)
    return Further(arrival, here, path) if path.steps else None


def _untouched(further: Further) -> bool:
    """Whether porch has neither changed the task since it was moved, nor heard of its holder."""
    here, arrival = further.here, further.arrival
    traces = traces_of(arrival.source, arrival.changes)
    noted = {(event.request_id, event.to_status) for event in here.events}
    return (
        noted.isdisjoint((step.request_id, step.to_status) for step in further.path.steps)
        and traces.issuperset(here.requests)
        and here.updated_at == here.events[-1].at
        and not here.leased
    )


def _batches(rows: Iterator[_Row], size: int) -> Iterator[list[_Row]]:
    while some := list(islice(rows, size)):
        yield some
