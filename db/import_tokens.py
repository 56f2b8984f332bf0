"""Tokens of an import: existing secrets keep working, revoked ones stay revoked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from coordinator import access
from coordinator.administration import check_text
from coordinator.errors import BadRequest, UnknownToken
from coordinator.moving_over import Moved
from coordinator.reconciliation import Reconciliation
from coordinator.status import Status
from db.npg_porch_source import SourceToken

if TYPE_CHECKING:
    from db.import_target import Landing, Place

FORM = "its secret has not the form of ours: 32 digits 0-9a-f"
EXAMPLE = "it is the admin token of npg_porch's own examples, which anybody knows"
HOMELESS = "its pipeline is not there, or is skipped"
TWICE = "its secret is that of another token there"
TAKEN = "its secret is registered here for something else"

_EXAMPLE = "0" * 32


class Holder(NamedTuple):
    """Whom a token of npg_porch stands for here; ``token_id`` None: the token is not here."""

    token_id: int | None
    source_pipeline: int | None
    description: str


@dataclass(slots=True)
class Tokens:
    """Tokens of npg_porch by their number there, and what stands in for those that are not here.

    A claim has a token of its pipeline, and every event some token: one without is a sweep's.
    """

    holders: dict[int, Holder] = field(default_factory=dict)
    stand_ins: dict[int, int] = field(default_factory=dict)
    added: int = 0

    def of(self, step: Moved, place: Place, landing: Landing) -> tuple[int, str]:
        """The token of a step, and the step's message."""
        holder = None if step.token_id is None else self.holders.get(step.token_id)
        if holder is not None and holder.token_id is not None:
            own = holder.source_pipeline == place.source_id
            if own or step.to_status is not Status.CLAIMED:
                return holder.token_id, step.message
        message = step.message
        if holder is not None:
            message += f' (npg_porch\'s token {step.token_id}, "{holder.description}")'
        elif step.token_id is not None:
            message += f" (npg_porch's token {step.token_id})"
        if place.source_id not in self.stand_ins:
            token_id, added = landing.stand_in(place)
            self.stand_ins[place.source_id] = token_id
            self.added += added
        return self.stand_ins[place.source_id], message

    def added_to(self, account: Reconciliation) -> None:
        """Tell how many stand-ins were made."""
        account["token"].added = self.added


def move_tokens(
    landing: Landing,
    tokens: Sequence[SourceToken],
    places: dict[int, Place],
    account: Reconciliation,
) -> Tokens:
    """Write the tokens that are not here yet."""
    moved = Tokens()
    seen: set[bytes] = set()  # a dry run cannot ask the database what it would have written
    for token in tokens:
        token = _described(token)  # noqa: PLW2901
        token_id, why = _move(landing, token, places, seen, account)
        if why is not None:
            row = f'token {token.token_id}, "{token.description}"'
            account.skip("token", row, why)
        holder = Holder(token_id, token.pipeline_id, token.description or "")
        moved.holders[token.token_id] = holder
    return moved


def _described(token: SourceToken) -> SourceToken:
    """With a description that porch would take."""
    try:
        check_text("description", token.description or "")
    except BadRequest:
        return token._replace(description=f"token {token.token_id} of npg_porch")
    return token


def _move(
    landing: Landing,
    token: SourceToken,
    places: dict[int, Place],
    seen: set[bytes],
    account: Reconciliation,
) -> tuple[int | None, str | None]:
    """The token's number here, or why it has none."""
    try:
        digest = access.digest(token.secret or "")
    except UnknownToken:
        return None, FORM
    if token.secret == _EXAMPLE and token.revoked is None:
        return None, EXAMPLE
    homeless = token.pipeline_id is not None and token.pipeline_id not in places
    if homeless or digest in seen:
        return None, HOMELESS if homeless else TWICE
    seen.add(digest)
    place = None if token.pipeline_id is None else places[token.pipeline_id]
    pipeline_id = None if place is None else place.pipeline_id
    known = landing.token(digest)
    if known is None:
        account["token"].written += 1
        return landing.add_token(token, digest, pipeline_id), None
    if known.pipeline_id != pipeline_id:
        return None, TAKEN
    if token.revoked is not None and known.revoked_at is None:
        account["token"].written += 1
        landing.revoke(known.token_id, token.revoked)
    else:
        account["token"].here += 1
    return known.token_id, None
