"""One command that runs for one task, in a process group of its own.

Two threads watch it: one passes its stderr on and keeps the end, one waits for it. Neither ever
talks to the coordinator; they put `Running` on the queue of the loop when it is over.

A command that ends by itself is over, whatever it leaves behind. One that we have stopped is over
when all that it has started is gone: somebody else may be given its task then.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

Key = tuple[str | None, str, int | None]
"""Version, task_input_id and attempt, as a report names them. The attempt, as a task that was taken
from us may come back to us in a later one before the command of the earlier is over."""

_KEPT = 64 * 1024
_LAST_WORDS = 1.0
"""Seconds to read on after the end, where something it left behind holds its stderr open; and for
what was killed to be gone."""
_LOOK = 0.05


class Running:
    """A started command. `key` is the caller's name for it; `on_end` is called from a thread."""

    def __init__(
        self,
        key: Key,
        words: Sequence[str],
        task: Mapping[str, Any],
        env: Mapping[str, str],
        on_end: Callable[[Running], None],
    ) -> None:
        self.key = key
        self.began = time.monotonic()
        self.stopped_by: str | None = None
        self._killer: threading.Timer | None = None
        self._kill = threading.Event()
        self._on_end = on_end
        self._tail = bytearray()
        # A file and not a pipe: a command that never reads its stdin cannot hold us up.
        with tempfile.TemporaryFile() as stdin:
            stdin.write(json.dumps(task, ensure_ascii=False).encode("utf-8", "surrogatepass"))
            stdin.write(b"\n")
            stdin.seek(0)
            self.process = subprocess.Popen(
                words, stdin=stdin, stderr=subprocess.PIPE, env=env, start_new_session=True
            )
        assert self.process.stderr is not None  # noqa: S101 (asked for above)
        pump = threading.Thread(target=self._pump, args=(self.process.stderr,), daemon=True)
        pump.start()
        threading.Thread(target=self._watch, args=(pump,), daemon=True).start()

    @property
    def stderr(self) -> bytes:
        """The end of what it wrote to stderr."""
        return bytes(self._tail)

    def stop(self, number: signal.Signals, grace: float | None = None) -> None:
        """Signal the command and all it started, from any thread. What is still there after `grace`
        seconds is killed by a timer: no loop or thread of ours has to be free for it."""
        if number is signal.SIGKILL:
            self._kill.set()
        if self.process.returncode is not None:
            return  # its number may belong to another process by now
        self.stopped_by = number.name
        self._signal(number)
        if grace is not None:
            self._killer = threading.Timer(grace, self.stop, (signal.SIGKILL,))
            self._killer.daemon = True
            self._killer.start()

    def _pump(self, stderr: IO[bytes]) -> None:
        with stderr:
            while chunk := os.read(stderr.fileno(), 1 << 16):
                self._tail += chunk
                del self._tail[:-_KEPT]
                with contextlib.suppress(OSError):  # nobody reads ours: keep reading theirs
                    os.write(2, chunk)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def _watch(self, pump: threading.Thread) -> None:
        self.process.wait()
        if self.stopped_by is not None:
            self._wait_for_the_rest()
        if self._killer is not None:
            self._killer.cancel()
        pump.join(_LAST_WORDS)
        self._on_end(self)

    def _wait_for_the_rest(self) -> None:
        """Until the group is empty. Its number is nobody else's as long as it is not."""
        group = self.process.pid
        while _lives(group) and not self._kill.wait(_LOOK):
            pass
        deadline = time.monotonic() + _LAST_WORDS
        while _lives(group) and time.monotonic() < deadline:
            self._signal(signal.SIGKILL)
            time.sleep(_LOOK)


def _lives(group: int) -> bool:
    """Whether a process group has a member that is not dead. Who is dead and has nobody to notice,
    as in a container without an init, does not count."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    if not os.path.exists("/proc/self/stat"):
        return True
    return any(_lives_in(stat, group) for stat in Path("/proc").glob("[0-9]*/stat"))


def _lives_in(stat: Path, group: int) -> bool:
    try:
        # After the name, which may hold anything: the state, the parent, the group.
        state, _, its_group = stat.read_bytes().rpartition(b") ")[2].split()[:3]
    except (OSError, ValueError):
        return False  # it is gone
    return int(its_group) == group and state not in (b"Z", b"X")
