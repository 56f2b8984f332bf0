"""Markdown of words that were written for a terminal, a docstring or a schema."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_CODE = re.compile(r"(``.+?``|`.+?`)", re.DOTALL)


def prose(text: str) -> str:
    """Words with `code` in them, of which nothing else is Markdown."""
    parts = _CODE.split(text)
    parts[::2] = [re.sub(r"([\\*_<\[\]#|~$])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def code(text: str) -> str:
    """Text that is typed or read by a program."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def cell(text: str) -> str:
    """The same in one cell of a table."""
    return " ".join(text.replace("\\|", "|").replace("|", "\\|").split())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already; empty where there are no rows."""
    lines = [f"| {' | '.join(map(cell, row))} |" for row in rows]
    if not lines:
        return ""
    top = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*top, *lines]) + "\n"


def fenced(text: str, language: str = "") -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```\n"
