"""What every contestant's driver does alike: the same definitions, the same race, the same words.

Standard library only: it is imported by the interpreters of the peers' environments too.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Of one seed there may be so many definitions.
MOST = 100_000_000
#: Processes that the callers of a race are spread over: more than one, as Python runs one thread
#: at a time; no more, as they share the machine with what they measure.
PROCESSES = 2

_PR_SET_PDEATHSIG = 1
_FORK = multiprocessing.get_context("fork")

#: One operation of a caller: takes a number that no other operation of the race has.
Operation = Callable[[int], Any]


def definition(seed: int, i: int) -> dict[str, Any]:
    """Definition ``i`` of ``seed``: what a sequencing pipeline might be given; no two are equal."""
    n = seed * MOST + i
    return {
        "id_run": n // 384,
        "position": n % 384 // 96 + 1,
        "tag_index": n % 96 + 1,
        "sample": f"SAMEA{n}",
        "library": f"DN{n * 7919 % 899_999}K",
        "reference": "Homo_sapiens/GRCh38_full_analysis_set_plus_decoy_hla",
        "paired": n % 5 != 0,
    }


def definitions(seed: int, n: int) -> list[dict[str, Any]]:
    """The first ``n`` definitions of ``seed``."""
    return [definition(seed, i) for i in range(n)]


def known(given: Sequence[Any], share: float) -> Sequence[Any]:
    """Of ``given``, those to register beforehand: none, every other, or all (0, 0.5, 1)."""
    return given[:: round(1 / share)] if share else ()


def doubles(handed: Iterable[Sequence[Any]]) -> int:
    """How often a task was handed out that had been before; ``handed``: the keys of each call."""
    keys = [key for call in handed for key in call]
    return len(keys) - len(set(keys))


# The race ---------------------------------------------------------------------------------------


@dataclass
class Race:
    """How a race went: seconds from the start to the last end, what the operations returned (the
    warming ones apart), the seconds each took, and what the ones that failed said.

    ``cpu``: seconds of processor that the callers themselves took: where it is near ``seconds``
    times the processes, the callers are measured and not the contestant.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    values: list[Any] = field(default_factory=list)
    warming: list[Any] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def told(self, done: int | None = None, **more: Any) -> dict[str, Any]:
        """As the answer to ``single``, ``claim`` or ``life``."""
        if self.errors:
            print(f"{len(self.errors)} errors, the first: {self.errors[0]}", file=sys.stderr)
        return {
            "seconds": self.seconds,
            "cpu": self.cpu,
            "done": len(self.values) if done is None else done,
            "errors": len(self.errors),
            "latencies": self.latencies,
            **more,
        }


def race(callers: int, each: int, make_caller: Callable[[int], Operation]) -> Race:
    """``callers`` at once, each doing ``each`` operations one after the other, as fast as it can.

    ``make_caller(k)`` is called in the thread of caller ``k``, in a forked process: it opens its
    own connections there and returns its operation. Operation ``i`` has a number of its own below
    ``callers * (each + 1)``; the first of each caller warms up and is not counted.

    Raises RuntimeError where a caller cannot be made or warmed up.
    """
    pipes = []
    for process in range(min(callers, PROCESSES)):
        mine = range(process, callers, PROCESSES)
        ours, theirs = _FORK.Pipe()
        arguments = (theirs, mine, callers, each, make_caller)
        _FORK.Process(target=_run, args=arguments, daemon=True).start()
        theirs.close()
        pipes.append(ours)
    try:
        for pipe in pipes:
            pipe.recv()
        for pipe in pipes:
            pipe.send("go")
        parts = [pipe.recv() for pipe in pipes]
    except EOFError:
        raise RuntimeError("a caller could not be made or died: the log says why") from None
    whole = Race()
    for part, _, _ in parts:
        whole.cpu += part.cpu
        whole.values += part.values
        whole.warming += part.warming
        whole.latencies += part.latencies
        whole.errors += part.errors
    whole.seconds = max(ended for *_, ended in parts) - min(began for _, began, _ in parts)
    return whole


