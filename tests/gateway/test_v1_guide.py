"""docs/npg_porch.md is run: every shell block, in order, in one shell."""

from __future__ import annotations

import json
import re

import pytest

from tests.docs.pages import snippets
from tests.docs.terminal import Terminals
from tests.factories import unique
from tests.house import House, environment, needs

PAGE = "docs/npg_porch.md"
NAME = "my-first-pipeline"


@pytest.fixture(scope="module")
def said(house: House, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each block prints. The pipeline's name is one of the test's own."""
    needs("curl")
    env = {"URL": house.ready["gateway_url"], "ADMIN_TOKEN": house.ready["admin_token"]}
    here = tmp_path_factory.mktemp("typed")
    with Terminals(here, environment(env), {NAME: unique(NAME)}) as terminals:
        return [one.output for one in terminals.type_page(snippets(PAGE))]


def test_a_pipeline_is_registered(said: list[str]) -> None:
    uri = "https://example.org/my-pipeline"
    assert json.loads(said[0]) == {"name": NAME, "uri": uri, "version": "1.0"}


def test_a_task_is_submitted_listed_and_claimed(said: list[str]) -> None:
    submitted = json.loads(said[2])
    assert json.loads(said[3]) == [submitted]
    assert json.loads(said[4]) == [{**submitted, "status": "CLAIMED"}]


def test_it_fails_and_is_done_the_second_time(said: list[str]) -> None:
    statuses = re.findall('"status":"([A-Z]+)"', said[5] + said[6])
    assert statuses == ["RUNNING", "FAILED", "PENDING", "RUNNING", "DONE"]


def test_what_is_done_stays_done(said: list[str]) -> None:
    assert "--force --reason" in said[7]
    assert "\n409\n" in said[7]


def test_a_version_is_added(said: list[str]) -> None:
    assert re.findall(r'"version":"([\d.]+)"', said[8]) == ["2.0", "1.0", "2.0"]
