"""Passing on, for ever: an outlet is told what happens, and what it does not take waits."""

from __future__ import annotations

import logging
import random
import threading
import time

from coordinator.errors import LedgerAway
from db.feed import Settling
from db.outlets import NotTaken, Outlet, Outlets

logger = logging.getLogger("porch")

#: Seconds between looks while nothing happens.
_TICK = 0.25
#: It rests twice as long as it has worked, so many seconds at most: it reads where others write,
#: and the work comes before the news of it.
_REST = 0.1


def pass_on(outlets: Outlets, outlet: Outlet, longest: float, stop: threading.Event) -> None:
    """Pass on what happens, until ``stop``.

    Never gives up: what nobody takes is tried again after 0.5, 1, 2 ... ``longest`` seconds, and
    comes first. It is noted in PostgreSQL, and told in the log as it begins and as it ends.
    """
    settling, failures, begun = Settling(), 0, False
    while not stop.is_set():
        began = time.monotonic()
        try:
            if not begun:
                outlets.begin(outlet.name)
                begun = True
            more = outlets.pass_on(outlet, settling)
        except NotTaken as refusal:
            _tell(outlet, failures, str(refusal))
            _note(outlets, outlet, str(refusal))
        except LedgerAway as away:
            settling = Settling()  # what comes back may be a standby, or a backup
            _tell(outlet, failures, away.message)
        except Exception:
            logger.exception("the feed %s failed: a defect of porch", outlet.name)
        else:
            if failures:
                logger.info("the feed %s goes on", outlet.name)
            failures = 0
            stop.wait(min(2 * (time.monotonic() - began), _REST) if more else _TICK)
            continue
        failures += 1
        pause = min(0.25 * 2.0 ** min(failures, 30), longest)
        stop.wait(pause * random.uniform(0.75, 1.25))  # noqa: S311 (spreads load, hides nothing)
    outlet.close()


def _tell(outlet: Outlet, failures: int, said: str) -> None:
    # As it begins, and then at each doubling: what lasts for days is no news every minute.
    if failures & (failures - 1) == 0:
        logger.warning("the feed %s waits, tried %d times: %s", outlet.name, failures + 1, said)


def _note(outlets: Outlets, outlet: Outlet, said: str) -> None:
    try:
        outlets.failed(outlet.name, said)
    except LedgerAway as away:
        logger.warning("cannot note that the feed %s waits: %s", outlet.name, away.message)
