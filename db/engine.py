"""Connections to PostgreSQL: a small pool per process, never shared across a fork."""

from __future__ import annotations

import os
import weakref

from sqlalchemy import Connection, Engine, create_engine, event

#: Milliseconds that one statement may take, and that it may wait for a lock: a long wait is the
#: doing of somebody else and worth another try, a long calculation is not. Set for each transaction
#: (and not for the session) so that it holds through PgBouncer in transaction mode.
STATEMENT_TIMEOUT_MS = 8_000
LOCK_TIMEOUT_MS = 4_000
#: Milliseconds after which a process that has stopped in the midst of a transaction loses it, and
#: with it its locks: others wait for those, and the feed for what it may yet commit.
IDLE_TIMEOUT_MS = 60_000

#: Option of an engine whose statements touch a few rows each: no plan may read a whole table. Of a
#: foreign key's check PostgreSQL makes the plan once for a session, and one that was made while the
#: table was small would read all of it for each row, however large it has become; so it would with
#: what is prepared, whose plan is made once too, for any values.
BOUNDED = "porch_bounded"

_BOUNDS = (
    f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}; "
    f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}; "
    f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_TIMEOUT_MS}; "
)
_PLANS = "SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan; "
#: Marks a connection whose transaction has had no statement yet.
_BEGUN = "porch_begun"

# Bounds what a peer that has silently gone may cost: 3 s to connect, 10 s for lost packets.
_CONNECT = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "porch",
}


def make_engine(database_url: str, pool_size: int = 1, *, limited: bool = True) -> Engine:
    """An engine for this process and, after a fork, for its children, each with its own pool.

    ``limited=False``: statements may take, and wait, as long as they do; for migrations.

    There is no ping before use: a connection that a server restart broke fails its first
    statement, the pool forgets all such connections at once, and the caller's retry connects anew.
    """
    engine = create_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=1,
        pool_timeout=5,
        connect_args=_CONNECT,
        hide_parameters=True,  # tracebacks are logged, and what is sent is not
    )

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.info[_BEGUN] = limited

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def bound_statements(
        connection: Connection,
        cursor: object,
        statement: str,
        parameters: object,
        context: object,
        executemany: bool,
    ) -> tuple[str, object]:
        # Together with the first statement of the transaction: it spares a round trip.
        if connection.info.pop(_BEGUN, False):
            bounded = connection.get_execution_options().get(BOUNDED)
            statement = f"{_BOUNDS}{_PLANS if bounded else ''}{statement}"
        return statement, parameters

    owner = weakref.ref(engine)

    def forget_after_fork() -> None:
        inherited = owner()
        if inherited is not None:
            # close=False: the sockets are the parent's, closing them here would end its sessions.
            inherited.dispose(close=False)

    os.register_at_fork(after_in_child=forget_after_fork)
    return engine
