"""porch through its gateway: one process of it, and callers that keep their connections."""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from typing import Any

sys.path.insert(0, os.environ["BENCH_PATH"])

from drivers.footprint import family_mb
from drivers.ledger import PIPELINE, URI, VERSION, Ledger, batches
from load import Operation, definition, doubles, race, serve, started, stopped
from load import definitions as made
from load import known as known_of
from over_http import Connection

from config.ports import free_port
from config.wiring import gateway_argv

LEDGER = Ledger()
HOST, PORT = "127.0.0.1", free_port()
NDJSON = "application/x-ndjson"
_SPARSE = {"name": PIPELINE, "uri": URI, "version": VERSION}


def connect() -> Connection:
    """A connection with the pipeline's token."""
    return Connection(HOST, PORT, {"Authorization": f"Bearer {LEDGER.token}"})


def bulk(definitions: int, known: float, seed: int) -> dict[str, Any]:
    """JSON lines to the second API, in one request."""
    given = made(seed, definitions)
    client = connect()
    _submit(client, known_of(given, known))
    began = time.perf_counter()
    answers = _submit(client, given)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "done": len(answers),
        "new": sum(answer["created"] for answer in answers),
        "kept": LEDGER.kept(given),
    }


def _submit(client: Connection, given: Any) -> list[dict[str, Any]]:
    pieces = (
        "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in some).encode()
        for some in batches(given)
    )
    return [
        json.loads(line) for line in client.stream("/api/v2/tasks", pieces, NDJSON).splitlines()
    ]


def single(callers: int, each: int, seed: int) -> dict[str, Any]:
    """Each of many posts one definition after the other to the first API, as to npg_porch."""

    def make_caller(_: int) -> Operation:
        client = connect()

        def post(i: int) -> bool:
            body = {"pipeline": _SPARSE, "task_input": definition(seed, i)}
            return client.post("/tasks", body)[0] == 201

        return post

    run = race(callers, each, make_caller)
    kept = LEDGER.kept(made(seed, callers * (each + 1)))
    return run.told(new=sum(run.values), kept=kept - callers)


def claim(callers: int, n: int, each: int) -> dict[str, Any]:
    """Each of many claims ``n`` tasks after ``n`` tasks."""

    def make_caller(_: int) -> Operation:
        client = connect()
        return lambda _: [task["task_input_id"] for task in _claim(client, n)]

    run = race(callers, each, make_caller)
    return run.told(
        sum(map(len, run.values)),
        calls=len(run.values),
        doubles=doubles(run.warming + run.values),
    )


def _claim(client: Connection, n: int) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = client.post("/api/v2/tasks/claim", {"n": n})[1]["tasks"]
    return tasks


def life(callers: int, each: int, seed: int) -> dict[str, Any]:
    """Each of many posts a task, claims one, and reports of that RUNNING and DONE."""

    def make_caller(_: int) -> Operation:
        client = connect()

        def live(i: int) -> str:
            client.post("/tasks", {"pipeline": _SPARSE, "task_input": definition(seed, i)})
            # What was just posted may be in others' hands, and theirs not yet to be seen.
            while not (claimed := _claim(client, 1)):
                pass
            key, attempt = claimed[0]["task_input_id"], claimed[0]["attempt"]
            for status in ("RUNNING", "DONE"):
                change = {"task": key, "status": status, "attempt": attempt}
                _, answer = client.post("/api/v2/tasks/update", {"changes": [change]})
                if not answer["results"][0].get("changed"):
                    raise RuntimeError(str(answer))
            return str(key)

        return live

    run = race(callers, each, make_caller)
    return run.told(doubles=doubles([run.warming + run.values]))


def footprint() -> dict[str, Any]:
    """The gateway, after it has answered."""
    connect().post("/tasks", {"pipeline": _SPARSE, "task_input": definition(0, 0)})
    server, server_pss = family_mb(GATEWAY.pid)
    return {"server_mb": server, "server_pss_mb": server_pss}


def wait_ready() -> None:
    """Until the gateway takes connections."""
    until = time.monotonic() + 60
    while GATEWAY.poll() is None and time.monotonic() < until:
        try:
            connect()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the gateway did not come up")


if __name__ == "__main__":
    GATEWAY = started(gateway_argv(HOST, PORT), {"PORCH_DATABASE_URL": LEDGER.database_url})
    try:
        wait_ready()
        handlers = {
            "bulk": bulk,
            "single": single,
            "claim": claim,
            "life": life,
            "fill": LEDGER.fill,
            "footprint": footprint,
        }
        serve(handlers, "porch http", version("porch-coordinator"))
    finally:
        stopped([GATEWAY])
