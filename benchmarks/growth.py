"""Whether porch becomes slower as its ledger grows: each verb, with ever more tasks kept.

    python -m benchmarks.growth [--keep DIRECTORY] [--sizes N,N,...] [--rounds N] [--snapshot]

A ledger of each size on one server (``growth_fill``), each behind a Coordinator of its own in this
process; every call is made on all of them in turn, so that what disturbs one disturbs all. Printed
are the milliseconds of a call on the smallest ledger, and how many times as long it takes on the
others: by the medians of each round (their median, their range), and by the mean of all calls. With
--snapshot a transaction that reads each ledger stays open meanwhile, as a dump does: nothing that
has been changed can be cleared up.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from uuid import uuid4

from sqlalchemy import create_engine, make_url, text

from benchmarks.growth_fill import BACKLOG, BENCHMARKED, fill
from config.embedded import EmbeddedUrls, embedded_servers
from config.server_home import remove_state_dir
from config.wiring import make_coordinator
from coordinator.access import digest, new_secret
from coordinator.errors import PorchError
from coordinator.model import Task
from coordinator.request_ids import new_request_id
from coordinator.requests import Caller, Name, Report
from coordinator.status import Status
from db.engine import make_engine
from db.migrate import upgrade

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
#: How many times as long a call may take on the largest ledger.
MOST = 1.3

#: Tasks that are claimed before anything is measured under an open snapshot.
CHURN = 20_000

_KNOWN = text(
    """
    SELECT task_input FROM porch.task TABLESAMPLE SYSTEM (:percent)
    WHERE pipeline_id = 1 AND status = 'DONE' ORDER BY random() LIMIT :n
    """
)


class Ledger:
    """One size: its Coordinator, and what has been claimed from it."""

    def __init__(self, url: str, tasks: int) -> None:
        self.tasks, self._run = tasks, uuid4().hex[:12]
        self._porch = make_coordinator(url)
        self._secret = new_secret()
        target = self._porch.ledger.pipeline(BENCHMARKED)
        if target is None:
            raise SystemExit(f"no {BENCHMARKED} in a ledger of {tasks:,} tasks: was it filled?")
        self._porch.ledger.add_token(digest(self._secret), target, "growth")
        self._numbers = itertools.count()
        self._claimed: list[Task] = []
        self._running: list[Task] = []
        self._known: list[object] = []
        self._url = url

    def new(self, n: int) -> list[object]:
        """Definitions like those that are kept, which nobody has seen."""
        return [
            {"lane": i % 8, "library": f"DN{i}K", "run": self._run, "sample": f"SAMEA{i}",
             "study": f"Study of {i % 37} populations", "tag": i % 384}
            for i in itertools.islice(self._numbers, n)
        ]  # fmt: skip

    def known(self, n: int) -> list[object]:
        """Definitions from all over the ledger."""
        while len(self._known) < n:
            engine = make_engine(self._url)
            with engine.begin() as connection:
                # A block is some twenty tasks, of which a quarter are of the pipeline.
                percent = min(100.0, 100.0 * 50_000 / (self.tasks + BACKLOG))
                found = connection.execute(_KNOWN, {"percent": percent, "n": 20_000})
                self._known += [task_input for (task_input,) in found]
            engine.dispose()
        taken, self._known = self._known[:n], self._known[n:]
        return taken

    def submit(self, definitions: Sequence[object]) -> None:
        self._all_good(self._porch.submit(self._caller(), definitions))

    def claim(self, n: int) -> None:
        claimed = self._porch.claim(self._caller(), n)
        if len(claimed) != n:
            raise SystemExit(f"the backlog of {self.tasks:,} is empty")
        self._claimed += claimed

    def report(self, status: Status, n: int) -> None:
        """Of the ``n`` tasks that have been what comes before ``status`` for longest."""
        held, then = {
            Status.RUNNING: (self._claimed, self._running),
            Status.DONE: (self._running, []),
        }[status]
        reports = [
            Report(Name(task.key.hex(), task.version, attempt=task.attempt), status)
            for task in held[:n]
        ]
        self._all_good(self._porch.update(self._caller(), reports))
        then += held[:n]
        del held[:n]

    def life(self) -> None:
        self.submit(self.new(1))
        self.claim(1)
        self.report(Status.RUNNING, 1)
        self.report(Status.DONE, 1)

    def _caller(self) -> Caller:
        return Caller(self._secret, new_request_id(), "node-1")

    @staticmethod
    def _all_good(answers: Sequence[object]) -> None:
        for answer in answers:
            if isinstance(answer, PorchError):
                raise answer


#: The seconds of each call of a round on each ledger.
Took = list[list[float]]
#: How often a round makes each call, and what readies one: untimed, it returns the call.
Operation = tuple[int, Callable[[Ledger], Callable[[], None]]]


def operations() -> dict[str, Operation]:
    def submit(n: int, known: int = 0) -> Callable[[Ledger], Callable[[], None]]:
        def ready(ledger: Ledger) -> Callable[[], None]:
            return partial(ledger.submit, ledger.new(n - known) + ledger.known(known))

        return ready

    def again(n: int) -> Callable[[Ledger], Callable[[], None]]:
        def ready(ledger: Ledger) -> Callable[[], None]:
            definitions = ledger.new(n)
            ledger.submit(definitions)
            return partial(ledger.submit, definitions)

        return ready

    def claim(n: int) -> Callable[[Ledger], Callable[[], None]]:
        return lambda ledger: partial(ledger.claim, n)

    def report(status: Status, n: int) -> Callable[[Ledger], Callable[[], None]]:
        return lambda ledger: partial(ledger.report, status, n)

    return {
        "submit 1,000, all new": (10, submit(1_000)),
        "submit 1,000, known lately": (4, again(1_000)),
        "submit 1,000, known of old": (4, submit(1_000, 1_000)),
        "submit 1": (100, submit(1)),
        "claim 1": (100, claim(1)),
        "report RUNNING, 1": (100, report(Status.RUNNING, 1)),
        "report DONE, 1": (100, report(Status.DONE, 1)),
        "claim 100": (12, claim(100)),
        "report RUNNING, 100": (12, report(Status.RUNNING, 100)),
        "report DONE, 100": (12, report(Status.DONE, 100)),
        "life of one": (50, lambda ledger: ledger.life),
    }


def main() -> None:
    """Fill, measure, print; exit 1 for what grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=numbers, default=SIZES, help="finished tasks, by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="where the ledgers are, or will be, kept")
    parser.add_argument("--snapshot", action="store_true", help="with a transaction left open")
    given = parser.parse_args()
    with kept_servers(given.keep) as servers, contextlib.ExitStack() as stack:
        server = servers.database_url
        urls = {tasks: filled(server, tasks) for tasks in given.sizes}
        if given.snapshot:
            for url in urls.values():
                stack.enter_context(snapshot(url))
        ledgers = [Ledger(url, tasks) for tasks, url in urls.items()]
        if given.snapshot:
            churn(ledgers)
        grown = report(measure(ledgers, given.rounds), ledgers)
    sys.exit(f"more than {MOST} times as long: {', '.join(grown)}" if grown else 0)


