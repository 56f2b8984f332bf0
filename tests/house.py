"""A running porch, driven as a user drives it: through its commands."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from porch_client.client import Porch
from tests.factories import unique

BIN = Path(sys.executable).parent


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


class House:
    """``porch-server up`` in a state directory, from ready to stopped. A context manager."""

    def __init__(self, state_dir: Path, env: Mapping[str, str] | None = None) -> None:
        self.state_dir = state_dir
        self.process = subprocess.Popen(
            [str(BIN / "porch-server"), "up", "--json"],
            env=environment({"PORCH_STATE_DIR": str(state_dir), **(env or {})}),
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
        """Stop it with SIGTERM; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode

    def pid(self, name: str) -> int:
        """The process id of a child, e.g. ``postgres`` or ``worker.submit``, as first started."""
        return int(self.ready["pids"][name])

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

    def _first_line(self, seconds: float) -> str:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        readable, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if readable else ""
        if not line:
            self.process.kill()
            raise AssertionError(f"porch-server up said: {self.process.stderr.read()}")
        return line
