"""From a name that a person gave to the one thing it means, or an error that shows the way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from coordinator.commands import command
from coordinator.errors import (
    AmbiguousTask,
    PorchError,
    UnknownPipeline,
    UnknownTask,
    UnknownVersion,
    WhichVersion,
)
from coordinator.model import KeyRange, Pipeline, Task
from coordinator.requests import Name

_PREFIX = re.compile(r"\A[0-9a-f]{4,64}\Z")
_UNHOLDABLE = re.compile("[\0\ud800-\udfff]")

#: So many tasks are fetched for a prefix: enough to show that it is ambiguous, and for what.
MOST_MATCHES = 20


def may_be_a_name(text: str) -> bool:
    """Whether PostgreSQL can hold it: what it cannot is the name of nothing."""
    return not _UNHOLDABLE.search(text)


def unknown_pipeline(name: str, names: Iterable[str]) -> UnknownPipeline:
    """The error for a name that no pipeline has, with the nearest one that exists."""
    if not may_be_a_name(name):
        return UnknownPipeline(
            f"no pipeline has a name like {name[:80]!a}",
            "`porch pipeline list` shows them all",
        )
    near = get_close_matches(name, list(names), n=1, cutoff=0.5)
    guess = f'; did you mean "{near[0]}"?' if near else ""
    return UnknownPipeline(f'no pipeline "{name}"{guess}', "`porch pipeline list` shows them all")


def pick_version(pipeline: Pipeline, version: str | None) -> str:
    """The version meant: the one named, or the only one there is.

    Raises UnknownVersion, or WhichVersion rather than guess: a wrong guess runs work twice.
    """
    known = ", ".join(pipeline.versions)
    if version is None:
        if len(pipeline.versions) == 1:
            return pipeline.versions[0]
        raise WhichVersion(
            f'pipeline "{pipeline.name}" has several versions: {known}', "name one with --version"
        )
    if version not in pipeline.versions:
        near = get_close_matches(version, pipeline.versions, n=1, cutoff=0.5)
        guess = f'; did you mean "{near[0]}"?' if near else ""
        raise UnknownVersion(
            f'pipeline "{pipeline.name}" has no version "{version}", only {known}{guess}',
            f"an administrator adds one: `{adding(pipeline.name, version)}`",
        )
    return version


def adding(pipeline: str, version: str) -> str:
    """The command by which an administrator adds a version."""
    return command("porch", "pipeline", "add-version", pipeline, version)


def key_range(name: Name) -> KeyRange:
    """The keys that a task_input_id or a prefix of one may stand for. Raises UnknownTask."""
    digits = name.task.lower()
    if not _PREFIX.match(digits):
        raise UnknownTask(
            f'"{name.task[:80]}" is not a task_input_id: 4 to 64 hexadecimal digits name a task',
            "`porch list` shows them",
        )
    if name.version is not None and not may_be_a_name(name.version):
        raise UnknownTask(
            f"no task has a version like {name.version[:80]!a}", "`porch list` shows them"
        )
    low, high = digits.ljust(64, "0"), digits.ljust(64, "f")
    return KeyRange(bytes.fromhex(low), bytes.fromhex(high), name.version)


def pick_task(name: Name, fitting: Sequence[Task]) -> Task | PorchError:
    """The one task that ``name`` means among those that fit it, or why it means none."""
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        other = f' in version "{name.version}"' if name.version else ""
        return UnknownTask(f'no task "{name.task}"{other}', "`porch list` shows them")
    if len({task.key for task in fitting}) > 1:
        return AmbiguousTask(
            f'"{name.task}" fits more than one task: '
            + ", ".join(sorted({task.task_input_id[: len(name.task) + 4] for task in fitting})),
            "give more digits of the task_input_id",
        )
    places = sorted({f"{task.pipeline} {task.version}" for task in fitting})
    return AmbiguousTask(
        f'"{name.task}" is a task of {" and of ".join(places)}',
        "name one with --pipeline and --version",
    )
