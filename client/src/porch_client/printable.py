"""Text from elsewhere, made fit for a terminal."""

from __future__ import annotations

import json
import unicodedata


def printable(text: str) -> str:
    """`text` without control characters: a message from elsewhere must not drive the terminal."""
    if text.isprintable():
        return text
    return "".join(char if char in "\n\t" or not _drives(char) else "\ufffd" for char in text)


def escaped(line: str) -> str:
    """JSON of one line that says the same, with such characters written as JSON escapes them."""
    if line.isprintable():
        return line
    return "".join(json.dumps(char)[1:-1] if _drives(char) else char for char in line)


def width(text: str) -> int:
    """How many columns of a terminal a line takes: a Chinese character takes two, an accent that is
    a character of its own none.

    Source: Unicode Standard Annex 11, of which wide and fullwidth characters take two.
    """
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def padded(text: str, columns: int) -> str:
    """The text with spaces after it, so that it takes so many columns at least."""
    return text + " " * (columns - width(text))


def _drives(char: str) -> bool:
    """Whether it is a control character, or one that turns the direction of what follows."""
    return unicodedata.category(char)[0] == "C"
