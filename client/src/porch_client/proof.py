"""A token is proved over the broker, and never shown to it: what is sent is good for one request.

With the token T (16 bytes, written as 32 digits) and D, the SHA-256 of these digits:

    name    = SHA-256(D)
    request = SHA-256(verb, NUL, request_id, NUL, text of the request)
    proof   = name, and T xor the first 16 bytes of HMAC-SHA256(key D, message `request`)

The coordinator has D; so it can take T out, and see whether it is right. Nobody else has.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from uuid import UUID

_FORM = re.compile(r"\A[0-9a-f]{32}\Z")


def proof(token: str, verb: str, request_id: str, text: str) -> str:
    """96 hexadecimal digits that show this request to be of who has the token.

    What is no token is not sent either: the coordinator says of the answer that it is none.
    """
    if not _FORM.match(token):
        return "malformed"
    digest = sha256(token.encode()).digest()
    request = sha256(f"{verb}\0{request_id}\0".encode())
    request.update(text.encode("utf-8", "surrogatepass"))
    mask = hmac.digest(digest, request.digest(), "sha256")[:16]
    return sha256(digest).hexdigest() + _xor(bytes.fromhex(token), mask).hex()


def sealed(token: str, request_id: str, digest: bytes) -> str:
    """The digest of a new token, for the coordinator's eyes: 64 hexadecimal digits."""
    message = b"digest" + UUID(request_id).bytes
    return _xor(digest, hmac.digest(token.encode(), message, "sha256")).hex()


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(len(one), "big")
