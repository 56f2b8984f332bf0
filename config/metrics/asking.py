"""Questions that a scrape asks of others, without ever waiting long for the answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Generic, TypeVar

from coordinator.errors import PorchError

logger = logging.getLogger("porch")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Answered(Generic[T]):
    at: float
    answer: T | None


class Asking(Generic[T]):
    """Asks one question at a time, in a thread of its own, as whoever is asked may hang.

    ``patience``: seconds that one who wants to know waits. ``good_for``: seconds for which the last
    answer is told while the next one takes longer than that.
    """

    def __init__(
        self, ask: Callable[[], T], patience: float = 2.0, good_for: float = 0.0, /
    ) -> None:
        self._ask = ask
        self._patience = patience
        self._good_for = good_for
        self._lock = Lock()
        self._asking: Thread | None = None
        self._last: _Answered[T] | None = None

    def answer(self) -> T | None:
        """The answer; None if there is none in time, or it was an error of ours."""
        with self._lock:
            if self._asking is None or not self._asking.is_alive():
                self._asking = Thread(target=self._work_out, name="metrics", daemon=True)
                self._asking.start()
            asking = self._asking
        asking.join(self._patience)
        last = self._last
        if last is None:
            return None
        in_time = not asking.is_alive() or time.monotonic() - last.at < self._good_for
        return last.answer if in_time else None

    def _work_out(self) -> None:
        try:
            answer: T | None = self._ask()
        except PorchError as away:
            logger.debug("cannot tell all there is to tell: %s", away.message)
            answer = None
        except Exception:
            logger.exception("cannot tell all there is to tell: a defect of porch")
            answer = None
        self._last = _Answered(time.monotonic(), answer)
