"""Servers for the tests: real ones, from the embedded wheels, each in a folder that is removed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.embedded import EmbeddedUrls, embedded_servers
from config.server_home import remove_state_dir
from config.wiring import make_coordinator
from coordinator.service import Coordinator
from db.migrate import upgrade
from tests.databases import copy_of
from tests.house import House

SCREENSHOTS = Path(__file__).parent / "browser" / "screenshots"
SRA = Path(__file__).parents[2] / "shared" / "data" / "sra_runinfo_sars_cov_2_2020-06-01.csv"


BEGAN = time.time()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say where the pictures of the pages are: a test's own words are not shown."""
    if any(picture.stat().st_mtime > BEGAN for picture in SCREENSHOTS.glob("*.png")):
        terminalreporter.write_line(f"screenshots of the pages: {SCREENSHOTS}")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """What the developer has exported must not reach the tests."""
    for name in [name for name in os.environ if name.startswith("PORCH_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def scratch() -> Iterator[Callable[[str], Path]]:
    """Makes folders that are removed at the end of the session."""
    made: list[Path] = []

    def make(word: str) -> Path:
        made.append(Path(tempfile.mkdtemp(prefix=f"porch-test-{word}-")))
        return made[-1]

    yield make
    for folder in made:
        # As root, the data of a state directory are not below it.
        for state in (folder, folder / "state"):
            if (state / "state.json").exists():
                remove_state_dir(state)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def servers(scratch: Callable[[str], Path]) -> Iterator[EmbeddedUrls]:
    """PostgreSQL and Valkey without workers."""
    with embedded_servers(scratch("servers")) as urls:
        yield urls


@pytest.fixture(scope="session")
def template(servers: EmbeddedUrls) -> str:
    """The URL of a migrated, empty database."""
    upgrade(servers.database_url)
    return servers.database_url


@pytest.fixture
def database_url(template: str) -> Iterator[str]:
    """The URL of a migrated database of the test's own."""
    with copy_of(template, template) as url:
        yield url


@pytest.fixture
def porch(database_url: str) -> Iterator[Coordinator]:
    """A Coordinator over a database of the test's own."""
    coordinator = make_coordinator(database_url)
    yield coordinator
    coordinator.ledger.engine.dispose()  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def house(scratch: Callable[[str], Path]) -> Iterator[House]:
    """All of porch, as ``porch-server up`` runs it, shared by tests that break nothing."""
    with House(scratch("house") / "state") as running:
        yield running


@pytest.fixture
def own_house(scratch: Callable[[str], Path]) -> Iterator[House]:
    """All of porch, for one test that kills parts of it."""
    with House(scratch("house") / "state") as running:
        yield running


@pytest.fixture(scope="session")
def sra() -> Path:
    """The 6,889 public SRA runs of SARS-CoV-2 known on 2020-06-01; too large for the repository."""
    if not SRA.exists():
        missing = "the real sample sheet is not beside this checkout (../shared/data)"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    return SRA
