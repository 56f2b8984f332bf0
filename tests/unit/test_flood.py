"""Whose requests wait in a queue, and when that is a flood."""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from typing import Any

import pytest

from config.broker_health import queue_check
from config.flood import Known, Parts, Sender, flood, sender_of, shares
from coordinator.health import Level
from tests.envelopes import envelope

CRON = Known(12, "wild", "cron host")


def by(pipeline: str | None, token: str | None = None, host: str | None = "h") -> Sender:
    return Sender(pipeline, name(token) if token else None, host)


def name(token: str) -> bytes:
    return sha256(sha256(token.encode()).digest()).digest()


def proof(token: str) -> str:
    return name(token).hex() + "0" * 32


class TestASender:
    def test_is_named_by_what_the_message_says_of_itself(self) -> None:
        headers = {
            "argsrepr": "pipeline=wild n=3",
            "porch_proof": proof("secret"),
            "origin": "7@node-1",
        }
        assert sender_of(json.dumps(envelope("x", **headers))) == by("wild", "secret", "node-1")

    def test_may_leave_the_pipeline_to_its_token(self) -> None:
        message = envelope(
            "x", argsrepr="pipeline=- n=3", porch_proof=proof("secret"), origin="7@h"
        )
        assert sender_of(json.dumps(message)) == by(None, "secret")

    @pytest.mark.parametrize(
        "element",
        [None, b"\xff", "rubbish", "[" * 100_000, "7", "[]", '{"headers": 7}', '{"headers": {}}'],
        ids=lambda element: str(element)[:20],
    )
    def test_of_what_is_no_message_is_nobody(self, element: Any) -> None:
        assert sender_of(element) == Sender(None, None, None)

    def test_cannot_draw_on_the_operators_terminal(self) -> None:
        headers = {"argsrepr": "pipeline=\x1b[2Jx", "origin": "7@\x1b[2J"}
        assert sender_of(json.dumps(envelope("x", **headers))) == Sender(None, None, None)


def test_a_pipeline_is_named_by_its_token_before_its_own_word() -> None:
    seen = Counter({by(None, "a"): 6, by("wild", "a", "other"): 3, by("calm", "b"): 1})
    parts = shares(seen, lambda asked: CRON if asked == name("a") else None)
    assert parts == [("wild", 0.9, CRON), ("calm", 0.1, None)]


def test_where_nobody_knows_the_token_the_host_is_named() -> None:
    parts = shares(Counter({by(None, "a", "node-1"): 2}), lambda _: None)
    assert parts == [("host node-1", 1.0, None)]


class TestAFlood:
    WILD: Parts = [("wild", 0.9, CRON), ("calm", 0.1, None)]  # noqa: RUF012

    def test_names_the_pipeline_and_the_token_to_revoke(self) -> None:
        finding = flood("porch.submit", 30.0, 500, self.WILD)
        assert finding is not None
        assert finding.what == (
            'wild floods it with token 12 "cron host": about 90% of 500 requests, the oldest has '
            "waited for 30 s"
        )
        assert finding.look is not None
        assert finding.look.endswith("porch token revoke 12")

    @pytest.mark.parametrize(
        ("age", "waiting", "parts"),
        [
            (30.0, 19, WILD),
            (4.0, 500, WILD),
            (None, 500, WILD),
            (30.0, 500, [("a", 0.5, None), ("b", 0.5, None)]),
            (30.0, 500, []),
        ],
        ids=["few", "soon over", "of no age", "of two", "of nobody"],
    )
    def test_is_none_where_nobody_keeps_others_waiting(
        self, age: float | None, waiting: int, parts: Parts
    ) -> None:
        assert flood("porch.submit", age, waiting, parts) is None

    def test_takes_the_place_of_the_queue_s_own_warning(self) -> None:
        check = queue_check("porch.submit", 500, 99.0, 1, self.WILD)
        assert (check.level, check.found) == (Level.WARNING, 1)
        assert check.looked_at["from"] == "wild 90%, calm 10%"
