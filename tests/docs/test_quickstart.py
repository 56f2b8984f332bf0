"""docs/quickstart.md is typed from top to bottom, with the real Snakemake."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, snippets
from tests.docs.terminal import Terminals, Typed
from tests.examples.workflows import installed_snakemake
from tests.house import BIN

PAGE = "docs/quickstart.md"


@pytest.fixture(scope="module")
def typed(scratch: Callable[[str], Path]) -> Iterator[list[Typed]]:
    """What is typed and seen in a checkout in which porch and Snakemake are installed."""
    checkout = scratch("quickstart")
    (checkout / ".venv").symlink_to(BIN.parent)
    (checkout / ".venv-snakemake").symlink_to(installed_snakemake().parent)
    (checkout / "examples").symlink_to(ROOT / "examples")
    # Without the commands of this venv on the path: the page puts them there.
    path = os.pathsep.join(one for one in os.environ["PATH"].split(os.pathsep) if one != str(BIN))
    ports = {"PORCH_GATEWAY_PORT": "0", "PORCH_FLOWER_PORT": "0"}
    with Terminals(checkout, {**os.environ, **ports, "PATH": path}) as terminals:
        yield terminals.type_page(snippets(PAGE))


def test_all_that_is_typed_says_what_the_page_shows(typed: list[Typed]) -> None:
    assert len(typed) >= 10
    assert "already in use" not in typed[0].output


def test_each_definition_has_run_once_but_for_the_one_that_was_mended(typed: list[Typed]) -> None:
    (counts,) = [one.output for one in typed if "porch list --count" in one.snippet.text]
    assert '{"DONE": 3, "FAILED": 1}' in counts
    assert "5 DONE" not in counts
