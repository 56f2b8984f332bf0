"""The pages on how to run porch: what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import yaml

from config.cli import cli
from config.settings import known_names
from tests.deploy.engine import ROOT

PAGES = sorted((ROOT / "docs" / "deploy").glob("*.md"))
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def text(request: pytest.FixtureRequest) -> str:
    page: Path = request.param
    return page.read_text()


def test_every_command_of_the_server_exists(text: str) -> None:
    assert isinstance(cli, click.Group)
    named = set(re.findall(r"porch-server ([a-z][a-z-]+)", text))
    assert named <= set(cli.commands)


def test_every_setting_is_one(text: str) -> None:
    assert set(re.findall(r"PORCH_[A-Z_]+", text)) <= known_names()


def test_every_service_that_is_told_to_do_something_is_there(text: str) -> None:
    told = re.findall(r"docker compose (?:exec|run|stop|logs)((?: -[-a-zA-Z]+)*)([a-z -]+)", text)
    for _, words in told:
        service = words.split()[0]
        assert service in SERVICES, words


def test_every_variable_of_the_compose_file_is_explained() -> None:
    used = re.findall(r"\$\{([A-Z_]+):", (ROOT / "docker-compose.yml").read_text())
    page = (ROOT / "docs" / "deploy" / "compose.md").read_text()
    assert [name for name in used if f"`{name}`" not in page] == []


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
