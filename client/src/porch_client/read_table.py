"""CSV and TSV: the header gives the keys, a row is a definition, an empty cell is left out.

Cells stay text, so that an id like 007 keeps its zeros, unless their column is named as a number.
Quotes are read strictly: lenient reading would join or swallow cells without a word.
"""

from __future__ import annotations

import csv
import difflib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from porch_client.errors import BadInput
from porch_client.read_json import LONGEST, Numbered

_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # where `surrogateescape` keeps bytes it cannot decode

Columns = Sequence[tuple[int, str, bool]]
"""Index in the row, key, and whether its cells are numbers."""


def read_table(
    lines: Iterable[bytes],
    *,
    delimiter: str,
    name: str,
    key: Sequence[str] | None,
    number: Sequence[str],
) -> Iterator[Numbered]:
    """The rows as definitions. Raises `BadInput` at once for a header that cannot be used."""
    # A limit of the whole process, and there is no other: never lowered here, only raised.
    csv.field_size_limit(max(LONGEST, csv.field_size_limit()))
    text = (line.decode("utf-8", "surrogateescape") for line in lines)
    rows = csv.reader(text, delimiter=delimiter, strict=True)
    header = _header(rows, name)
    if header is None:
        if key is not None or number:
            raise BadInput(
                "bad_csv",
                f"{name} is empty: not even a header names the columns of --key and --number",
                "see why nothing was written into it",
            )
        return iter(())
    columns = _columns(header, name, key, frozenset(number))
    return _definitions(rows, len(header), columns)


def _header(rows: Iterator[list[str]], name: str) -> list[str] | None:
    try:
        header = next((row for row in rows if row), None)
    except csv.Error as error:
        raise BadInput("bad_csv", f"{name}: header: {error}", _LINE_ENDS) from None
    if header is None:
        return None
    if any(map(_NOT_UTF8.search, header)):
        raise BadInput("not_utf8", f"{name}: the header is not UTF-8", "save the file as UTF-8")
    named = [column for column in header if column]
    twice = next((column for column in named if named.count(column) > 1), None)
    if twice is not None:
        raise BadInput("bad_csv", f'{name}: the header has "{twice}" twice', "rename one of them")
    return header


def _columns(
    header: list[str], name: str, key: Sequence[str] | None, number: frozenset[str]
) -> Columns:
    for option, wanted in (("--key", key or ()), ("--number", sorted(number))):
        for column in wanted:
            if column not in header or not column:
                raise _unknown(column, header, name, option)
    if key is None and "" in header:
        raise BadInput(
            "bad_csv",
            f"{name}: column {header.index('') + 1} has no name in the header",
            "name it, or pick the columns with --key",
        )
    return [(header.index(column), column, column in number) for column in (key or header)]


def _unknown(column: str, header: list[str], name: str, option: str) -> BadInput:
    folded = {known.casefold(): known for known in header if known}
    near = difflib.get_close_matches(column.casefold(), folded, n=1)
    hint = f'; did you mean "{folded[near[0]]}"?' if near else ""
    shown = ", ".join(known for known in header[:30] if known) + (", ..." if header[30:] else "")
    return BadInput(
        "unknown_column", f'{option}: {name} has no column "{column}"{hint}', f"it has {shown}"
    )


def _definitions(rows: Any, width: int, columns: Columns) -> Iterator[Numbered]:
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            # The reader starts afresh with the next line.
            yield line, BadInput("bad_csv", f"line {line}: {error}", "mend the quotes in this row")
            continue
        if not row:
            continue
        if len(row) != width:
            yield (
                line,
                BadInput(
                    "ragged_row",
                    f"line {line} has {len(row)} cells, the header has {width}",
                    "quote cells that hold the delimiter",
                ),
            )
            continue
        try:
            yield line, _definition(row, columns)
        except BadInput as flaw:
            yield line, BadInput(flaw.code, f"line {line}: {flaw.message}", flaw.cure)


def _definition(row: list[str], columns: Columns) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for index, column, is_number in columns:
        cell = row[index]
        if not cell:
            continue
        if not cell.isascii() and _NOT_UTF8.search(cell):
            raise BadInput("not_utf8", f'"{column}" is not UTF-8', "save the file as UTF-8")
        if "\0" in cell:
            raise BadInput("not_representable", f'"{column}" holds a NUL byte', "take it out")
        made[column] = _number(column, cell) if is_number else cell
    if not made:
        raise BadInput("empty_row", "all its cells are empty", "fill or delete the row")
    return made


def _number(column: str, cell: str) -> int | float:
    text = cell.strip()
    try:
        if _INTEGER.fullmatch(text):
            return int(text)
    except ValueError:  # more than 4,300 digits
        raise _too_big(column) from None
    if not _FLOAT.fullmatch(text):
        shown = text if len(text) <= 40 else text[:40] + "..."
        raise BadInput("not_a_number", f'"{column}" is no number: "{shown}"', "drop its --number")
    number = float(text)
    if math.isinf(number):
        raise _too_big(column)
    return number


def _too_big(column: str) -> BadInput:
    return BadInput(
        "not_representable", f'"{column}" is beyond any number JSON can hold', "keep it as text"
    )


_LINE_ENDS = "save it as CSV with Unix or Windows line ends, and mend its quotes"
