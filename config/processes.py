"""The family: the child processes of ``up``, started, watched and stopped as one.

Each child leads its own session, so that Ctrl-C in the terminal reaches only ``up``, which then
stops them in order. Should ``up`` be killed with SIGKILL instead, the lifeline (lifeline.py)
stops them; should that be killed too, the next start does, from the record on disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import psutil

from config.emergency import Lifeline
from config.lifeline import Member, kill_group, stop_in_order
from config.private_files import open_log, tail, write_private
from config.system_user import SystemUser
from coordinator.errors import PorchError

# The child waits at a gate until it is on the lifeline's list: if `up` dies between starting it
# and telling the lifeline, the gate's pipe closes, `read` fails and the child exits by itself.
_GATE = 'read -r go && exec "$@" </dev/null'
POLL_SECONDS = 0.05

Pause = Callable[[float], None]


class ProgramDied(PorchError):
    """A program ended when it should have gone on, or did not become ready in time."""

    code = "program_died"

    def __init__(self, name: str, what: str, log: Path) -> None:
        super().__init__(f"{name} {what}; the end of its log:\n{tail(log)}", f"see {log}")


@dataclass(frozen=True, slots=True)
class Program:
    """What to start and how to stop it. A lower ``stage`` is stopped earlier."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    stage: int
    stop_signal: int
    stop_seconds: float
    user: SystemUser | None = None


class Child:
    """One started program."""

    def __init__(self, program: Program, popen: subprocess.Popen[bytes]) -> None:
        self.program = program
        self.popen = popen
        self.member = Member(
            program.name,
            popen.pid,
            psutil.Process(popen.pid).create_time(),
            program.stage,
            int(program.stop_signal),
            program.stop_seconds,
        )
        self.started = time.monotonic()

    @property
    def pid(self) -> int:
        """Process number; also that of its group and session."""
        return self.popen.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs. Does not reap it: until then nobody else gets its number."""
        return self.member.running

    def died(self, what: str) -> ProgramDied:
        """The error to raise about this child."""
        return ProgramDied(self.program.name, what, self.program.log)


class Family:
    """All children of one state directory; a context manager that leaves none behind.

    ``lock`` is the descriptor that holds the state directory's lock; the lifeline shares it, so
    that the directory is free again only when the last child is gone. ``pause`` is called
    wherever there is something to wait for, and may raise to give up.
    """

    def __init__(self, lock: int, record: Path, pause: Pause = time.sleep) -> None:
        self.pause = pause
        self._record = record
        self._saved = True
        self._children: dict[str, Child] = {}
        stop_in_order(_recorded(record))
        self._lifeline = Lifeline(lock, self._members)

    def __enter__(self) -> Family:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, program: Program) -> Child:
        """Start a program. From its first moment it cannot outlive the family."""
        gate_read, gate_write = os.pipe()
        log = open_log(program.log)
        user = program.user
        try:
            popen = subprocess.Popen(
                ["/bin/sh", "-c", _GATE, "gate", *program.argv],
                stdin=gate_read,
                stdout=log,
                stderr=log,
                cwd=program.cwd,
                env=dict(program.env),
                start_new_session=True,
                umask=0o077,
                user=user.uid if user else None,
                group=user.gid if user else None,
                extra_groups=[] if user else None,
            )
            child = self._children[program.name] = Child(program, popen)
            self._lifeline.add(child.member)
            self._save()
            with contextlib.suppress(BrokenPipeError):  # it died at the gate: `alive` will tell
                os.write(gate_write, b"go\n")
        finally:
            for descriptor in (gate_read, gate_write, log):
                os.close(descriptor)
        return child

    def run(self, program: Program, seconds: float) -> None:
        """Run a program that ends by itself; raises ProgramDied unless it exits with 0."""
        child = self.start(program)
        deadline = time.monotonic() + seconds
        while child.alive:
            if time.monotonic() > deadline:
                raise child.died(f"did not end within {seconds:.0f} s")
            self.pause(POLL_SECONDS)
        if status := self.reap(child):
            raise child.died(f"ended with exit status {status}")

    def wait_until(self, child: Child, condition: Callable[[], bool], seconds: float) -> None:
        """Return when the condition holds; raises ProgramDied if the child ends before."""
        deadline = time.monotonic() + seconds
        while not condition():
            if not child.alive:
                raise child.died(f"ended with exit status {self.reap(child)} while starting")
            if time.monotonic() > deadline:
                raise child.died(f"was not ready within {seconds:.0f} s")
            self.pause(POLL_SECONDS)

    def reap(self, child: Child) -> int:
        """Kill the rest of an ended child's group, strike it off, and return its exit status."""
        kill_group(child.member)
        # Struck off before the number is given back: a lifeline never signals a stranger.
        self._lifeline.drop(child.member)
        if self._children.get(child.program.name) is child:
            del self._children[child.program.name]
        self._save()
        return child.popen.wait()

    @property
    def children(self) -> list[Child]:
        """The children, oldest first; one that died is among them until it is reaped."""
        return list(self._children.values())

    def stop(self) -> None:
        """Stop every child in order, then the lifeline. Bounded in time; safe to repeat."""
        try:
            stop_in_order(self._members())
            for child in self.children:
                self.reap(child)
        finally:
            self._lifeline.close()

    def mend(self) -> None:
        """Replace the lifeline if somebody killed it, and write what could not be written."""
        self._lifeline.mend()
        if not self._saved:
            self._save()

    def _save(self) -> None:
        """Leave a list to the next start, for the case that everybody is killed.

        A disk without room does not end what could go on: the lifeline has the list as well, and
        it is written when there is room again.
        """
        self._saved = False
        with contextlib.suppress(OSError):
            write_private(self._record, json.dumps([asdict(member) for member in self._members()]))
            self._saved = True

    def _members(self) -> list[Member]:
        return [child.member for child in self.children]


def _recorded(record: Path) -> list[Member]:
    """The children of an earlier start that ended with SIGKILL for everybody."""
    try:
        return [Member(**fields) for fields in json.loads(record.read_text())]
    except (FileNotFoundError, ValueError, TypeError):
        return []
