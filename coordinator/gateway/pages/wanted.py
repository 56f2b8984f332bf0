"""What an address asks the page to show, and the address of what a page shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args
from urllib.parse import urlencode

from coordinator.errors import BadRequest
from coordinator.gateway.pages.words import unseen
from coordinator.model import Task
from coordinator.overview import Kind, View
from coordinator.status import Status

#: The kinds of view, in the words of the page.
KINDS: dict[Kind, str] = {
    "all": "All tasks",
    "not_done": "Not done",
    "long_running": "Long running",
    "recent_failures": "Recent failures",
}
HOURS = {24: "24 hours", 24 * 7: "7 days", 24 * 30: "30 days"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A view of the tasks, where its page begins, and how far back the chart looks."""

    view: View = field(default_factory=View)
    after: str | None = None
    hours: int = 24

    def href(self, **changes: Any) -> str:
        """The address of this page, with another ``kind``, ``pipeline``, ``status`` or ``text``.

        A changed view begins at its first page, unless ``after`` says otherwise.
        """
        view = replace(self.view, **{k: v for k, v in changes.items() if k in _FIELDS})
        given = {
            "kind": None if view.kind == "all" else view.kind,
            "pipeline": view.pipeline,
            "status": view.status,
            "text": view.text,
            "hours": changes.get("hours", None if self.hours == 24 else self.hours),
            "after": changes.get("after"),
        }
        query = urlencode([(k, str(v)) for k, v in given.items() if v is not None])
        return f"/?{query}" if query else "/"

    @property
    def here(self) -> str:
        """The address of this very page."""
        return self.href(after=self.after)

    @property
    def is_narrowed(self) -> bool:
        """Whether anything is left out."""
        return self.view != View()


_FIELDS = frozenset(View.__dataclass_fields__)


def wanted(query: Mapping[str, str]) -> Wanted:
    """What a query string asks for; an empty field does not restrict. Raises BadRequest."""
    given = {name: value.strip() for name, value in query.items() if value.strip()}
    kind = given.get("kind", "all")
    if kind not in get_args(Kind):
        raise BadRequest(f'no view is called "{kind[:40]}"', f"there are {', '.join(KINDS)}")
    status = given.get("status", "").upper()
    if status and status not in Status.__members__:
        raise BadRequest(f'no status is called "{status[:40]}"', f"there are {', '.join(Status)}")
    hours = given.get("hours", "24")
    if hours not in {str(known) for known in HOURS}:
        raise BadRequest(
            f'the chart does not know "{hours[:40]}" hours',
            f"it knows {', '.join(str(known) for known in HOURS)}",
        )
    view = View(
        kind=next(known for known in KINDS if known == kind),
        # As it is: a name may have blanks anywhere.
        pipeline=query["pipeline"] if "pipeline" in given else None,
        status=Status(status) if status else None,
        text=unseen(given["text"]) if "text" in given else None,
    )
    return Wanted(view, given.get("after"), int(hours))


def task_href(task: Task) -> str:
    """The address of a task's page."""
    named = {"pipeline": task.pipeline, "version": task.version, "id": task.task_input_id}
    return f"/page/task?{urlencode(named)}"
