"""From what PostgreSQL says to our errors: constraints by name, lost connections by class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg2 import errorcodes
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from coordinator.errors import (
    PRUNED_CURE,
    BadRequest,
    IdentityConflict,
    InternalError,
    LedgerAway,
    PorchError,
    TaskPruned,
    TooSlow,
)

_BY_CONSTRAINT: dict[str, PorchError] = {
    "task_once_key": IdentityConflict(
        "some input is registered under more than one version of this pipeline, "
        "so it cannot be once for the whole pipeline",
        "keep the identity policy `version`",
    ),
    "pipeline_retry_limit_check": BadRequest(
        "the pipeline would try again for ever what fails",
        "set max attempts as well: `--max-attempts N`",
    ),
    # It was pruned between our look at it and our change.
    "task_pruned_check": TaskPruned(
        "a task to be run again has been pruned: its input is no longer kept", PRUNED_CURE
    ),
    # The same request is being carried out twice at this moment; the retry finds it done.
    "event_once_key": LedgerAway("the same request is being carried out elsewhere"),
}

# Whole classes of SQLSTATE that pass: connection trouble, no resources, an operator's intervention
# (shutdown, restart), and a transaction that lost against another or waited for one too long.
_PASSING_CLASSES = ("08", "53", "57")
_PASSING = {
    errorcodes.SERIALIZATION_FAILURE,
    errorcodes.DEADLOCK_DETECTED,
    errorcodes.LOCK_NOT_AVAILABLE,
    errorcodes.IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    errorcodes.READ_ONLY_SQL_TRANSACTION,  # a standby that is about to become the primary
}
# Of these, what is no trouble of PostgreSQL's: others were quicker, or take their time.
_BUSY = {
    errorcodes.SERIALIZATION_FAILURE,
    errorcodes.DEADLOCK_DETECTED,
    errorcodes.LOCK_NOT_AVAILABLE,
    errorcodes.QUERY_CANCELED,
}


@contextmanager
def translated(*, bounded: bool = False) -> Iterator[None]:
    """Raise our errors for the database's: LedgerAway for what may be tried again.

    ``bounded``: what is asked for takes milliseconds, so that it is PostgreSQL's trouble, which
    passes, if it takes too long; otherwise that is TooSlow, and trying again would be no quicker.
    """
    try:
        yield
    except IntegrityError as error:
        constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
        known = _BY_CONSTRAINT.get(constraint or "")
        if known is None:
            raise InternalError(f"constraint {constraint} does not hold") from error
        raise _busy(type(known)(known.message, known.cure)) from error
    except PoolTimeout as error:
        raise _busy(LedgerAway("no connection to PostgreSQL is free")) from error
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) == errorcodes.QUERY_CANCELED and not bounded:
            raise TooSlow(
                "PostgreSQL did not finish this in time, or an operator cancelled it",
                "ask for less: name a pipeline, a status, or a time with --since",
            ) from error
        if not _passing(error):
            raise
        away = LedgerAway(
            f"PostgreSQL cannot be used just now ({_first_line(error)})",
            "nothing was lost; try again, and tell the operator of porch if it lasts",
        )
        held = getattr(error.orig, "pgcode", None) in _BUSY
        raise (_busy(away) if held else away) from error


def _busy(error: PorchError) -> PorchError:
    if isinstance(error, LedgerAway):
        error.busy = True
    return error


def _passing(error: DBAPIError) -> bool:
    state = getattr(error.orig, "pgcode", None)
    if state is None:  # no answer from a server at all
        return error.connection_invalidated or type(error.orig).__name__ in {
            "OperationalError",
            "InterfaceError",
        }
    return state.startswith(_PASSING_CLASSES) or state in _PASSING


def _first_line(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__
