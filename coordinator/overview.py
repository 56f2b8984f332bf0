"""What operators look at: pages of tasks, counts, run times, and failures that are alike."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter

from coordinator.errors import BadRequest, TooLarge, TooSlow
from coordinator.identity import Limits
from coordinator.ledger import Ledger
from coordinator.lookup import Lookup
from coordinator.model import Permission, Task
from coordinator.observer import Observer
from coordinator.remembering import Remembered
from coordinator.requests import Caller
from coordinator.searching import spellings
from coordinator.status import HELD, Status
from coordinator.throughput import Throughput, intervals, tick_of
from coordinator.views import (
    TICK,
    Busy,
    Counts,
    FailureGroup,
    Interval,
    Kind,
    Page,
    Position,
    Runs,
    RunTimes,
    Scope,
    View,
)

__all__ = [
    "Busy",
    "Counts",
    "FailureGroup",
    "Interval",
    "Kind",
    "Overview",
    "Page",
    "RunTimes",
    "View",
]

MOST_ON_PAGE = 1_000
MOST_HOURS = 31 * 24
MOST_GROUPS = 1_000
MOST_FAILURES = 10_000
#: Characters of a text to look for.
LONGEST_TEXT = 1_000

#: Where each task must be looked at: how many at first, how many more each time, the most at once,
#: and the seconds after which a page is content with what was found.
FIRST_STEP, STEP_GROWS, MOST_IN_STEP = 500, 4, 20_000
SEARCH_SECONDS = 0.12

#: Of each pipeline, so many of its latest finished runs say how long a run takes.
RUNS = 500
#: So many pipelines are told of one by one.
BUSIEST = 8
#: Of the latest failures, so many are grouped.
GROUPED = 4_000
#: So many FAILED tasks are compared with a group by one statement, and for so many seconds by one
#: call, about.
COMPARED = 5_000
COMPARING_SECONDS = 2.0

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CURSOR = re.compile(r"\A(?:n|c(\d{1,17})-)(\d{1,18})\Z", re.ASCII)


class Overview(Lookup):
    """Verbs for the page that operators open. Whoever may look at a pipeline, may look at these.

    Counts, run times, throughput and groups may be remembered by this process, from a ledger that
    needed long to answer: counts, throughput and groups for 10 seconds at most, run times and the
    limits of ``long_running`` for a minute.
    """

    def __init__(
        self,
        ledger: Ledger,
        limits: Limits | None = None,
        *,
        open_reads: bool = False,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(ledger, limits, open_reads=open_reads, observer=observer)
        self._throughput = Throughput()
        self._counts: Remembered[list[Counts]] = Remembered()
        self._happened: Remembered[list[Interval]] = Remembered()
        self._busy: Remembered[list[Busy]] = Remembered()
        self._groups: Remembered[list[FailureGroup]] = Remembered()
        # The latest runs of a pipeline change slowly, and what is long with them.
        self._runs: Remembered[list[Runs]] = Remembered(200.0, 60.0)

    def page(
        self, caller: Caller, view: View, *, after: str | None = None, limit: int = 50
    ) -> Page:
        """One page of tasks, as fast with a million as with a hundred."""
        who = self._onlooker(caller)
        _check(limit, MOST_ON_PAGE, "tasks on a page")
        target = self._look(who, view.pipeline)
        scope = Scope(
            target.pipeline_id if target else None,
            _statuses(view),
            view.kind == "recent_failures",
            _texts(view.text),
        )
        position = _position(after, scope.by_change)
        if not scope.statuses:
            return Page([], None)
        if view.kind == "long_running":
            limits = {
                runs.pipeline_id: runs.times.limit
                for runs in self._finished_runs()
                if runs.times.limit is not None
            }
            scope = replace(scope, limits=limits)
        return self._page(scope, position, limit)

    def counts(self, caller: Caller) -> list[Counts]:
        """Every pipeline, by name, with its tasks counted, as they were 10 seconds ago or later."""
        who = self._onlooker(caller)
        counted = self._counts.get(None, self.ledger.status_counts)
        return [counts for counts in counted if _may_see(who, counts.pipeline)]

    def throughput(
        self, caller: Caller, *, pipeline: str | None = None, hours: int = 24
    ) -> list[Interval]:
        """The last ``hours``, cut into intervals of equal length, the oldest first."""
        who = self._onlooker(caller)
        _check(hours, MOST_HOURS, "hours")
        target = self._look(who, pipeline)
        wanted = target.pipeline_id if target else None

        def work_out() -> list[Interval]:
            ticks, current = self._throughput.of_late(self.ledger, wanted, hours * 3600 // TICK)
            return intervals(ticks, current, hours)

        return self._happened.get((wanted, hours), work_out)

    def busiest(
        self, caller: Caller, *, pipeline: str | None = None, hours: int = 24
    ) -> list[Busy]:
        """What happened in each of the BUSIEST pipelines in which most did, the busiest first.

        None for one pipeline, by its name or by the caller's token: that is its ``throughput``. And
        none where so much happened that it takes too long to say whose it was.
        """
        who = self._onlooker(caller)
        _check(hours, MOST_HOURS, "hours")
        if self._look(who, pipeline) is not None:
            return []

        def work_out() -> list[Busy]:
            now = self.ledger.now()
            begin = tick_of(now) - timedelta(seconds=(hours * 3600 // TICK - 1) * TICK)
            try:
                each = self.ledger.happened_in_each(begin, now)
            except TooSlow:
                return []
            found = []
            for name, happened in each.items():
                ticks = {one.begin: (one.submitted, one.done, one.failed) for one in happened}
                amount = sum(map(sum, ticks.values()))
                found.append((-amount, name, Busy(name, intervals(ticks, tick_of(now), hours))))
            return [busy for _, _, busy in sorted(found, key=itemgetter(0, 1))[:BUSIEST]]

        return self._busy.get(hours, work_out)

    def run_times(self, caller: Caller, *, pipeline: str | None = None) -> list[RunTimes]:
        """Each pipeline that has finished runs, or this one, by name; of each, the latest RUNS.

        Of a task that was re-run, the run before is no longer one of them, the new one is when it
        has finished.
        """
        who = self._onlooker(caller)
        target = self._look(who, pipeline)
        times = [runs.times for runs in self._finished_runs()]
        return [of for of in times if target is None or of.pipeline == target.name]

    def failure_groups(
        self, caller: Caller, *, pipeline: str | None = None, most: int = 20
    ) -> list[FailureGroup]:
        """FAILED tasks grouped by similar message, the largest group first.

        Of more than GROUPED failures, the latest are grouped, and what failed before the ``first``
        of a group is not counted; ``failures`` knows all of it.
        """
        who = self._onlooker(caller)
        _check(most, MOST_GROUPS, "groups")
        target = self._look(who, pipeline)
        wanted = target.pipeline_id if target else None
        groups = self._groups.get(
            wanted, lambda: self.ledger.failure_groups(wanted, GROUPED, MOST_GROUPS)
        )
        return groups[:most]

    def failures(
        self,
        caller: Caller,
        pipeline: str | None,
        group: str,
        *,
        after: int = 0,
        limit: int = 1_000,
        until: datetime | None = None,
    ) -> tuple[list[Task], int | None]:
        """The tasks of a failure group beyond task_id ``after``, in order of task_id.

        And the ``after`` with which to go on, None at the end: among many others that FAILED, those
        of one answer may be fewer than ``limit``. ``until``: only what failed by then, as the
        ``last`` of a group that somebody has seen.
        """
        who = self._onlooker(caller)
        _check(limit, MOST_FAILURES, "tasks at once")
        target = self._look(who, pipeline)
        if target is None:
            raise BadRequest("a group of failures is of a pipeline, and none is named", "name it")
        _holdable(group)
        found: list[Task] = []
        time_is_up = time.monotonic() + COMPARING_SECONDS
        while True:
            most = limit - len(found)
            tasks, looked_to = self.ledger.failures(
                target.pipeline_id, group, after, COMPARED, most, until
            )
            found += tasks
            if len(tasks) == most:
                looked_to = tasks[-1].task_id
            if looked_to is None or len(found) == limit or time.monotonic() > time_is_up:
                return found, looked_to
            after = looked_to

    def look_anew(self) -> None:
        """Show what was changed just now: this process forgets counts, throughput and groups."""
        for kept in (self._counts, self._happened, self._busy, self._groups):
            kept.forget()

    def _finished_runs(self) -> list[Runs]:
        return self._runs.get(None, lambda: self.ledger.run_times(RUNS))

    def _page(self, scope: Scope, position: Position | None, limit: int) -> Page:
        """From ``position`` on: in ever larger steps where each task has to be looked at."""
        searched = bool(scope.texts) or scope.limits is not None
        begin = time.monotonic()
        until = begin + SEARCH_SECONDS
        step = max(FIRST_STEP, limit + 1) if searched else limit + 1
        tasks: list[Task] = []
        while True:
            looked = self.ledger.newest(scope, position, step, limit + 1 - len(tasks))
            tasks += looked.tasks
            position = looked.end
            if len(tasks) > limit:
                del tasks[limit:]
                position = _place_of(tasks[-1], scope.by_change)
                break
            now = time.monotonic()
            if position is None or now >= until:
                break
            in_time = int(step * (until - now) / (now - begin))
            if in_time < FIRST_STEP:
                break
            step, begin = min(step * STEP_GROWS, in_time, MOST_IN_STEP), now
        if position is None:
            return Page(tasks, None)
        return Page(tasks, _cursor(position), position.age if searched else None)


def _statuses(view: View) -> frozenset[Status]:
    of_kind = {
        "all": frozenset(Status),
        "not_done": frozenset(Status) - {Status.DONE},
        "long_running": HELD,
        "recent_failures": frozenset({Status.FAILED}),
    }
    if view.kind not in of_kind:
        raise BadRequest(
            f'no page shows tasks that are "{view.kind}"', f"one of {', '.join(of_kind)}"
        )
    wanted = of_kind[view.kind]
    return wanted if view.status is None else wanted & {view.status}


def _texts(given: str | None) -> tuple[str, ...]:
    if not given:
        return ()
    if len(given) > LONGEST_TEXT:
        raise TooLarge(
            f"a text of {len(given):,} characters to look for",
            f"look for at most {LONGEST_TEXT:,}",
        )
    _holdable(given)
    return spellings(given)


def _holdable(given: str) -> None:
    if "\0" in given or any("\ud800" <= sign <= "\udfff" for sign in given):
        raise BadRequest("no text has the character that is looked for", "leave it out")


def _check(asked: int, most: int, what: str) -> None:
    if not 1 <= asked <= most:
        raise BadRequest(f"cannot show {asked} {what}", f"ask for 1 to {most:,}")


def _may_see(who: Permission, pipeline: str) -> bool:
    return who.pipeline is None or who.pipeline.name == pipeline


def _place_of(task: Task, by_change: bool) -> Position:
    if by_change:
        return Position(task.task_id, task.updated_at, task.updated_at)
    return Position(task.task_id, None, task.created_at)


def _cursor(position: Position) -> str:
    """``n`` and a task_id, or ``c``, microseconds since 1970, and a task_id."""
    if position.changed is None:
        return f"n{position.task_id}"
    return f"c{(position.changed - _EPOCH) // _MICROSECOND}-{position.task_id}"


def _position(after: str | None, by_change: bool) -> Position | None:
    if after is None:
        return None
    match = _CURSOR.match(after)
    if match is None or by_change is (match[1] is None):
        raise BadRequest(
            f"no page of this kind goes on from {after[:40]!r}",
            "begin with the first page, and follow its `next`",
        )
    if match[1] is None:
        return Position(int(match[2]))
    return Position(int(match[2]), _EPOCH + int(match[1]) * _MICROSECOND)
