"""A running porch, driven as a user drives it: through its commands."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from porch_client.client import Porch
from porch_client.model import Event, Registered
from tests.factories import unique

BIN = Path(sys.executable).parent


def needs(*programs: str, package: str | None = None) -> str:
    """The path of the first of these programs that is here; skips, or fails in CI, if none is.

    ``package``: Debian's, where it is not named like the first program.
    """
    found = next(filter(None, map(shutil.which, programs)), None)
    if found is None:
        wanted = package or programs[0]
        missing = f"this machine has no {programs[0]}: apt-get install {wanted}"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    return found


def wait_until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "") -> Any:
    """The first truthy value of ``condition``; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or condition}")
        time.sleep(0.05)


def run(
    *argv: str, env: Mapping[str, str] | None = None, timeout: float = 60.0, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run one of porch's commands by its name, as a shell would find it."""
    return subprocess.run(
        [str(BIN / argv[0]), *argv[1:]],
        env=environment(env),
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command: ours, with the commands of this venv first on the path."""
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, **(more or {})}


def start(
    *argv: str, env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """Start one of porch's commands in the foreground of a session of its own, as a terminal does.

    Signals are as a shell leaves them: where the tests themselves run in the background, SIGINT is
    ignored, and a program inherits that.
    """
    return subprocess.Popen(
        [str(BIN / argv[0]), *argv[1:]],
        env=environment(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=default_signals,  # noqa: PLW1509 (it starts no thread and takes no lock)
        **options,
    )


def default_signals() -> None:
    """As a shell leaves signals to what it starts in the foreground."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def json_lines(text: str) -> list[Any]:
    """What JSON lines hold."""
    return [json.loads(line) for line in text.splitlines()]


def by_text(definitions: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Definitions in the order of their JSON texts."""
    return sorted(definitions, key=json.dumps)


class House:
    """``porch-server up`` in a state directory, from ready to stopped. A context manager."""

    def __init__(
        self, state_dir: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.state_dir = state_dir
        self.process = subprocess.Popen(
            [str(BIN / "porch-server"), "up", "--json"],
            env=environment(
                {
                    "PORCH_STATE_DIR": str(state_dir),
                    "PORCH_GATEWAY_PORT": "0",
                    "PORCH_FLOWER": "false",
                    "PORCH_FLOWER_PORT": "0",
                    **(env or {}),
                }
            ),
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            line = self._first_line(60.0)
            self.ready: dict[str, Any] = json.loads(line)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> House:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> int:
        """Stop it with SIGTERM; its exit status. ``output`` is what it printed after its line,
        ``said`` what it said on standard error."""
        if self.process.stdout is None or self.process.stdout.closed:
            return self.process.returncode
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.output, self.said = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode

    def pid(self, name: str) -> int:
        """The process id of a child, e.g. ``postgres`` or ``worker.submit``, as it runs now."""
        children = json.loads((self.state_dir / "children.json").read_text())
        return next(int(child["pid"]) for child in children if child["name"] == name)

    def home(self) -> Path:
        """Where the servers keep their data: for root that is not below the state directory."""
        found = json.loads((self.state_dir / "state.json").read_text())["server_home"]
        return Path(found)

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement, asked of PostgreSQL behind porch's back."""
        url = self.ready["database_url"].replace("+psycopg2", "")
        connection = psycopg2.connect(url, connect_timeout=10)
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(statement, values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

    def env(self, token: str | None = None) -> dict[str, str]:
        """What a user of this house exports."""
        known = {
            "PORCH_BROKER_URL": self.ready["broker_url"],
            "PORCH_RESULT_URL": self.ready["result_url"],
        }
        return {**known, "PORCH_TOKEN": token} if token else known

    def client(self, token: str | None, timeout: float = 30.0) -> Porch:
        """A client with this token."""
        return Porch(
            self.ready["broker_url"], token, result=self.ready["result_url"], timeout=timeout
        )

    def admin(self) -> Porch:
        """A client with the admin token."""
        return self.client(self.ready["admin_token"])

    def pipeline(self, *versions: str) -> tuple[str, str]:
        """A new pipeline: its name, and the secret of a token for it."""
        name = unique("pipeline")
        first, *others = versions or ("1.0",)
        with self.admin() as admin:
            admin.register_pipeline(name, uri="https://example.org/p", version=first)
            for version in others:
                admin.add_version(name, version)
            _, secret = admin.issue_token(pipeline=name, description="test token")
        return name, secret

    def porch(self, *argv: str, token: str | None = None, **options: Any) -> Any:
        """Run the ``porch`` command in this house."""
        return run("porch", *argv, env={**self.env(token), **options.pop("env", {})}, **options)

    def start(self, *argv: str, token: str | None = None, **options: Any) -> subprocess.Popen[str]:
        """Start the ``porch`` command in this house and go on."""
        return start("porch", *argv, env={**self.env(token), **options.pop("env", {})}, **options)

    def _first_line(self, seconds: float) -> str:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        readable, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if readable else ""
        if not line:
            self.process.kill()
            raise AssertionError(f"porch-server up said: {self.process.stderr.read()}")
        return line


class User:
    """Somebody with a token for a pipeline of their own. A context manager.

    ``porch`` types a command; ``client`` prepares and looks, which is quicker.
    """

    def __init__(self, house: House, *versions: str) -> None:
        self.house = house
        self.pipeline, self.token = house.pipeline(*versions)
        self.client = house.client(self.token)

    def __enter__(self) -> User:
        return self

    def __exit__(self, *exception: object) -> None:
        self.client.close()

    def porch(self, *argv: str, **options: Any) -> Any:
        """Run the ``porch`` command with this user's token."""
        return self.house.porch(*argv, token=self.token, **options)

    def start(self, *argv: str, **options: Any) -> subprocess.Popen[str]:
        """Start the ``porch`` command with this user's token and go on."""
        return self.house.start(*argv, token=self.token, **options)

    def register(self, *definitions: Mapping[str, Any], **options: Any) -> list[str]:
        """Submit definitions; their task_input_ids."""
        answers = list(self.client.submit(definitions, **options))
        assert all(isinstance(answer, Registered) for answer in answers), answers
        return [answer.task_input_id for answer in answers if isinstance(answer, Registered)]

    def history(self, task: str) -> list[Event]:
        """The events of a task."""
        return self.client.show(task)[1]

    def status(self, task: str) -> str:
        """The status of a task."""
        return self.client.show(task)[0].status

    def inputs(self) -> list[dict[str, Any]]:
        """What is registered, in the order of its text: within a batch porch keeps none."""
        return by_text(task.task_input for task in self.client.list())
