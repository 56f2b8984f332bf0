"""Requests that come at the same time, carried out together: one transaction for all of them.

Each waits in the event loop, and not in a thread of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Request

from coordinator.arrivals import Handed, Registered
from coordinator.errors import PorchError
from coordinator.gathering import Gathering
from coordinator.lookup import or_raise
from coordinator.reporting import Updated
from coordinator.requests import Claiming, Submission, Updating
from coordinator.service import Coordinator

Q = TypeVar("Q")
A = TypeVar("A")

#: Batches of a verb that may be under way at a time, where they are slow, each with a connection of
#: its own; and requests in one of them.
_LANES = 4
_MOST = 100
#: Connections that the ledger needs for all of this.
CONNECTIONS = 3 * _LANES


class Crowd:
    """The verbs that a crowd of callers uses; each call is answered, or refused, by itself.

    Made in the event loop that it belongs to.
    """

    def __init__(self, porch: Coordinator) -> None:
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="crowd")
        self._submissions = _Together(porch.submit_all, self._threads)
        self._claims = _Together(porch.claim_all, self._threads)
        self._reports = _Together(partial(porch.update_all, waits=False), self._threads)

    async def submit(self, asked: Submission) -> Registered:
        """Register definitions: see Coordinator.submit."""
        return or_raise(await self._submissions.answer(asked))

    async def claim(self, asked: Claiming) -> Handed:
        """Hand out PENDING tasks: see Coordinator.claim."""
        return or_raise(await self._claims.answer(asked))

    async def update(self, asked: Updating) -> Updated | None:
        """Record reports: see Coordinator.update_all, also for what None means."""
        return or_raise(await self._reports.answer(asked))

    def close(self) -> None:
        """Give up the threads; what is under way is carried out."""
        self._threads.shutdown()


class _Together(Generic[Q, A]):
    """One verb, ``carry_out``, which answers many requests at once."""

    def __init__(
        self,
        carry_out: Callable[[Sequence[Q]], Sequence[A | PorchError]],
        threads: ThreadPoolExecutor,
    ) -> None:
        self._carry_out = carry_out
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._gathering = Gathering[tuple[Q, asyncio.Future[A | PorchError]]](
            self._start, self._loop.call_soon, self._loop.call_later, lanes=_LANES, most=_MOST
        )

    async def answer(self, asked: Q) -> A | PorchError:
        """The answer to one request. Raises whatever the verb raises for it."""
        answered: asyncio.Future[A | PorchError] = self._loop.create_future()
        self._gathering.add((asked, answered))
        return await answered

    def _start(
        self, batch: list[tuple[Q, asyncio.Future[A | PorchError]]], ended: Callable[[], None]
    ) -> None:
        work = self._loop.run_in_executor(self._threads, self._answers, [q for q, _ in batch])

        def tell(done: asyncio.Future[list[A | PorchError | Exception]]) -> None:
            ended()
            for (_, answered), answer in zip(batch, done.result(), strict=True):
                if answered.done():  # whoever asked has gone
                    continue
                if isinstance(answer, Exception) and not isinstance(answer, PorchError):
                    answered.set_exception(answer)
                else:
                    answered.set_result(answer)

        work.add_done_callback(tell)

    def _answers(self, asked: Sequence[Q]) -> list[A | PorchError | Exception]:
        try:
            return list(self._carry_out(asked))
        except PorchError as refusal:
            return [refusal for _ in asked]
        except Exception as defect:  # noqa: BLE001 (raised where the answer is awaited)
            if len(asked) == 1:
                return [defect]
            # Whose fault it is shows when each is alone.
            return [answer for one in asked for answer in self._answers([one])]


async def _crowd(request: Request) -> Crowd:
    crowd: Crowd = request.app.state.crowd
    return crowd


Together = Annotated[Crowd, Depends(_crowd)]
