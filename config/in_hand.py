"""What workers have in hand for too long, and what kills their processes again and again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from coordinator.health import Finding, Level

ANCHOR = "poison-message"

#: Seconds after which a request is in hand for too long: a worker gives back what PostgreSQL does
#: not let it finish in half of that.
_LONG = 25.0
#: Deaths over one request that are no accident, and seconds for which they are told.
_DEATHS = 2
_TOLD_FOR = 900.0


class Held(NamedTuple):
    """A request that a worker has in hand: ``about`` is what its sender says of it."""

    request_id: str
    about: str
    seconds: float


class Deadly(NamedTuple):
    """A request over which processes of a worker have died, the last one ``seconds`` ago."""

    request_id: str
    about: str
    deaths: int
    given_up: bool
    seconds: float


def held(told: Any) -> tuple[Held, ...]:
    """What a worker has in hand, as it tells. Raises TypeError, LookupError or ValueError."""
    return tuple(Held(str(o["id"]), str(o["about"]), float(o["seconds"])) for o in told)


def deadly(told: Any) -> tuple[Deadly, ...]:
    """What kills its processes, as it tells. Raises TypeError, LookupError or ValueError."""
    return tuple(
        Deadly(
            request_id=str(one["id"]),
            about=str(one["about"]),
            deaths=int(one["deaths"]),
            given_up=bool(one["given_up"]),
            seconds=float(one["seconds"]),
        )
        for one in told
    )


def findings(worker: str, hand: Sequence[Held], killers: Sequence[Deadly]) -> Iterator[Finding]:
    """What an operator should know of a worker's requests."""
    for one in killers:
        if one.deaths >= _DEATHS and one.seconds < _TOLD_FOR:
            end = "it was given up" if one.given_up else "it is tried again"
            yield Finding(
                f"poison message: request {one.request_id} ({one.about}) has killed {one.deaths} "
                f"processes of worker {worker}, the last one {one.seconds:.0f} s ago; {end}",
                Level.WARNING,
                f"the log of worker {worker} from that time on: out of memory? ask its sender",
                ANCHOR,
            )
    for two in hand:
        if two.seconds > _LONG:
            yield Finding(
                f"poison message? worker {worker} has had request {two.request_id} ({two.about}) "
                f"in hand for {two.seconds:.0f} s",
                Level.WARNING,
                "it is killed after 45 s; see the worker's log, and ask its sender",
                ANCHOR,
            )
