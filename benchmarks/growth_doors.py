"""Whether porch becomes slower as its ledger grows, through the queue and over HTTP.

    python -m benchmarks.growth_doors [--keep DIRECTORY] [--sizes N,N,...] [--rounds N]
        [--contestants NAME ...]

The drivers of ``python -m benchmarks``, each on a ledger of each size, asked in turn. Printed are
the rates on the smallest one, and how many times as long the same takes on the others. A peer takes
part if its driver can ``grow``: leave so many finished tasks, and a backlog of PENDING ones.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from secrets import randbelow

from sqlalchemy import make_url

from benchmarks.contest import OURS, Contestant, Entrant, Failed, peers
from benchmarks.growth import MOST, SIZES, filled, kept_servers, numbers, say
from benchmarks.growth_fill import BACKLOG
from benchmarks.rounds import flaws
from benchmarks.servers import Place, Servers
from benchmarks.works import WORKS, Case, expected, label

#: What is asked in one turn, a second or so of work: the work, its case, and how much of it.
_ASKED: tuple[tuple[str, Case, int], ...] = (
    ("bulk", {"known": 0}, 4_000),
    ("bulk", {"known": 0.5}, 4_000),
    ("bulk", {"known": 1}, 4_000),
    ("single", {"callers": 16}, 12),
    ("claim", {"callers": 16, "n": 1}, 12),
    ("claim", {"callers": 16, "n": 100}, 1),
    ("life", {"callers": 16}, 4),
)
#: Far from those of the harness, and others in each run: a ledger that is kept knows the last ones.
_SEEDS = count(100_000 + randbelow(80_000_000))

#: Of each work and case, the seconds of each round on each ledger.
Took = dict[str, list[list[float]]]


def main() -> None:
    """Fill, measure, print; exit 1 for what grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=numbers, default=SIZES, help="finished tasks, by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="where the ledgers are, or will be, kept")
    parser.add_argument("--contestants", nargs="+", default=["queue", "http"], metavar="NAME")
    given = parser.parse_args()
    known = {entrant.name: entrant for entrant in (*OURS, *peers())}
    grown: list[str] = []
    with kept_servers(given.keep) as urls, tempfile.TemporaryDirectory() as logs:
        servers = Servers(urls.database_url, urls.broker_url)
        for name in given.contestants:
            ledgers = dict.fromkeys(given.sizes, "")
            if not known[name].is_peer:
                ledgers = {tasks: filled(urls.database_url, tasks) for tasks in given.sizes}
            with running(known[name], servers, ledgers, Path(logs)) as contestants:
                took = measure(contestants, given.rounds)
            grown += report(name, took, given.sizes)
    sys.exit(f"more than {MOST} times as long: {'; '.join(grown)}" if grown else 0)


@contextlib.contextmanager
def running(
    entrant: Entrant, servers: Servers, ledgers: Mapping[int, str], logs: Path
) -> Iterator[list[Contestant]]:
    """The contestant, once for each size, on what it has kept. Raises Failed."""
    with contextlib.ExitStack() as stack:
        contestants = []
        for tasks, ledger in ledgers.items():
            log = logs / f"{entrant.name}-{tasks}.log"
            if entrant.is_peer:
                place = stack.enter_context(servers.place())
            else:
                url = make_url(ledger).set(drivername="postgresql")
                broker = stack.enter_context(servers.broker())
                place = Place(url.render_as_string(hide_password=False), broker)
            contestant = stack.enter_context(Contestant(entrant, place, log))
            if entrant.is_peer:
                contestant.ask("grow", 7_200, tasks=tasks, backlog=BACKLOG, seed=next(_SEEDS))
            contestants.append(contestant)
        yield contestants


def measure(contestants: Sequence[Contestant], rounds: int) -> Took:
    """The first round, in which everything is met for the first time, does not count."""
    works = {work.name: work for work in WORKS}
    took: Took = {}
    for n in range(rounds + 1):
        for name, case, amount in _ASKED:
            work = works[name]
            asked = {**case, work.amount: amount}
            seconds = [0.0] * len(contestants)
            for place in range(len(contestants)):
                which = (place + n) % len(contestants)
                seed = {} if name == "claim" else {"seed": next(_SEEDS)}
                answer = contestants[which].ask(name, **asked, **seed)
                if wrong := flaws(work, case, answer, expected(work, case, amount)):
                    raise Failed(f"{name}, {label(case)}: {'; '.join(wrong)}")
                seconds[which] = answer["seconds"] / answer["done"]
            if n > 0:
                took.setdefault(f"{name}: {label(case)}", []).append(seconds)
    return took


def report(entrant: str, took: Took, sizes: Sequence[int]) -> list[str]:
    """Print the table; what takes too long on the last ledger."""
    say(f"{entrant:32}{'rate with':>12}  times as long with")
    say(f"{'':32}{sizes[0]:12,}" + "".join(f"{tasks:>26,}" for tasks in sizes[1:]))
    grown = []
    for name, rounds in took.items():
        line, ratio = f"{name:32}{1 / statistics.median(s[0] for s in rounds):12,.0f}", 1.0
        for which in range(1, len(sizes)):
            ratios = sorted(seconds[which] / seconds[0] for seconds in rounds)
            ratio = statistics.median(ratios)
            line += f"{ratio:12.2f} {f'({ratios[0]:.2f}-{ratios[-1]:.2f})':13}"
        say(line)
        if ratio > MOST:
            grown.append(f"{entrant}, {name}")
    return grown


if __name__ == "__main__":
    main()
