"""What is measured: the works, their cases, what bounds each, and what must hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

#: What makes a case: arguments of the contestants' verb.
Case = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Work:
    """Something to do, in several cases.

    ``limits``: the contestants that bound it; ``ours``: the doors of porch that do it. ``amount``:
    the verb's argument that says how much is to be done: of as much as takes ``seconds``, at least
    and at most so much; ``first``: to begin with.
    """

    name: str
    title: str
    cases: tuple[Case, ...]
    limits: tuple[str, ...]
    ours: tuple[str, ...] = ("queue", "http")
    amount: str = "each"
    seconds: float = 1.5
    least: int = 3
    first: int = 2
    most: int = 2_000

    def sized(self, case: Case, rate: float) -> int:
        """The amount of this case that suits a contestant of so many things a second."""
        at_once = case.get("callers", 1) * case.get("n", 1)
        # So that what a claim needs to find can be made in a few seconds, too.
        most = min(self.most, max(self.least, MOST_TASKS // at_once))
        return min(most, max(self.least, math.ceil(rate * self.seconds / at_once)))


#: Tasks made for one measurement of claims.
MOST_TASKS = 40_000


def expected(work: Work, case: Case, amount: int) -> int:
    """How many things are done when nothing is lost."""
    return amount * case.get("callers", 1) * case.get("n", 1)


def label(case: Case) -> str:
    """The case in a few words."""
    words = []
    if "known" in case:
        words.append({0: "none known", 0.5: "half known", 1: "all known"}[case["known"]])
    if "n" in case:
        words.append(f"{case['n']} a claim")
    if "callers" in case:
        words.append(f"{case['callers']} at once")
    return ", ".join(words)


_CALLERS: tuple[Case, ...] = ({"callers": 1}, {"callers": 16}, {"callers": 64})

WORKS = (
    Work(
        "bulk",
        "Bulk registration: definitions a second",
        ({"known": 0}, {"known": 0.5}, {"known": 1}),
        ("sql", "copy"),
        amount="definitions",
        seconds=4.0,
        least=500,
        first=500,
        most=100_000,
    ),
    Work("single", "Single registration: definitions a second", _CALLERS, ("pgbench", "noop")),
    Work(
        "claim",
        "Claims: tasks a second",
        tuple({**callers, "n": n} for n in (1, 100) for callers in _CALLERS),
        ("pgbench",),
    ),
    Work("life", "Submit, claim, RUNNING, DONE: tasks a second", _CALLERS, ("pgbench",)),
    Work("footprint", "Footprint: less is better", ({},), ("noop",), amount=""),
)


def shortened(work: Work) -> Work:
    """The work with as little to do as shows that it can be done."""
    cases = [case for case in work.cases if case.get("callers", 1) < 64 and case.get("n", 1) == 1]
    return replace(work, cases=(cases[len(cases) // 2],), seconds=0.0)


# What must hold ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Goal:
    """What must hold of ``whose`` figure: it is divided by ``than``'s, if anybody's is given.

    ``field``: of what was measured, the rate unless said otherwise. ``than`` may be "peers": each.
    """

    text: str
    work: str
    case: Case = field(default_factory=dict)
    than: str = ""
    whose: str = "queue"
    field: str = "value"
    least: float = 0.0
    most: float = math.inf


_ORM = "orm_service"

_NONE_KNOWN = {"known": 0}
_ONE_BY_16, _HUNDRED_BY_16 = {"callers": 16, "n": 1}, {"callers": 16, "n": 100}
_BY_16, _BY_64 = {"callers": 16}, {"callers": 64}

GOALS = (
    Goal("bulk: 0.8 of the bare SQL loop", "bulk", _NONE_KNOWN, "sql", least=0.8),
    Goal("bulk: 50 times the one-row service", "bulk", _NONE_KNOWN, _ORM, least=50),
    Goal("bulk: ahead of every peer", "bulk", _NONE_KNOWN, "peers", least=1),
    Goal("single by 16: HTTP 5 times the one-row service", "single", _BY_16, _ORM, "http", least=5),
    Goal("single by 16: 0.8 of the Celery no-op", "single", _BY_16, "noop", least=0.8),
    Goal("single by 64: p99 under 1 s", "single", _BY_64, field="p99", most=1),
    Goal("single by 64: no errors", "single", _BY_64, field="errors", most=0),
    Goal("claims of one by 16: ahead of every peer", "claim", _ONE_BY_16, "peers", least=1),
    Goal("claims of 100 by 16: ahead of every peer", "claim", _HUNDRED_BY_16, "peers", least=1),
    Goal("claims of one by 16: no doubles", "claim", _ONE_BY_16, field="doubles", most=0),
    Goal("claims of 100 by 16: no doubles", "claim", _HUNDRED_BY_16, field="doubles", most=0),
    Goal("porch --version under 150 ms", "footprint", field="cold_start_ms", most=150),
    Goal("porch submit of one definition under 400 ms", "footprint", field="submit_ms", most=400),
)
