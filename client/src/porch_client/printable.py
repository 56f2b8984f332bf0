"""Text from elsewhere, made fit for a terminal."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """`text` without control characters: a message from elsewhere must not drive the terminal."""
    if text.isprintable():
        return text
    return "".join(
        char if char in "\n\t" or unicodedata.category(char)[0] != "C" else "\ufffd"
        for char in text
    )