def _run(
    pipe: Any, mine: range, callers: int, each: int, make_caller: Callable[[int], Operation]
) -> None:
    """Some of the callers, in a process of their own, each in a thread."""
    die_with_parent()
    go = threading.Event()
    threads = [
        _Caller(k, range(k * each, k * each + each), callers * each + k, make_caller, go)
        for k in mine
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.warm.wait()
    failed = [thread.failure for thread in threads if thread.failure]
    if failed:
        print(failed[0], file=sys.stderr, flush=True)
        os._exit(1)
    pipe.send("ready")
    pipe.recv()
    cpu, began = time.process_time(), time.perf_counter()
    go.set()
    for thread in threads:
        thread.join()
    part = Race(cpu=time.process_time() - cpu)
    for thread in threads:
        part.values += thread.values
        part.warming.append(thread.warming)
        part.latencies += thread.latencies
        part.errors += thread.errors
    pipe.send((part, began, max(thread.ended for thread in threads)))
    # At once: connections that are torn at the end belong to no measurement.
    os._exit(0)


class _Caller(threading.Thread):
    """Caller ``k``: warms up with operation ``first``, waits to ``go``, and does ``numbers``."""

    def __init__(
        self,
        k: int,
        numbers: range,
        first: int,
        make_caller: Callable[[int], Operation],
        go: threading.Event,
    ) -> None:
        super().__init__(daemon=True)
        self._k, self._numbers, self._first = k, numbers, first
        self._make_caller, self._go = make_caller, go
        self.warm = threading.Event()
        self.failure = ""
        self.warming: Any = None
        self.values: list[Any] = []
        self.latencies: list[float] = []
        self.errors: list[str] = []
        self.ended = 0.0

    def run(self) -> None:
        try:
            operation = self._make_caller(self._k)
            self.warming = operation(self._first)
        except Exception:  # noqa: BLE001 (told by the runner)
            self.failure = traceback.format_exc()
            return
        finally:
            self.warm.set()
        self._go.wait()
        for i in self._numbers:
            began = time.perf_counter()
            try:
                value = operation(i)
            except Exception as error:  # noqa: BLE001 (counted, and the first is told)
                self.errors.append(f"{type(error).__name__}: {error}")
            else:
                self.latencies.append(time.perf_counter() - began)
                self.values.append(value)
        self.ended = time.perf_counter()


# What a driver starts ---------------------------------------------------------------------------


def die_with_parent() -> None:
    """End with the thread that started this process, however that ends (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def started(argv: Sequence[str], env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A program that ends with this one; what it prints goes to the log."""
    return subprocess.Popen(
        list(argv),
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        preexec_fn=die_with_parent,  # noqa: PLW1509 (called before any thread is started)
    )


def stopped(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """End programs: asked to, and killed after 30 s. What they leave, the harness kills."""
    running = list(processes)
    for process in running:
        process.terminate()
    until = time.monotonic() + 30
    for process in running:
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# The words --------------------------------------------------------------------------------------


def serve(handlers: Mapping[str, Callable[..., dict[str, Any]]], name: str, version: str) -> None:
    """Answer each line of stdin until its end: ``{"do": X, ...}`` by ``handlers[X](...)``.

    Says first that it is ready. A handler that raises is answered with ``{"error": ...}``. Whatever
    else is printed goes to stderr, which is the log.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        out.write(json.dumps(answer) + "\n")
        out.flush()

    say({"ready": True, "name": name, "version": version, "offers": sorted(handlers)})
    # Not ``for line in sys.stdin``, which may keep lines back.
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        try:
            answer = handlers[asked.pop("do")](**asked)
        except Exception as error:  # noqa: BLE001 (told, and the next is answered)
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        say(answer)
