"""The key of a definition: SHA-256 of the RFC 8785 form of its task_input.

RFC 8785 (JSON Canonicalization Scheme) orders keys and writes numbers in one way, so key order
never matters and 1 and 1.0 are the same number. What it cannot hold is refused here, with the
path to the value: NaN and infinities, integers beyond 2^53 (IEEE 754 doubles cannot tell them
apart), lone surrogates. So is U+0000, which PostgreSQL cannot hold.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
import rfc8785

from coordinator.errors import NotAnObject, NotRepresentable, PorchError, TooDeep, TooLarge

_SAFE = 2**53 - 1
_AS_WRITTEN = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN_KEY = re.compile(r"\A[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class Limits:
    """How large (bytes of canonical JSON) and how deep (levels) a task_input may be.

    A definition names the work; the data itself belongs in files. The depth is far below what
    recursive JSON parsers of clients in other languages take.
    """

    max_bytes: int = 256 * 1024
    max_depth: int = 64


class Identified(NamedTuple):
    """A task_input with its key: 32 bytes, and the JSON text that is kept.

    The text is as the caller wrote it (order of keys, form of numbers), not the canonical one:
    people read it, and reading it back gives the same key.
    """

    key: bytes
    text: str


def identify(task_input: object, limits: Limits) -> Identified:
    """The key and text of one task_input.

    Raises NotAnObject, NotRepresentable, TooDeep or TooLarge, naming the path to the value.
    """
    if not isinstance(task_input, dict):
        raise NotAnObject(
            f"a definition must be a JSON object, this is {_a(task_input)}",
            'write the input as {"name": value, ...}',
        )
    try:
        canonical, text = _written(task_input)
    except (rfc8785.CanonicalizationError, UnicodeError, RecursionError):
        raise _first_fault(task_input, limits) from None
    if len(canonical) > limits.max_bytes:
        raise TooLarge(
            f"this definition has {len(canonical):,} bytes, the limit is {limits.max_bytes:,}",
            "name the data by path or id instead of carrying it, or let the operator raise "
            "PORCH_MAX_INPUT_BYTES",
        )
    # Both are cheap to rule out on the canonical bytes, so that only suspects are walked.
    suspect = canonical.count(b"{") + canonical.count(b"[") > limits.max_depth
    if suspect or b"\\u0000" in canonical:
        fault = next(_faults(task_input, limits), None)
        if fault is not None:
            raise fault
    return Identified(sha256(canonical).digest(), text)


def canonical_json(task_input: Any) -> bytes:
    """The RFC 8785 form. Raises CanonicalizationError, UnicodeError or RecursionError."""
    return _written(task_input)[0]


def _written(task_input: Any) -> tuple[bytes, str]:
    """The RFC 8785 form, and the text as the caller wrote it.

    Of what most definitions are made of, orjson writes the same, twenty times as fast.
    """
    if _is_plain(task_input):
        # Not what is nested very deep, nor lone surrogates.
        with suppress(orjson.JSONEncodeError):
            text = orjson.dumps(task_input).decode()
            return orjson.dumps(task_input, option=orjson.OPT_SORT_KEYS), text
    return rfc8785.dumps(task_input), _AS_WRITTEN(task_input)


def _is_plain(value: Any) -> bool:
    """Whether it has no numbers but safe integers, which are written in one way only, and no keys
    but of ASCII, of which the order by UTF-16, the RFC's, is that of Python."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_SAFE <= value <= _SAFE)
    if kind is dict:
        for key, part in value.items():
            if type(key) is not str or not key.isascii() or not _is_plain(part):
                return False
        return True
    return kind is list and all(map(_is_plain, value))


def identified(task_input: object, limits: Limits) -> Identified | PorchError:
    """As ``identify``, with a refusal as the answer: one bad definition does not stop others."""
    try:
        return identify(task_input, limits)
    except PorchError as refusal:
        return refusal


def _first_fault(task_input: object, limits: Limits) -> PorchError:
    fallback = NotRepresentable("canonical JSON (RFC 8785) cannot hold this definition")
    return next(_faults(task_input, limits), fallback)


def _faults(task_input: object, limits: Limits) -> Iterator[PorchError]:
    """Every fault with its path, without recursion: the input may be deeper than the stack."""
    todo: list[tuple[str, int, Any]] = [("$", 1, task_input)]
    while todo:
        path, depth, value = todo.pop()
        if isinstance(value, str):
            yield from _string_faults(path, value)
        elif isinstance(value, float) and not math.isfinite(value):
            yield NotRepresentable(
                f"{path} is {value!r}, which JSON cannot hold", "leave it out, or send it as text"
            )
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > _SAFE:
            yield NotRepresentable(
                f"{path} is an integer beyond 2^53 - 1 ({_SAFE})", "send it as text"
            )
        elif isinstance(value, dict | list) and depth > limits.max_depth:
            yield TooDeep(
                f"this definition is nested deeper than {limits.max_depth} levels",
                "flatten it: a definition names the work, it does not carry it",
            )
            return
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from _string_faults(f"the key {key[:40]!r} of {path}", key)
                todo.append((_step(path, key), depth + 1, inner))
        elif isinstance(value, list):
            todo.extend((f"{path}[{n}]", depth + 1, inner) for n, inner in enumerate(value))


def _string_faults(path: str, value: str) -> Iterator[PorchError]:
    if "\0" in value:
        yield NotRepresentable(
            f"{path} has the character \\u0000, which PostgreSQL cannot hold", "remove it"
        )
    if _SURROGATE.search(value):
        # repr() writes a lone surrogate as an escape, so that the message itself can be sent.
        yield NotRepresentable(
            f"{path} has a lone surrogate: {value[:40]!r} is not Unicode text",
            "send it as valid UTF-8",
        )


def _step(path: str, key: str) -> str:
    shown = key[:40]
    return f"{path}.{shown}" if _PLAIN_KEY.match(shown) else f"{path}[{shown!r}]"


def _a(value: object) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {
        bool: "a boolean",
        str: "a string",
        int: "a number",
        float: "a number",
        list: "an array",
    }
    return names.get(type(value), "something else")
