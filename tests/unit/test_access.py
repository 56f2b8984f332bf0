"""Who may do what."""

from __future__ import annotations

from uuid import uuid4

import pytest

from coordinator import access
from coordinator.errors import Forbidden, UnknownToken
from coordinator.model import Permission
from coordinator.requests import Caller
from tests.factories import a_pipeline, caller

MINE, OTHER = a_pipeline("1.0", pipeline_id=1), a_pipeline("1.0", pipeline_id=2)
ADMIN, HOLDER = Permission(1, "boss", None), Permission(2, "farm", MINE)


def test_a_new_token_has_128_bits_and_no_two_are_alike() -> None:
    made = {access.new_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(bytes.fromhex(secret)) for secret in made} == {16}


def test_what_is_kept_of_a_token_does_not_contain_it() -> None:
    secret = access.new_secret()
    kept = access.digest(secret)
    assert len(kept) == 32
    assert secret not in kept.hex()


@pytest.mark.parametrize(
    "secret", ["", "x", "0" * 31, "0" * 33, "A" * 32, "0" * 32 + "\n", "é" * 32]
)
def test_what_cannot_be_a_token_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(UnknownToken) as refused:
        access.digest(secret)
    assert len(secret) < 32 or secret not in str(refused.value)


def test_a_caller_does_not_show_its_secret() -> None:
    secret = access.new_secret()
    assert secret not in repr(caller(secret))
    assert isinstance(caller(secret), Caller)


def test_an_admin_token_administers() -> None:
    access.require_admin(ADMIN)


def test_a_pipeline_token_does_not_administer() -> None:
    with pytest.raises(Forbidden, match="farm"):
        access.require_admin(HOLDER)


def test_a_pipeline_token_works_for_its_pipeline() -> None:
    assert access.require_worker(HOLDER, None) == MINE


def test_an_admin_token_does_not_work_for_any_pipeline() -> None:
    with pytest.raises(Forbidden, match="admin token"):
        access.require_worker(ADMIN, "cardinal")


def test_a_pipeline_token_looks_at_its_pipeline() -> None:
    access.require_look(HOLDER, MINE)


def test_an_admin_token_looks_at_every_pipeline() -> None:
    access.require_look(ADMIN, OTHER)


def test_a_pipeline_token_looks_at_no_other_pipeline() -> None:
    with pytest.raises(Forbidden):
        access.require_look(HOLDER, OTHER)


def test_the_token_of_a_request_is_the_same_every_time_and_a_secret_of_its_sender() -> None:
    secret, request_id = access.new_secret(), uuid4()
    issued = access.secret_of(secret, request_id)
    assert issued == access.secret_of(secret, request_id)
    assert len(access.digest(issued)) == 32
    assert issued != access.secret_of(secret, uuid4())
    assert issued != access.secret_of(access.new_secret(), request_id)
