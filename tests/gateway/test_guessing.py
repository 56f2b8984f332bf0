"""Whoever guesses at tokens waits for the answer, and keeps nobody else waiting."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from coordinator.gateway.app import THREADS
from coordinator.gateway.guessing import SECONDS
from tests.gateway.conftest import http
from tests.house import House

CLAIM = "/api/v2/tasks/claim"
BODIES = {
    CLAIM: {},
    "/api/v2/tokens": {"description": "mine"},
    "/pipelines": {"name": "n", "uri": "u", "version": "1"},
}


def guess(house: House, path: str = CLAIM) -> tuple[int, float]:
    """The status of the answer to a made up token, and how long it took."""
    with http(house, secrets.token_hex(16)) as stranger:
        began = time.monotonic()
        status = stranger.post(path, json=BODIES[path]).status_code
        return status, time.monotonic() - began


@pytest.mark.parametrize("path", BODIES)
def test_a_token_that_is_none_is_refused_after_a_while(house: House, path: str) -> None:
    status, seconds = guess(house, path)
    assert status == 403
    assert seconds >= SECONDS


def test_so_it_is_where_a_token_is_entered(anybody: httpx.Client) -> None:
    began = time.monotonic()
    reply = anybody.post("/session", data={"token": secrets.token_hex(16)})
    assert reply.status_code == 403
    assert time.monotonic() - began >= SECONDS


def test_and_with_a_session_that_is_made_up(house: House) -> None:
    number = secrets.token_hex(16)
    with http(house) as stranger:
        stranger.headers["Cookie"] = f"porch_session={number}.{number}"
        began = time.monotonic()
        assert stranger.get("/session").status_code == 200
        assert time.monotonic() - began >= SECONDS


def test_a_good_token_is_answered_meanwhile(house: House, owner: httpx.Client) -> None:
    """More guesses than the gateway has threads: an answer that is held back takes up none."""
    guesses = 2 * THREADS
    with ThreadPoolExecutor(guesses) as pool:
        under_way = [pool.submit(guess, house) for _ in range(guesses)]
        answered = 0
        while not all(one.done() for one in under_way):
            assert owner.post(CLAIM, json={}).status_code == 200
            answered += 1
        assert {one.result()[0] for one in under_way} == {403}
    assert answered > 1
