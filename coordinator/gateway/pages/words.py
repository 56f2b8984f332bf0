"""Numbers, times and texts as a page writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from coordinator.status import Status

#: What tells the statuses apart where colours do not.
SYMBOLS: dict[Status, str] = {
    Status.PENDING: "○",
    Status.CLAIMED: "◐",
    Status.RUNNING: "▶",
    Status.DONE: "✓",
    Status.FAILED: "✕",
    Status.CANCELLED: "⊘",
}
#: What stands in the place of an input that is no longer kept.
PRUNED = "(pruned: no longer kept)"
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def symbol(status: Status) -> str:
    """The sign that stands before a status."""
    return SYMBOLS[status]


def utc(moment: datetime) -> str:
    """A time to the second: ``2026-11-25 01:02:03Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def iso(moment: datetime) -> str:
    """A time as the ``datetime`` attribute has it: ``2026-11-25T01:02:03Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(seconds: float) -> str:
    """A length of time in its two largest units.

    >>> [duration(s) for s in (0.25, 4.2, 75, 7_260, 190_000)]
    ['0.25 s', '4.2 s', '1 min 15 s', '2 h 1 min', '2 d 4 h']
    """
    if seconds < 1:
        return f"{seconds:.2g} s"
    if seconds < 10:
        return f"{round(seconds, 1):g} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _two(whole, _MINUTE, "min", 1, "s")
    if whole < _DAY:
        return _two(whole, _HOUR, "h", _MINUTE, "min")
    return _two(whole, _DAY, "d", _HOUR, "h")


def _two(seconds: int, large: int, large_word: str, small: int, small_word: str) -> str:
    rest = seconds % large // small
    return f"{seconds // large} {large_word}" + (f" {rest} {small_word}" if rest else "")


def number(n: int) -> str:
    """A number with its thousands apart."""
    return f"{n:,}"


def tasks(n: int) -> str:
    """So many tasks."""
    return "1 task" if n == 1 else f"{n:,} tasks"


def sentence(text: str) -> str:
    """A message of ours as a sentence of its own; it may begin with a name in small letters."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def cut(text: str, most: int = 160) -> str:
    """The beginning of a text, on one line; what is left out is marked."""
    line = " ".join(text[: most * 2].split())
    return line if len(line) <= most and len(text) <= most * 2 else line[:most].rstrip() + "…"


#: Controls, and what directs or joins text without being seen: the order of a row may hang on it,
#: and two texts that look the same may differ in it.
_UNSEEN = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb]"
)
_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\u([0-9a-f]{4})")


def seen(text: str) -> str:
    r"""A text in which characters that are not seen, and direct others, are written as JSON may.

    >>> seen("a\u202eb")
    'a\\u202eb'
    """
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def unseen(text: str) -> str:
    r"""What ``seen`` has written, as it was.

    >>> unseen(r"a\u202eb") == "a\u202eb"
    True
    """

    def as_it_was(found: re.Match[str]) -> str:
        sign = chr(int(found[2], 16))
        return found[1] + sign if sign > "\x1f" and _UNSEEN.match(sign) else found[0]

    return _ESCAPE.sub(as_it_was, text)


def one_line(task_input: Mapping[str, Any] | None) -> str:
    """A task_input as one line of JSON, in which the text filter finds what is copied from it.

    >>> one_line({"sample": "S1", "lanes": [1, 2]})
    '{"sample":"S1","lanes":[1,2]}'
    """
    if task_input is None:
        return PRUNED
    return json.dumps(task_input, ensure_ascii=False, separators=(",", ":"))


def whole(task_input: Mapping[str, Any] | None) -> str:
    """A task_input as JSON that people read."""
    return PRUNED if task_input is None else json.dumps(task_input, ensure_ascii=False, indent=2)
