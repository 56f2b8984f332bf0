"""The wrappers of a run: started, struck, replaced when killed, brought to an end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from signal import SIGKILL

import psutil

from tests.faults import journal
from tests.faults.arena import Arena
from tests.faults.schedule import LEASE
from tests.faults.wrapper import Settings

ROOT = Path(__file__).parents[2]
_STOP_SECONDS = 30.0


class Wrappers:
    """``n`` wrappers at work in an arena. A context manager, which leaves none behind."""

    def __init__(self, arena: Arena, seed: int, n: int) -> None:
        self.folder = arena.folder / "wrappers"
        self.folder.mkdir()
        self._url = arena.client_url
        self._began = time.time()
        self._seed = seed
        # A token each, so that the history tells who did what.
        self._tokens = {
            f"wrapper-{number}": arena.token(f"wrapper-{number}") for number in range(n)
        }
        self._lives = dict.fromkeys(self._tokens, 0)
        self._running: dict[str, subprocess.Popen[str]] = {}
        #: What went wrong with wrappers themselves: each a sentence.
        self.troubles: list[str] = []

    def __enter__(self) -> Wrappers:
        for name in self._tokens:
            self._start(name)
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def process(self, pick: float) -> psutil.Process:
        """One that runs."""
        return psutil.Process(self._chosen(pick).pid)

    def kill(self, pick: float) -> None:
        """SIGKILL one; another takes its place, and knows nothing of what it had in hand."""
        self._chosen(pick).kill()

    def replace(self) -> None:
        """Start another for each that has ended. Only the nemesis may have ended it."""
        for name, process in list(self._running.items()):
            if process.poll() is not None:
                self._judge(name, process, wanted=-SIGKILL)
                self._start(name)

    def begun(self) -> bool:
        """Whether work has been submitted, handed out and begun: there is something to strike."""
        record = journal.read(self.folder)
        return bool(record.starts) and any(done.answers for done in record.of("submit"))

    def draining(self) -> bool:
        """Whether all that run have turned to finishing."""
        ready = journal.read(self.folder).draining
        return all(self._life(name) in ready for name in self._tokens)

    def drain(self) -> None:
        """From now on, nothing new."""
        (self.folder / "drain").touch()

    def stop(self) -> None:
        """Let them end by themselves."""
        (self.folder / "stop").touch()
        deadline = time.monotonic() + _STOP_SECONDS
        for name, process in self._running.items():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.troubles.append(f"{self._life(name)} does not end")
                process.kill()
                process.wait()
            else:
                self._judge(name, process, wanted=0)

    def _start(self, name: str) -> None:
        self._lives[name] += 1
        life = self._life(name)
        settings = Settings(
            life,
            f"{self._seed}/{life}",
            str(self.folder),
            self._began,
            self._url,
            self._tokens[name],
            LEASE,
        )
        with (self.folder / f"{life}.log").open("w") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.wrapper", json.dumps(asdict(settings))],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
            )

    def _life(self, name: str) -> str:
        return f"{name}.{self._lives[name]}"

    def _chosen(self, pick: float) -> subprocess.Popen[str]:
        return list(self._running.values())[int(pick * len(self._running))]

    def _judge(self, name: str, process: subprocess.Popen[str], wanted: int) -> None:
        said = (self.folder / f"{self._life(name)}.log").read_text()
        if process.returncode != wanted:
            self.troubles.append(
                f"{self._life(name)} ended with {process.returncode}: {said[-2_000:]}"
            )
