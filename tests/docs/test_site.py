"""The site builds without a warning, no link is dead, and all that the code has is in it."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import Request, sync_playwright

import porch_client
from config.cli import cli
from config.settings import Settings, known_names
from coordinator import errors as coordinators
from coordinator.gateway.app import make_gateway
from db.schema import metadata
from porch_client import errors as clients
from porch_client.cli import root
from porch_client.client import Porch
from tests.browser.conftest import FLAGS
from tests.docs.pages import snippets
from tests.docs.site_links import markdown_files, wrong_in_markdown, wrong_in_site
from tests.house import environment, needs

ROOT = Path(__file__).parents[2]
#: Of the reference.
PAGES = ("porch", "porch-server", "settings", "http", "python", "wire", "errors", "database")


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


def test_every_file_of_an_example_can_be_reached_from_its_page(site: Path) -> None:
    # Who has only the site needs the scripts as well.
    for page in sorted(ROOT.glob("examples/*/README.md")):
        built = (site / "examples" / page.parent.name / "README.html").read_text()
        files = {path.name for path in page.parent.iterdir() if path.is_file()} - {"README.md"}
        assert files, page
        for name in files:
            assert f"]({name})" in page.read_text(), page
            itself = site / "source" / "examples" / page.parent.name / name
            assert itself.read_bytes() == (page.parent / name).read_bytes()
            assert f"{name}.html" in built


def test_the_first_page_leads_to_every_part(site: Path) -> None:
    # Pages that nothing leads to are warnings of Sphinx's.
    home = (site / "docs" / "index.html").read_text()
    assert 'url=docs/index.html"' in (site / "index.html").read_text()
    for page in ("runbook", "promises", "deploy/README", "reference/README"):
        assert f'href="{page}.html"' in home


def test_search_and_copying_work_without_a_server_and_ask_nobody(site: Path) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    found = needs("chromium", "chromium-browser")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        page = chromium.new_page()
        page.on("request", note)
        page.goto(f"{(site / 'docs' / 'index.html').as_uri()}")
        page.locator("button.copybtn").first.click()
        page.evaluate("document.body.prepend(document.createElement('textarea'))")
        page.locator("textarea").press("Control+V")
        shown = next(one.text for one in snippets("docs/index.md") if one.language == "sh")
        assert page.locator("textarea").input_value().strip() == shown.strip()
        page.get_by_placeholder("Search").fill("poison")
        page.keyboard.press("Enter")
        page.locator("#search-results a[href*='docs/runbook.html']").first.click()
        page.locator("#poison-message").first.wait_for()
        chromium.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, BeautifulSoup]:
    """The reference, page by page, as it is built."""
    folder = site / "docs" / "reference"
    return {
        name: BeautifulSoup((folder / f"{name}.html").read_text(), "html.parser").article
        for name in PAGES
    }


def codes(page: BeautifulSoup) -> set[str]:
    """All that is set as code."""
    return {code.get_text() for code in page.find_all("code")}


def headings(page: BeautifulSoup) -> set[str]:
    """The headings, without the sign that links to them."""
    return {title.get_text().rstrip("¶#") for title in page.find_all(re.compile("^h[1-4]$"))}


def commands(command: click.Command, path: str) -> dict[str, click.Command]:
    """A command and all below it, by what is typed."""
    found = {path: command}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            found |= commands(below, f"{path} {name}")
    return found


def test_no_part_of_it_is_empty(pages: dict[str, BeautifulSoup]) -> None:
    for name, page in pages.items():
        sections = page.find_all("section")
        assert len(sections) > 3, name
        for section in sections:
            title, *rest = section.get_text(" ", strip=True).split("¶", 1)
            assert any(len(text.strip()) > 3 for text in rest), f"{name}: {title} is empty"
        for table in page.find_all("table"):
            assert table.tbody.find_all("tr"), name


@pytest.mark.parametrize(("page", "group"), [("porch", root), ("porch-server", cli)])
def test_every_command_is_told_with_every_option(
    pages: dict[str, BeautifulSoup], page: str, group: click.Group
) -> None:
    all_of_them = commands(group, page)
    assert len(all_of_them) > 10
    told = {
        section.find(re.compile("^h2$")).get_text().rstrip("¶#"): section
        for section in pages[page].find_all("section")
        if section.h2 and not section.h1
    }
    for path, command in all_of_them.items():
        assert command.help, path
        words = {code.split()[0].rstrip(",") for code in codes(told[path]) if code.strip()}
        for option in (each for each in command.params if isinstance(each, click.Option)):
            assert option.help, f"{path} {option.opts} has no help"
            assert option.hidden or words.intersection(option.opts), f"{path} {option.opts}"


def test_every_setting_is_told_here_and_in_the_readme(pages: dict[str, BeautifulSoup]) -> None:
    names = known_names() - {"PORCH_TASK"}
    assert names | {"PORCH_TASK"} <= codes(pages["settings"])
    table = (ROOT / "README.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    rows = "\n".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))
    assert set(re.findall(r"PORCH_\w+", rows)) == names
    undescribed = [name for name, of in Settings.model_fields.items() if not of.description]
    assert undescribed == []


def test_every_path_and_shape_of_http_is_told(pages: dict[str, BeautifulSoup]) -> None:
    told = make_gateway(None).openapi()  # type: ignore[arg-type]
    paths = {
        f"{method.upper()} {path}" for path, methods in told["paths"].items() for method in methods
    }
    assert len(paths) > 30
    assert paths | set(told["components"]["schemas"]) <= headings(pages["http"])


def test_every_public_name_of_the_client_is_told(pages: dict[str, BeautifulSoup]) -> None:
    told = {sign["id"] for sign in pages["python"].find_all("dt", id=True)}
    for name in porch_client.__all__:
        home = "porch_client.errors" if name == "PorchError" else "porch_client"
        assert f"{home}.{name}" in told
    for name, method in inspect.getmembers(Porch, callable):
        if not name.startswith("_"):
            assert f"porch_client.Porch.{name}" in told
            assert method.__doc__, name
    for name, kind in vars(clients).items():
        if inspect.isclass(kind) and issubclass(kind, clients.PorchError):
            assert f"porch_client.errors.{name}" in told


def test_every_code_is_told_with_what_to_do(pages: dict[str, BeautifulSoup]) -> None:
    tree = re.findall(r"[├└]── \w+ +([a-z_]+)", coordinators.__doc__ or "")
    kinds_only = {"access_denied", "not_found", "conflict"}
    # Where the client has something to say of a code as well, the coordinator's comes first.
    found = pages["errors"].find_all("tr")
    rows = {row.code.get_text(): row for row in reversed(found) if row.code}
    assert len(tree) > 30
    for code in set(tree) - kinds_only:
        assert all(cell.get_text().strip() for cell in rows[code].find_all("td")), code
    assert {*clients._KINDS, "no_broker", "spool_busy", "misconfigured"} <= rows.keys()


def test_every_verb_is_told_with_its_queue_and_what_it_answers(
    pages: dict[str, BeautifulSoup],
) -> None:
    code = "".join((ROOT / "tasks" / f"{name}.py").read_text() for name in ("verbs", "overview"))
    verbs = re.findall(r'^@(?:door|crowd)\("(\w+)"', code, re.MULTILINE)
    assert len(verbs) > 20
    told = {
        section.h3.get_text().rstrip("¶#"): section.get_text(" ")
        for section in pages["wire"].find_all("section")
        if section.h3 and not section.h2
    }
    for verb in verbs:
        assert "In queue" in told[f"porch.{verb}"], verb
        assert "Answers" in told[f"porch.{verb}"], verb


def test_every_table_is_told(pages: dict[str, BeautifulSoup]) -> None:
    assert {table.name for table in metadata.tables.values()} <= headings(pages["database"])
    for table in metadata.tables.values():
        assert {column.name for column in table.columns} <= codes(pages["database"])
