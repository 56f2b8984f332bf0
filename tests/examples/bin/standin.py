"""What the stand-ins for the schedulers' commands share: they note how they were called, and run
what they were given, element by element, with the variables that the real ones set.

They run it at once and in the foreground, which no scheduler does, and they know just the options
that the examples use: anything else is an error.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

JOB = "4711"


def note(name: str, facts: Mapping[str, object]) -> None:
    """Append a line on how the command was called, for the test."""
    with open(os.environ["STANDIN_CALLS"], "a") as file:
        file.write(json.dumps({"name": name, **facts}) + "\n")


def refuse(why: str) -> None:
    """End as a command does that was called wrongly."""
    sys.exit(f"{Path(sys.argv[0]).name} (stand-in): {why}")


def must(pattern: str, value: str | None, option: str) -> re.Match[str]:
    """The value of an option, as the real command would read it."""
    found = re.fullmatch(pattern, value or "")
    if found is None:
        refuse(f"{option}: {value!r} is not {pattern}")
    assert found is not None
    return found


def element(command: Sequence[str], variables: Mapping[str, str], log: str) -> int:
    """Run one element; its output goes to the log, as a scheduler has it. Its exit status."""
    with open(log, "w") as file:
        done = subprocess.run(
            command,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
    return done.returncode
