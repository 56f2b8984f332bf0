"""porch through its queues: ``porch-server up`` at one end, ``porch_client.Porch`` at the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, os.environ["BENCH_PATH"])

from drivers.footprint import ROOT, family_mb, milliseconds, python_mb, queue_bytes, wheel_kb
from drivers.ledger import Ledger
from load import Operation, definition, die_with_parent, doubles, race, serve, stopped
from load import definitions as made
from load import known as known_of

from porch_client import Porch
from porch_client.errors import Unreachable

BROKER = os.environ["BROKER_URL"]
LEDGER = Ledger()


def porch() -> Porch:
    """A client with the pipeline's token, as a wrapper has."""
    return Porch(BROKER, LEDGER.token)


def bulk(definitions: int, known: float, seed: int) -> dict[str, Any]:
    """One wrapper submits all of them."""
    given = made(seed, definitions)
    with porch() as client:
        for _ in client.submit(known_of(given, known)):
            pass
        began = time.perf_counter()
        answers = list(client.submit(given))
        seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "done": len(answers),
        "new": sum(answer.created for answer in answers),
        "kept": LEDGER.kept(given),
    }


def single(callers: int, each: int, seed: int) -> dict[str, Any]:
    """Each of many wrappers submits one definition after the other."""

    def make_caller(_: int) -> Operation:
        client = porch()
        return lambda i: client.submit_one(definition(seed, i)).created

    run = race(callers, each, make_caller)
    kept = LEDGER.kept(made(seed, callers * (each + 1)))
    return run.told(new=sum(run.values), kept=kept - callers)


def claim(callers: int, n: int, each: int) -> dict[str, Any]:
    """Each of many batch scripts claims ``n`` tasks after ``n`` tasks."""

    def make_caller(_: int) -> Operation:
        client = porch()
        return lambda _: [claimed.task_input_id for claimed in client.claim(n)]

    run = race(callers, each, make_caller)
    return run.told(
        sum(map(len, run.values)),
        calls=len(run.values),
        doubles=doubles(run.warming + run.values),
    )


def life(callers: int, each: int, seed: int) -> dict[str, Any]:
    """Each of many submits a task, claims one, and reports of that RUNNING and DONE."""

    def make_caller(_: int) -> Operation:
        client = porch()

        def live(i: int) -> str:
            client.submit_one(definition(seed, i))
            # What was just submitted may be in others' hands, and theirs not yet to be seen.
            while not (claimed := client.claim(1)):
                pass
            claimed[0].running()
            claimed[0].done()
            return claimed[0].task_input_id

        return live

    run = race(callers, each, make_caller)
    return run.told(doubles=doubles([run.warming + run.values]))


def footprint() -> dict[str, Any]:
    """A worker, a client, the client's command, its messages, and both wheels."""
    env = {"PORCH_BROKER_URL": BROKER, "PORCH_TOKEN": LEDGER.token}
    command = str(Path(sys.executable).with_name("porch"))
    cold, submit = (
        milliseconds([command, *words], env, json.dumps(definition(0, 0)))
        for words in (["--version"], ["submit", "--format", "jsonl", "-"])
    )
    worker, worker_pss = family_mb(UP["pids"]["worker.submit"])
    client, client_pss = python_mb(_CLIENT, env)
    return {
        "worker_mb": worker,
        "worker_pss_mb": worker_pss,
        "client_mb": client,
        "client_pss_mb": client_pss,
        "cold_start_ms": cold,
        "submit_ms": submit,
        **WAITING,
        "wheel_kb": wheel_kb(ROOT),
        "client_wheel_kb": wheel_kb(ROOT / "client"),
    }


#: A wrapper that has submitted a definition.
_CLIENT = """
from porch_client import Porch
porch = Porch.from_environment()
porch.submit_one({"client": 1})
"""


def waiting() -> dict[str, Any]:
    """What definitions take in the broker while there is no worker, alone and in bulk."""
    told = {}
    for name, amount in ("broker_bytes_single", 1), ("broker_bytes_per_definition", 4_000):
        with Porch(BROKER, LEDGER.token, timeout=0.3) as client:
            try:
                list(client.submit(made(0, amount)))
            except Unreachable:
                told[name] = queue_bytes(BROKER, "porch.submit") / amount
    return told


def start(state_dir: Path) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """``porch-server up`` on the servers of this contestant."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "config", "up", "--json"],
        env={
            **os.environ,
            "PORCH_DATABASE_URL": LEDGER.database_url,
            "PORCH_BROKER_URL": BROKER,
            "PORCH_STATE_DIR": str(state_dir),
            "PORCH_GATEWAY_PORT": "0",
            "PORCH_FLOWER": "false",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        preexec_fn=die_with_parent,  # noqa: PLW1509 (called before any thread is started)
        text=True,
    )
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise SystemExit("porch-server up did not come up")
    return process, json.loads(line)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="porch-bench-") as folder:
        WAITING = waiting()
        house, UP = start(Path(folder) / "state")
        handlers = {
            "bulk": bulk,
            "single": single,
            "claim": claim,
            "life": life,
            "fill": LEDGER.fill,
            "footprint": footprint,
        }
        try:
            serve(handlers, "porch queue", version("porch-coordinator"))
        finally:
            stopped([house])
