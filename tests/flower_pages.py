"""Flower as somebody at a browser, or a script, asks it."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from flower.urls import handlers

from config.flower_home import USER

#: What each route stands for, where it has a place to fill in: the name of a worker, a task's id, a
#: task's name, a file.
OPEN = {"/metrics", "/healthcheck"}


class Pages:
    """One Flower. ``ask`` gives status and body of any address."""

    def __init__(self, url: str, password: str | None) -> None:
        self.url = url
        self._password = password

    def ask(self, path: str, method: str = "GET", password: str | None = None) -> tuple[int, str]:
        """The answer to one request, with our password or another; none if empty."""
        request = Request(f"{self.url}{path}", method=method, data=b"" if method != "GET" else None)
        known = self._password if password is None else password
        if known:
            credentials = b64encode(f"{USER}:{known}".encode()).decode()
            request.add_header("Authorization", f"Basic {credentials}")
        try:
            with urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    def tasks(self, name: str | None = None) -> list[dict[str, Any]]:
        """The tasks that it has seen, latest first."""
        found = json.loads(self.ask("/api/tasks?limit=10000")[1]).values()
        return [task for task in found if name in {None, task["name"]}]


def routes(worker: str = "w", task_id: str = "t", task: str = "n") -> Iterator[tuple[str, str]]:
    """(method, path) of everything that Flower serves, by its own list, with places filled in."""
    for handler in handlers:
        pattern, kind = (
            (handler[0], handler[1])
            if isinstance(handler, tuple)
            else (handler.regex.pattern.rstrip("$"), handler.handler_class)
        )
        place = (
            worker
            if "worker" in pattern
            else task_id
            if re.search(r"/(task/\(|info|result|abort|revoke)", pattern)
            else "css/flower.css"
            if "static" in pattern
            else task
        )
        path = re.sub(r"\(\.[+*]\)", place, pattern).replace("/?", "").replace(".*", "/nowhere")
        if path == "/tasks/datatable":
            path += "?draw=1&start=0&length=10000&order[0][column]=0&order[0][dir]=asc"
            path += "&search[value]=&columns[0][data]=name"
        for method in ("GET", "POST"):
            if getattr(kind, method.lower(), None) is not _unsupported(kind, method):
                yield method, path


def _unsupported(kind: Any, method: str) -> Any:
    from tornado.web import RequestHandler

    return getattr(RequestHandler, method.lower())
