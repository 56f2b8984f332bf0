"""JSON lines and JSON arrays, one definition at a time, strict where `json` is lenient.

Refused, because the loss would be silent: a key given twice (the last would win), NaN and Infinity,
and numbers like 1e400 that become infinite. Integers of any size pass: the coordinator judges them.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from porch_client.errors import BadInput

LONGEST = 16 << 20
"""Bytes of one line or element beyond which it is refused unread (a coordinator takes far less)."""

Numbered = tuple[int, dict[str, Any] | BadInput]

_BLANK = " \t\r\n"  # as JSON has it, which is less than Python calls so
_OUTSIDE = re.compile(rb'["\[\]{},]')
_IN_STRING = re.compile(rb'["\\]')
_STEP = {b"[": 1, b"{": 1, b"]": -1, b"}": -1, b",": 0}


def read_json_lines(lines: Iterable[bytes]) -> Iterator[Numbered]:
    """One definition a line; blank lines are skipped."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, parse(line, line_number=number)


def read_json_array(pieces: Iterable[bytes]) -> Iterator[Numbered]:
    """The elements of one array, each parsed by itself: a bad one does not stop the reading."""
    line, column, count = 1, 0, 0
    for raw, end in _elements(pieces):
        begins = _first_line(raw, line)
        if end in ",]":
            # Only `[]` may have nothing between its marks.
            if raw.strip() or end == "," or count:
                yield begins, parse(raw, line_number=line, column=column)
            count += 1
        elif end == "cut":
            yield begins, _bad(begins, "the array is not closed: the file is cut short")
        elif end == "after" and raw.strip():
            yield begins, _bad(begins, "there is more after the end of the array")
        newlines = raw.count(b"\n")
        column = len(raw) - raw.rfind(b"\n") if newlines else column + len(raw) + 1
        line += newlines


def _elements(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, str]]:
    """The raw text between the marks of an array, each with what ended it.

    That is `[`, then `,` or `]`; at last "after" for what follows the array, or "cut" for what the
    file ends in the middle of. Works on bytes, as no byte of a longer UTF-8 character looks like a
    bracket, comma or quote.
    """
    element = bytearray()
    depth, quoted, escaped, closed = 0, False, False, False
    for piece in pieces:
        begin, position, escaped = 0, int(escaped), False
        while not closed and (mark := (_IN_STRING if quoted else _OUTSIDE).search(piece, position)):
            position = mark.end()
            byte = mark.group()
            if byte == b'"':
                quoted = not quoted
            elif byte == b"\\":
                # The byte after it is skipped, which may be the first of the next piece.
                escaped = position == len(piece)
                position += 1
            else:
                was, depth = depth, depth + _STEP[byte]
                closed = depth == 0
                if min(was, depth) == 0 or (depth == 1 and byte == b","):
                    yield bytes(element + piece[begin : position - 1]), byte.decode()
                    element.clear()
                    begin = position
        if len(element) <= LONGEST:
            element += piece[begin:]
    yield bytes(element), "after" if closed else "cut"


def parse(raw: bytes, *, line_number: int, column: int = 0) -> dict[str, Any] | BadInput:
    """The JSON object in `raw`, or what is wrong with it and where.

    `raw` begins on line `line_number`, after `column` characters.
    """
    try:
        return _object_in(raw)
    except json.JSONDecodeError as error:
        where = error.colno + (column if error.lineno == 1 else 0)
        return _bad(line_number + error.lineno - 1, error.msg, where)
    except BadInput as error:
        flaw = error
    except UnicodeDecodeError as error:
        flaw = BadInput("not_utf8", f"byte {error.start + 1} is not UTF-8", "save it as UTF-8")
    except RecursionError:
        flaw = BadInput("too_deep", "nested too deeply", "make the definition flatter")
    except ValueError:
        # The interpreter refuses to convert integers of more than 4,300 digits.
        flaw = BadInput("not_representable", "a number of thousands of digits", _AS_TEXT)
    return BadInput(flaw.code, f"line {_first_line(raw, line_number)}: {flaw.message}", flaw.cure)


def _first_line(raw: bytes, line: int) -> int:
    """The line on which the first character of `raw` stands that is not blank."""
    return line + raw[: len(raw) - len(raw.lstrip())].count(b"\n")


def _object_in(raw: bytes) -> dict[str, Any]:
    if len(raw) > LONGEST:
        raise BadInput("too_large", f"more than {LONGEST >> 20} MiB", _SMALLER)
    # What is cut short is told where it ends, not at the beginning of the next line.
    value = _DECODER.decode(raw.decode().rstrip(_BLANK))
    if not isinstance(value, dict):
        kind = _KINDS.get(type(value), "a number")
        raise BadInput("not_an_object", f"{kind}, not an object", 'write {"key": value}')
    return value


_SMALLER = "name the files that hold the data instead of the data"
_AS_TEXT = "give it as text, in quotes, or leave it out"
_KINDS: dict[type, str] = {
    list: "an array",
    str: "a string",
    bool: "true or false",
    type(None): "null",
}


def _bad(line: int, problem: str, column: int | None = None) -> BadInput:
    where = f"line {line}" if column is None else f"line {line}, column {column}"
    return BadInput(
        "bad_json",
        f"{where}: {problem}",
        "give one object a line (`jq -c .`), or one array of objects",
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise BadInput("bad_json", f'key "{twice}" is given twice', "keep one of them")
    return made


def _constant(literal: str) -> float:
    raise BadInput("not_representable", f"{literal} is not a number JSON can hold", _AS_TEXT)


def _float(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        return _constant(literal)
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
