"""The reference: a page says `<!-- made of: NAME -->` where NAME is what is made of the code.

Each NAME is a module here with a function ``markdown()``. In the repository itself there is nothing
to go stale: a git host shows the page's first words, and not the comment.
"""

from __future__ import annotations

import re
from importlib import import_module

from sphinx.application import Sphinx

_MARK = re.compile(r"^<!-- made of: (\w+) -->$", re.MULTILINE)


def write(app: Sphinx, page: str, source: list[str]) -> None:
    """Put what is made of the code where the page says so."""
    del app, page
    source[0] = _MARK.sub(lambda mark: made(mark[1]), source[0])


def made(name: str) -> str:
    """The Markdown of that part of the reference."""
    text: str = import_module(f"{__name__}.{name}").markdown()
    return text


def readable(
    app: Sphinx, what: str, name: str, of: object, options: object, given: str | None, back: str
) -> tuple[str | None, str]:
    """Signatures with a default that is made anew each time, so that Sphinx can read them."""
    del app, what, name, of, options
    return (given.replace("<factory>", "...") if given else given), back


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", write)
    app.connect("autodoc-process-signature", readable)
    return {"parallel_read_safe": True}
