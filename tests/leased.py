"""Tasks with a lease, and short ways to do things with them."""

from __future__ import annotations

from coordinator.model import Event, Swept, Task
from coordinator.requests import Name, Policy, Report, Reported
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import admin, caller, definitions, pipeline, submit

LEASE = 3_600


def leased(porch: Coordinator, n: int = 1, **policy: int) -> tuple[str, str, list[Task]]:
    """A pipeline with a lease, a token for it, and tasks that are claimed."""
    name, secret = pipeline(porch)
    porch.set_policy(caller(admin(porch)), name, Policy(lease=LEASE, **policy))
    submit(porch, secret, definitions(n))
    return name, secret, porch.claim(caller(secret), n)


def sweep(porch: Coordinator, **bounds: int) -> Swept:
    return porch.sweep(**bounds)


def say(
    porch: Coordinator, secret: str, task: Task, status: Status, **more: bool | str
) -> Reported | object:
    name = Name(task.task_input_id, attempt=task.attempt)
    return porch.update(caller(secret), [Report(name, status, **more)])[0]  # type: ignore[arg-type]


def events(porch: Coordinator, secret: str, task: Task) -> list[Event]:
    return porch.show(caller(secret), Name(task.task_input_id))[1]


def now(porch: Coordinator, secret: str, task: Task) -> Task:
    return porch.show(caller(secret), Name(task.task_input_id))[0]
