"""Where Flower keeps its password and what it has seen, and whether it is installed at all."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from secrets import token_urlsafe

from config.private_files import write_private
from config.state import private_directory
from coordinator.errors import PorchError

#: Who logs in.
USER = "porch"


class FlowerMissing(PorchError):
    """The extra that brings Flower is not installed."""

    code = "flower_missing"

    def __init__(self) -> None:
        super().__init__("Flower is not installed here", "pip install 'porch-coordinator[flower]'")


def is_installed() -> bool:
    """Whether there is a Flower; found, not imported."""
    return importlib.util.find_spec("flower") is not None


class FlowerHome:
    """Flower's own directory in a state directory: made if missing, and nobody else's.

    It is not locked: where `up` runs, that holds the lock of the whole. Raises StateDirUnsafe.
    """

    def __init__(self, state_dir: Path) -> None:
        self.path = private_directory(state_dir / "flower")

    @property
    def events(self) -> Path:
        """What it has seen; its library adds an ending of its own."""
        return self.path / "events"

    @property
    def password_file(self) -> Path:
        """Where the password is that was made here."""
        return self.path / "password"

    def password(self) -> str:
        """The password in that file, which is made if it is missing: 256 bits."""
        if not self.password_file.exists():
            write_private(self.password_file, token_urlsafe(32) + "\n")
        return self.password_file.read_text().strip()
