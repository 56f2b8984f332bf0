"""Answers worth keeping for a moment: what many look at is not worked out for each of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """Keeps each answer for ``times`` as long as it took to work out, ``most`` seconds at most.

    So a small ledger is asked again every time, and a large one is not kept busy by onlookers. One
    thread works an answer out while the others wait for it. An error is not kept.
    """

    def __init__(self, times: float = 20.0, most: float = 10.0) -> None:
        self._times = times
        self._most = most
        self._lock = Lock()
        self._kept: dict[Hashable, tuple[float, T]] = {}

    def get(self, key: Hashable, work_out: Callable[[], T]) -> T:
        """The answer for ``key``: the one that is kept, or a new one."""
        with self._lock:
            begin = time.monotonic()
            self._kept = {k: kept for k, kept in self._kept.items() if begin < kept[0]}
            if key in self._kept:
                return self._kept[key][1]
            answer = work_out()
            end = time.monotonic()
            # From the beginning on: so old is what the answer says.
            self._kept[key] = (begin + min((end - begin) * self._times, self._most), answer)
            return answer

    def forget(self) -> None:
        """Work every answer out anew."""
        with self._lock:
            self._kept = {}
