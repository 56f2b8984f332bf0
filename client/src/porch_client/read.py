"""Work definitions from a file or a pipe: JSON lines, a JSON array, CSV or TSV.

All four are read in constant memory: one line, one element or one row at a time. What is wrong with
one of them (a bad line, a ragged row) is an element of the result, a `BadInput` in its place, and
reading goes on. What is wrong with the whole file (an unknown column, a header that names a column
twice) is raised at once, before the first definition is read.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, BinaryIO, Literal, get_args

from porch_client.errors import BadInput
from porch_client.read_json import LONGEST, read_json_array, read_json_lines

Format = Literal["jsonl", "json", "csv", "tsv"]
FORMATS: tuple[str, ...] = get_args(Format)
Definition = dict[str, Any] | BadInput

_PIECE = 1 << 20
_BY_EXTENSION: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
}


def read_definitions(
    stream: BinaryIO,
    *,
    format: Format | None = None,
    name: str = "<stdin>",
    key: Sequence[str] | None = None,
    number: Sequence[str] = (),
) -> Iterator[Definition]:
    """The definitions in `stream`, in order; a bad one is a `BadInput` that names its line.

    `format` is taken from the extension of `name` where it is not given, else from the first bytes.
    `key` picks and orders the columns of a table; `number` names the columns whose cells are
    numbers, all others stay text. Raises `BadInput` where the file as a whole cannot be read.
    """
    numbered = read_numbered(stream, format=format, name=name, key=key, number=number)
    return (definition for _, definition in numbered)


def read_numbered(
    stream: BinaryIO,
    *,
    format: Format | None = None,
    name: str = "<stdin>",
    key: Sequence[str] | None = None,
    number: Sequence[str] = (),
) -> Iterator[tuple[int, Definition]]:
    """As `read_definitions`, each with the number of the line on which it begins (from 1)."""
    # Asking for lines, never for a block of bytes, returns as soon as a slow pipe has given one.
    pieces = iter(lambda: stream.readline(_PIECE), b"")
    start = _start(pieces, name)
    first_line = start[-1] if start else b""
    format = format or _BY_EXTENSION.get(os.path.splitext(name)[1].lower()) or _guess(first_line)
    pieces = chain(start, pieces)
    if format in ("csv", "tsv"):
        from porch_client.read_table import read_table  # noqa: PLC0415 (a command starts at once)

        return read_table(
            _lines(pieces),
            delimiter="," if format == "csv" else "\t",
            name=name,
            key=key,
            number=number,
        )
    if key is not None or number:
        raise BadInput(
            "bad_request",
            f"{name} is JSON, and --key and --number pick columns of a table",
            "leave them out, or say --format csv",
        )
    if format == "json" and first_line.lstrip()[:1] == b"[":
        return read_json_array(pieces)
    # A file called .json that holds one object a line is common enough to be read as what it is.
    return read_json_lines(_lines(pieces))


def _start(pieces: Iterator[bytes], name: str) -> list[bytes]:
    """The pieces up to the first that is not blank, without the byte order mark."""
    start: list[bytes] = []
    for piece in pieces:
        if not start and piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise BadInput("not_utf8", f"{name} is UTF-16", "save it as UTF-8")
        start.append(piece if start else piece.removeprefix(codecs.BOM_UTF8))
        if start[-1].strip():
            break
    return start


def _guess(first_line: bytes) -> Format:
    match first_line.lstrip()[:1]:
        case b"[":
            return "json"
        case b"{":
            return "jsonl"
    return "tsv" if first_line.count(b"\t") > first_line.count(b",") else "csv"


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines. One longer than `LONGEST` is cut just above it, which its reader refuses."""
    line = b""
    for piece in pieces:
        if len(line) <= LONGEST:
            line += piece
        if piece.endswith(b"\n"):
            yield line
            line = b""
    if line:
        yield line
