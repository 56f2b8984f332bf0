"""The commands of an administrator: pipelines and tokens. They need an admin token."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from porch_client.cli.door import Door, emit, pass_door, say
from porch_client.cli.secret_file import secret_told
from porch_client.cli.values import duration, kept, limit
from porch_client.model import Pipeline
from porch_client.render import pipeline as one_pipeline
from porch_client.render import pipelines, tokens

T = TypeVar("T")


@click.group()
def pipeline() -> None:
    """Register and configure pipelines."""


@pipeline.command()
@click.argument("name")
@click.option("--uri", required=True, help="Where the pipeline is described or kept.")
@click.option("--version", required=True, metavar="V", help="Its first version.")
@pass_door
def register(door: Door, name: str, uri: str, version: str) -> None:
    """Register pipeline NAME."""
    with door.porch() as porch:
        emit(porch.register_pipeline(name, uri=uri, version=version))


@pipeline.command("list")
@pass_door
def list_pipelines(door: Door) -> None:
    """List pipelines: a table on a terminal, else JSON lines."""
    with door.porch() as porch:
        _each(porch.pipelines(), pipelines)


@pipeline.command("show")
@click.argument("name")
@pass_door
def show_pipeline(door: Door, name: str) -> None:
    """Show pipeline NAME: for people on a terminal, else one JSON line."""
    with door.porch() as porch:
        found = porch.pipeline(name)

    def text(found: Sequence[Pipeline]) -> str:
        return one_pipeline(found[0])

    _each([found], text)


@pipeline.command("update")
@click.argument("name")
@click.option(
    "--lease",
    type=duration,
    metavar="2h|none",
    help="How long a claim is good for without a heartbeat.",
)
@click.option(
    "--max-attempts",
    type=limit,
    metavar="N|none",
    help="After so many attempts nothing is tried again by itself.",
)
@click.option(
    "--retry",
    type=duration,
    metavar="5m|none",
    help="Try again what FAILED: after so long at first, twice that the next time, and so on.",
)
@click.option(
    "--identity",
    type=click.Choice(["version", "pipeline"]),
    help="Whether one input runs once per version, or once whatever the version.",
)
@click.option(
    "--keep",
    type=kept,
    multiple=True,
    metavar="STATUS=90d|none",
    help="How long inputs and histories of DONE, FAILED or CANCELLED tasks are kept, before"
    " `porch-server archive` prunes them. May be given for each.",
)
@pass_door
def update_pipeline(
    door: Door,
    name: str,
    lease: int | None,
    max_attempts: int | None,
    retry: int | None,
    identity: str | None,
    keep: Sequence[tuple[str, int | None]],
) -> None:
    """Change the policy of pipeline NAME."""
    limits = {"lease": lease, "max_attempts": max_attempts, "retry": retry}
    # 0 is how "none" arrives from the command line; an option not given arrives as None.
    given: dict[str, Any] = {name: n or None for name, n in limits.items() if n is not None}
    if identity is not None:
        given["identity"] = identity
    if keep:
        given["keep"] = dict(keep)
    if not given:
        raise click.UsageError(
            "say what to change: --lease, --max-attempts, --retry, --identity or --keep"
        )
    with door.porch() as porch:
        emit(porch.set_policy(name, **given))


@pipeline.command("add-version")
@click.argument("name")
@click.argument("version")
@pass_door
def add_version(door: Door, name: str, version: str) -> None:
    """Add VERSION to pipeline NAME."""
    with door.porch() as porch:
        emit(porch.add_version(name, version))


@click.group()
def token() -> None:
    """Issue, list, rotate and revoke tokens."""


_into = click.option(
    "--into",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write the secret there, for its owner's eyes only, and print all else. It may replace"
    " another token.",
)


@token.command()
@click.option("--pipeline", required=True, metavar="NAME", help="The pipeline it is good for.")
@click.option("--description", required=True, help="Who or what uses it; shown in histories.")
@click.option(
    "--expires",
    type=duration,
    metavar="90d|none",
    help="How long it is good; for ever if not said.",
)
@_into
@pass_door
def issue(
    door: Door, pipeline: str, description: str, expires: int | None, into: str | None
) -> None:
    """Issue a token for a pipeline. Its secret is shown this once and kept nowhere."""
    with secret_told(into) as tell, door.porch() as porch:
        issued, secret = porch.issue_token(
            pipeline=pipeline, description=description, expires=expires or None
        )
        if tell(secret, dataclasses.asdict(issued)):
            say(
                f"  {into} had another token, which is good until somebody revokes it:"
                f" `porch token list --pipeline {shlex.quote(pipeline)}` has its ID"
            )


@token.command()
@click.argument("token_id", type=int, metavar="ID")
@click.option(
    "--overlap",
    type=duration,
    default="7d",
    show_default=True,
    metavar="7d",
    help="How long the old one is good yet: a minute at least.",
)
@click.option(
    "--expires",
    type=duration,
    metavar="90d",
    help="How long the new one is good; if not said, as long as the old one was meant to be.",
)
@_into
@pass_door
def rotate(door: Door, token_id: int, overlap: int, expires: int | None, into: str | None) -> None:
    """Issue a token in the place of the one with this ID; both are good for a while.

    The new secret is shown this once and kept nowhere. To end a token at once, revoke it.
    """
    with secret_told(into) as tell, door.porch() as porch:
        new, secret, old = porch.rotate_token(token_id, overlap=overlap, expires=expires or None)
        tell(secret, {**dataclasses.asdict(new), "replaces": dataclasses.asdict(old)})


@token.command("list")
@click.option("--pipeline", metavar="NAME", help="Only tokens of this pipeline.")
@pass_door
def list_tokens(door: Door, pipeline: str | None) -> None:
    """List tokens without their secrets: a table on a terminal, else JSON lines."""
    with door.porch() as porch:
        _each(porch.tokens(pipeline=pipeline), tokens)


@token.command()
@click.argument("token_id", type=int, metavar="ID")
@pass_door
def revoke(door: Door, token_id: int) -> None:
    """Revoke the token with this ID, from `porch token list`; it is refused from then on."""
    with door.porch() as porch:
        emit(porch.revoke_token(token_id))


@click.command("admin-events")
@pass_door
def admin_events(door: Door) -> None:
    """Show what administrators did, and when and with which token: JSON lines, oldest first."""
    with door.porch() as porch:
        for event in porch.admin_events():
            emit(event)


def _each(found: Sequence[T], text: Callable[[Sequence[T]], str]) -> None:
    if sys.stdout.isatty():
        click.echo(text(found))
        return
    for one in found:
        emit(one)
