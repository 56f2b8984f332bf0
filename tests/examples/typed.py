"""An example, run as its README says, by somebody who has a token for a pipeline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.house import BIN, User, default_signals, environment

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
STANDINS = Path(__file__).parent / "bin"
#: A broker that nobody can reach, and little patience with it.
AWAY = {
    "PORCH_BROKER_URL": "redis://127.0.0.1:1/0",
    "PORCH_RESULT_URL": "",
    "PORCH_TIMEOUT": "1",
}


class Typist:
    """Runs examples in a folder of the test's own. ``here``: that folder."""

    def __init__(self, user: User, here: Path) -> None:
        self.user, self.here = user, here
        self.calls = here / "calls.jsonl"
        self._started: list[subprocess.Popen[str]] = []
        (here / "token").write_text(user.token)

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What they have exported, with the stand-ins for the schedulers first on the path."""
        return environment(
            {
                "PATH": os.pathsep.join((str(STANDINS), str(BIN), os.environ["PATH"])),
                **self.user.house.env(self.user.token),
                "GATEWAY": self.user.house.ready["gateway_url"],
                "TOKEN_FILE": str(self.here / "token"),
                "STANDIN_CALLS": str(self.calls),
                "SPOOL": str(self.here / "spool"),
                "OUTBOX": str(self.here / "outbox"),
                "PATIENCE": "2",
                **(more or {}),
            }
        )

    def type(
        self, script: str, *words: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a script of the examples to its end."""
        return subprocess.run(
            [str(EXAMPLES / script), *words],
            cwd=self.here,
            env=self.env(env),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(
        self, script: str, *words: str, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a script of the examples and go on."""
        started = subprocess.Popen(
            [str(EXAMPLES / script), *words],
            cwd=self.here,
            env=self.env(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=default_signals,  # noqa: PLW1509 (it starts no thread and takes no lock)
        )
        self._started.append(started)
        return started

    def close(self) -> None:
        """End what a test that failed has left running."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def write(self, name: str, text: str) -> str:
        """A file of theirs, a program if it looks like one; its path."""
        path = self.here / name
        path.write_text(text)
        if text.startswith("#!"):
            path.chmod(0o755)
        return str(path)

    def sheet(self, *runs: str) -> str:
        """A sample sheet with these runs; its path."""
        return self.write("runs.csv", "Run,Centre\n" + "".join(f"{run},x\n" for run in runs))

    def command(self) -> str:
        """What is to be run for each task: notes the run; fails for what is called bad."""
        return self.write(
            "one.py",
            "#!/usr/bin/env python3\n"
            "import json, sys\n"
            "task = json.load(sys.stdin)\n"
            "run = task.get('task_input', task)['Run']\n"
            f"open({str(self.here / 'ran.txt')!r}, 'a').write(run + '\\n')\n"
            "sys.exit('bgzip: no space left' if run.startswith('bad') else 0)\n",
        )

    def slow_command(self) -> str:
        """The same, but it never ends; it has begun when there is a file ``began``."""
        return self.write("slow.sh", f"#!/bin/sh\ntouch {self.here / 'began'}\nsleep 100 & wait\n")

    def began(self) -> bool:
        """Whether the slow command has begun."""
        return (self.here / "began").exists()

    def ran(self) -> list[str]:
        """The runs that the command was run for."""
        noted = self.here / "ran.txt"
        return sorted(noted.read_text().splitlines()) if noted.exists() else []

    def called(self) -> list[dict[str, Any]]:
        """How the stand-ins were called."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [json.loads(line) for line in lines]

    def fates(self) -> dict[str, str]:
        """The status of each run."""
        return {task.task_input["Run"]: task.status for task in self.user.client.list()}

    def words(self, run: str) -> list[str | None]:
        """The messages in the history of a run, in order."""
        (task,) = self.user.client.list(text=f'"{run}"')
        return [event.message for event in self.user.history(task.task_input_id)]


def terminated(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit status after SIGTERM to its group, as schedulers send it, and its standard error."""
    os.killpg(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    return process.returncode, said
