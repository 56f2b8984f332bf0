"""The pages people read, and the code that stands in them.

A comment before a block says what a reader of the page's source must know of it:

``<!-- in a terminal of its own -->``  a new one, that knows nothing of what was typed before
``<!-- until Ctrl-C -->``              it does not end by itself, and is ended by who types it
``<!-- run by tests/x.py -->``         that test runs it, as nobody else can
``<!-- checked by tests/x.py -->``     it is not typed: that test compares it with what there is
``<!-- not run: WHY -->``              and perhaps which test has most of it

Without one, a block of ``sh`` or ``python`` is run, and one of ``text`` is what the block before it
prints.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]

#: Pages that a test of their own types from top to bottom.
OWN_TESTS = {
    "README.md": "tests/acceptance/test_readme.py",
    "docs/http.md": "tests/gateway/test_http_md.py",
    "docs/npg_porch.md": "tests/gateway/test_v1_guide.py",
    "docs/quickstart.md": "tests/docs/test_quickstart.py",
    "docs/runbook.md": "tests/runbook/test_incidents.py",
}

PARSERS: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    # The settings of a server that has no sections.
    "ini": lambda text: ConfigParser(interpolation=None).read_string(f"[all]\n{text}"),
}

_MARK = re.compile(r"<!-- (.*?) -->\s*\Z", re.DOTALL)
_TEST = re.compile(r"tests/[\w/]+\.py")


@dataclass(frozen=True, slots=True)
class Snippet:
    """One block of code. ``line``: of the page, where it begins."""

    page: str
    line: int
    language: str
    text: str
    mark: str
    #: The heading above it.
    section: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def tests(self) -> list[str]:
        """The tests that its mark names."""
        return _TEST.findall(self.mark)

    @property
    def own_terminal(self) -> bool:
        """Whether a new terminal is opened for it, in which it stays."""
        return self.mark == "in a terminal of its own"

    @property
    def lasting(self) -> bool:
        """Whether it goes on until somebody ends it."""
        return self.own_terminal or self.mark == "until Ctrl-C"

    @property
    def is_typed(self) -> bool:
        """Whether it is for a shell, or for Python."""
        return self.language in {"sh", "python"}

    @property
    def is_data(self) -> bool:
        """Whether it is of a form that can be read."""
        return self.language in PARSERS

    @property
    def elsewhere(self) -> bool:
        """Whether whoever types the page from top to bottom leaves it out."""
        return self.mark.startswith(("not run: ", "run by ", "checked by "))


def pages() -> list[str]:
    """Every page, from the root of the repository."""
    found = [
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    ]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def snippets(page: str) -> list[Snippet]:
    """The blocks of code of a page, in order: fenced ones, and those that are set in."""
    return list(_snippets(page, (ROOT / page).read_text()))


def _snippets(page: str, text: str) -> Iterator[Snippet]:
    mark = section = ""
    heading = False
    for token in MarkdownIt("commonmark").parse(text):
        if token.type in {"fence", "code_block"}:
            assert token.map is not None
            words = token.info.split()
            language = words[0] if words else ""
            yield Snippet(page, token.map[0] + 1, language, token.content, mark, section)
        elif token.type == "inline" and heading:
            section = token.content
        heading = token.type == "heading_open"
        found = _MARK.search(token.content) if token.type == "html_block" else None
        mark = " ".join(found[1].split()) if found else ""
