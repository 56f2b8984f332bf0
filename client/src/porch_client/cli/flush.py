"""`porch flush`: send what `porch submit` and `porch update` have kept in a spool."""

from __future__ import annotations

import time

import click

from porch_client.cli.door import Door, complain, finish, pass_door, say
from porch_client.errors import PorchError
from porch_client.render import flushed


@click.command()
@click.argument("spool", type=click.Path(), metavar="DIR")
@pass_door
def flush(door: Door, spool: str) -> None:
    """Send what `porch submit` and `porch update --spool DIR` could not deliver, oldest first.

    Each stays in DIR until PostgreSQL has it. What is refused (as a report of an attempt that is
    over) goes to DIR/refused with the reason beside it, and the exit code is 1; what another token
    may send stays. Out of reach: exit code 3.
    """
    began = time.monotonic()
    with door.porch() as porch:
        found = porch.flush(spool)
    errors: list[PorchError] = [*found.errors, *([found.away] if found.away else [])]
    for error in errors:
        complain(error)
    say(f"{flushed(found)}   {time.monotonic() - began:.1f} s")
    finish(errors)
