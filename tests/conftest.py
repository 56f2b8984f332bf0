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

#: The files that take longest, longest first: none of them is left to the end, where others wait.
LONGEST = (
    *("runbook/test_incidents.py", "integration/test_chaos.py", "integration/test_up.py"),
    *("security/test_users.py", "deploy/test_containers.py", "docs/test_quickstart.py"),
    *("acceptance/test_server_commands.py", "docs/test_typed.py", "security/test_roles.py"),
    *("gateway/test_openapi.py", "integration/test_embedded.py", "browser/test_operator.py"),
    *("integration/test_moving.py", "acceptance/test_spool.py", "integration/test_logs.py"),
    *("benchmarks/test_short.py", "integration/test_retention.py", "integration/test_model.py"),
    *("acceptance/test_heartbeats.py", "integration/test_sign_of_life.py", "unit/test_channel.py"),
    *("integration/test_flower.py", "acceptance/test_readme.py", "examples/test_workflows.py"),
    *("security/test_client_as_wrapper.py", "security/test_no_secret.py", "docs/test_site.py"),
    *("faults/test_faults.py", "importing/test_import.py", "acceptance/test_demo.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that share the house of a session behind all others, and those of LONGEST first.

    A house takes a tenth of a processor while it does nothing: it is built late, and not left to
    stand. The order is xdist's too, with ``--no-loadscope-reorder``.
    """
    shared = {item.path for item in items if _shares_the_house(item)}
    ranks = {Path(__file__).parent / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (item.path in shared, ranks.get(item.path, len(ranks))))


def _shares_the_house(item: pytest.Item) -> bool:
    known = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    return "house" in known and known["house"][-1].scope == "session"


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
