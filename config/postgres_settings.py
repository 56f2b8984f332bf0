"""How the embedded PostgreSQL is set up: docs/performance.md says what each of it is worth."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

_FIXED = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # `up` starts it again. PostgreSQL 18's own restart after the crash of a session can end in a
    # server that lives on and never takes a connection again: where the disk is full, so that
    # recovery finds no room for its log, and also after room has been made.
    "restart_after_crash": "off",
    # After each checkpoint the first change of a page writes all of it to the log. Keys are
    # hashes: in a large ledger nearly every new task changes a page of its own.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
}

# Of two control groups, the files that hold the limit.
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_MB = 1 << 20
_LEAST_MB, _MOST_MB = 128, 4_096
#: PostgreSQL takes it as it needs it; workers, gateway and the caller's own work want theirs.
_SHARE = 8


def postgres_settings(port: int) -> dict[str, str]:
    """What the server is started with."""
    shared = min(max(memory() // _SHARE // _MB, _LEAST_MB), _MOST_MB)
    return {**_FIXED, "port": str(port), "shared_buffers": f"{shared}MB"}


def memory() -> int:
    """Bytes of memory that this machine has, or that this container may use."""
    found = [int(psutil.virtual_memory().total)]
    for limit in _LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such group, or "max"
            found.append(int(limit.read_text()))
    return min(found)
