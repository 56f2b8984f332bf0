"""The side bar is made of the lists of links that readers see: on a git host there is only those.

`docs/index.md` has a list for each part of the site, under its heading. A README.md elsewhere leads
to the pages below its own folder that it links to.
"""

from __future__ import annotations

import posixpath
import re

from sphinx.application import Sphinx

_HEADING = re.compile(r"^## (.+)$")
_ITEM = re.compile(r"^- \[([^\]]+)\]\(([^)#]+)\.md\)")
_LINK = re.compile(r"\]\(([^)#:]+)\.md\)")


def parts(text: str) -> dict[str, list[tuple[str, str]]]:
    """By heading, the title and the page of each item of its list."""
    found: dict[str, list[tuple[str, str]]] = {}
    heading = ""
    for line in text.splitlines():
        if match := _HEADING.match(line):
            heading = match[1]
        elif match := _ITEM.match(line):
            found.setdefault(heading, []).append((match[1], match[2]))
    return found


def below(text: str) -> list[str]:
    """The pages below its own folder that a page links to, in the order in which it does."""
    pages = [posixpath.normpath(page) for page in _LINK.findall(text)]
    return list(dict.fromkeys(page for page in pages if not page.startswith(("..", "/"))))


def _toctree(entries: list[str], caption: str = "") -> str:
    head = f":caption: {caption}\n" if caption else ""
    return "\n\n```{toctree}\n:hidden:\n" + head + "\n" + "\n".join(entries) + "\n```\n"


def add(app: Sphinx, page: str, source: list[str]) -> None:
    """Add to a page that leads to others what Sphinx needs to know of it."""
    folder, _, name = page.rpartition("/")
    if page == app.config.root_doc:
        for caption, items in parts(source[0]).items():
            source[0] += _toctree([f"{title} <{path}>" for title, path in items], caption)
    elif name == "README" and folder and (pages := below(source[0])):
        source[0] += _toctree(pages)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", add)
    return {"parallel_read_safe": True}
