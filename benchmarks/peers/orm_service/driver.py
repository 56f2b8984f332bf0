"""The peer orm_service: what a good ordinary engineer would write in an afternoon.

FastAPI, pydantic and SQLAlchemy's ORM (``service.py``): one POST for each definition, a session and
a row for each request, a unique constraint, and the error of integrity answered 200 instead of 201.

- ``bulk``: one request for each definition, from 16 callers over connections that are kept alive;
  what is known beforehand is registered in the same way.
- ``single``: the same POST.
- ``claim``: a POST that takes ``num_tasks`` tasks by SELECT ... FOR UPDATE SKIP LOCKED, and marks
  them; 100 are one request.
- ``life``: POST, claim, PUT of RUNNING, PUT of DONE.

Settings: ``uvicorn[standard]``, so uvloop and httptools (its docs, "Installation"), one process,
without its access log; endpoints are ``def``, in FastAPI's threads (its docs, "Concurrency").
``PROCESSES=2`` in the environment gives it two. ``AUTH=1`` has it look up the bearer token and the
pipeline at each request; without, which is the default, it is as lean as it can be.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text

sys.path.insert(0, os.environ["BENCH_PATH"])
sys.path.insert(1, str(Path(__file__).parent))
import load
import service
from drivers.footprint import family_mb
from over_http import Connection

HOST, TOKEN = "127.0.0.1", "of-the-benchmark"
PROCESSES = os.environ.get("PROCESSES", "1")
BULK_CALLERS = 16


def connect() -> Connection:
    """A connection to the service."""
    return Connection(HOST, PORT, {"Authorization": f"Bearer {TOKEN}"} if service.AUTH else None)


def post(client: Connection, definition: dict[str, Any]) -> bool:
    """Register it; whether it was new."""
    status, _ = client.post("/tasks", {"pipeline": "bench", "task_input": definition})
    return status == 201


def key_of(definition: dict[str, Any]) -> str:
    """The key that the service gives to a definition."""
    canonical = json.dumps(definition, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def registered(given: Sequence[dict[str, Any]]) -> load.Race:
    """Register all, from many callers; each value is whether a definition was new."""
    each = -(-len(given) // BULK_CALLERS)

    def make_caller(_: int) -> load.Operation:
        client = connect()
        # Beyond the last is what warms up, and the rest of an uneven share: no request.
        return lambda i: post(client, given[i]) if i < len(given) else None

    race = load.race(BULK_CALLERS, each, make_caller)
    if race.errors:
        raise RuntimeError(race.errors[0])
    return race


def bulk(definitions: int, known: float, seed: int) -> dict[str, Any]:
    given = load.definitions(seed, definitions)
    if beforehand := load.known(given, known):
        registered(beforehand)
    race = registered(given)
    answers = [value for value in race.values if value is not None]
    return {
        "seconds": race.seconds,
        "done": len(answers),
        "new": sum(answers),
        "kept": kept(given),
    }


def kept(given: Sequence[dict[str, Any]]) -> int:
    """How many of the definitions PostgreSQL has, whatever it was that was answered."""
    keys = [key_of(one) for one in given]
    with service.make_session() as db:
        among = service.Task.key == func.any(keys)
        return db.scalar(select(func.count()).where(among)) or 0


def fill(tasks: int, seed: int) -> dict[str, Any]:
    """By the ORM's bulk insert, past the service."""
    with service.make_session() as db:
        for first in range(0, tasks, 10_000):
            some = range(first, min(first + 10_000, tasks))
            db.execute(service.Task.__table__.insert(), [_row(seed, i) for i in some])
            db.commit()
    with service.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Sooner or later autovacuum does it.
        connection.execute(text("VACUUM ANALYZE"))
    return {"done": tasks}


def _row(seed: int, i: int) -> dict[str, Any]:
    definition = load.definition(seed, i)
    return {
        "pipeline_id": 1,
        "key": key_of(definition),
        "task_input": definition,
        "status": "PENDING",
    }


def single(callers: int, each: int, seed: int) -> dict[str, Any]:
    def make_caller(_: int) -> load.Operation:
        client = connect()
        return lambda i: post(client, load.definition(seed, i))

    race = load.race(callers, each, make_caller)
    given = load.definitions(seed, callers * (each + 1))
    return race.told(new=sum(race.values), kept=kept(given) - callers)


def take(client: Connection, n: int) -> list[int]:
    """Claim ``n`` tasks: their numbers."""
    return [task["id"] for task in client.post(f"/tasks/claim?num_tasks={n}", {})[1]]


def claim(callers: int, n: int, each: int) -> dict[str, Any]:
    def make_caller(_: int) -> load.Operation:
        client = connect()
        return lambda _: take(client, n)

    race = load.race(callers, each, make_caller)
    return race.told(
        sum(map(len, race.values)),
        calls=len(race.values),
        doubles=load.doubles(race.values + race.warming),
    )


def life(callers: int, each: int, seed: int) -> dict[str, Any]:
    def make_caller(_: int) -> load.Operation:
        client = connect()

        def live(i: int) -> int:
            post(client, load.definition(seed, i))
            # What was just posted may be in others' hands, and theirs not yet to be seen.
            while not (taken := take(client, 1)):
                pass
            for status in ("RUNNING", "DONE"):
                client.put(f"/tasks/{taken[0]}", {"status": status})
            return taken[0]

        return live

    race = load.race(callers, each, make_caller)
    return race.told(doubles=load.doubles([race.values + race.warming]))


def footprint() -> dict[str, Any]:
    """The service, after it has answered."""
    post(connect(), load.definition(0, 0))
    server, server_pss = family_mb(SERVICE.pid)
    return {"server_mb": server, "server_pss_mb": server_pss}


def prepare() -> None:
    """The tables, the pipeline, and its token."""
    service.Base.metadata.create_all(service.engine)
    with service.make_session() as db:
        if db.get(service.Pipeline, 1) is None:
            db.add(service.Pipeline(id=1, name="bench"))
            db.flush()
            db.add(service.Token(pipeline_id=1, token=TOKEN))
            db.commit()
    service.engine.dispose()


def wait_ready() -> None:
    """Until the service takes connections."""
    until = time.monotonic() + 60
    while SERVICE.poll() is None and time.monotonic() < until:
        try:
            connect()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the service did not come up")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])


if __name__ == "__main__":
    prepare()
    PORT = free_port()
    argv = [sys.executable, "-P", "-m", "uvicorn", "served:app", "--host", HOST]
    argv += ["--port", str(PORT), "--workers", PROCESSES, "--app-dir", str(Path(__file__).parent)]
    SERVICE = load.started([*argv, "--no-access-log", "--log-level", "warning"])
    works = {"bulk": bulk, "fill": fill, "single": single, "claim": claim, "life": life}
    try:
        wait_ready()
        version_ = f"fastapi {version('fastapi')}, sqlalchemy {version('sqlalchemy')}"
        load.serve({**works, "footprint": footprint}, "orm_service", version_)
    finally:
        load.stopped([SERVICE])
