"""``python -m config``: what ``porch-server`` is, without its script on the path."""

from __future__ import annotations

from config.importing import without_collector

with without_collector():
    from config.cli import main

main()
