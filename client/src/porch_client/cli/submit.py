"""`porch submit`: register the definitions of a file."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, BinaryIO

import click

from porch_client.cli.door import (
    Door,
    complain,
    emit,
    emit_refused,
    exit_code,
    finish,
    pass_door,
    pipeline_option,
    say,
    spooled,
    tell_flushed,
    version_option,
)
from porch_client.cli.values import columns
from porch_client.errors import PorchError, Unreachable
from porch_client.model import Flushed, NotRegistered, Registered, Spooled
from porch_client.printable import printable
from porch_client.read import FORMATS, Definition, read_numbered
from porch_client.render import many, submitted

_TOLD = 20
"""Refused definitions told one by one; the rest only counted, as all are in the JSON lines."""
_TICK = 0.2


@click.command()
@pipeline_option
@version_option
@click.option("--priority", type=int, default=0, show_default=True, help="Higher is claimed first.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS, case_sensitive=False),
    help="Told by the file's extension, or its first bytes, if not given.",
)
@click.option(
    "--key", type=columns, metavar="A,B,...", help="The columns to take from a table, in order."
)
@click.option("--number", type=columns, metavar="A,B,...", help="Columns that hold numbers.")
@click.option(
    "--spool",
    type=click.Path(),
    metavar="DIR",
    help="Keep in DIR what cannot be delivered, and send first what it keeps from before.",
)
@click.option("--quiet", is_flag=True, help="No JSON lines on stdout.")
@click.argument("file", type=click.File("rb"))
@pass_door
def submit(
    door: Door,
    pipeline: str | None,
    version: str | None,
    priority: int,
    format_: Any,
    key: tuple[str, ...] | None,
    number: tuple[str, ...] | None,
    spool: str | None,
    quiet: bool,
    file: BinaryIO,
) -> None:
    """Register the definitions in FILE (or - for stdin): JSON lines, a JSON array, CSV or TSV.

    Prints one JSON line per definition, in order. A definition that is refused is told by its line;
    all others are still registered, and the exit code is 1. Submitting again is always safe. The
    closing line counts them, and names the pipeline where --pipeline does not.

    With --spool, a broker or coordinator out of reach is no failure: definitions are on disk in DIR
    when their lines say "spooled", and the exit code is 0. It needs --pipeline.
    """
    name = getattr(file, "name", "<stdin>")
    elements = read_numbered(file, format=format_, name=name, key=key, number=number or ())
    lines: deque[int] = deque()
    with door.porch() as porch:
        tally = Tally(pipeline, spool)
        try:
            for result in porch.submit(
                _noting(elements, lines),
                pipeline=pipeline,
                version=version,
                priority=priority,
                spool=spool,
                on_flush=tally.flushed,
            ):
                tally.add(result, lines.popleft(), quiet=quiet)
        except BaseException:
            if tally.total:
                say(f"{tally.close()}   stopped early; submitting it again is safe")
            raise
    say(tally.close())
    finish(tally.refused)


def _noting(elements: Iterator[tuple[int, Definition]], lines: deque[int]) -> Iterator[Definition]:
    """The definitions, their line numbers kept in `lines` until their answers come, in order."""
    for line, definition in elements:
        lines.append(line)
        yield definition


class Tally:
    """Counts the answers, tells the refused ones, and shows progress on a terminal."""

    def __init__(self, pipeline: str | None, spool: str | None) -> None:
        self.new = 0
        self.known: Counter[str] = Counter()
        self.refusals = 0
        self.refused: list[PorchError] = []  # one of each exit code is enough to end with
        self._named = pipeline
        self._found: str | None = None  # whose they are by the token, where nobody has named it
        self._spool = spool
        self._spooled = 0
        self._away: Unreachable | None = None
        self._live = sys.stderr.isatty()
        self._began = self._told = time.monotonic()

    @property
    def total(self) -> int:
        """How many have been answered."""
        return self.new + self.known.total() + self.refusals + self._spooled

    def flushed(self, found: Flushed) -> None:
        """Tell what became of earlier definitions; how this command ends is up to its own."""
        tell_flushed(self._spool or "", found)

    def add(self, result: Registered | NotRegistered | Spooled, line: int, *, quiet: bool) -> None:
        """Count one answer and write its JSON line."""
        if isinstance(result, NotRegistered):
            self._refuse(result.error, line)
            if not quiet:
                emit_refused(result.position, result.error)
        elif isinstance(result, Spooled):
            self._spooled += 1
            self._away = result.error
            if not quiet:
                emit({"position": result.position, "spooled": True})
        else:
            self._found = result.pipeline
            if result.created:
                self.new += 1
            else:
                self.known[result.status] += 1
            if not quiet:
                emit(result)
        now = time.monotonic()
        if now - self._told >= _TICK:
            self._told = now
            sys.stdout.flush()  # who reads us from a pipe sees progress too
            if self._live:
                click.echo(f"\r\x1b[K{self._counts()}", err=True, nl=False)

    def close(self) -> str:
        """The closing line."""
        self._clear()
        if self.refusals > _TOLD:
            rest = self.refusals - _TOLD
            say(f"porch: {rest:,} more were refused; without --quiet each has a line")
        if self._away is not None and self._spool is not None:
            complain(spooled(many(self._spooled, "definition"), self._away, self._spool))
        where = f"   in {printable(self._found)}" if self._found and not self._named else ""
        return f"{self._counts()}{where}   {time.monotonic() - self._began:.1f} s"

    def _counts(self) -> str:
        return submitted(self.new, self.known, refused=self.refusals, spooled=self._spooled)

    def _refuse(self, error: PorchError, line: int) -> None:
        self.refusals += 1
        if self.refusals <= _TOLD:
            self._clear()
            # What was refused by the reader says its line itself.
            where = f"line {line}"
            complain(error, "" if error.message.startswith(where) else where)
        if exit_code(error) not in map(exit_code, self.refused):
            self.refused.append(error)

    def _clear(self) -> None:
        if self._live:
            click.echo("\r\x1b[K", err=True, nl=False)
