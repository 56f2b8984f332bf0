"""The commands that only look: `porch show` and `porch list`."""

from __future__ import annotations

import dataclasses

import click

from porch_client.cli.door import Door, emit, pass_door, pipeline_option, version_option
from porch_client.cli.values import moment
from porch_client.model import STATUSES
from porch_client.render import history


@click.command()
@click.argument("task", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: the task and its events.")
@version_option
@pipeline_option
@pass_door
def show(door: Door, task: str, as_json: bool, version: str | None, pipeline: str | None) -> None:
    """Show a task and everything that happened to it. ID may be an unambiguous prefix."""
    with door.porch() as porch:
        found, events = porch.show(task, version=version, pipeline=pipeline)
    if as_json:
        emit({"task": dataclasses.asdict(found), "events": [dataclasses.asdict(e) for e in events]})
    else:
        click.echo(history(found, events))


@click.command("list")
@pipeline_option
@version_option
@click.option(
    "--status",
    type=click.Choice(STATUSES, case_sensitive=False),
    multiple=True,
    help="May be given more than once.",
)
@click.option("--since", type=moment, help="Changed since then: a time, or an age like 2h or 3d.")
@click.option("--text", help="Only tasks whose input holds this text.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@click.option("--count", is_flag=True, help="One JSON object: how many, by status.")
@pass_door
def list_(
    door: Door,
    pipeline: str | None,
    version: str | None,
    status: tuple[str, ...],
    since: str | None,
    text: str | None,
    limit: int | None,
    count: bool,
) -> None:
    """List tasks, one JSON line each."""
    if count and limit is not None:
        raise click.UsageError("--count counts all of them: leave out --limit")
    with door.porch() as porch:
        if count:
            emit(
                porch.count(
                    pipeline=pipeline, version=version, status=status, since=since, text=text
                )
            )
            return
        for task in porch.list(
            pipeline=pipeline,
            version=version,
            status=status,
            since=since,
            text=text,
            limit=limit,
        ):
            emit(task)
