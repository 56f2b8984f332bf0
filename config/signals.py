"""Ctrl-C and SIGTERM as something to wait for, instead of an exception out of nowhere."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from types import FrameType, TracebackType


class Stopped(BaseException):
    """Somebody asked us to stop. Not an Exception: no ``except Exception`` may swallow it."""


class StopSignals:
    """Catches SIGINT, SIGTERM and SIGHUP while its block runs.

    A signal only leaves a note; ``pause`` raises Stopped when it finds one, so that nothing is
    ever torn between starting a child and noting it down. Further signals change nothing: the
    stop is bounded in time anyhow.
    """

    def __enter__(self) -> StopSignals:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._requested = False
        self._at_once = False
        self._before = {}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup: who asked that a closed terminal be ignored is to get just that.
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    def pause(self, seconds: float) -> None:
        """Sleep; raises Stopped at once when a signal comes, or came before."""
        # The byte is never read: from the first signal on, every pause ends at once.
        if select.select([self._read], [], [], seconds)[0]:
            raise Stopped

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """A block without a ``pause`` of its own (a migration): a signal raises Stopped in it.

        Only for code that leaves nothing behind wherever it is torn.
        """
        self.pause(0)
        self._at_once = True
        try:
            if self._requested:  # it came between the two lines above
                raise Stopped
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"x")
        if self._at_once:
            self._at_once = False
            raise Stopped
