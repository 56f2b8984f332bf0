#!/usr/bin/env python3
"""A wrapper in Python: registers a sample sheet, and works on what is PENDING.

    wrapper.py register PIPELINE SHEET.csv COLUMN [COLUMN ...]
    wrapper.py work CMD [ARG ...]

CMD has the task's input on standard input, as JSON. PORCH_BROKER_URL and PORCH_TOKEN say where and
who. Exit status: 0 well; 1 something was refused, or failed; 3 out of reach; 143 SIGTERM came.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from porch_client import Claimed, NotRegistered, Porch, PorchError
from porch_client.errors import Unreachable

SPOOL = Path(os.environ.get("SPOOL", Path.home() / ".porch-spool"))
JOB = f"{socket.gethostname()}.{os.getpid()}"
PAUSES = (1, 2, 5, 10, 30, 60, 300)
GRACE = 6.0


def register(pipeline: str, sheet: str, *columns: str) -> int:
    """Register a row for each line; rows that are known are no news. Spools while porch is away."""
    refused = 0
    with open(sheet, newline="") as file, Porch.from_environment() as porch:
        rows = ({name: row[name] for name in columns} for row in csv.DictReader(file))
        for answer in porch.submit(rows, pipeline=pipeline, spool=SPOOL / pipeline):
            if isinstance(answer, NotRegistered):
                refused += 1
                print(f"row {answer.position + 1}: {answer.error}", file=sys.stderr)
    return 1 if refused else 0


def work(*command: str) -> int:
    """Claim, run and report until nothing is left, or SIGTERM comes."""
    stopping = Stopping()
    signal.signal(signal.SIGTERM, stopping.stop)
    failed = 0
    with Porch.from_environment() as porch:
        while not stopping.event.is_set():
            # The same name at each try: a claim whose answer was lost is answered again.
            claim = partial(porch.claim, 1, job_id=JOB, request_id=str(uuid.uuid4()))
            claimed = patiently(claim, stopping)
            if not claimed:
                return 1 if failed else 0
            failed += not run(claimed[0], command, stopping)
    return 128 + signal.SIGTERM


def run(task: Claimed, command: tuple[str, ...], stopping: Stopping) -> bool:
    """Run the command for one task, and report how it ended. Whether it was DONE."""
    if stopping.event.is_set():
        patiently(partial(task.release, "stopped before it began"), stopping)
        return False
    began = patiently(
        task.running, stopping
    )  # refused: it is not ours any more, and must not be run
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=said, text=True, start_new_session=True
        )
        with stopping.watching(process), Heartbeats(task, process, began.lease):
            process.communicate(json.dumps(task.task_input))
        said.seek(0)
        words = said.read()
    sys.stderr.write(words)
    if process.returncode == 0:
        report = partial(task.done)
    elif stopping.event.is_set():
        report = partial(task.release, "stopped by SIGTERM")
    else:
        report = partial(task.failed, f"exit {process.returncode}: {words.strip()[-2000:]}")
    patiently(report, stopping)
    return process.returncode == 0


class Stopping:
    """SIGTERM, as an event; it is passed on to the command, which has some seconds to end."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._process: subprocess.Popen[str] | None = None

    def stop(self, *_: object) -> None:
        """The signal's handler."""
        self.event.set()
        if self._process is not None:
            _signal(self._process, signal.SIGTERM)
            killer = threading.Timer(GRACE, _signal, (self._process, signal.SIGKILL))
            killer.daemon = True
            killer.start()

    @contextmanager
    def watching(self, process: subprocess.Popen[str]) -> Iterator[None]:
        """What is to be stopped, too, if the signal comes now."""
        self._process = process
        if self.event.is_set():
            self.stop()
        yield
        self._process = None


class Heartbeats:
    """Renews the lease while a command runs, and stops it if the task is taken from us.

    A thread, with a session of its own: a Porch belongs to one thread.
    """

    def __init__(self, task: Claimed, process: subprocess.Popen[str], lease: int | None) -> None:
        self._task, self._process = task, process
        self._every = (lease or 900) / 3
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        task = self._task.task
        while not self._over.wait(self._every):
            held = (task.task_input_id, task.attempt, task.version)
            try:
                with Porch.from_environment() as porch:
                    (answer,) = porch.heartbeat([held], pipeline=task.pipeline)
            except Unreachable:
                continue  # the next one may get through before the lease has run out
            if isinstance(error := getattr(answer, "error", None), PorchError):
                print(f"taken from us: {error}", file=sys.stderr)
                _signal(self._process, signal.SIGTERM)
                return


def patiently(call: Callable[[], Any], stopping: Stopping) -> Any:
    """What the call returns; where nobody answers it is tried again, once more after SIGTERM."""
    for pause in PAUSES:
        try:
            return call()
        except Unreachable as error:
            print(f"{error}; again in {pause} s", file=sys.stderr)
        if stopping.event.wait(pause):
            break
    return call()


def _signal(process: subprocess.Popen[str], number: int) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)


def main(verb: str, *words: str) -> int:
    try:
        return {"register": register, "work": work}[verb](*words)
    except PorchError as error:
        print(f"{error.code}: {error}; {error.cure}", file=sys.stderr)
        return 3 if isinstance(error, Unreachable) else 1


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("register", "work"):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
