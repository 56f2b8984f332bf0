"""Flower as somebody at a browser, or a script, asks it."""

from __future__ import annotations

import json
import re
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from flower.urls import handlers

from config.flower_home import USER
from config.ports import free_port
from tests.house import start, wait_until

#: What needs no password, by Flower's own choice.
OPEN = {"/metrics", "/healthcheck"}


class Pages:
    """One Flower. ``ask`` gives status and body of any address."""

    def __init__(self, url: str, password: str | None) -> None:
        self.url = url
        self.password = password

    def ask(self, path: str, method: str = "GET", password: str | None = None) -> tuple[int, str]:
        """The answer to one request, with our password or another; none if empty."""
        request = Request(f"{self.url}{path}", method=method, data=b"" if method != "GET" else None)
        known = self.password if password is None else password
        if known:
            credentials = b64encode(f"{USER}:{known}".encode()).decode()
            request.add_header("Authorization", f"Basic {credentials}")
        try:
            with urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    def answers(self) -> bool:
        """Whether it is there at all."""
        try:
            return self.ask("/healthcheck")[0] == 200
        except OSError:
            return False

    def tasks(self, name: str | None = None) -> list[dict[str, Any]]:
        """The tasks that it has seen, latest first."""
        found = json.loads(self.ask("/api/tasks?limit=10000")[1]).values()
        return [task for task in found if name in {None, task["name"]}]


@contextmanager
def flower(broker: str, folder: Path, **env: str) -> Iterator[tuple[Pages, subprocess.Popen[str]]]:
    """``porch-server flower`` in the foreground, until SIGTERM; nobody else's state directory."""
    port = free_port()
    settings = {"PORCH_BROKER_URL": broker, "PORCH_STATE_DIR": str(folder / "state"), **env}
    process = start(*("porch-server", "flower", "--port", str(port)), env=settings, cwd=folder)
    pages = Pages(f"http://127.0.0.1:{port}", env.get("PORCH_FLOWER_PASSWORD"))
    try:
        wait_until(lambda: process.poll() is not None or pages.answers(), 30.0)
        kept = folder / "state" / "flower" / "password"
        pages.password = pages.password or kept.read_text().strip()
        yield pages, process
    finally:
        process.terminate()
        process.communicate(timeout=30)


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
