"""What holds for every script of the examples."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.examples.typed import EXAMPLES
from tests.house import BIN

SCRIPTS = sorted(EXAMPLES.rglob("*.sh"))
FOLDERS = sorted(path for path in EXAMPLES.iterdir() if path.is_dir())


def test_shellcheck_has_nothing_to_say() -> None:
    done = subprocess.run(
        [str(BIN / "shellcheck"), *map(str, SCRIPTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_script_stops_at_what_goes_wrong_and_can_be_run(script: Path) -> None:
    assert "\nset -euo pipefail\n" in script.read_text()
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_each_example_has_a_short_page(folder: Path) -> None:
    assert 10 <= len((folder / "README.md").read_text().splitlines()) <= 30
    assert f"({folder.name}/" in (EXAMPLES / "README.md").read_text()
