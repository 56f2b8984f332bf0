"""What to tell a caller about a change of status that was tried: pure rules, no store."""

from __future__ import annotations

from coordinator.errors import (
    PRUNED_CURE,
    ForceNeeded,
    IllegalChange,
    PorchError,
    ReasonNeeded,
    StaleAttempt,
    StatusChanged,
    TaskPruned,
)
from coordinator.model import Change, Outcome, Task
from coordinator.requests import Reported, Seen
from coordinator.status import TRANSITIONS, Status, verbs_from

#: Characters of a message that are kept. The end is what explains a failure.
MESSAGE_LENGTH = 8_000


def clean_message(message: str | None) -> str | None:
    """The message as it is kept: what PostgreSQL cannot hold is replaced, the end is kept.

    A report is never refused for the words that explain it.
    """
    if not message:
        return None
    text = message.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if len(text) > MESSAGE_LENGTH:
        text = f"[{len(text) - MESSAGE_LENGTH} characters left out] " + text[-MESSAGE_LENGTH:]
    return text


def on_report(task: Task, change: Change, outcome: Outcome) -> Reported | PorchError:
    """The verdict on what a holder reported or gave back."""
    return (
        _made(task, outcome)
        or _stale(task, change, outcome)
        or _settled(task, change, outcome)
        or _illegal(task, change, outcome)
    )


def on_decision(task: Task, change: Change, outcome: Outcome) -> Reported | PorchError:
    """The verdict on what was decided of a task: it holds only for what its author saw."""
    (seen,) = change.sources
    return _settled(task, change, outcome) or StatusChanged(
        f"task {task.task_input_id[:12]} is {outcome.status} in attempt {outcome.attempt} now, "
        f"not {seen} in attempt {change.attempt} as you saw it",
        f"look again with `porch show {task.task_input_id[:12]}` and decide anew",
    )


def check_decision(
    task: Task, seen: Seen, verb: str, reason: str | None, *, force: bool
) -> frozenset[Status]:
    """The status from which a decision may be carried out: the one its author saw.

    Raises IllegalChange, TaskPruned, or ForceNeeded and ReasonNeeded for running DONE work again.
    """
    if verb not in TRANSITIONS[seen.status].values():
        raise IllegalChange(
            f"cannot {verb} task {task.task_input_id[:12]} while it is {seen.status}",
            f"from {seen.status} it may go to {verbs_from(seen.status)}",
        )
    check_input(task)
    if seen.status is Status.DONE:
        has_reason = bool(reason and reason.strip())
        if not force:
            missing = "--force" if has_reason else "--force --reason"
            raise ForceNeeded(
                f"task {task.task_input_id[:12]} is DONE", f"to run it again, add {missing}"
            )
        if not has_reason:
            raise ReasonNeeded(
                f"running task {task.task_input_id[:12]} again, which is DONE, needs a reason",
                "add --reason: it is kept with the task",
            )
    return frozenset({seen.status})


def check_input(task: Task) -> None:
    """Raises TaskPruned for work that cannot be run again, as nobody here knows its input."""
    if task.task_input is None:
        raise TaskPruned(
            f"task {task.task_input_id[:12]} is {task.status} and has been pruned: its input is no "
            "longer kept",
            PRUNED_CURE,
        )


def on_heartbeat(task: Task, attempt: int | None, outcome: Outcome) -> Reported | PorchError:
    """The verdict on a heartbeat."""
    if _over(attempt, outcome):
        return _stale_error(task, attempt, outcome)
    if outcome.changed and attempt in (None, outcome.attempt):
        return _as_it_is(task, outcome)
    return IllegalChange(
        f"task {task.task_input_id[:12]} is {outcome.status} in attempt {outcome.attempt}: "
        "nobody holds it",
        "stop working on it; `porch show` tells what happened",
    )


def _made(task: Task, outcome: Outcome) -> Reported | None:
    """What this very request has changed, now or when it came first."""
    return _as_it_is(task, outcome) if outcome.changed or outcome.repeated else None


def _settled(task: Task, change: Change, outcome: Outcome) -> Reported | None:
    """What was so already."""
    same_attempt = change.attempt in (None, outcome.attempt)
    holds = outcome.status is change.to and same_attempt
    return _made(task, outcome) or (_as_it_is(task, outcome) if holds else None)


def _as_it_is(task: Task, outcome: Outcome) -> Reported:
    return Reported(
        task.key, task.version, outcome.status, outcome.attempt, outcome.changed, outcome.lease
    )


def _stale(task: Task, change: Change, outcome: Outcome) -> StaleAttempt | None:
    given_back = change.to is outcome.status is Status.PENDING and change.attempt == outcome.attempt
    if given_back or not _over(change.attempt, outcome):
        return None
    return _stale_error(task, change.attempt, outcome)


def _over(attempt: int | None, outcome: Outcome) -> bool:
    """Whether an attempt has ended without its holder: a later one began, or nobody holds it."""
    if attempt is None:
        return False
    return attempt < outcome.attempt or (attempt == outcome.attempt and outcome.over)


def _stale_error(task: Task, attempt: int | None, outcome: Outcome) -> StaleAttempt:
    name = task.task_input_id[:12]
    if outcome.status is Status.PENDING:
        now = f"PENDING again after attempt {outcome.attempt}"
    else:
        now = f"in attempt {outcome.attempt} ({outcome.status})"
    return StaleAttempt(
        f"task {name} is {now}, this report is of attempt {attempt}",
        f"that attempt is over: stop, and leave its results alone; `porch show {name}` tells more",
    )


def _illegal(task: Task, change: Change, outcome: Outcome) -> IllegalChange:
    if change.attempt is not None and change.attempt > outcome.attempt:
        return IllegalChange(
            f"task {task.task_input_id[:12]} is in attempt {outcome.attempt}, there is no "
            f"attempt {change.attempt} yet",
            "report with the attempt that the claim told",
        )
    return IllegalChange(
        f"task {task.task_input_id[:12]} is {outcome.status} and cannot become {change.to}",
        f"from {outcome.status} it may go to {verbs_from(outcome.status)}",
    )
