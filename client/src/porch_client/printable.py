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


def _drives(char: str) -> bool:
    """Whether it is a control character, or one that turns the direction of what follows."""
    return unicodedata.category(char)[0] == "C"
