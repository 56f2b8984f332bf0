"""The README is typed from top to bottom, as a newcomer would type it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, snippets
from tests.docs.terminal import Terminals, Typed
from tests.house import BIN, environment, needs

PAGE = "README.md"


@pytest.fixture(scope="module")
def newcomer(scratch: Callable[[str], Path]) -> Iterator[list[Typed]]:
    """What is typed and seen in a checkout in which porch is installed."""
    needs("curl")
    checkout = scratch("newcomer")
    (checkout / ".venv").symlink_to(BIN.parent)
    ports = {"PORCH_GATEWAY_PORT": "0", "PORCH_FLOWER_PORT": "0"}
    with Terminals(checkout, environment(ports)) as terminals:
        yield terminals.type_page(snippets(PAGE))


def blocks(language: str) -> list[str]:
    """The README's blocks of one language."""
    return [one.text for one in snippets(PAGE) if one.language == language]


def test_the_closing_lines_tell_what_a_newcomer_expects(newcomer: list[Typed]) -> None:
    said = re.sub(r"\s+", " ", " ".join(typed.output for typed in newcomer))
    assert "4 definitions 4 new 0 known" in said
    assert "4 definitions 0 new 4 known (4 PENDING)" in said
    assert "4 claimed 3 DONE 1 FAILED" in said
    assert "1 claimed 1 DONE 0 FAILED" in said


def test_the_python_block_registers_what_is_new(newcomer: list[Typed]) -> None:
    (typed,) = [typed for typed in newcomer if typed.snippet.language == "python"]
    assert typed.output.count("True") == 10


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    # `make test` is what runs this test; `make demo` runs in test_demo.py.
    typed = [line.split("#")[0].split() for line in blocks("sh")[0].splitlines()]
    assert typed == [["make", "demo"], ["make", "test"]]
    for command in typed:
        subprocess.run([*command, "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_every_other_command_named_in_the_readme_exists() -> None:
    (production,) = [block for block in blocks("") if "porch-server migrate" in block]
    for line in production.splitlines():
        words = [word for word in line.split() if not word.startswith("porch.")]
        command = [word for word in words if not word.startswith("-")]
        done = subprocess.run(
            [*command, "--help"], env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, line
        for option in words:
            if option.startswith("--"):
                assert option in done.stdout, line
