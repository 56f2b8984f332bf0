"""Every command with its options, as its own `--help` tells them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from _site.reference.writing import code, fenced, prose, table


def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command, click.Context]]:
    """A command and all below it, each with what is typed to call it."""
    context = click.Context(command, info_name=path)
    yield path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from walk(below, f"{path} {name}")


def described(root: click.Command, name: str) -> str:
    """All commands below ``root``."""
    return "\n".join(_section(*found) for found in walk(root, name))


def _section(path: str, command: click.Command, context: click.Context) -> str:
    usage = " ".join(command.collect_usage_pieces(context))
    records = [each.get_help_record(context) for each in command.get_params(context)]
    # Arguments tell nothing here: they are in the usage.
    options = [(_typed(record[0]), prose(record[1])) for record in records if record and record[1]]
    parts = [
        f"## {path}\n",
        fenced(f"{path} {usage}"),
        prose(inspect.cleandoc(command.help or "")) + "\n",
        table(("option", "what it does"), options[:-1]),  # without --help, which is the last
    ]
    if isinstance(command, click.Group):
        below = command.list_commands(context)
        links = [f"[{path} {name}](#{f'{path} {name}'.replace(' ', '-')})" for name in below]
        parts.append("Commands: " + ", ".join(links) + ".\n")
    return "\n".join(parts)


def _typed(option: str) -> str:
    return code(re.sub(r" (INTEGER|FLOAT)( RANGE)?$", " N", option))
