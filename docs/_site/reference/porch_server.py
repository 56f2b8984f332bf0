"""The commands of `porch-server`."""

from __future__ import annotations

from _site.reference.commands import described
from config.cli import cli


def markdown() -> str:
    """A section for each."""
    return described(cli, "porch-server")
