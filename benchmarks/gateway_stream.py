"""How fast GET /tasks streams a million tasks, and how much memory the gateway takes for it.

    .venv/bin/python benchmarks/gateway_stream.py [--tasks 1000000] [--clients 1] [--query Q]

On embedded servers in a folder that is removed. Fails if the gateway takes 300 MB or more, or if a
list is not whole.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import httpx
import psutil
from sqlalchemy import create_engine, text

from config.embedded import embedded_servers
from config.ports import free_port
from config.server_home import remove_state_dir
from db.migrate import upgrade

MOST_MB = 300

FILL = text(
    """
    WITH p AS (
        INSERT INTO porch.pipeline (name, uri)
        SELECT 'pipeline ' || n, 'https://example.org/pipelines/' || n FROM generate_series(1, 5) n
        RETURNING pipeline_id
    ), v AS (
        INSERT INTO porch.version (pipeline_id, version) SELECT pipeline_id, '1.0' FROM p
        RETURNING pipeline_id
    ), numbered AS (
        SELECT pipeline_id, row_number() OVER (ORDER BY pipeline_id) - 1 AS place FROM v
    ), input AS (
        SELECT n, format('{"id_run":%s,"position":%s,"sample":"SAMEA%s"}', n, n % 8, 10000000 + n)
            AS task_input
        FROM generate_series(1, :tasks) n
    )
    INSERT INTO porch.task
        (pipeline_id, version, scope, task_input_id, task_input, status, attempt)
    SELECT pipeline_id, '1.0', '1.0', sha256(convert_to(task_input, 'UTF8')),
        CAST(task_input AS json), CASE WHEN n % 10 = 0 THEN 'PENDING' ELSE 'DONE' END,
        CASE WHEN n % 10 = 0 THEN 0 ELSE 1 END
    FROM input JOIN numbered ON place = n % 5
    """
)


def fill(database_url: str, tasks: int) -> None:
    """So many tasks, without their events: no more than a list looks at."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        # A foreign key that is checked row by row would take most of the time.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(FILL, {"tasks": tasks})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE porch.task"))
    engine.dispose()


@contextmanager
def gateway(database_url: str) -> Iterator[tuple[psutil.Process, str]]:
    """A gateway of one process: the process, and its URL."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "config", "gateway", "--port", str(port)],
        env={"PORCH_DATABASE_URL": database_url},
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while not _answers(url):
            if process.poll() is not None:
                raise SystemExit("the gateway died")
            time.sleep(0.1)
        yield psutil.Process(process.pid), url
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").is_success
    except httpx.TransportError:
        return False


@contextmanager
def watched(process: psutil.Process) -> Iterator[list[int]]:
    """The most memory that the process takes meanwhile, in bytes: the last number of the list."""
    most, over = [process.memory_info().rss], Event()

    def watch() -> None:
        while not over.wait(0.02):
            most.append(max(most[-1], process.memory_info().rss))

    watcher = Thread(target=watch)
    watcher.start()
    yield most
    over.set()
    watcher.join()


def read(address: str) -> tuple[int, int, float, float]:
    """Read the whole list: tasks, bytes, seconds to the first byte and to the last."""
    tasks = size = 0
    first, last = 0.0, b""
    began = time.perf_counter()
    with httpx.stream("GET", address, timeout=60) as reply:
        reply.raise_for_status()
        for chunk in reply.iter_raw():
            first = first or time.perf_counter() - began
            # A key that is cut in two by the end of a chunk is counted with the next.
            tasks += (last[-15:] + chunk).count(b'"task_input_id"') - last[-15:].count(
                b'"task_input_id"'
            )
            size += len(chunk)
            last = last[-15:] + chunk
    if not last.endswith((b"}]", b"[]")):
        raise SystemExit("the list has no end")
    return tasks, size, first, time.perf_counter() - began


def main() -> None:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=1, help="who read at the same time")
    parser.add_argument("--query", default="", help="for example status=PENDING")
    asked = parser.parse_args()
    state_dir = Path(tempfile.mkdtemp(prefix="porch-benchmark-")) / "state"
    try:
        with embedded_servers(state_dir) as servers:
            upgrade(servers.database_url)
            fill(servers.database_url, asked.tasks)
            with gateway(servers.database_url) as (process, url):
                idle = process.memory_info().rss
                with watched(process) as most, ThreadPoolExecutor(asked.clients) as pool:
                    found = list(pool.map(read, [f"{url}/tasks?{asked.query}"] * asked.clients))
    finally:
        remove_state_dir(state_dir)
    seconds = max(one[3] for one in found)
    tasks = sum(one[0] for one in found)
    print(f"{tasks:,} tasks, {sum(one[1] for one in found) / 2**20:,.0f} MB, {seconds:.1f} s")
    print(f"{tasks / seconds:,.0f} tasks/s, first byte after {max(o[2] for o in found):.3f} s")
    print(f"gateway: {idle / 2**20:.0f} MB idle, {most[-1] / 2**20:.0f} MB at most")
    if not asked.query and any(one[0] != asked.tasks for one in found):
        raise SystemExit(f"a list had not {asked.tasks:,} tasks")
    if most[-1] >= MOST_MB * 2**20:
        raise SystemExit(f"the gateway took {MOST_MB} MB or more")


if __name__ == "__main__":
    main()
