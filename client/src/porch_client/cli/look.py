"""The commands that only look: `porch show` and `porch list`."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from porch_client.cli.door import Door, emit, pass_door, pipeline_option, version_option
from porch_client.cli.values import age, moment
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
@click.option("--text", help="Only tasks whose input holds this text, or piece of JSON.")
@click.option(
    "--message-like",
    metavar="TEXT",
    help="Only tasks whose last message holds this; % stands for anything.",
)
@click.option(
    "--stale",
    type=age,
    is_flag=False,
    flag_value="0s",
    metavar="[AGE]",
    help="Only tasks that somebody holds without a lease that runs, and has not been heard of for "
    "so long (2h, 3d).",
)
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
    message_like: str | None,
    stale: int | None,
    limit: int | None,
    count: bool,
) -> None:
    """List tasks, one JSON line each."""
    if count and limit is not None:
        raise click.UsageError("--count counts all of them: leave out --limit")
    where: dict[str, Any] = {
        "pipeline": pipeline,
        "version": version,
        "status": status,
        "since": since,
        "text": text,
        "message": message_like,
        "stale": stale,
    }
    with door.porch() as porch:
        if count:
            emit(porch.count(**where))
            return
        for task in porch.list(**where, limit=limit):
            emit(task)
