"""The commands of `porch`."""

from __future__ import annotations

from _site.reference.commands import described
from porch_client.cli import root


def markdown() -> str:
    """A section for each."""
    return described(root, "porch")
