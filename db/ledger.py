"""The ledger in PostgreSQL: what ``coordinator.ledger`` promises, over ``db.statements``."""

from __future__ import annotations

from db.administration import AdministrationLedger
from db.arrivals import ArrivalsLedger
from db.feed import FeedLedger
from db.looking import LookingLedger
from db.overview import OverviewLedger
from db.sweeping import SweepingLedger
from db.taking import TakingLedger
from db.work import WorkLedger


class PostgresLedger(
    ArrivalsLedger,
    WorkLedger,
    TakingLedger,
    SweepingLedger,
    LookingLedger,
    FeedLedger,
    OverviewLedger,
    AdministrationLedger,
):
    """``PostgresLedger(engine)``: a Ledger. Safe to use from many processes and threads at once."""
