"""The real Snakemake, for whoever needs it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples.typed import EXAMPLES, ROOT

PINS = EXAMPLES / "snakemake" / "requirements.txt"


def installed_snakemake() -> Path:
    """The folder of its program, installed once for its pins; `make clean` removes it.

    Skips, or fails in CI, where it cannot be installed.
    """
    home = ROOT / ".bench" / f"snakemake-{hashlib.sha256(PINS.read_bytes()).hexdigest()[:12]}"
    home.parent.mkdir(exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes run tests
        if not (home / ".installed").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
            pip = [str(home / "bin" / "pip"), "install", "--quiet", "--no-deps", "--prefer-binary"]
            more = ["--disable-pip-version-check", "--requirement", str(PINS)]
            done = subprocess.run(
                [*pip, *more], capture_output=True, text=True, timeout=300, check=False
            )
            if done.returncode != 0:
                missing = f"snakemake could not be installed: {done.stderr[-500:]}"
                pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
            (home / ".installed").touch()
    return home / "bin"
