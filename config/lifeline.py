"""The process that stops the family when its parent cannot: ``up`` was killed with SIGKILL.

Run as a script. Standard input is a pipe whose only write end is in the parent; each line adds or
drops one child, or ends. End of file means that the parent is gone, however it went; whatever is
still on the list then is stopped, stage by stage. A pipe rather than ``prctl``: it works on every
Unix, and for children that change their user.

It imports nothing of ours: it must start, and go on, whatever happens to the rest.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass

import psutil

# After SIGKILL a process is gone as soon as the kernel has torn it down; this is only a bound.
_KILLED_SECONDS = 5.0
_POLL_SECONDS = 0.02
# The clock that start times are computed from may be stepped by a second (NTP).
_SAME_START_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Member:
    """One child, leader of a process group of its own, and how it wants to be stopped."""

    name: str
    pid: int
    created: float
    stage: int
    stop_signal: int
    stop_seconds: float

    @property
    def running(self) -> bool:
        """Whether this very process (not a later one with its number) is still at work."""
        return running(self.pid, self.created)


def running(pid: int, created: float) -> bool:
    """Whether the process that started at ``created`` (Unix seconds) as ``pid`` is still at work.

    A zombie is not: it only waits for its parent to read its exit status, perhaps forever.
    """
    try:
        process = psutil.Process(pid)
        gone = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return not gone and abs(process.create_time() - created) < _SAME_START_SECONDS
    except psutil.NoSuchProcess:
        return False


def stop_in_order(members: Collection[Member]) -> None:
    """Stop the members, lowest stage first; returns when none is left. Never waits forever."""
    for stage in sorted({member.stage for member in members}):
        together = [member for member in members if member.stage == stage]
        began = time.monotonic()
        for member in together:
            _send(member, member.stop_signal)
        for member in together:
            _wait(member, began + member.stop_seconds)
            kill_group(member)


def kill_group(member: Member) -> None:
    """Kill what is left of the member and of the processes it started in its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(member.pid, signal.SIGKILL)
    _wait(member, time.monotonic() + _KILLED_SECONDS)


def _send(member: Member, number: int) -> None:
    if member.running:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(member.pid, number)


def _wait(member: Member, deadline: float) -> None:
    while member.running and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def main() -> None:
    """Keep the list until the end, then stop what is on it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.write(sys.stdout.fileno(), b"ready\n")
    members: dict[int, Member] = {}
    for line in sys.stdin.buffer:
        told = json.loads(line)
        if "add" in told:
            member = Member(**told["add"])
            members[member.pid] = member
        elif "drop" in told:
            members.pop(told["drop"], None)
        else:
            break
    stop_in_order(members.values())


if __name__ == "__main__":
    main()
