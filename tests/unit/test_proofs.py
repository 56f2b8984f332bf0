"""Proofs of tokens: who has which of token, digest and proof can do what with it."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from secrets import token_hex
from uuid import UUID, uuid4

import pytest

from coordinator import proofs
from coordinator.access import digest
from coordinator.proofs import Opener, Proof, unsealed
from porch_client.proof import proof, sealed

VERB, REQUEST, TEXT = "porch.submit", str(uuid4()), '{"wire":1}'


class Digests:
    """The digests of these tokens; counts how often it is asked."""

    def __init__(self, *tokens: str) -> None:
        self._digests = [digest(token) for token in tokens]
        self.asked = 0

    def keys(self, names: Collection[bytes]) -> dict[bytes, bytes]:
        self.asked += 1
        named = {sha256(d).digest(): d for d in self._digests}
        return {name: named[name] for name in names if name in named}


def made(token: str, verb: str = VERB, request: str = REQUEST, text: str = TEXT) -> Proof | None:
    return Proof.of(proof(token, VERB, REQUEST, TEXT), verb, request, text)


def test_who_has_the_token_proves_it() -> None:
    token = token_hex(16)
    assert Opener(Digests(token)).open([made(token), None]) == [token, "no proof"]


@pytest.mark.parametrize("text", ["", "\0", "\ud800", "é" * 1_000_000])
def test_any_text_is_proved_as_it_is(text: str) -> None:
    token = token_hex(16)
    one = Proof.of(proof(token, VERB, REQUEST, text), VERB, REQUEST, text)
    assert Opener(Digests(token)).open([one]) == [token]


@pytest.mark.parametrize(
    "other",
    [
        {"verb": "porch.claim"},
        {"request": str(uuid4())},
        {"request": REQUEST.upper()},
        {"text": TEXT + " "},
        {"text": TEXT[:-1]},
    ],
)
def test_a_proof_of_one_request_proves_no_other(other: dict[str, str]) -> None:
    token = token_hex(16)
    assert token not in Opener(Digests(token)).open([made(token, **other)])


@pytest.mark.parametrize(
    "sent",
    ["", "malformed", "0" * 95, "0" * 97, "0" * 96 + "\n", "A" * 96, "٣" * 96, "\ud800" * 96],
)
def test_what_has_not_the_form_is_none(sent: str) -> None:
    assert Proof.of(sent, VERB, REQUEST, TEXT) is None


def test_who_has_only_the_digest_proves_nothing() -> None:
    token = token_hex(16)
    d = digest(token)
    for guess in (d[:16], d[16:], bytes(16)):
        one = Proof.of((sha256(d).digest() + guess).hex(), VERB, REQUEST, TEXT)
        (secret,) = Opener(Digests(token)).open([one])
        assert digest(secret) != d


def test_digests_are_asked_for_once_and_a_token_that_is_not_known_each_time() -> None:
    token, stranger = token_hex(16), token_hex(16)
    ledger = Digests(token)
    opener = Opener(ledger)
    opener.open([made(token)])
    opener.open([made(token)])
    assert ledger.asked == 1
    for _ in range(2):
        assert stranger not in opener.open([made(stranger)])
    assert ledger.asked == 3


def test_good_tokens_stay_good_when_what_is_known_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proofs, "_MOST_KNOWN", 1)
    old = [token_hex(16), token_hex(16)]
    new = token_hex(16)
    opener = Opener(Digests(*old, new))
    opener.open([made(token) for token in old])
    assert opener.open([made(token) for token in [old[0], new]]) == [old[0], new]


def test_a_sealed_digest_is_for_who_has_the_token_and_for_its_request() -> None:
    token, fresh = token_hex(16), digest(token_hex(16))
    cover = bytes.fromhex(sealed(token, REQUEST, fresh))
    assert unsealed(token, UUID(REQUEST), cover) == fresh
    assert unsealed(token_hex(16), UUID(REQUEST), cover) != fresh
    assert unsealed(token, uuid4(), cover) != fresh
