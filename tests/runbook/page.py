"""docs/runbook.md: its sections, the commands in it, and which words name which cause."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.pages import snippets

PAGE = Path(__file__).parents[2] / "docs" / "runbook.md"
ANCHORS = (
    *("no-worker", "broker-away", "postgresql-away", "claimed-and-silent", "poison-message"),
    *(
        "disk-full",
        "one-pipeline-floods",
        "failures-rising",
        "oldest-pending",
        "refusals-rising",
        "feed-behind",
    ),
)

_SECTION = re.compile(r"^## (.*)\n", re.MULTILINE)
_CAUSE = re.compile(r"^\| (.*?) \| \[.*?\]\(#([\w-]+)\) \|$", re.MULTILINE)
_SEE = re.compile(r"docs/runbook\.md#([\w-]+)")


def sections() -> dict[str, str]:
    """What is below each heading."""
    _, *parts = _SECTION.split(PAGE.read_text())
    return dict(zip(parts[::2], parts[1::2], strict=True))


def blocks(kind: str, section: str) -> list[str]:
    """The shell blocks of a kind (``commands``, ``look``, ``cure``) in a section."""
    return [
        one.text
        for one in snippets("docs/runbook.md")
        if (one.mark, one.section) == (kind, section)
    ]


def commands() -> tuple[str, list[str]]:
    """What is typed first, and the commands that lead to the cause, in order."""
    (block,) = blocks("commands", '"Pipeline X is stuck"')
    first, *lines = block.splitlines()
    return first, lines


def named(printed: str) -> set[str]:
    """The causes, by their anchors, that an operator finds in what was printed."""
    found = set(_SEE.findall(printed))
    for cell, anchor in _CAUSE.findall(PAGE.read_text()):
        words = re.findall(r"`(.*?)`", cell.partition(";")[0])
        found |= {anchor for word in words if word in printed}
    return found
