"""docs/npg_porch.md is run: every shell block, in order, in one shell."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.factories import unique
from tests.house import House, environment, needs

PAGE = (Path(__file__).parents[2] / "docs" / "npg_porch.md").read_text()
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = "my-first-pipeline"


@pytest.fixture(scope="module")
def said(house: House, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each block prints. The pipeline's name is one of the test's own."""
    needs("curl")
    name = unique(NAME)
    typed = "".join(f"{block}echo\necho '## end'\n" for block in BLOCK.findall(PAGE))
    done = subprocess.run(
        ["bash", "-euc", typed.replace(NAME, name)],
        cwd=tmp_path_factory.mktemp("typed"),
        env=environment(
            {"URL": house.ready["gateway_url"], "ADMIN_TOKEN": house.ready["admin_token"]}
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.replace(name, NAME).split("## end\n")


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
