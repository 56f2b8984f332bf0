"""A house with small disks of its own for its servers, to be broken in every way of the page."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from config.state import State
from config.system_user import server_user
from tests.house import House, User

_MISSING = "only root may mount a small disk for the servers"


@dataclass(frozen=True, slots=True)
class Town:
    """The house, and where its servers' disks are; None where nothing could be mounted."""

    house: House
    disks: dict[str, Path] | None

    def disk(self, name: str) -> Path:
        """The disk of ``postgres`` or ``valkey``; skips, or fails in CI, if there is none."""
        if self.disks is None:
            pytest.fail(_MISSING) if os.environ.get("CI") == "true" else pytest.skip(_MISSING)
        return self.disks[name]


@pytest.fixture(scope="module")
def town(scratch: Callable[[str], Path]) -> Iterator[Town]:
    """All of porch; each test leaves it mended."""
    state_dir = scratch("runbook") / "state"
    with ExitStack() as stack:
        disks = stack.enter_context(_small_disks(state_dir))
        yield Town(stack.enter_context(House(state_dir)), disks)


@pytest.fixture
def user(town: Town) -> Iterator[User]:
    """Somebody with a pipeline that gets stuck."""
    with User(town.house) as someone:
        yield someone


@contextmanager
def _small_disks(state_dir: Path) -> Iterator[dict[str, Path] | None]:
    """Mounted where the servers of a state directory will have their data."""
    user = server_user()
    if user is None:
        yield None
        return
    home = Path(tempfile.mkdtemp(prefix="porch-test-disk-"))
    disks = {"postgres": home, "valkey": home / "valkey"}
    sizes = {"postgres": "512m", "valkey": "64m"}
    with ExitStack() as stack:
        stack.callback(home.rmdir)
        for name, path in disks.items():
            path.mkdir(exist_ok=True)
            options = f"size={sizes[name]},mode=0710,gid={user.gid}"
            command = ["mount", "-t", "tmpfs", "-o", options, "porch-test", str(path)]
            if subprocess.run(command, capture_output=True, check=False).returncode:
                yield None
                return
            stack.callback(subprocess.run, ["umount", str(path)], check=True)
        with State(state_dir) as state:
            state.change(server_home=str(home))
        yield disks
