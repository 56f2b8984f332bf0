"""The Coordinator: every verb of porch over a ledger. Doors hold one, and call one verb."""

from __future__ import annotations

from coordinator.administration import Administration
from coordinator.arrivals import Arrivals
from coordinator.feed import Feed
from coordinator.foresight import Foresight
from coordinator.moving import Moving
from coordinator.overview import Overview
from coordinator.queries import Queries
from coordinator.reporting import Reporting
from coordinator.tokens import Tokens
from coordinator.work import Work


class Coordinator(
    Arrivals, Reporting, Work, Moving, Queries, Feed, Foresight, Administration, Tokens, Overview
):
    """``Coordinator(ledger, limits)``: authorise, identify, call the ledger, give the verdict.

    Every verb raises AccessDenied, NotFound and LedgerAway, besides what it says itself.
    """
