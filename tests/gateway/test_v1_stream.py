"""The measurement of GET /tasks, on a smaller scale: it fails where memory grows with the list."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gateway_stream.py"


def test_a_long_list_is_whole_and_takes_little_memory() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--tasks", "60000", "--clients", "2"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("120,000 tasks")
