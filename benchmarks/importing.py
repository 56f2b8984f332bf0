"""How quickly an npg_porch moves over: ``python -m benchmarks.importing [TASKS]``.

Builds an npg_porch 2.2 of 100,000 tasks with 400,000 events on a PostgreSQL of its own, imports it
with the command, once more to find all of it there, and prints rows a second and the most memory
that the command held.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from config.doctor import examine
from config.embedded import embedded_servers
from config.server_home import remove_state_dir
from db.migrate import upgrade

_SOURCE = """
    CREATE SCHEMA npg_porch;
    CREATE TABLE npg_porch.pipeline AS
        SELECT 1 AS pipeline_id, 'iseq' AS name, 'https://example.org/p' AS repository_uri,
            '1.0' AS version;
    CREATE TABLE npg_porch.token AS
        SELECT 1 AS token_id, md5('secret') AS token, 'farm' AS description, 1 AS pipeline_id,
            localtimestamp AS date_issued, CAST(NULL AS timestamp) AS date_revoked;
    CREATE TABLE npg_porch.task AS
        SELECT n AS task_id, 1 AS pipeline_id, encode(sha256(CAST(CAST(n AS text) AS bytea)), 'hex')
            AS job_descriptor, json_build_object('id_run', n / 96, 'position', n % 8, 'tag', n,
            'path', format('/seq/illumina/runs/%s/lane%s/plex%s', n / 96, n % 8, n)) AS definition,
            'DONE' AS state, CAST(NULL AS text) AS prefix,
            localtimestamp - make_interval(mins => CAST(:tasks AS integer) - n) AS created
        FROM generate_series(1, CAST(:tasks AS integer)) AS n;
    CREATE TABLE npg_porch.event AS
        SELECT (n - 1) * 4 + step AS event_id, n AS task_id, t.created + make_interval(secs => step)
            AS time, (ARRAY['Created', 'Task claimed', 'Task changed, new status RUNNING',
            'Task changed, new status DONE'])[step] AS change, 1 AS token_id
        FROM npg_porch.task t CROSS JOIN generate_series(1, 4) AS step
            CROSS JOIN LATERAL (SELECT t.task_id) AS k (n)
"""


def main() -> None:
    """Measure, and print."""
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    state = Path(tempfile.mkdtemp(prefix="porch-bench-"))
    try:
        with embedded_servers(state) as urls:
            upgrade(urls.database_url)
            engine = create_engine(urls.database_url)
            with engine.begin() as connection:
                connection.execute(text(_SOURCE), {"tasks": tasks})
            engine.dispose()
            url = make_url(urls.database_url).set(drivername="postgresql")
            plain = url.render_as_string(hide_password=False)
            for what, *options in (("dry run", "--dry-run"), ("import",), ("again",)):
                _measure(what, plain, 5 * tasks, *options)
            print("doctor:", "well" if examine(urls.database_url).healthy else "NOT well")
    finally:
        remove_state_dir(state)


def _measure(what: str, url: str, rows: int, *options: str) -> None:
    began = time.monotonic()
    command = [sys.executable, "-m", "config", "import-npg-porch", "--from", url, *options]
    process = subprocess.Popen(
        command, env={**os.environ, "PORCH_DATABASE_URL": url}, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{what}: it ended with {process.returncode}")
    seconds = time.monotonic() - began
    print(
        f"{what}: {seconds:.1f} s, {rows / seconds:,.0f} rows/s (tasks and events),"
        f" {used.ru_utime + used.ru_stime:.1f} s of its CPU, {used.ru_maxrss / 1024:.0f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    main()
