"""What checks the links of the site finds what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.site_links import markdown_files, wrong_in_markdown, wrong_in_site

GOOD = '<html id="top"><a href="b.html#there">b</a><a href="https://example.org/x">x</a></html>'


@pytest.mark.parametrize(
    ("page", "flaw"),
    [
        ('<a href="c.html">c</a>', "is not there"),
        ('<a href="b.html#nowhere">b</a>', "no such anchor"),
        ('<a href="#nowhere">here</a>', "no such anchor"),
        ('<a href="../../etc/passwd">p</a>', "leads out"),
        ('<a href="https:/typo">t</a>', "no address"),
        ('<img src="gone.svg">', "is not there"),
        ('<link rel="stylesheet" href="https://fonts.example.org/a.css">', "from elsewhere"),
        ('<script src="//cdn.example.org/a.js"></script>', "from elsewhere"),
        ("<style>@import url(https://cdn.example.org/a.css);</style>", "from elsewhere"),
        ('<p style="background: url(https://example.org/a.png)"></p>', "from elsewhere"),
    ],
)
def test_a_flaw_in_a_page_is_found(tmp_path: Path, page: str, flaw: str) -> None:
    (tmp_path / "b.html").write_text('<p id="there"></p>')
    (tmp_path / "a.html").write_text(GOOD)
    assert wrong_in_site(tmp_path) == []
    (tmp_path / "a.html").write_text(GOOD + page)
    (wrong,) = wrong_in_site(tmp_path)
    assert wrong.startswith("a.html: ")
    assert flaw in wrong


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("[c](c.md)", "is not there"),
        ("[b](b.md#nowhere)", "no such anchor"),
        ("[a](#nowhere)", "no such anchor"),
        ("[out](../../x.md)", "leads out"),
        ("[t](https:/typo)", "no address"),
        ("![picture](gone.svg)", "is not there"),
        ('<img src="gone.svg">', "is not there"),
    ],
)
def test_a_flaw_in_a_markdown_file_is_found(tmp_path: Path, text: str, flaw: str) -> None:
    (tmp_path / "b.md").write_text("# A word: `two`\n\n# Again\n\n# Again\n")
    good = (
        "[1](b.md) [2](b.md#a-word-two) [3](b.md#again-1) [4](https://example.org)\n\n`[no](link)`"
    )
    a = tmp_path / "a.md"
    a.write_text(good)
    assert wrong_in_markdown(markdown_files(tmp_path), tmp_path) == []
    a.write_text(f"{good}\n\n{text}\n")
    (wrong,) = wrong_in_markdown(markdown_files(tmp_path), tmp_path)
    assert wrong.startswith("a.md: ")
    assert flaw in wrong