def numbers(words: str) -> tuple[int, ...]:
    """As they are given, with commas between them."""
    return tuple(int(word) for word in words.split(","))


@contextlib.contextmanager
def kept_servers(keep: Path | None) -> Iterator[EmbeddedUrls]:
    """Embedded servers, in a folder that is kept or removed."""
    with contextlib.ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "state"
        if keep is None:
            stack.callback(remove_state_dir, folder)
        yield stack.enter_context(embedded_servers(folder))


def filled(server: str, tasks: int) -> str:
    """The URL of the database with so many tasks, which is filled unless it is there."""
    name = f"growth_{tasks}"
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        is_there = text("SELECT FROM pg_database WHERE datname = :name")
        if connection.execute(is_there, {"name": name}).first() is None:
            begin = time.perf_counter()
            connection.execute(text(f"CREATE DATABASE {name}_new"))
            fill(f"{url}_new", tasks)
            connection.execute(text(f"ALTER DATABASE {name}_new RENAME TO {name}"))
            say(f"filled with {tasks:,} tasks in {time.perf_counter() - begin:.0f} s")
    engine.dispose()
    upgrade(url)  # to the schema of this release, where it has been kept from an earlier one
    return url


@contextlib.contextmanager
def snapshot(url: str) -> Iterator[None]:
    """A transaction that has read, and is left open."""
    engine = create_engine(url, isolation_level="REPEATABLE READ")
    with engine.connect() as connection:
        connection.execute(text("SELECT count(*) FROM porch.pipeline"))
        yield
    engine.dispose()


def churn(ledgers: Sequence[Ledger]) -> None:
    """Claim, start and finish, so that there is much that cannot be cleared up."""
    for ledger in ledgers:
        for _ in range(CHURN // 1_000):
            ledger.claim(1_000)
            ledger.report(Status.RUNNING, 1_000)
            ledger.report(Status.DONE, 1_000)


def measure(ledgers: Sequence[Ledger], rounds: int) -> dict[str, list[Took]]:
    """Of each operation and round, how long its calls took."""
    took: dict[str, list[Took]] = defaultdict(list)
    # The first round, in which every plan and connection is made, does not count.
    for n in range(rounds + 1):
        for name, (times, ready) in operations().items():
            calls: Took = [[] for _ in ledgers]
            for turn in range(times):
                for place in range(len(ledgers)):
                    which = (place + turn) % len(ledgers)
                    call = ready(ledgers[which])
                    begin = time.perf_counter()
                    call()
                    calls[which].append(time.perf_counter() - begin)
            if n > 0:
                took[name].append(calls)
    return took


def report(took: dict[str, list[Took]], ledgers: Sequence[Ledger]) -> list[str]:
    """Print the table; the operations that take too long on the last ledger."""
    say(f"{'':26}{'ms with':>9}  times as long with")
    say(f"{'':26}{ledgers[0].tasks:9,}" + "".join(f"{x.tasks:>30,}" for x in ledgers[1:]))
    grown = []
    for name, rounds in took.items():
        first = [statistics.median(calls[0]) for calls in rounds]
        line, ratio = f"{name:26}{statistics.median(first) * 1_000:9.2f}", 1.0
        for which in range(1, len(ledgers)):
            ratios = sorted(statistics.median(c[which]) / statistics.median(c[0]) for c in rounds)
            ratio = statistics.median(ratios)
            means = sum(sum(c[which]) for c in rounds) / sum(sum(c[0]) for c in rounds)
            spread = f"({ratios[0]:.2f}-{ratios[-1]:.2f})"
            line += f"{ratio:12.2f} {spread:12} {means:4.2f}"
        say(line)
        if ratio > MOST:
            grown.append(name)
    return grown


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
