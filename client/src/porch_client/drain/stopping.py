"""SIGTERM, Ctrl-C, a closed terminal, and what LSF sends first at the run limit
(SIGUSR2), as a list that the loop looks at.

One thing cannot wait for the loop: a claim that nobody answers. It runs inside `interruptible`, and
a signal ends it with `Interrupted`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)


class Interrupted(BaseException):
    """A signal came during an interruptible call. No `except Exception` may swallow it."""


class Stopping:
    """Collects signals while it is entered; `wake` is called at each, from the handler."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.signals: list[int] = []
        self._wake = wake
        self._interruptible = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        for number in SIGNALS:
            # One that was ignored stays so: that is how `nohup` and `&` in a script protect us.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Raises `Interrupted` out of its body when a signal comes, or has come already."""
        self._interruptible = True
        try:
            if self.signals:
                raise Interrupted
            yield
        finally:
            self._interruptible = False

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signals.append(number)
        self._wake()
        if self._interruptible:
            self._interruptible = False
            raise Interrupted
