"""What the two distributions bring, and what they do not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
SERVER = {"coordinator", "db", "config", "tasks"}


def build(source: Path, into: Path) -> ZipFile:
    """The wheel of a copy of a distribution: building leaves folders behind."""
    copy = into / "source"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info")
    shutil.copytree(source, copy, ignore=ignored)
    # Without isolation, so that nothing is fetched: setuptools is one of our dev dependencies.
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(into), str(copy)],
        check=True,
    )
    (wheel,) = into.glob("*.whl")
    return ZipFile(wheel)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    return build(ROOT, tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    return build(ROOT / "client", tmp_path_factory.mktemp("client"))


def packages(wheel: ZipFile) -> set[str]:
    """The folders at the top of a wheel, but for its metadata."""
    tops = {name.split("/")[0] for name in wheel.namelist()}
    return {top for top in tops if not top.endswith(".dist-info")}


def metadata(wheel: ZipFile, name: str) -> str:
    (path,) = (path for path in wheel.namelist() if path.endswith(f".dist-info/{name}"))
    return wheel.read(path).decode()


def test_the_server_brings_its_four_packages_and_no_other(server: ZipFile) -> None:
    assert packages(server) == SERVER


def test_every_module_of_the_server_is_in_its_wheel(server: ZipFile) -> None:
    modules = {str(path.relative_to(ROOT)) for top in SERVER for path in (ROOT / top).rglob("*.py")}
    assert modules <= set(server.namelist())


def test_what_the_pages_are_made_of_is_in_the_wheel(server: ZipFile) -> None:
    pages = ROOT / "coordinator" / "gateway" / "pages"
    pieces = [*(pages / "templates").iterdir(), *(pages / "static").iterdir()]
    assert {str(path.relative_to(ROOT)) for path in pieces} <= set(server.namelist())


def test_migrations_can_be_run_from_the_wheel(server: ZipFile) -> None:
    names = server.namelist()
    assert "db/migrations/env.py" in names
    assert "db/migrations/versions/0001_begin.py" in names


def test_the_client_brings_its_package_with_its_types(client: ZipFile) -> None:
    assert packages(client) == {"porch_client"}
    assert "porch_client/py.typed" in client.namelist()


def test_every_module_of_the_client_is_in_its_wheel(client: ZipFile) -> None:
    source = ROOT / "client" / "src"
    modules = {str(path.relative_to(source)) for path in source.rglob("*.py")}
    assert modules <= set(client.namelist())


def test_the_client_requires_nothing_of_the_server(client: ZipFile) -> None:
    required = Parser().parsestr(metadata(client, "METADATA")).get_all("Requires-Dist") or []
    words = " ".join(required).lower()
    assert "celery[redis]" in words
    for name in ("porch", "sqlalchemy", "psycopg2", "alembic", "pydantic", "rfc8785"):
        assert name not in words


@pytest.mark.parametrize(
    ("distribution", "script"),
    [("server", "porch-server = config.cli:main"), ("client", "porch = porch_client.cli:main")],
)
def test_a_wheel_brings_its_command(
    request: pytest.FixtureRequest, distribution: str, script: str
) -> None:
    assert script in metadata(request.getfixturevalue(distribution), "entry_points.txt")


def test_the_server_brings_the_users_of_the_broker(server: ZipFile) -> None:
    assert "config/redis/users.acl" in server.namelist()
