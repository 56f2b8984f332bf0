"""Embedded servers: PostgreSQL and Valkey without Docker, an installation, or root.

Both listen on the loopback interface only, want a password, and belong to one state directory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from config.embedded_postgres import start_postgres
from config.embedded_valkey import start_valkey
from config.processes import Family
from config.server_home import server_home
from config.state import State
from config.system_user import server_user

# The database stops last: whoever is still finishing writes to it.
VALKEY_STAGE, POSTGRES_STAGE = 1, 2


@dataclass(frozen=True, slots=True)
class EmbeddedUrls:
    """Two running servers. The URLs hold the passwords."""

    database_url: str
    broker_url: str
    postgres_pid: int
    valkey_pid: int
    postgres_log: Path


@contextlib.contextmanager
def embedded_servers(state_dir: Path) -> Iterator[EmbeddedUrls]:
    """Both servers, ready, while the block runs; their data stay in ``state_dir``.

    Raises StateDirInUse, StateDirUnsafe, EmbeddedMissing, NoServerUser, NoServerHome, ProgramDied.
    """
    user = server_user()
    with State(state_dir) as state, Family(state.lock, state.children) as family:
        home = server_home(state, user)
        postgres = start_postgres(family, state, home, user, POSTGRES_STAGE)
        valkey = start_valkey(family, state, home, user, VALKEY_STAGE)
        yield EmbeddedUrls(
            postgres.url, valkey.url, postgres.child.pid, valkey.child.pid, postgres.log
        )
