"""Requests that kill the child that carries them out: put back some times, and then given up.

What kills a child (memory that runs out, a crash in a library, a limit of time) may have nothing to
do with what the child had in hand, so that is put back, or sent again, and tried again. But what
kills one child after the other would do so for ever. Each worker counts by itself, in its main
process, and tells the doctor.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import celery
from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.worker import request, state

from config.bounded import within
from config.settings import Settings
from coordinator.errors import InternalError, LedgerAway
from tasks.reply import refusal
from tasks.together import TOGETHER

logger = logging.getLogger("porch")

#: Children that one request may kill in one worker. The next one's death is not waited for.
MOST_DEATHS = 5
#: Seconds.
_MOMENT = 2.0
#: Requests that are remembered, the latest.
_MOST_KEPT = 100


@dataclass(slots=True)
class Deadly:
    """A request over which children have died. ``at``: when the last one did, by the monotonic
    clock; ``given_up``: it was answered as a defect then."""

    request_id: str
    about: str
    deaths: int = 0
    at: float = 0.0
    given_up: bool = False


_known: OrderedDict[str, Deadly] = OrderedDict()


def known() -> list[Deadly]:
    """What has killed children of this worker, the latest first."""
    return list(reversed(_known.values()))


class Request(request.Request):
    """Celery's request in the worker's main process."""

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What ``celery inspect`` and Flower show: its sentence, never what it holds."""
        shown: dict[str, Any] = super().info(safe=True)
        return shown

    def on_failure(
        self, exc_info: ExceptionInfo, send_failed_event: bool = True, return_ok: bool = False
    ) -> Any:
        """Called as well when the child is lost that had it in hand, or was killed for its time."""
        what = exc_info.exception
        if isinstance(what, ExceptionWithTraceback):
            what = what.exc
        # Of what was carried out together it is not known whose fault it was; it comes again alone.
        if isinstance(what, WorkerLostError | TimeLimitExceeded) and self.name != TOGETHER:
            # While PostgreSQL hangs, so does every request: that is no fault of theirs.
            is_its_own = isinstance(what, WorkerLostError) or _postgresql_answers()
            deadly = _died(self) if is_its_own else None
            if deadly and deadly.deaths >= MOST_DEATHS:
                return self._give_up(deadly)
        return super().on_failure(exc_info, send_failed_event, return_ok)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Called after ``on_failure``, where a request that is given up has been answered."""
        deadly = _known.get(self.id)
        if deadly is None or not deadly.given_up:
            super().on_timeout(soft, timeout)

    def _give_up(self, deadly: Deadly) -> None:
        deadly.given_up = True
        said = f"{deadly.deaths} processes of the coordinator have died over this request"
        logger.error("%s given up: %s (%s)", self.id, said, deadly.about)
        error = InternalError(said, f"tell the operator of porch, with its number {self.id}")
        state.task_ready(self)
        self.task.backend.store_result(self.id, refusal(error), "SUCCESS")
        self.acknowledge()


class Task(celery.Task):
    """What each of porch's tasks is."""

    Request = "tasks.poison:Request"


def _postgresql_answers() -> bool:
    """Whether it answers anybody, in a moment. This is the main process, which others wait for."""
    from db.base import answers  # noqa: PLC0415 (beat needs none)
    from db.engine import make_engine  # noqa: PLC0415

    engine = make_engine(Settings.from_environment().required("database_url"))
    try:
        within(_MOMENT, lambda: answers(engine))
    except (LedgerAway, TimeoutError):
        return False
    finally:
        engine.dispose()
    return True


def _died(one: Request) -> Deadly:
    deadly = _known.pop(one.id, None) or Deadly(one.id, about(one))
    deadly.deaths += 1
    deadly.at = time.monotonic()
    _known[one.id] = deadly
    if len(_known) > _MOST_KEPT:
        _known.popitem(last=False)
    return deadly


def about(one: request.Request) -> str:
    """What logs and Flower show of a request: its verb, its pipeline, and how much it asks for."""
    return f"{one.name} {one.argsrepr or ''}".strip()[:120]
