"""The names of the queues, for whoever needs nothing else."""

from __future__ import annotations

#: What coordinator workers take their requests from.
QUEUES = ("porch.submit", "porch.claim", "porch.update", "porch.query", "porch.sweep")
