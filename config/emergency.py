"""The parent's end of the lifeline (lifeline.py)."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import IO

from config import lifeline
from config.lifeline import Member
from coordinator.errors import PorchError


class LifelineFailed(PorchError):
    """The lifeline did not start; without it children could be left behind."""

    code = "lifeline_failed"

    def __init__(self, status: int) -> None:
        super().__init__(
            f"the process that stops the servers in an emergency ended with {status}",
            f"try it by hand: {sys.executable} -P {lifeline.__file__}",
        )


class Lifeline:
    """A process that stops our children should we be killed. Killed itself, it is replaced.

    ``lock`` is a descriptor it keeps open for as long as it lives; ``members`` says, for a
    replacement, who is on the list.
    """

    def __init__(self, lock: int, members: Callable[[], Iterable[Member]]) -> None:
        self._lock = lock
        self._members = members
        self._process = self._start()

    def add(self, member: Member) -> None:
        """Put a child on the list of those to stop."""
        self._tell({"add": asdict(member)})

    def drop(self, member: Member) -> None:
        """Strike a child off the list."""
        self._tell({"drop": member.pid})

    def mend(self) -> None:
        """Start another one if somebody killed it; cheap enough to call every second."""
        if self._process.poll() is None:
            return
        self._pipe.close()
        self._process = self._start()
        for member in self._members():
            self.add(member)

    def close(self) -> None:
        """Let go: it stops whatever is still on the list, and ends. Waits; safe to repeat."""
        if self._pipe.closed:
            return
        # Said in words: a forked child of ours may still hold a copy of the pipe's end.
        with contextlib.suppress(BrokenPipeError):
            self._pipe.write(b'{"end": true}\n')
        self._pipe.close()
        self._process.wait()

    @property
    def _pipe(self) -> IO[bytes]:
        return _open(self._process.stdin)

    def _tell(self, message: Mapping[str, object]) -> None:
        # One write below PIPE_BUF: it arrives whole or, if we are killed before, not at all.
        try:
            self._pipe.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            self._process.wait()
            self.mend()

    def _start(self) -> subprocess.Popen[bytes]:
        # -P: neither the working directory nor this package's own may shadow a standard module.
        process = subprocess.Popen(
            [sys.executable, "-P", lifeline.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            bufsize=0,
            start_new_session=True,
            pass_fds=[self._lock],
        )
        with _open(process.stdout) as stdout:
            ready = stdout.readline()
        if ready != b"ready\n":
            _open(process.stdin).close()
            raise LifelineFailed(process.wait())
        return process


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    """The pipe, which Popen's types allow to be missing."""
    if pipe is None:
        raise ValueError("started without this pipe")
    return pipe
