"""A headless Chromium, Debian's own, in front of a running porch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.house import House, User, needs

SCREENSHOTS = Path(__file__).parent / "screenshots"
#: It talks to nobody but the page that a test opens.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_SECONDS = 15


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium with a profile of its own, which goes with it.

    Playwright's event loop runs for as long: closed with the module, it is in no other test's way.
    """
    found = needs("chromium", "chromium-browser")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def window(browser: Browser, house: House) -> Iterator[Callable[..., Page]]:
    """Opens windows of an operator who is new here; what one complains of fails the test."""
    opened: list[BrowserContext] = []
    complaints: list[str] = []

    def new(**options: object) -> Page:
        settings = {"viewport": {"width": 1440, "height": 900}, **options}
        context = browser.new_context(base_url=house.ready["gateway_url"], **settings)  # type: ignore[arg-type]
        context.set_default_timeout(_SECONDS * 1_000)
        opened.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text))
        return page

    yield new
    for context in opened:
        context.close()
    # ReDoc would like its maker's logo: it is not let out, which is what the policy is for.
    allowed = re.compile(r"cdn\.redoc\.ly")
    assert not [complaint for complaint in complaints if not allowed.search(complaint)]


@pytest.fixture
def user(house: House) -> Iterator[User]:
    """Somebody with a pipeline of their own."""
    with User(house) as made:
        yield made


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keeps a picture of a page."""

    def keep(page: Page, word: str) -> None:
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{word}.png", full_page=True)

    return keep
