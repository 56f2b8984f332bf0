"""What comes while others are under way goes together; what comes alone goes at once.

Nothing waits for a clock: while a batch is under way, what comes is gathered, and sets out as one
batch as soon as that one has arrived. So a batch is as large as the crowd is, and one who is alone
waits for nobody. (Databases know it as group commit.) Only a batch that is slow does not keep the
others waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

#: Seconds after which a batch is slow, and another may set out beside it.
SLOW = 0.1


class Gathering(Generic[T]):
    """Gathers for ``start``, which is called with up to ``most`` and what to call at the end.

    At most ``lanes`` are under way, however slow they are. ``soon`` calls a function later in this
    thread, when all that has come by now is added; ``later`` does so after some seconds. Belongs to
    one thread.
    """

    def __init__(
        self,
        start: Callable[[list[T], Callable[[], None]], object],
        soon: Callable[[Callable[[], object]], object],
        later: Callable[[float, Callable[[], object]], object],
        *,
        lanes: int,
        most: int,
    ) -> None:
        self._start = start
        self._soon = soon
        self._later = later
        self._lanes = lanes
        self._most = most
        self._waiting: deque[T] = deque()
        self._under_way: set[_Batch] = set()
        self._called = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, one: T) -> None:
        """Let it come along with the next batch."""
        self._waiting.append(one)
        self._call()

    def _call(self) -> None:
        if self._waiting and not self._called and self._may_go():
            self._called = True
            self._soon(self._go)

    def _may_go(self) -> bool:
        return len(self._under_way) < self._lanes and all(b.slow for b in self._under_way)

    def _go(self) -> None:
        self._called = False
        if not self._waiting:
            return
        amount = min(len(self._waiting), self._most)
        batch = _Batch()
        self._under_way.add(batch)

        def ended() -> None:
            self._under_way.discard(batch)
            self._call()

        def is_slow() -> None:
            batch.slow = True
            self._call()

        self._later(SLOW, is_slow)
        self._start([self._waiting.popleft() for _ in range(amount)], ended)


class _Batch:
    """One that is under way."""

    slow = False
