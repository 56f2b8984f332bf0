"""The verbs for tokens, and for what administrators did with them. Each needs an admin token."""

from __future__ import annotations

from coordinator import access
from coordinator.administration import check_text
from coordinator.errors import BadRequest, UnknownTokenId
from coordinator.lookup import Lookup
from coordinator.model import AdminEvent, Rotation, Token
from coordinator.requests import Caller

_MOST_SECONDS = 2**31 - 1
#: Seconds for which a rotated token is still good, at least: whoever rotates its own may have to
#: ask again. To end one at once there is revoking.
SHORTEST_OVERLAP = 60
MOST_ADMIN_EVENTS = 10_000


class Tokens(Lookup):
    """Tokens by the SHA-256 of their secrets, which need not travel, and are kept nowhere."""

    def add_token(
        self,
        caller: Caller,
        digest: bytes,
        *,
        pipeline: str | None,
        description: str,
        lifetime: int | None = None,
    ) -> Token:
        """Register a token; no pipeline makes it an admin token. The same again adds nothing.

        ``lifetime``: the seconds for which it is good; None for ever.
        """
        who, origin = self._enter(caller)
        access.require_admin(who)
        check_text("description", description)
        _check_digest(digest)
        _check_seconds("expires", lifetime, 1)
        target = None if pipeline is None else self._named(who, pipeline)
        return self.ledger.add_token(digest, target, description, lifetime=lifetime, origin=origin)

    def tokens(self, caller: Caller, *, pipeline: str | None = None) -> list[Token]:
        """The tokens of a pipeline, or all: never their secrets."""
        who, _ = self._enter(caller)
        access.require_admin(who)
        return self.ledger.tokens(None if pipeline is None else self._named(who, pipeline))

    def rotate_token(self, caller: Caller, rotation: Rotation) -> tuple[Token, Token]:
        """A new token for the same pipeline, and the old one, which is good for the overlap only.

        The same again is answered the same. Raises UnknownTokenId, TokenEnded.
        """
        who, origin = self._enter(caller)
        access.require_admin(who)
        _check_digest(rotation.digest)
        _check_seconds("overlap", rotation.overlap, SHORTEST_OVERLAP)
        _check_seconds("expires", rotation.lifetime, 1)
        tokens = self.ledger.rotate_token(rotation, origin)
        if tokens is None:
            raise _unknown(rotation.token_id)
        return tokens

    def revoke_token(self, caller: Caller, token_id: int) -> Token:
        """Make a token worthless from now on. Raises UnknownTokenId."""
        who, origin = self._enter(caller)
        access.require_admin(who)
        token = self.ledger.revoke_token(token_id, origin)
        if token is None:
            raise _unknown(token_id)
        return token

    def admin_events(self, caller: Caller, *, after: int, limit: int) -> list[AdminEvent]:
        """Up to ``limit`` of what administrators did, beyond ``after``, oldest first."""
        who, _ = self._enter(caller)
        access.require_admin(who)
        if not 1 <= limit <= MOST_ADMIN_EVENTS:
            raise BadRequest(
                f"cannot list {limit} events at once", f"ask for 1 to {MOST_ADMIN_EVENTS:,}"
            )
        return self.ledger.admin_events(after, limit)


def _unknown(token_id: int) -> UnknownTokenId:
    return UnknownTokenId(f"no token has the number {token_id}", "see `porch token list`")


def _check_digest(digest: bytes) -> None:
    if len(digest) != 32:
        raise BadRequest(f"a token's digest has 32 bytes, not {len(digest)}", "use SHA-256")


def _check_seconds(what: str, seconds: int | None, fewest: int) -> None:
    if seconds is not None and not fewest <= seconds <= _MOST_SECONDS:
        raise BadRequest(
            f"{what} of {seconds} s is not within {fewest} and {_MOST_SECONDS}",
            "give seconds, or a time like 90d to the porch command",
        )
