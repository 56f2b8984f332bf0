"""Whoever guesses at tokens waits for each answer.

What makes guessing hopeless is that a token has 128 random bits. This makes it slow as well, and
costs nobody else anything: only the answer to a token that is none is held back, whoever sends it
and wherever it comes from, and nothing is remembered of it, so that nobody can be locked out in the
name of another. While an answer is held back it takes up no thread and no connection to PostgreSQL.
So many are held back at a time and no more: who sends more is answered at once, and has gained
nothing but the quicker No.
"""

from __future__ import annotations

import anyio
from fastapi import Request
from fastapi.responses import JSONResponse

from coordinator.errors import PorchError, UnknownToken
from coordinator.gateway.problems import on_porch_error

SECONDS = 1.0
MOST_AT_A_TIME = 200


class _Held:
    """How many answers this process is holding back."""

    now = 0


async def on_unknown_token(request: Request, error: UnknownToken) -> JSONResponse:
    """Reply of the API to a token that is none."""
    note(request, error)
    await hold_back(request)
    return on_porch_error(request, error)


def note(request: Request, refusal: PorchError) -> None:
    """Note with a request what was refused: called where the answer is made of something else."""
    request.state.guessed = isinstance(refusal, UnknownToken)


async def hold_back(request: Request) -> None:
    """Wait, if a token was tried that is none."""
    if getattr(request.state, "guessed", False) and _Held.now < MOST_AT_A_TIME:
        _Held.now += 1
        try:
            await anyio.sleep(SECONDS)
        finally:
            _Held.now -= 1
