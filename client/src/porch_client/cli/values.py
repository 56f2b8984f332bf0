"""Values as people type them on the command line: durations, points in time, columns."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime, timedelta

import click

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhdw])+")


def duration(text: str) -> int:
    """Seconds, from 90s, 30m, 2h, 1h30m, 3d or a plain number of seconds; `none` is 0."""
    if text == "none":
        return 0
    length = int(text) if re.fullmatch("[0-9]{1,9}", text) else _seconds(text)
    if not length:
        raise click.BadParameter(f'"{text}" is no length of time: write 90s, 30m, 2h, 3d or none')
    return length


def age(text: str) -> int:
    """Seconds, as `duration` reads them; none at all is an age too."""
    return 0 if text in ("0", "0s") else duration(text)


def kept(text: str) -> tuple[str, int | None]:
    """A status and seconds, from DONE=90d; `none` is None."""
    status, equals, length = text.partition("=")
    if not equals or not length:
        raise click.BadParameter(f'"{text}" says not what is kept how long: write DONE=90d')
    return status.upper(), duration(length) or None


def limit(text: str) -> int:
    """A whole number from 1 up; `none` is 0."""
    if text == "none":
        return 0
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        raise click.BadParameter(f'"{text}" is no limit: write 1, 2, 3, ... or none')
    return int(text)


def moment(text: str) -> str:
    """ISO 8601 in UTC, from such a time (without a zone it is local) or from an age: 2h, 3d."""
    try:
        if (length := _seconds(text)) is not None:
            then = datetime.now(UTC) - timedelta(seconds=length)
        else:
            then = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f'"{text}" is no time: write 2h, 3d, 2026-11-24 or 2026-11-24T16:04+00:00'
        ) from None
    return then.isoformat()


def columns(text: str) -> tuple[str, ...]:
    """Names with commas between them; a name that holds a comma goes in quotes."""
    try:
        names = tuple(next(csv.reader([text], strict=True), ()))
    except csv.Error as error:
        raise click.BadParameter(f"{text}: {error}") from None
    if not names or "" in names:
        raise click.BadParameter(f'"{text}" lacks a name between commas')
    if len(set(names)) < len(names):
        raise click.BadParameter(f'"{text}" names a column twice')
    return names


def _seconds(text: str) -> int | None:
    if not _DURATION.fullmatch(text):
        return None
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall("([0-9]+)(.)", text))
