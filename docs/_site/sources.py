"""Files that pages link to and that are no pages themselves: each is shown on a page of its own.

The file itself lies beside that page, to be downloaded. A folder's page lists the files in it.
"""

from __future__ import annotations

import html
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from docutils import nodes
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.application import Sphinx

_Page = tuple[str, dict[str, Any], str]


def page_of(path: PurePosixPath) -> str:
    """The page that shows a file, or a folder, of the repository."""
    return f"source/{path}"


def lead_there(app: Sphinx, doctree: nodes.document) -> None:
    """Let links to files and folders lead to their pages."""
    page = app.env.docname
    for node in list(doctree.findall(addnodes.download_reference)):
        _lead(app, page, node)
    for node in list(doctree.findall(addnodes.pending_xref)):
        if node.get("reftype") == "myst" and node.get("refdomain") is None:
            _lead(app, page, node)


def _lead(app: Sphinx, page: str, node: nodes.Element) -> None:
    relative, absolute = app.env.relfn2path(node["reftarget"], page)
    if not Path(absolute).exists():
        return  # Sphinx says so
    path = PurePosixPath(Path(relative).as_posix())
    app.env.porch_sources.setdefault(page, set()).add(path)
    uri = app.builder.get_relative_uri(page, page_of(path))
    node.replace_self(nodes.reference("", "", *node.children, internal=True, refuri=uri))


def pages(app: Sphinx) -> Iterator[_Page]:
    """A page for each of them."""
    wanted = set().union(*app.env.porch_sources.values())
    for path in sorted(wanted):
        file = Path(app.srcdir, path)
        if file.is_dir():
            below = sorted(f.name for f in file.iterdir() if f.is_file())
            yield _folder(app, path, below)
            wanted_below = {path / name for name in below} - wanted
            yield from (_file(app, each) for each in sorted(wanted_below))
        else:
            yield _file(app, path)


def _folder(app: Sphinx, path: PurePosixPath, names: list[str]) -> _Page:
    here = page_of(path)
    items = "".join(
        f'<li><a href="{app.builder.get_relative_uri(here, page_of(path / name))}">'
        f"{html.escape(name)}</a></li>"
        for name in names
    )
    return here, _context(path, f"<ul>{items}</ul>"), "page.html"


def _file(app: Sphinx, path: PurePosixPath) -> _Page:
    text = Path(app.srcdir, path).read_text(encoding="utf-8")
    try:
        language = get_lexer_for_filename(path.name).aliases[0]
    except ClassNotFound:
        language = "bash" if text.startswith("#!") else "none"
    shown = app.builder.highlighter.highlight_block(text, language, force=True, linenos=False)
    itself = Path(app.outdir, page_of(path))
    itself.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(app.srcdir, path), itself)
    link = f'<p><a href="{quote(path.name)}" download>Download</a></p>'
    return page_of(path), _context(path, link + shown), "page.html"


def _context(path: PurePosixPath, body: str) -> dict[str, Any]:
    title = html.escape(str(path))
    return {"title": title, "body": f"<h1><code>{title}</code></h1>{body}"}


def _begin(app: Sphinx) -> None:
    if not hasattr(app.env, "porch_sources"):
        app.env.porch_sources = {}  # by the page that links to them


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", _begin)
    # Before Sphinx collects what is to be downloaded.
    app.connect("doctree-read", lead_there, priority=100)
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": False}
