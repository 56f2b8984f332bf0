"""How near two definitions are: in which values they differ, and whether only in type."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]

#: Bytes beyond which a definition is not compared value by value: it would cost more than it tells.
MOST_COMPARED_BYTES = 8 * 1024
#: Values of a definition, at any depth, that are tried in another type.
MOST_VARIED = 32

# The form of a number in JSON (RFC 8259): 007 and 1e are names, not numbers.
_NUMBER = re.compile(r"\A-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\Z")
_WORDS = {"true": True, "false": False, "null": None}
_PLAIN_KEY = re.compile(r"\A[A-Za-z_][A-Za-z0-9_]*\Z")
_MISSING = object()


def variants(task_input: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The definition with one value in another type, or all numbers as text, or the reverse."""
    leaves = [(path, value, _retyped(value)) for path, value in _leaves(task_input, ())]
    able = [leaf for leaf in leaves if leaf[2] is not _MISSING][:MOST_VARIED]
    for path, _, other in able:
        yield _with(task_input, {path: other})
    for text in (True, False):
        some = {path: other for path, value, other in able if isinstance(value, str) is text}
        if len(some) > 1:
            yield _with(task_input, some)


def differences(ours: Any, theirs: Any) -> dict[str, bool]:
    """The path of each value that is not the same in both, and whether it is so only in type."""
    return {_written(path): _only_in_type(a, b) for path, a, b in _differing(ours, theirs, ())}


def _differing(ours: Any, theirs: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in {**ours, **theirs}:
            yield from _differing(ours.get(key, _MISSING), theirs.get(key, _MISSING), (*path, key))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for n, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differing(a, b, (*path, n))
    elif _differ(ours, theirs):
        yield path, ours, theirs


def _only_in_type(a: Any, b: Any) -> bool:
    text, other = (a, b) if isinstance(a, str) else (b, a)
    if not isinstance(text, str) or isinstance(other, str):
        return False
    value = _retyped(text)
    return value is not _MISSING and not _differ(value, other)


def _differ(a: Any, b: Any) -> bool:
    """As RFC 8785 sees it: 1 and 1.0 are one number. To Python, True is 1 as well."""
    return bool(a != b) or isinstance(a, bool) is not isinstance(b, bool)


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from _leaves(inner, (*path, n))
    else:
        yield path, value


def _retyped(value: Any) -> Any:
    """The same written as text, or the value that a text is the writing of."""
    if isinstance(value, str):
        if value in _WORDS:
            return _WORDS[value]
        return json.loads(value) if len(value) <= 40 and _NUMBER.match(value) else _MISSING
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value) if isinstance(value, bool | int | float | None) else _MISSING


def _with(value: Any, others: dict[Path, Any]) -> Any:
    """A copy of ``value`` that has others at some paths, and shares what is the same."""
    if () in others:
        return others[()]
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    for step in {path[0] for path in others}:
        inner = {path[1:]: other for path, other in others.items() if path[0] == step}
        copy[step] = _with(value[step], inner)
    return copy


def _written(path: Path) -> str:
    """A path as errors write it: $.sample.ids[0]."""
    steps = []
    for step in path:
        if isinstance(step, str) and _PLAIN_KEY.match(step):
            steps.append(f".{step}")
        else:
            steps.append(f"[{step!r}]")
    return "$" + "".join(steps)
