"""Submitting again under the name of an earlier request, and how old that may be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from coordinator.model import Standing
from coordinator.request_ids import new_request_id
from coordinator.requests import Caller
from coordinator.service import Coordinator
from tests.factories import caller, pipeline, submit


def created(porch: Coordinator, who: Caller) -> bool:
    """Whether that request has created it."""
    (answer,) = porch.submit(who, [{"run": 1}])
    assert isinstance(answer, Standing)
    return answer.created


def make_older(porch: Coordinator, by: timedelta) -> None:
    """Move the creation of every task into the past."""
    with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
        connection.execute(text("UPDATE porch.task SET created_at = created_at - :by"), {"by": by})


@pytest.mark.parametrize(
    ("new", "hours"),
    [(uuid4, 72), (new_request_id, 20)],
    ids=["any name", "one that tells its time"],
)
def test_a_request_that_comes_again_is_told_what_it_created(
    porch: Coordinator, new: Callable[[], UUID], hours: int
) -> None:
    _, secret = pipeline(porch)
    again = Caller(secret, new())
    assert created(porch, again)
    # As if the clocks of client and PostgreSQL differed by so much.
    make_older(porch, timedelta(hours=hours))
    assert created(porch, again)


def test_what_is_older_than_a_request_is_not_its_work(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    submit(porch, secret, [{"run": 1}])
    make_older(porch, timedelta(days=3))
    assert not created(porch, caller(secret))


def test_a_use_that_cannot_be_noted_keeps_nobody_from_submitting(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
        connection.execute(
            text(
                "CREATE FUNCTION porch.refuse() RETURNS trigger LANGUAGE plpgsql AS"
                " $$BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '53100'; END$$;"
                " CREATE TRIGGER refuse BEFORE UPDATE ON porch.token"
                " EXECUTE FUNCTION porch.refuse()"
            )
        )
    try:
        assert created(porch, caller(secret))
    finally:
        with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
            connection.execute(text("DROP FUNCTION porch.refuse() CASCADE"))
