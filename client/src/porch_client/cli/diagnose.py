"""The commands of diagnosis: `porch failures` and `porch stats`."""

from __future__ import annotations

import dataclasses
import locale
import shutil
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

import click

from porch_client.cli.door import Door, emit, pass_door, pipeline_option, say
from porch_client.printable import printable
from porch_client.render import many

if TYPE_CHECKING:
    from porch_client.overview import FailureGroup

_LINES = 3


@click.command()
@pipeline_option
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000),
    default=20,
    show_default=True,
    help="At most so many groups.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON lines on a terminal too.")
@pass_door
def failures(door: Door, pipeline: str | None, limit: int, as_json: bool) -> None:
    """Group FAILED tasks by similar message, the largest group first, with how to re-run each.

    Numbers, names of files, ids and dates make no difference. For people on a terminal, else JSON
    lines; `rerun` is the command that re-runs what was seen of the group.
    """
    with door.porch() as porch:
        groups = porch.failures(pipeline=pipeline, most=limit)
        if as_json or not sys.stdout.isatty():
            for group in groups:
                emit({**dataclasses.asdict(group), "rerun": group.rerun})
            return
        failed = porch.count(pipeline=pipeline, status=["FAILED"]).get("FAILED", 0)
    for group in groups:
        click.echo(_group(group, shutil.get_terminal_size().columns))
    say(_closing(groups, failed))


def _group(group: FailureGroup, width: int) -> str:
    when = " to ".join(dict.fromkeys(_when(at) for at in (group.first, group.last)))
    head = f"  {many(group.tasks, 'task')} of {group.pipeline}, {when} UTC"
    room = max(20, width - 5)
    told = [printable(line.expandtabs(4)) for line in group.example.strip().splitlines()]
    told = told or ["(no message)"]
    lines = [line if len(line) <= room else f"{line[: room - 3]}..." for line in told[:_LINES]]
    if len(told) > _LINES:
        lines.append(f"... and {many(len(told) - _LINES, 'more line')}")
    return "\n".join([printable(head), *(f"    {line}" for line in lines), f"    {group.rerun}\n"])


def _when(at: str) -> str:
    return at[:19].replace("T", " ")


def _closing(groups: Sequence[FailureGroup], failed: int) -> str:
    if not groups:
        return "  no task is FAILED"
    grouped = sum(group.tasks for group in groups)
    some = "" if grouped >= failed else f"{grouped:,} of "
    tasks = many(max(grouped, failed), "FAILED task")
    return f"  {many(len(groups), 'group')} with {some}{tasks}"


@click.command()
@pipeline_option
@click.option(
    "--hours",
    type=click.IntRange(1, 744),
    default=24,
    show_default=True,
    help="How far back the throughput goes.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on a terminal too.")
@click.option(
    "--svg", type=click.File("w", "utf-8", lazy=True), metavar="FILE", help="Draw it there instead."
)
@pass_door
def stats(door: Door, pipeline: str | None, hours: int, as_json: bool, svg: IO[str] | None) -> None:
    """Plot the throughput and how long runs take, of one pipeline or of all that you may see.

    For people on a terminal, else one JSON object.
    """
    if svg is not None and as_json:
        raise click.UsageError("give --json or --svg")
    with door.porch() as porch:
        found = porch.stats(pipeline=pipeline, hours=hours)
    about = f"of {pipeline} " if pipeline else ""
    about += f"in the last {many(hours, 'hour')}"
    if svg is not None:
        from porch_client.picture import svg as drawn  # noqa: PLC0415 (only for a picture)

        try:
            with svg:
                svg.write(drawn(found, about))
        except OSError as error:
            raise click.FileError(svg.name, error.strerror) from error
    elif as_json or not sys.stdout.isatty():
        emit(dataclasses.asdict(found))
    else:
        from porch_client import plot  # noqa: PLC0415 (only on a terminal)

        # Not that of stdout, which is UTF-8 whatever the terminal is.
        unicode = locale.getencoding().lower().replace("-", "") == "utf8"
        width = shutil.get_terminal_size().columns
        click.echo(plot.stats(found, about, width, plot.UNICODE if unicode else plot.ASCII))
