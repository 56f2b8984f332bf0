"""A port for an embedded server: the same at each start as long as nobody else takes it."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator

from config.private_files import tail
from config.processes import Child, Family, Program, ProgramDied
from config.settings import Misconfigured
from config.state import State

# Below the range the kernel takes the ports of outgoing connections from, so that our number is
# most likely still free at the next start.
_PORTS = range(20_000, 32_000)
_TRIES = 3


def start_on_port(
    family: Family,
    state: State,
    kept_as: str,
    program: Callable[[int], Program],
    is_ready: Callable[[Child, int], bool],
    seconds: float,
) -> tuple[Child, int]:
    """Start ``program(port)`` on the port in ``state.secrets``, or on another, which is then kept.

    Returns once ``is_ready(child, port)``; raises ProgramDied.
    """
    for port in _candidates(getattr(state.secrets, kept_as)):
        if port != getattr(state.secrets, kept_as):
            state.change(**{kept_as: port})
        child = family.start(program(port))
        try:
            # Called before the loop goes on, so the late binding of the names is harmless.
            family.wait_until(child, lambda: is_ready(child, port), seconds)  # noqa: B023
        except ProgramDied as died:
            # Somebody else took the port between our look and its start: take another.
            if child.alive or "Address already in use" not in tail(child.program.log):
                raise
            failed = died
        else:
            return child, port
    raise failed


def _candidates(kept: int) -> Iterator[int]:
    if kept and _is_free(kept):
        yield kept
    for _ in range(_TRIES):
        # At random: two installations that start together hardly ever choose the same.
        port = secrets.choice(_PORTS)
        while not _is_free(port):
            port = secrets.choice(_PORTS)
        yield port


def free_port() -> int:
    """Any port that nobody listens on."""
    return next(_candidates(0))


def check_address(host: str, port: int, who: str, setting: str) -> None:
    """Raises Misconfigured if ``who`` could not listen there, as ``setting``_HOST and _PORT say."""
    try:
        _bind(port, host)
    except OSError as error:
        raise Misconfigured(
            f"{who} cannot listen on {host}, port {port}: {error.strerror}",
            f"set {setting}_HOST and {setting}_PORT; port 0 is any that is free",
        ) from None


def _is_free(port: int) -> bool:
    try:
        _bind(port)
    except OSError:
        return False
    return True


def _bind(port: int, host: str = "127.0.0.1") -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As the servers do: connections of the last run that linger in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
