"""What npg_porch's clients send, made in one line each."""

from __future__ import annotations

from typing import Any

import httpx

from tests.factories import definition
from tests.house import User

URI = "https://example.org/p"


def sparse(user: User, version: str | None = None) -> dict[str, Any]:
    """The user's pipeline by its name, and its version if one is given."""
    return {"name": user.pipeline} | ({"version": version} if version else {})


def full(user: User, version: str = "1.0") -> dict[str, Any]:
    """The user's pipeline as answers have it."""
    return {"name": user.pipeline, "uri": URI, "version": version}


def a_task(user: User, status: str | None = None, **fields: Any) -> dict[str, Any]:
    """A task of the user's, unlike any other unless the fields make it so."""
    task = {"pipeline": sparse(user), "task_input": definition(**fields)}
    return task | ({"status": status} if status else {})


def submitted(owner: httpx.Client, user: User) -> dict[str, Any]:
    """A task of the user's, as it is told when it has been submitted."""
    reply = owner.post("/tasks", json=a_task(user))
    assert reply.status_code == 201, reply.text
    task: dict[str, Any] = reply.json()
    return task


def put(owner: httpx.Client, task: dict[str, Any], status: str, **fields: Any) -> httpx.Response:
    """Send the task back with another status."""
    return owner.put("/tasks", json={**task, "status": status, **fields})


def detail(reply: httpx.Response, status: int) -> Any:
    """Why the request was refused, with this status."""
    assert reply.status_code == status, reply.text
    (words,) = reply.json().values()
    return words
