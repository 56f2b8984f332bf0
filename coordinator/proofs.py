"""Tokens that are proved over a broker, and not shown to it.

What lies in a queue can be read by whoever has the broker or its disk. So a request brings no token
there, but a proof, which is worth nothing to them: with the token T (16 bytes, written as 32
digits) and its digest D = SHA-256 of these digits, which is what the ledger keeps,

    name    = SHA-256(D)
    request = SHA-256(verb, NUL, request_id, NUL, text of the request)
    proof   = name, and T xor the first 16 bytes of HMAC-SHA256(key D, message `request`)

Whoever has D takes T out again, and sees by its hash whether it is the one. (RFC 5802, section 3,
does the same with a password.) The reader of a message has neither D nor T, and can change nothing
in the request; to send it again has no second effect. The reader of the ledger has D, and cannot
make a proof without T. Only who has both gets T.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol
from uuid import UUID

_FORM = re.compile(r"\A[0-9a-f]{96}\Z")
_NAME_DIGITS = 64
#: Digests are kept for so many tokens; then anew.
_MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof as it came. ``request``: the hash of what it came with."""

    name: bytes
    sealed: bytes = field(repr=False)
    request: bytes

    @classmethod
    def of(cls, sent: str, verb: str, request_id: str, text: str) -> Proof | None:
        """The proof in a message; None for what has not the form of one."""
        name = name_in(sent)
        if name is None:
            return None
        request = sha256(f"{verb}\0{request_id}\0".encode())
        request.update(text.encode("utf-8", "surrogatepass"))
        return cls(name, bytes.fromhex(sent[_NAME_DIGITS:]), request.digest())

    def secret(self, digest: bytes) -> str:
        """The token; one that nobody has, where the proof is not of this digest and request."""
        return _xor(self.sealed, hmac.digest(digest, self.request, "sha256")[:16]).hex()


def name_in(sent: str) -> bytes | None:
    """The name of the token that a proof is of; None for what has not the form of one."""
    return bytes.fromhex(sent[:_NAME_DIGITS]) if _FORM.match(sent) else None


#: What no token can be.
_NONE = "no proof"


class Keys(Protocol):
    """A ledger, as far as it is needed here."""

    def keys(self, names: Collection[bytes]) -> Mapping[bytes, bytes]:
        """The digests of tokens, also of those that are good no more, by their names."""
        ...


class Opener:
    """Opens proofs. Digests are remembered: whether a token is good is asked again each time."""

    def __init__(self, ledger: Keys) -> None:
        self._ledger = ledger
        self._known: dict[bytes, bytes] = {}

    def open(self, proofs: Sequence[Proof | None]) -> list[str]:
        """What each proof proves; None, and what proves nothing, gives a token that nobody has."""
        names = {p.name for p in proofs if p is not None}
        missing = names - self._known.keys()
        if missing:
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
                missing = names
            self._known.update(self._ledger.keys(missing))
        return [self._open(proof) for proof in proofs]

    def _open(self, proof: Proof | None) -> str:
        if proof is None:
            return _NONE
        digest = self._known.get(proof.name)
        return proof.sealed.hex() if digest is None else proof.secret(digest)


def unsealed(secret: str, request_id: UUID, sealed: bytes) -> bytes:
    """The digest of a new token, which its administrator sealed with the own one for this request.

    It is xored with HMAC-SHA256 under the administrator's token: with the digest, a reader of the
    queue could take the token itself out of its first proof.
    """
    mask = hmac.digest(secret.encode(), b"digest" + request_id.bytes, "sha256")
    return _xor(sealed, mask)


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(len(one), "big")
