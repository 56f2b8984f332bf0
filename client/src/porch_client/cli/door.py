"""What every command shares: how it reaches the coordinator, and how it speaks.

stdout is for programs, one JSON object a line; stderr is for people.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from porch_client.errors import Misconfigured, PorchError, Unreachable
from porch_client.printable import escaped, printable

if TYPE_CHECKING:
    from porch_client.client import Porch
    from porch_client.model import Flushed


def connect(timeout: float | None) -> Porch:
    """A `Porch` as the environment says; imported here, and not before it is needed."""
    from porch_client.client import Porch  # noqa: PLC0415
    from porch_client.settings import Settings  # noqa: PLC0415

    settings = Settings.from_environment()
    if settings.broker_url is None:
        raise Misconfigured(
            "no_broker",
            "no broker is set",
            "set PORCH_BROKER_URL or give --broker, for example redis://host:6379/0; "
            "what `porch-server up` started: `. STATE_DIR/env.sh`",
        )
    return Porch(
        settings.broker_url,
        settings.token,
        result=settings.result_url,
        timeout=settings.timeout if timeout is None else timeout,
    )


@dataclass
class Door:
    """Opens the session a command talks through. Tests pass their own `connect`."""

    connect: Callable[[float | None], Porch] = field(default=connect)
    timeout: float | None = None

    def porch(self, timeout: float | None = None) -> Porch:
        """A new session; `timeout` in seconds instead of the one asked for."""
        return self.connect(self.timeout if timeout is None else timeout)


pass_door = click.make_pass_decorator(Door)
pipeline_option = click.option(
    "--pipeline", metavar="NAME", help="Pipeline; the token's own if not given."
)
version_option = click.option(
    "--version", metavar="V", help="Version of the pipeline, where it has more than one."
)


def use_broker(url: str | None) -> None:
    """The option outranks the variable, for the commands that `porch drain` starts as well."""
    if url is not None:
        _set("PORCH_BROKER_URL", url)


def use_token_file(path: str | None) -> None:
    """Take the token from a file. It is never an option: process lists show those to everyone."""
    from porch_client.settings import in_file  # noqa: PLC0415

    if path is not None:
        _set("PORCH_TOKEN", in_file(path, "PORCH_TOKEN", "no_token_set"))


def _set(name: str, value: str) -> None:
    os.environ[name] = value
    os.environ.pop(f"{name}_FILE", None)


def emit(record: Any) -> None:
    """One JSON line on stdout; a dataclass is written as its fields.

    On a terminal nothing in it drives that: what is read there says the same.
    """
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        # Not asdict, which copies what is in them, and takes longer than all else about a line.
        record = {name: getattr(record, name) for name in record.__dataclass_fields__}
    line = _ENCODER.encode(record)
    sys.stdout.write((escaped(line) if sys.stdout.isatty() else line) + "\n")


_ENCODER = json.JSONEncoder(ensure_ascii=False)


def emit_refused(position: int, error: PorchError) -> None:
    """The line on stdout for one element that was refused."""
    wire = {"code": error.code, "message": error.message, "cure": error.cure}
    emit({"position": position, "error": wire})


def say(text: str) -> None:
    """A line for people on stderr; where nobody can read it any more, work goes on without."""
    with suppress(OSError):
        click.echo(text, err=True)


def complain(error: PorchError, about: str = "") -> None:
    """One error on stderr: `porch: <code>: <message>; <cure>`."""
    message = error.message if about in error.message else f"{about}: {error.message}"
    joint = " " if message.endswith("?") else "; "
    say(printable(f"porch: {error.code}: {message}" + (joint + error.cure if error.cure else "")))


def tell_flushed(spool: str, found: Flushed) -> None:
    """What became of what a spool kept from before, and was sent first."""
    from porch_client.render import flushed  # noqa: PLC0415 (of no use to most commands)

    say(f"{flushed(found)}   from {spool}, sent first")
    for error in found.errors:
        complain(error)


def spooled(what: str, away: Unreachable, spool: str) -> PorchError:
    """The warning: no error, as nothing is lost."""
    why = f"{away.code}: {away.message}"
    return PorchError(
        "spooled",
        f"{what} not delivered ({why}), kept in {spool}",
        f"`porch flush {shlex.quote(spool)}` sends them, and so does the next submit or update "
        "with this spool",
    )


def exit_code(error: PorchError) -> int:
    """1 refused by a rule, 2 bad usage or settings, 3 out of reach."""
    if isinstance(error, Unreachable):
        return 3
    return 2 if isinstance(error, Misconfigured) else 1


def finish(errors: Sequence[PorchError]) -> None:
    """End the command: with 0, or with what the worst of the errors calls for."""
    if errors:
        raise click.exceptions.Exit(max(map(exit_code, errors)))
