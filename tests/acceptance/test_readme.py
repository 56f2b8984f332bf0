"""The README is run: every shell block, in order, in one shell, as a newcomer would type it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.house import House, environment, needs

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """The README's fenced blocks of one language."""
    return [
        text for kind, text in BLOCK.findall((ROOT / "README.md").read_text()) if kind == language
    ]


def first_ten_minutes() -> list[str]:
    """The shell blocks that follow once `porch-server up` runs in its terminal."""
    shell = blocks("sh")
    (start,) = [n for n, block in enumerate(shell) if "porch-server up" in block]
    return shell[start + 1 :]


@pytest.fixture(scope="module")
def newcomer(
    scratch: Callable[[str], Path],
) -> subprocess.CompletedProcess[str]:
    """What a shell says to all blocks, one after the other, in an empty directory."""
    needs("curl")
    here = scratch("newcomer")
    with House(here / "porch-state", {"PORCH_FLOWER": "true"}) as house:
        script = here / "typed.sh"
        script.write_text(
            "set -eu\n"
            + "\n".join(f"echo '## {n}'\n{block}" for n, block in enumerate(first_ten_minutes()))
        )
        return subprocess.run(
            ["bash", str(script)],
            cwd=here,
            env=environment({"PORCH_STATE_DIR": str(house.state_dir)}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def test_every_shell_block_succeeds(newcomer: subprocess.CompletedProcess[str]) -> None:
    assert newcomer.returncode == 0, newcomer.stderr


def test_the_closing_lines_tell_what_a_newcomer_expects(
    newcomer: subprocess.CompletedProcess[str],
) -> None:
    said = re.sub(r" +", " ", newcomer.stderr)
    assert "4 definitions 4 new 0 known" in said
    assert "4 definitions 0 new 4 known (4 PENDING)" in said
    assert "4 claimed 3 DONE 1 FAILED" in said
    assert "1 claimed 1 DONE 0 FAILED" in said


def test_show_explains_the_failure_as_the_readme_says(
    newcomer: subprocess.CompletedProcess[str],
) -> None:
    assert "RUNNING -> FAILED" in newcomer.stdout
    assert "exit 1: bgzip: No space left on device" in newcomer.stdout


def test_the_python_block_runs(house: House, tmp_path: Path) -> None:
    (block,) = blocks("python")
    script = tmp_path / "example.py"
    script.write_text(block)
    _, token = house.pipeline()
    done = subprocess.run(
        [environment()["PATH"].split(":")[0] + "/python", str(script)],
        env=environment(house.env(token)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("True") == 10


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
