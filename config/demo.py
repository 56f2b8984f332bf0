"""``porch-server demo``: the main job, from nothing to proof, through the commands users type.

1. Start everything in a folder of its own. 2. Register a pipeline and get a token. 3. Several
wrappers submit the same sample sheet at once. 4. Several batch scripts drain the claim queue at
once; some commands fail. 5. Run the failed ones again. 6. Compare what porch says with what the
commands themselves have written down.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from config.sample_sheet import distinct_definitions, write_sample_sheet
from config.server_home import remove_state_dir
from config.settings import known_names
from coordinator.errors import PorchError

_PIPELINE = "cardinal"
_WRAPPERS = 4
_BATCH_SCRIPTS = 4
_RUNS = 5_000

#: What stands in for a pipeline: it writes down that it ran, and fails now and then when it runs
#: for the first time (one definition in 64, by its key, so that every demo is alike).
_COMMAND = """\
case "$2.$1" in
  1.00*|1.40*|1.80*|1.c0*) echo "$1 $2 failed" >> "$RUNS"
      echo "bgzip: No space left on device" >&2; exit 1 ;;
esac
echo "$1 $2 done" >> "$RUNS"
"""


class DemoFailed(PorchError):
    """A command of the demo did not do what it should."""

    code = "demo_failed"


def run(sheet: str | None, key: str) -> int:
    """Run the demo on a CSV file, or on a sheet that it makes up; the exit status.

    0 only if every definition ran exactly once (those that failed: once more, on purpose).
    """
    with tempfile.TemporaryDirectory(prefix="porch-demo-") as folder:
        home = Path(folder)
        if sheet is None:
            source = write_sample_sheet(home / "runs.csv", _RUNS)
        else:
            source = Path(sheet).resolve()
        return _Demo(home, source, key).run()


class _Demo:
    """One demo in one folder."""

    def __init__(self, home: Path, sheet: Path, key: str) -> None:
        self.home = home
        self.sheet = sheet
        self.key = key
        self.runs = home / "runs.log"
        self.runs.touch()
        # Whatever this terminal is set to use: the demo has its own, and touches nobody else's.
        theirs = known_names()
        self.env = {name: value for name, value in os.environ.items() if name not in theirs}
        self.console = Console(stderr=False, highlight=False)

    def run(self) -> int:
        expected = distinct_definitions(self.sheet, self.key.split(","))
        began = time.monotonic()
        server = self._start_server()
        try:
            self._register()
            new = self._submit()
            self._drain(_BATCH_SCRIPTS)
            failed = self._ids("FAILED")
            self._say(f"{len(failed):,} failed: run again, on purpose")
            if failed:
                self._porch("rerun", "--reason", "disk is larger now", *failed)
                self._drain(1)
            counts = json.loads(self._porch("list", "--count").stdout)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)
            remove_state_dir(self.home / "state")
        return self._verdict(expected, new, set(failed), counts, time.monotonic() - began)

    def _start_server(self) -> subprocess.Popen[str]:
        self._say("starting PostgreSQL, Valkey and coordinator workers")
        log = (self.home / "up.log").open("w+")
        server = subprocess.Popen(
            [*_command("porch-server"), "up", "--json"],
            env={
                **self.env,
                "PORCH_STATE_DIR": str(self.home / "state"),
                "PORCH_GATEWAY_PORT": "0",
                "PORCH_FLOWER": "false",
            },
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        line = server.stdout.readline() if server.stdout else ""
        if not line:
            server.wait(timeout=60)
            log.seek(0)
            raise DemoFailed(f"porch-server up did not start: {log.read().strip()}", "see above")
        ready = json.loads(line)
        self.env |= {
            "PORCH_BROKER_URL": ready["broker_url"],
            "PORCH_RESULT_URL": ready["result_url"],
            "PORCH_TOKEN": ready["admin_token"],
            "RUNS": str(self.runs),
        }
        return server

    def _register(self) -> None:
        self._porch(
            "pipeline",
            "register",
            _PIPELINE,
            "--uri",
            "https://example.org/cardinal",
            "--version",
            "1.0",
        )
        issued = self._porch("token", "issue", "--pipeline", _PIPELINE, "--description", "demo")
        self.env["PORCH_TOKEN"] = json.loads(issued.stdout)["token"]

    def _submit(self) -> int:
        """Submit the sheet several times at once; how many definitions were new, all in all."""
        self._say(f"{_WRAPPERS} wrappers submit {self.sheet.name} at the same time")
        argv = ("submit", "--pipeline", _PIPELINE, str(self.sheet), "--key", self.key)
        wrappers = [self._start(f"submit.{n}", *argv) for n in range(_WRAPPERS)]
        new = 0
        for n, wrapper in enumerate(wrappers):
            self._finish(f"submit.{n}", wrapper)
            answers = (self.home / f"submit.{n}.out").read_text().splitlines()
            new += sum(json.loads(answer)["created"] for answer in answers)
        return new

    def _drain(self, scripts: int) -> None:
        self._say(f"{scripts} batch script{'s' * (scripts > 1)} claim, run and report")
        script = self.home / "run.sh"
        script.write_text(_COMMAND)
        argv = (
            "drain",
            "--pipeline",
            _PIPELINE,
            "-j",
            "8",
            "-n",
            "100",
            "--",
            "sh",
            str(script),
            "{task_input_id}",
            "{attempt}",
        )
        drains = [self._start(f"drain.{n}", *argv) for n in range(scripts)]
        for n, drain in enumerate(drains):
            self._finish(f"drain.{n}", drain)

    def _ids(self, status: str) -> list[str]:
        listed = self._porch("list", "--pipeline", _PIPELINE, "--status", status).stdout
        return [json.loads(line)["task_input_id"] for line in listed.splitlines()]

    def _verdict(
        self,
        expected: int,
        new: int,
        failed: set[str],
        counts: dict[str, int],
        seconds: float,
    ) -> int:
        """The closing table: porch's account beside that of the commands."""
        runs = [line.split() for line in self.runs.read_text().splitlines()]
        done = Counter(task for task, _, end in runs if end == "done")
        stumbled = Counter(task for task, _, end in runs if end == "failed")
        checks = [
            ("definitions in the sheet", expected, None),
            (f"registered as new by {_WRAPPERS} racing wrappers", new, expected),
            ("commands that ran to the end", sum(done.values()), expected),
            ("definitions that ran to the end exactly once", _once(done), expected),
            ("definitions that failed at first, once", _once(stumbled), len(failed)),
            ("runs beyond those", len(runs) - expected - len(failed), 0),
            ("DONE, says porch", counts.get("DONE", 0), expected),
            ("in any other status", sum(counts.values()) - counts.get("DONE", 0), 0),
        ]
        table = Table(title=f"porch demo: {self.sheet.name}, {seconds:.0f} s")
        for heading in ("", "found", "expected", ""):
            table.add_column(heading, justify="left" if not heading else "right")
        good = True
        for what, found, wanted in checks:
            right = wanted is None or found == wanted
            good = good and right
            shown = "" if wanted is None else f"{wanted:,}"
            table.add_row(what, f"{found:,}", shown, "ok" if right else "WRONG")
        self.console.print(table)
        verdict = "every definition ran exactly once" if good else "NOT every definition ran once"
        self.console.print(verdict)
        return 0 if good else 1

    def _porch(self, *argv: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*_command("porch"), *argv],
            env=self.env,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise DemoFailed(f"porch {' '.join(argv[:2])}: {done.stderr.strip()}", "see above")
        return done

    def _start(self, name: str, *argv: str) -> subprocess.Popen[bytes]:
        with (
            (self.home / f"{name}.out").open("wb") as out,
            (self.home / f"{name}.err").open("wb") as err,
        ):
            return subprocess.Popen(
                [*_command("porch"), *argv], env=self.env, cwd=self.home, stdout=out, stderr=err
            )

    def _finish(self, name: str, process: subprocess.Popen[Any]) -> None:
        status = process.wait()
        said = (self.home / f"{name}.err").read_text().strip().splitlines()
        if status != 0:
            raise DemoFailed(f"porch {name} ended with {status}: {said[-1:]}", "see above")
        self.console.print(f"    {said[-1].strip() if said else name}", soft_wrap=True)

    def _say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)


def _once(times: Counter[str]) -> int:
    return sum(n == 1 for n in times.values())


def _command(name: str) -> list[str]:
    """One of porch's commands, from the environment that this one runs in."""
    beside = Path(sys.executable).parent / name
    if not beside.exists():
        raise DemoFailed(f"there is no {beside}", "install both porch-coordinator and porch-client")
    return [str(beside)]
