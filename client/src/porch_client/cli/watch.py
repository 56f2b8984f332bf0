"""`porch watch`: follow what happens."""

from __future__ import annotations

import sys

import click

from porch_client.cli.door import (
    Door,
    complain,
    emit,
    pass_door,
    pipeline_option,
    version_option,
)
from porch_client.model import STATUSES
from porch_client.render import told


@click.command()
@pipeline_option
@version_option
@click.option("--task", metavar="ID", help="Only this task; an unambiguous prefix will do.")
@click.option(
    "--status",
    type=click.Choice(STATUSES, case_sensitive=False),
    multiple=True,
    help="Only changes to it. May be given more than once.",
)
@click.option(
    "--after",
    type=click.IntRange(0, 2**63 - 1),
    metavar="EVENT_ID",
    help="Begin after this event, 0 with the first that is kept; from now on if not given.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON lines in a terminal, too.")
@pass_door
def watch(
    door: Door,
    pipeline: str | None,
    version: str | None,
    task: str | None,
    status: tuple[str, ...],
    after: int | None,
    as_json: bool,
) -> None:
    """Follow every change of the tasks of a pipeline, in order, until Ctrl-C.

    Prints one JSON line for each; in a terminal, a line to read. To go on later where you were,
    give --after the event_id of the last line that you have dealt with: each change is printed once
    at least. A broker that goes away is waited for.
    """
    as_json = as_json or not sys.stdout.isatty()
    with door.porch() as porch:
        try:
            for message in porch.watch(
                pipeline=pipeline,
                version=version,
                task=task,
                status=status,
                after=after,
                on_away=complain,
            ):
                if as_json:
                    emit(message)
                else:
                    click.echo(told(message))
                sys.stdout.flush()
        except KeyboardInterrupt:
            return
