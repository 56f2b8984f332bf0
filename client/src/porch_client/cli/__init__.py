"""The `porch` command. JSON lines on stdout for programs, everything else on stderr for people.

Exit codes: 0 done; 1 refused by a rule; 2 bad usage or settings; 3 the broker or the coordinator
could not be reached in time; 70 a defect; 74 stdout takes no more; 130 stopped by Ctrl-C; 141
nobody reads stdout any more.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from porch_client.cli.door import (
    Door,
    complain,
    connect,
    exit_code,
    say,
    use_broker,
    use_token_file,
)
from porch_client.errors import PorchError
from porch_client.version import VERSION

if TYPE_CHECKING:
    from porch_client.client import Porch


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

#: The module of each command, imported when it is typed: a command line must start at once.
_HOMES = {
    "submit": "submit",
    "flush": "flush",
    "claim": "work",
    "update": "work",
    "heartbeat": "work",
    "release": "work",
    "rerun": "decide",
    "cancel": "decide",
    "show": "look",
    "list": "look",
    "failures": "diagnose",
    "stats": "diagnose",
    "watch": "watch",
    "drain": "drain",
    "pipeline": "admin",
    "token": "admin",
    "admin-events": "admin",
}


class Root(click.Group):
    """Turns whatever a command ends with into words on stderr and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_HOMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _HOMES:
            return None
        module = import_module(f"porch_client.cli.{_HOMES[cmd_name]}")
        command: click.Command = getattr(
            module, "list_" if cmd_name == "list" else cmd_name.replace("-", "_")
        )
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            value = super().invoke(ctx)
            # Here and not at exit, where nobody could answer for a reader that went away.
            sys.stdout.flush()
            return value
        except PorchError as error:
            complain(error)
            ctx.exit(exit_code(error))
        except KeyboardInterrupt:
            say("porch: interrupted: stopped by Ctrl-C; what was sent may have been carried out")
            ctx.exit(130)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if isinstance(error, OSError) and _no_room(error):
                ctx.exit(_no_more(error))
            if sys.flags.dev_mode:
                raise
            complain(_defect(error))
            ctx.exit(70)


def _no_room(error: OSError) -> bool:
    """Whether this is what writing may meet, and nothing else that a command does."""
    return isinstance(error, BrokenPipeError) or error.errno in _FULL


def _no_more(error: OSError) -> int:
    """The exit code when stdout takes no more: silent for a reader that went away."""
    gone = isinstance(error, BrokenPipeError)
    if not gone:
        cure = "make room; `porch list` and `porch show` tell what has happened"
        complain(PorchError("cannot_write", f"stdout: {error.strerror}", cure))
    # What is still buffered has nowhere to go; Python would complain of it at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141 if gone else 74


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="porch")
@click.option("--broker", metavar="URL", help="Instead of PORCH_BROKER_URL.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=86400),
    help="Seconds to wait for an answer.",
)
@click.option("--token-file", type=click.Path(), metavar="FILE", help="Instead of PORCH_TOKEN.")
@click.pass_obj
def root(door: Door, broker: str | None, timeout: float | None, token_file: str | None) -> None:
    """Submit, claim and report definitions of work, so that each runs once and only once."""
    use_broker(broker)
    use_token_file(token_file)
    door.timeout = timeout


def run(
    args: Sequence[str] | None = None, connect: Callable[[float | None], Porch] = connect
) -> int:
    """Carry out one command line and return its exit code; never raises but for SystemExit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A lone surrogate becomes \\udxxx: what JSON wants on stdout, and legible on stderr.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        code = root.main(args, "porch", obj=Door(connect), standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message())
        return 2
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "porch"
        problem = " ".join(error.format_message().split()).rstrip(".")
        say(f"porch: bad_usage: {problem}; `{path} --help` shows how")
        return 2
    except click.ClickException as error:
        say(f"porch: bad_usage: {error.format_message().rstrip('.')}")
        return 2
    except click.Abort:
        return 130
    return code if isinstance(code, int) else 0


def main() -> None:
    """The `porch` console script."""
    sys.exit(run())


def _defect(error: Exception) -> PorchError:
    import traceback  # noqa: PLC0415 (of no use to a command that ends well)

    where = traceback.extract_tb(error.__traceback__)[-1]
    return PorchError(
        "internal_error",
        f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})",
        "this is a defect of porch: please report it, with the output of `python -X dev -m "
        "porch_client.cli` and the same arguments",
    )
