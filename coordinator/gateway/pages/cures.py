"""What to do about a refusal, in the words of the page."""

from __future__ import annotations

import re

from coordinator.errors import PorchError

#: By code, instead of a cure that is for the command line.
CURES = {
    "ambiguous_task": "open the task by its link among all tasks",
    "force_needed": "tick the box for DONE tasks, which need a reason as well",
    "forbidden": "sign out, and enter a token of the pipeline: an administrator issues one",
    "illegal_change": "open the task to see what has happened",
    "reason_needed": "give a reason: it is kept with the task",
    "stale_attempt": "open the task to see what has happened",
    "task_pruned": "let whoever runs porch give it back from the archive: porch-server restore",
    "status_changed": "look at the task as it is now, and decide anew",
    "too_slow": "ask for less: filter by a pipeline or a status",
    "unknown_pipeline": "choose one of those that the page with all tasks lists",
    "unknown_task": "look for it among all tasks",
    "unknown_token": "enter it again as it was issued",
    "unknown_version": "open the task by its link among all tasks",
    "which_version": "open the task by its link among all tasks",
}
_COMMAND_LINE = re.compile(r"`porch |(?<![\w-])--[a-z]|PORCH_")


def cure(refusal: PorchError) -> str:
    """What to do, for somebody who has a page and no shell; empty where nothing helps."""
    if _COMMAND_LINE.search(refusal.cure):
        return CURES.get(refusal.code, "")
    return refusal.cure


def in_a_line(refusal: PorchError) -> str:
    """A refusal with its code and its cure."""
    to_do = cure(refusal)
    return f"{refusal.code}: {refusal.message}" + (f"; {to_do}" if to_do else "")
