"""Measuring: in each round each contestant in turn, so that all of them meet the same machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.contest import Contestant, Entrant, Failed
from benchmarks.load import known
from benchmarks.servers import Servers
from benchmarks.works import Case, Work, expected, label

#: Each measurement has definitions of its own: of growth's filling these are far away.
_SEEDS = count(1_000)

#: A first measurement that is over sooner says little about the rate: there is a second.
_TELLING_SECONDS = 0.3


@dataclass(slots=True)
class Measured:
    """One measurement. ``value``: a rate, or what a footprint is; latencies are in seconds.

    ``callers_cpu``: the share of the machine that the load itself took. ``flaws``: what was lost,
    handed out twice or refused; none of it may be.
    """

    work: str
    case: str
    contestant: str
    version: str
    round: int
    value: float
    seconds: float = 0.0
    done: int = 0
    p50: float | None = None
    p99: float | None = None
    errors: int = 0
    doubles: int = 0
    callers_cpu: float | None = None
    machine_load: float = 0.0
    flaws: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)


Say = Callable[[str], None]


def measure(
    works: Sequence[Work],
    entrants: Sequence[Entrant],
    servers: Servers,
    rounds: int,
    logs: Path,
    say: Say,
) -> Generator[Measured | Failed, None, None]:
    """All measurements of these works, which share contestants; one that fails is out, and told."""
    with ExitStack() as stack:
        starting = []
        # All at once, as they are when they end: mostly, they wait.
        for entrant in entrants:
            if any(_is_called(entrant, work) for work in works):
                place = stack.enter_context(servers.place())
                log = logs / f"{works[0].name}-{entrant.name}.log"
                starting.append(Contestant(entrant, place, log))
                stack.callback(starting[-1].close)
        for contestant in starting:
            stack.callback(contestant.dismiss)
        running = []
        for contestant in starting:
            say(f"{', '.join(work.name for work in works)}: {contestant.entrant.name} is starting")
            try:
                contestant.wait_ready()
            except Failed as failed:
                yield failed
            else:
                running.append(contestant)
        for work in works:
            called = [
                one for one in running if _is_called(one.entrant, work) and work.name in one.offers
            ]
            yield from (_rates if work.amount else _footprints)(work, called, rounds, say)


def _is_called(entrant: Entrant, work: Work) -> bool:
    return entrant.is_peer or entrant.name in (*work.ours, *work.limits)


def _rates(
    work: Work, running: list[Contestant], rounds: int, say: Say
) -> Iterator[Measured | Failed]:
    amounts: dict[tuple[str, str], int] = {}
    for contestant in list(running):
        try:
            for case in work.cases:
                say(f"{work.name}: {contestant.entrant.name}, {label(case)}: how much of it")
                amounts[contestant.entrant.name, label(case)] = _amount(work, case, contestant)
        except Failed as failed:
            running.remove(contestant)
            yield failed
    for number in range(rounds):
        for case in work.cases:
            for contestant in _rotated(running, number):
                name = contestant.entrant.name
                say(f"{work.name}: round {number + 1} of {rounds}: {label(case)}: {name}")
                try:
                    answer = _once(work, case, contestant, amounts[name, label(case)])
                except Failed as failed:
                    running.remove(contestant)
                    yield failed
                else:
                    wanted = expected(work, case, amounts[name, label(case)])
                    yield _measured(work, case, contestant, number, answer, wanted)


def _rotated(running: Sequence[Contestant], number: int) -> list[Contestant]:
    """Another first one in each round: who comes after whom makes a difference."""
    start = number % max(1, len(running))
    return [*running[start:], *running[:start]]


def _amount(work: Work, case: Case, contestant: Contestant) -> int:
    amount = work.first
    for _ in range(2 if work.seconds else 1):
        answer = _once(work, case, contestant, amount)
        amount = work.sized(case, answer["done"] / max(answer["seconds"], 1e-6))
        if answer["seconds"] > _TELLING_SECONDS:
            break
    return amount


def _once(work: Work, case: Case, contestant: Contestant, amount: int) -> dict[str, Any]:
    asked = {**case, work.amount: amount}
    if work.name == "claim":
        # Each caller's first one warms up and is not counted.
        tasks = case["callers"] * case["n"] * (amount + 1)
        contestant.ask("fill", tasks=tasks, seed=next(_SEEDS))
    else:
        asked["seed"] = next(_SEEDS)
    return contestant.ask(work.name, **asked)


def _measured(
    work: Work,
    case: Case,
    contestant: Contestant,
    number: int,
    answer: dict[str, Any],
    wanted: int,
) -> Measured:
    latencies = sorted(answer.get("latencies", ()))
    seconds = answer["seconds"]
    cpu = answer.get("cpu")
    return Measured(
        work.name,
        label(case),
        contestant.entrant.name,
        contestant.version,
        number,
        answer["done"] / seconds,
        seconds,
        answer["done"],
        _quantile(latencies, 0.5),
        _quantile(latencies, 0.99),
        answer.get("errors", 0),
        answer.get("doubles", 0),
        None if cpu is None else cpu / seconds / (os.cpu_count() or 1),
        os.getloadavg()[0],
        flaws(work, case, answer, wanted),
    )


def flaws(work: Work, case: Case, answer: dict[str, Any], wanted: int) -> list[str]:
    """What was lost or happened twice: nothing may be, however fast it is."""
    found = []
    if answer["done"] != wanted:
        found.append(f"{answer['done']} of {wanted} done")
    if work.name in ("bulk", "single"):
        fresh = wanted - len(known(range(wanted), case.get("known", 0)))
        if answer.get("new", fresh) != fresh:
            found.append(f"{answer['new']} new of {fresh}")
        if answer.get("kept", wanted) != wanted:
            found.append(f"{answer['kept']} of {wanted} are in the database")
    found += [f"{answer[what]} {what}" for what in ("errors", "doubles") if answer.get(what)]
    return found


def _quantile(ordered: Sequence[float], q: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else None


def _footprints(
    work: Work, running: list[Contestant], rounds: int, say: Say
) -> Iterator[Measured | Failed]:
    for number in range(rounds):
        for contestant in _rotated(running, number):
            name = contestant.entrant.name
            say(f"{work.name}: round {number + 1} of {rounds}: {name}")
            try:
                answer = contestant.ask(work.name)
            except Failed as failed:
                running.remove(contestant)
                yield failed
                continue
            for case, value in answer.items():
                if value is not None:
                    load = os.getloadavg()[0]
                    version = contestant.version
                    yield Measured(work.name, case, name, version, number, value, machine_load=load)
