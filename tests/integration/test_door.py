"""How a verb is answered while PostgreSQL is away, and the broker with it."""

from __future__ import annotations

import subprocess
import sys

_BOTH_AWAY = """
from coordinator.errors import LedgerAway
from tasks.door import _patiently

class Task:
    def update_state(self, **_):
        told.append(1)
        raise ConnectionError("the broker is away")

told, calls = [], []

def call():
    calls.append(1)
    if len(calls) < 4:
        raise LedgerAway("PostgreSQL is away")
    return {}, "done"

print(_patiently(Task(), call)[1], len(calls), len(told))
"""


def test_a_broker_that_cannot_be_told_does_not_end_the_patience_with_postgresql() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", _BOTH_AWAY],
        env={"PORCH_BROKER_URL": "redis://127.0.0.1:1/0", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "done 4 1\n", done.stderr
