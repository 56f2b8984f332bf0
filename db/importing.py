"""Moves the contents of an npg_porch database into this one, a batch of tasks a transaction.

What has been moved is known again by the request_ids of its events, which come of the source: no
note is kept of how far an import came, and one that is started again finds what is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Engine

from coordinator.errors import PorchError, StatusChanged
from coordinator.identity import Identified, Limits, identify
from coordinator.moving_over import Change, Path, furthest_first, path_of, status_of
from coordinator.reconciliation import Reconciliation
from coordinator.status import Status
from db.furthest import Furthest
from db.import_target import Arrival, Landing, Place, Target, landed
from db.import_tokens import Tokens, move_tokens
from db.npg_porch_source import NpgPorch, SourceTask

COLLIDES = "its input is that of another task under our identity rule"
REGISTERED = "its definition is registered here already, and not by this import"
MOVED_ON = "npg_porch has gone on with its task since it was imported"
OF_SKIPPED = "its task is skipped"
OF_NONE = "it is of no task"

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
        for number, task in enumerate(source.tasks(), 1):
            fit = import_.fit(task)
            if isinstance(fit, _Fit):
                furthest.add(fit.key, furthest_first(fit.state), task.task_id)
            if number % batch == 0 or number == account["task"].read:
                progress("comparing inputs", number)
        done = 0
        for some in _batches(source.histories(), batch):
            import_.move(some, furthest)
            done += len(some)
            progress("moving tasks", done)
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

    def fit(self, task: SourceTask) -> _Fit | _Unfit:
        """Whether a task can be held here."""
        place = self._places.get(task.pipeline_id or 0)
        if place is None or task.version is None:
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
        self._tokens.added_to(self._account)
        for arrival in arrivals:
            if arrival.key in written:
                self._count_written(arrival)
            else:
                self._count_known(arrival, known[arrival.key])

    def _arrival(self, task: SourceTask, changes: list[Change], fit: _Fit) -> Arrival:
        times = [change.at for change in changes if change.at is not None]
        created = task.created or min(times, default=self._began)
        source = f"{fit.place.name}/{fit.version}/{task.descriptor}/{task.task_id}"
        path = path_of(source, fit.state, created, changes, None)
        return Arrival(task.task_id, fit.place, fit.version, fit.identified, created, path, changes)

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

    def _count_known(self, arrival: Arrival, requests: set[object]) -> None:
        if not landed(arrival, requests):
            self._skip_known(arrival)
            return
        self._account["task"].here += 1
        for step in arrival.path.steps:
            if step.filled:
                continue
            if step.request_id in requests:
                self._account["event"].here += 1
            else:
                row = f"an event of task {arrival.source_id}: {step.message}"
                self._account.skip("event", row, MOVED_ON)
        self._leave_out(arrival.source_id, arrival.path)

    def _leave_out(self, task_id: int, path: Path) -> None:
        for why, number in path.left_out.items():
            for _ in range(number):
                self._account.skip("event", f"an event of task {task_id}", why)

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


def _batches(
    rows: Iterator[tuple[SourceTask, list[Change]]], size: int
) -> Iterator[list[tuple[SourceTask, list[Change]]]]:
    while some := list(islice(rows, size)):
        yield some
