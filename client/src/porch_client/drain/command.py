"""What a command sees of its task, and what is told of its end. Pure: no process, no network.

The task comes as JSON on stdin and in `PORCH_TASK`; each scalar of its input as
`PORCH_INPUT_<KEY>`: the key in upper case, everything but A-Z and 0-9 turned into `_`. Where two
keys become one name the first is kept. Words of the command may hold `{key}` for a scalar of the
input, and `{task_input_id}`, `{attempt}`, `{pipeline}` and `{version}`, which are always those of
the task; `{{` and `}}` stand for braces. Text comes as it is, other scalars as JSON writes them:
`true`, `null`, `1.5`. No shell ever sees a value.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from porch_client.errors import Misconfigured

if TYPE_CHECKING:
    from porch_client.claimed import Claimed

LONGEST_VARIABLE = 128 * 1024 - 1
"""Linux refuses to start a command with a longer `NAME=value` (MAX_ARG_STRLEN): such a variable is
left out. The task on stdin is always whole."""

_LINES = 20
_CHARACTERS = 4000
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


def record(claimed: Claimed) -> dict[str, Any]:
    """A claimed task as `porch claim` prints it and a drained command reads it.

    `lease`: seconds within which its holder must be heard of, None where there is no limit.
    `lease_until`: when that is, as of the claim; heartbeats, of `porch drain` too, put it off.
    """
    lease = claimed.task.lease
    return {
        "pipeline": claimed.pipeline,
        "version": claimed.version,
        "task_input_id": claimed.task_input_id,
        "task_input": claimed.task_input,
        "attempt": claimed.attempt,
        "priority": claimed.task.priority,
        "lease": None if lease is None else round(lease),
        "lease_until": claimed.task.lease_until,
    }


def fill(words: Sequence[str], task: Mapping[str, Any]) -> list[str]:
    """The command for one task. Raises `Misconfigured` for a placeholder without a value."""
    own = {name: task[name] for name in ("task_input_id", "attempt", "pipeline", "version")}
    values = {**_scalars(task["task_input"]), **{name: str(own[name]) for name in own}}

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return match[0][0]
        if name not in values:
            raise _no_value(name, task, values)
        return values[name]

    return [_PLACEHOLDER.sub(value, word) for word in words]


def _no_value(name: str, task: Mapping[str, Any], values: Mapping[str, str]) -> Misconfigured:
    nested = name in task["task_input"]
    problem = "holds more than one value" if nested else "is not in its input"
    return Misconfigured(
        "unknown_placeholder",
        f"{{{name}}} {problem}: task {task['task_input_id'][:12]} of {task['pipeline']}",
        f"there are {', '.join(f'{{{known}}}' for known in values)}; write {{{{ for a brace, or "
        "cancel the task if its input is wrong",
    )


def environment(task: Mapping[str, Any], base: Mapping[str, str]) -> dict[str, str]:
    """The variables of a command: `base`, `PORCH_TASK` and `PORCH_INPUT_<KEY>`."""
    # Those of an outer `porch drain` are of another task.
    made = {
        name: value
        for name, value in base.items()
        if name != "PORCH_TASK" and not name.startswith("PORCH_INPUT_")
    }
    own = {"PORCH_TASK": json.dumps(task, ensure_ascii=False)}
    for key, value in _scalars(task["task_input"]).items():
        own.setdefault("PORCH_INPUT_" + re.sub("[^A-Z0-9]", "_", key.upper()), value)
    return made | {name: value for name, value in own.items() if _fits(name, value)}


def _fits(name: str, value: str) -> bool:
    # `surrogatepass`: what cannot be encoded must not end the drain of everything else.
    return len(f"{name}={value}".encode("utf-8", "surrogatepass")) < LONGEST_VARIABLE


def _scalars(task_input: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in task_input.items()
        if not isinstance(value, dict | list)
    }


def how_it_ended(returncode: int, stopped_by: str | None) -> str:
    """`exit 1`, or by which signal; `stopped_by` is the name of the one that we sent, if we did."""
    how = f"exit {returncode}" if returncode >= 0 else f"signal {signal_name(-returncode)}"
    if stopped_by is None:
        return how
    ours = f"stopped by signal {stopped_by} of porch drain"
    return ours if how == f"signal {stopped_by}" else f"{ours}, {how}"


def ending(returncode: int, stderr: bytes, stopped_by: str | None) -> str:
    """The message for a command that failed: how it ended, and the last lines of its stderr."""
    how, said = how_it_ended(returncode, stopped_by), last_lines(stderr)
    return f"{how}: {said}" if said else how


def last_lines(stderr: bytes) -> str:
    """The end of what a command wrote, as text that a database can hold."""
    text = stderr.decode("utf-8", "replace").replace("\0", "\ufffd")
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-_LINES:])[-_CHARACTERS:]


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; the number where it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
