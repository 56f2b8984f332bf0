"""The verbs of those who hold tasks: report, for one caller or for many at once; and heartbeat.

Of each task that a crowd works on it is reported that it runs and that it has ended. What has come
at the same time is carried out in one transaction, as if one came after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.arrivals import check_amount
from coordinator.errors import AttemptNeeded, BadRequest, PorchError
from coordinator.lookup import Lookup, or_raise
from coordinator.model import Change, Origin, Outcome, Permission, Pipeline, Task
from coordinator.requests import Caller, Name, Report, Reported, Updating
from coordinator.status import REPORTABLE, Status, sources
from coordinator.tracing import in_one_transaction
from coordinator.verdicts import clean_message, on_heartbeat, on_report


@dataclass(frozen=True, slots=True)
class Updated:
    """What became of the reports of one request: the verdict on each, in order."""

    pipeline: Pipeline
    answers: list[Reported | PorchError]


class Reporting(Lookup):
    """What batch scripts say of tasks that they hold, each with a token of their pipeline."""

    def update(
        self, caller: Caller, reports: Sequence[Report], *, pipeline: str | None = None
    ) -> list[Reported | PorchError]:
        """Record what holders report: RUNNING, DONE or FAILED; each verdict in order."""
        (updated,) = self.update_all([Updating(caller, reports, pipeline)])
        if updated is None:
            raise AssertionError("unreachable: who is alone waits")
        return or_raise(updated).answers

    @in_one_transaction("update")
    def update_all(
        self, asked: Sequence[Updating], *, waits: bool | None = None
    ) -> list[Updated | PorchError | None]:
        """As ``update``, for each of the requests, in their order.

        ``waits``: whether it waits for others; if not said, only who is alone does, as of several
        all would wait for one. Who does not is told None of a request that nothing has become of,
        since somebody else is just changing a task of it, or of one before it that shares a task
        with it: ask for it alone.
        """
        with self.ledger.joined():
            entered = self._enter_all([one.caller for one in asked])
            wanted = [self._reports(*both) for both in zip(asked, entered, strict=True)]
            several = [one for one in wanted if isinstance(one, _Reports)]
            self._look_up(several)
            if not (len(asked) == 1 if waits is None else waits):
                self._leave_out_what_others_change(several)
            useful = [one for one in several if one.changes() and not one.left_out]
            found = self.ledger.change_all([(one.changes(), one.origin) for one in useful])
        for one_wanted, outcomes in zip(useful, found, strict=True):
            one_wanted.outcomes = outcomes
        return [self._answered(one) if isinstance(one, _Reports) else one for one in wanted]

    def heartbeat(
        self, caller: Caller, names: Sequence[Name], *, pipeline: str | None = None
    ) -> list[Reported | PorchError]:
        """Say that the holder of each task is alive: extends its lease."""
        who, origin = self._enter(caller)
        target = self._own(who, pipeline)
        check_amount(len(names))
        found = [
            _held(target, name, task)
            for name, task in zip(names, self._find(target, names), strict=True)
        ]
        held = [
            (task.task_id, name.attempt)
            for name, task in zip(names, found, strict=True)
            if isinstance(task, Task)
        ]
        outcomes = iter(self.ledger.heartbeat(held, origin) if held else ())
        return [
            on_heartbeat(task, name.attempt, next(outcomes)) if isinstance(task, Task) else task
            for name, task in zip(names, found, strict=True)
        ]

    def _reports(
        self, asked: Updating, entered: tuple[Permission, Origin] | PorchError
    ) -> _Reports | PorchError:
        try:
            who, origin = or_raise(entered)
            target = self._own(who, asked.pipeline)
            check_amount(len(asked.reports))
        except PorchError as refusal:
            return refusal
        return _Reports(target, asked.reports, origin)

    def _look_up(self, several: Sequence[_Reports]) -> None:
        """Find the tasks of all of them."""
        names = [(one.target, report.name) for one in several for report in one.reports]
        found = iter(self._find_all(names))
        for one in several:
            one.wanted = [_wanted(one.target, report, next(found)) for report in one.reports]

    def _leave_out_what_others_change(self, several: Sequence[_Reports]) -> None:
        """Requests whose tasks can be had at once, all of them, are carried out; no others."""
        task_ids = {change.task_id for one in several for change in one.changes()}
        others = task_ids - self.ledger.hold(sorted(task_ids)) if task_ids else set()
        for one in several:
            mine = {change.task_id for change in one.changes()}
            if mine & others:
                one.left_out = True
                others |= mine  # what comes after it stays after it

    def _answered(self, one: _Reports) -> Updated | None:
        if one.left_out:
            return None
        return Updated(one.target, self._verdicts(one.wanted, one.outcomes, on_report))


@dataclass(slots=True)
class _Reports:
    """A request whose caller may enter; what it wants, and what became of that."""

    target: Pipeline
    reports: Sequence[Report]
    origin: Origin
    wanted: Sequence[tuple[Task, Change] | PorchError] = ()
    left_out: bool = False
    outcomes: Sequence[Outcome] = ()

    def changes(self) -> list[Change]:
        return [pair[1] for pair in self.wanted if isinstance(pair, tuple)]


def _wanted(
    target: Pipeline, report: Report, found: Task | PorchError
) -> tuple[Task, Change] | PorchError:
    task = _held(target, report.name, found)
    if isinstance(task, PorchError):
        return task
    if report.status not in REPORTABLE:
        return _not_reportable(report.status)
    return task, _as_change(task, report)


def _held(target: Pipeline, name: Name, task: Task | PorchError) -> Task | PorchError:
    """The task; where work is taken back by itself, its holder must name the attempt."""
    if isinstance(task, Task) and target.lease is not None and name.attempt is None:
        return _attempt_needed(task)
    return task


def _attempt_needed(task: Task) -> AttemptNeeded:
    return AttemptNeeded(
        f"task {task.task_input_id[:12]} has a lease, which may have run out: this report does not "
        "say of which attempt it is",
        "add --attempt N, as `porch claim` told it",
    )


def _as_change(task: Task, report: Report) -> Change:
    return Change(
        task.task_id,
        report.status,
        sources("update", report.status),
        report.name.attempt,
        clean_message(report.message),
        report.job_id,
        report.permanent,
    )


def _not_reportable(status: Status) -> BadRequest:
    return BadRequest(
        f"{status} cannot be reported",
        "report RUNNING, DONE or FAILED; `porch release`, `porch cancel` and `porch rerun` "
        "do the rest",
    )
