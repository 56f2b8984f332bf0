"""The site: it builds without a warning, no link in it is dead, and it needs nobody else."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Request, sync_playwright

from tests.browser.conftest import FLAGS
from tests.docs.site_links import markdown_files, wrong_in_markdown, wrong_in_site
from tests.house import environment, needs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(scratch: Callable[[str], Path]) -> Path:
    """The site, as `make site` builds it."""
    here = scratch("site")
    recipe = subprocess.run(
        ["make", "--dry-run", "--always-make", "site", f"SITE={here}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = recipe.stdout.replace("\\\n", " ").splitlines()
    (command,) = [shlex.split(line) for line in lines if "sphinx-build" in line]
    # A warning, and a name that nothing has, end it.
    assert {"--fail-on-warning", "--nitpicky"} <= set(command)
    built = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return here


def test_no_link_in_the_site_is_dead_and_nothing_comes_from_another_host(site: Path) -> None:
    assert wrong_in_site(site) == []


def test_no_link_between_files_of_the_repository_is_dead() -> None:
    files = markdown_files(ROOT)
    assert len(files) > 25
    assert wrong_in_markdown(files, ROOT) == []


def test_the_first_page_leads_to_every_part(site: Path) -> None:
    # Pages that nothing leads to are warnings of Sphinx's.
    home = (site / "docs" / "index.html").read_text()
    assert 'url=docs/index.html"' in (site / "index.html").read_text()
    for page in ("runbook", "promises", "deploy/README", "reference/README"):
        assert f'href="{page}.html"' in home


def test_search_works_without_a_server_and_asks_nobody(site: Path) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    found = needs("chromium", "chromium-browser")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        page = chromium.new_page()
        page.on("request", note)
        page.goto(f"{(site / 'docs' / 'index.html').as_uri()}")
        page.get_by_placeholder("Search").fill("poison")
        page.keyboard.press("Enter")
        page.locator("#search-results a[href*='docs/runbook.html']").first.click()
        page.locator("#poison-message").first.wait_for()
        chromium.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


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
