"""One run: an arena, wrappers, a nemesis; then healing, draining and the check of everything."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from redis import RedisError

from tests.faults import checker, history, journal
from tests.faults.arena import Arena
from tests.faults.journal import Operation, Record
from tests.faults.nemesis import Nemesis
from tests.faults.schedule import LEASE, Blow, schedule
from tests.faults.wrappers import Wrappers
from tests.house import House, wait_until
from tests.house import run as run_command

#: Seconds until everything must be worked off after the last fault is healed: a message that was
#: being restored by a worker that was killed waits for 30 s, its redelivery for more.
DRAIN_SECONDS = 120.0
#: Seconds within which the first work is begun: so long a slow machine may take to start wrappers.
_BEGIN_SECONDS = 60.0
#: Seconds within which `porch-server up` has started again whatever the nemesis has killed.
_RESTART_SECONDS = 40.0

#: What must not be in a log of ours, whatever happens to the servers.
_DEFECTS = re.compile(r"a defect of porch|internal_error|Unrecoverable error(?!.*Could not start)")
#: Celery's worker gives up where one of its children is killed before the first message; so does
#: the nemesis. `porch-server up` starts another.
_SPOILT_START = re.compile(r"CRITICAL.*Could not start worker processes")
#: What must not be in PostgreSQL's log: our own statements at odds with each other.
_AT_ODDS = re.compile(r"deadlock detected|violates (check|foreign key|not-null)|PANIC")


@dataclass(slots=True)
class Result:
    """What a run did, and what was found. ``operations``: (verb, what became of it) counted."""

    seed: int
    blows: list[Blow]
    injected: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    operations: Counter[tuple[str, str]] = field(default_factory=Counter)
    verified: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    draining: float = 0.0


def run(seed: int, seconds: float, folder: Path, wrappers: int = 4) -> Result:
    """Faults for so many seconds, in an empty folder that is left for whoever wants to look."""
    began = time.monotonic()
    result = Result(seed, schedule(seed, seconds))
    with Arena(folder) as arena:
        with Wrappers(arena, seed, wrappers) as at_work:
            nemesis = Nemesis(arena, at_work, result.blows)
            wait_until(at_work.begun, _BEGIN_SECONDS, "the wrappers are at work")
            nemesis.run(seconds)
            healed = time.monotonic()
            if not _drained(arena, at_work):
                result.violations.append(f"not drained within {DRAIN_SECONDS} s of healing")
            result.draining = time.monotonic() - healed
            at_work.stop()
        record = journal.read(at_work.folder)
        found, result.verified = checker.check(record, history.read(arena.one), LEASE)
        result.violations += [*found, *at_work.troubles, *doctor_clean(arena.one)]
        for proxy in arena.proxies:
            result.lost += proxy.lost
    for house in arena.houses:
        logs = [log.read_text(errors="replace") for log in house.state_dir.glob("worker.*.log")]
        spoilt = sum(len(_SPOILT_START.findall(log)) for log in logs)
        result.violations += died_by_themselves(house.said, spoilt)
    result.violations += _defects(folder)
    result.injected, result.missed = nemesis.injected, nemesis.missed
    result.operations = _counted(record)
    result.seconds = time.monotonic() - began
    return result


def _drained(arena: Arena, wrappers: Wrappers) -> bool:
    """Whether all is worked off in time, messages left over by the dead included."""
    deadline = time.monotonic() + DRAIN_SECONDS
    wrappers.drain()
    called_back = False
    while time.monotonic() < deadline:
        time.sleep(0.1)
        wrappers.replace()
        if not wrappers.draining():
            continue
        if not called_back:
            # Sooner than the 60 s after which the broker would: they must change nothing now.
            try:
                arena.deliver_again()
            except RedisError:
                continue
            called_back = True
        # In this order: once no message is under way, nothing can become unfinished any more.
        if arena.broker_is_idle() and arena.unfinished() == 0:
            return True
    return False


def doctor_clean(house: House) -> list[str]:
    """What `porch-server doctor` finds wrong with the whole database, the broker and the workers.

    Workers may still be waiting to be started again, and beat with them: it is asked until it is
    content, for a while.
    """
    names = ("database_url", "broker_url", "result_url")
    env = {f"PORCH_{name.upper()}": house.ready[name] for name in names}
    deadline = time.monotonic() + _RESTART_SECONDS
    while True:
        done = run_command("porch-server", "doctor", "--json", env=env)
        if done.returncode == 0:
            return []
        if time.monotonic() > deadline:
            return [f"doctor says {done.stdout} {done.stderr}"]
        time.sleep(1)


def died_by_themselves(said: str, excused: int = 0) -> list[str]:
    """Workers and beats that ended otherwise than by the nemesis, which only ever kills them.

    ``excused``: how many workers may have ended with status 0.
    """
    deaths = re.findall(r".*(?:worker\.\w+|beat) died with (?!signal 9;).*", said)
    politely = [line for line in deaths if "worker." in line and "exit status 0;" in line]
    return [line for line in deaths if line not in politely] + politely[excused:]


def _defects(folder: Path) -> list[str]:
    """Lines of logs that no fault of somebody else's explains."""
    found = []
    for path in sorted(folder.glob("*/*.log")):
        wrong = _AT_ODDS if path.stem == "postgresql" else _DEFECTS
        found += [
            f"{path.parent.name}/{path.name}: {line}"
            for line in path.read_text(errors="replace").splitlines()
            if wrong.search(line)
        ]
    return found


def _counted(record: Record) -> Counter[tuple[str, str]]:
    """Definitions, claims and reports by what became of them; and how often they had to be asked
    for again, since no answer came."""
    counts: Counter[tuple[str, str]] = Counter()
    for operation in record.operations:
        counts[operation.verb, "asked again"] += len(operation.silences)
        for outcome in _outcomes(operation):
            counts[operation.verb, outcome] += 1
            counts[operation.verb, "attempted"] += 1
    return counts


def _outcomes(operation: Operation) -> list[str]:
    if operation.refusals and not operation.answers:
        return ["refused"] * len(operation.items)
    if not operation.answers:
        return ["unknown"] * len(operation.items)
    if operation.verb == "claim":
        return ["acknowledged"]
    return ["refused" if "error" in result else "acknowledged" for result in operation.answers[0]]
