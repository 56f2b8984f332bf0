"""What is wrong with links: in the built site, and between the Markdown files of the repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

_LOADS = {"src", "srcset", "data", "poster", "action", "href"}
_IN_STYLE = re.compile(r"""(?:url\(\s*|@import\s+(?!url))['"]?([^'")\s;]+)""")
_MARKDOWN = MarkdownIt("commonmark").enable("table")


@dataclass
class _Page(HTMLParser):
    """One HTML page: its anchors, where it links to, and what it loads."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    _styling: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._styling = tag == "style"
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)
            elif name == "style":
                self.loads += _IN_STYLE.findall(value)
            elif name.removeprefix("xlink:") in _LOADS and tag != "meta":
                (self.links if tag == "a" else self.loads).append(value.strip())

    def handle_data(self, data: str) -> None:
        if self._styling:
            self.loads += _IN_STYLE.findall(data)


def wrong_in_site(site: Path) -> list[str]:
    """What is dead, or would be loaded from another host, each with its page."""
    pages = {path: _Page() for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        page.feed(path.read_text(encoding="utf-8"))
    wrong = []
    for path, page in pages.items():
        flaws = [(link, _flaw_of_link(path, link, site, pages)) for link in page.links]
        flaws += [(load, _flaw_of_load(path, load, site, pages)) for load in page.loads]
        wrong += [f"{path.relative_to(site)}: {what} {flaw}" for what, flaw in flaws if flaw]
    for style in sorted(site.rglob("*.css")):
        for load in _IN_STYLE.findall(style.read_text(encoding="utf-8")):
            if flaw := _flaw_of_load(style, load, site, pages):
                wrong.append(f"{style.relative_to(site)}: {load} {flaw}")
    return wrong


def _flaw_of_link(path: Path, link: str, site: Path, pages: dict[Path, _Page]) -> str:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return "" if _is_well_formed(link) else "is no address"
    return _dead(path, link, site, pages)


def _flaw_of_load(path: Path, load: str, site: Path, pages: dict[Path, _Page]) -> str:
    if load.startswith(("data:", "#")):
        return ""
    parts = urlsplit(load)
    if parts.scheme or parts.netloc:
        return "is loaded from elsewhere"
    return _dead(path, load, site, pages)


def _is_well_formed(link: str) -> bool:
    parts = urlsplit(link)
    if parts.scheme == "mailto":
        return "@" in parts.path
    return parts.scheme in {"http", "https"} and re.fullmatch(r"[\w.:-]+", parts.netloc) is not None


def _dead(path: Path, link: str, site: Path, pages: dict[Path, _Page]) -> str:
    there, anchor = urldefrag(link)
    relative = unquote(urlsplit(there).path)
    target = (path.parent / relative).resolve() if relative else path
    if not target.is_relative_to(site.resolve()):
        return "leads out of the site"
    if not target.is_file():
        return "is not there"
    if anchor and target in pages and unquote(anchor) not in pages[target].anchors:
        return "has no such anchor"
    return ""


def markdown_files(root: Path) -> list[Path]:
    """All Markdown of the repository, but for what is installed or built in it."""
    own = ("*.md", "docs/**/*.md", "examples/**/*.md", "client/*.md", "benchmarks/**/*.md")
    return sorted({path for pattern in own for path in root.glob(pattern)})


def wrong_in_markdown(files: list[Path], root: Path) -> list[str]:
    """Relative links that lead nowhere, each with its file."""
    wrong = []
    for path in files:
        for link in _links_of(path):
            where = f"{path.relative_to(root)}: {link}"
            if urlsplit(link).scheme:
                if not _is_well_formed(link):
                    wrong.append(f"{where} is no address")
                continue
            there, anchor = urldefrag(link)
            target = (path.parent / unquote(there)).resolve() if there else path.resolve()
            if not target.is_relative_to(root.resolve()):
                wrong.append(f"{where} leads out of the repository")
            elif not target.exists():
                wrong.append(f"{where} is not there")
            elif anchor and (target.suffix != ".md" or anchor not in _anchors_of(target)):
                wrong.append(f"{where} has no such anchor")
    return wrong


def _tokens(path: Path) -> Iterator[Token]:
    for token in _MARKDOWN.parse(path.read_text(encoding="utf-8")):
        yield token
        yield from token.children or ()


def _links_of(path: Path) -> Iterator[str]:
    for token in _tokens(path):
        link = token.attrs.get("href", token.attrs.get("src"))
        if isinstance(link, str):
            yield link
        elif token.type in {"html_block", "html_inline"}:
            page = _Page()
            page.feed(token.content)
            yield from (urljoin("", each) for each in (*page.links, *page.loads))


def _anchors_of(path: Path) -> set[str]:
    """As git hosts make them of headings."""
    found: set[str] = set()
    tokens = list(_tokens(path))
    for token, following in pairwise(tokens):
        if token.type == "heading_open":
            text = "".join(child.content for child in following.children or ())
            slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            again = [slug, *(f"{slug}-{n}" for n in range(1, 100))]
            found.add(next(name for name in again if name not in found))
    return found
