"""A contestant as the harness sees it: a process that is asked for one measurement at a time.

What it answers, and with what, is in ``benchmarks.load``: ``serve`` is the other end.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.servers import Place

HERE = Path(__file__).parent
#: Where ``make bench`` makes the peers' environments.
VENVS = HERE.parent / ".bench"

_READY_SECONDS = 120.0
_STOP_SECONDS = 60.0


class Failed(Exception):
    """A contestant that died, kept silent, or could not do what it was asked to."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """Who may be called to a contest: a driver, and the interpreter that runs it."""

    name: str
    python: Path
    driver: Path
    arguments: tuple[str, ...] = ()

    @property
    def is_peer(self) -> bool:
        """Whether it is what a user would take instead of porch."""
        return self.driver.parent.parent.name == "peers"


def _ours(name: str, driver: str, *arguments: str) -> Entrant:
    return Entrant(name, Path(sys.executable), HERE / "drivers" / f"{driver}.py", arguments)


#: porch by its two doors, and what bounds it.
OURS = (
    _ours("queue", "queue"),
    _ours("http", "http"),
    _ours("sql", "sql"),
    _ours("copy", "sql", "copy"),
    _ours("pgbench", "pgbench"),
    _ours("noop", "noop"),
)


def peers() -> list[Entrant]:
    """Whoever has a driver in ``benchmarks/peers``, by name."""
    return [
        Entrant(driver.parent.name, VENVS / driver.parent.name / "bin" / "python", driver)
        for driver in sorted((HERE / "peers").glob("*/driver.py"))
    ]


class Contestant:
    """An entrant that is starting, with a place of its own on the servers.

    A context manager, in which it is ready.
    """

    def __init__(self, entrant: Entrant, place: Place, log: Path) -> None:
        self.entrant = entrant
        self._log = log
        # A session of its own: what it leaves behind when it ends is killed as one.
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [str(entrant.python), "-P", str(entrant.driver), *entrant.arguments],
                env=_environment(place),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        self.version = ""
        self.offers: frozenset[str] = frozenset()

    def __enter__(self) -> Contestant:
        try:
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def wait_ready(self) -> None:
        """Until it can be asked. Raises Failed."""
        ready = self._answer(_READY_SECONDS)
        self.version = ready["version"]
        self.offers = frozenset(ready["offers"])

    def ask(self, do: str, seconds: float = 300.0, **asked: Any) -> dict[str, Any]:
        """One measurement: its answer, which may take so many seconds. Raises Failed."""
        try:
            self._stdin.write(json.dumps({"do": do, **asked}) + "\n")
            self._stdin.flush()
        except OSError:
            raise self._failed("died") from None
        answer = self._answer(seconds)
        if "error" in answer:
            raise self._failed(f"answered {answer['error']}")
        return answer

    def dismiss(self) -> None:
        """Tell it that it is over."""
        with contextlib.suppress(OSError):
            self._stdin.close()

    def close(self) -> None:
        """End it, and all it has started."""
        self.dismiss()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        self._kill()
        self._process.wait()
        self._stdout.close()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def _stdin(self) -> Any:
        return self._process.stdin

    @property
    def _stdout(self) -> Any:
        return self._process.stdout

    def _answer(self, seconds: float) -> dict[str, Any]:
        # An answer is one line, and nothing is left over of the one before.
        readable, _, _ = select.select([self._stdout], [], [], seconds)
        if not readable:
            self._kill()  # whatever it said later would be taken for another answer
            raise self._failed(f"said nothing for {seconds:g} s")
        line = self._stdout.readline()
        if not line.endswith("\n"):
            raise self._failed("died")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failed(self, what: str) -> Failed:
        end = self._log.read_text(errors="replace").splitlines()[-15:]
        return Failed("\n  ".join([f"{self.entrant.name} {what}; the end of its log:", *end]))


def _environment(place: Place) -> dict[str, str]:
    """What a driver is told: nothing of ours but where its servers are."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PORCH_", "PG", "PYTHON"))
    }
    return {
        **inherited,
        "BENCH_PATH": str(HERE),
        "DATABASE_URL": place.database_url,
        "BROKER_URL": place.broker_url,
    }
