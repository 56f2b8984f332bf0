"""JSON lines are cut the same however they come in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from coordinator.errors import TooLarge
from coordinator.gateway.v2.ndjson import MOST_LINES, Cutter, chunks

LONGEST = 20


def cut(pieces: list[bytes]) -> list[bytes | None]:
    cutter = Cutter(LONGEST)
    lines = [line for piece in pieces for line in cutter.cut(piece)]
    return [*lines, *cutter.rest()]


def chunked(pieces: list[bytes], longest: int = LONGEST) -> list[list[object]]:
    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def all_of_them() -> list[list[object]]:
        return [chunk async for chunk in chunks(body(), longest)]

    return asyncio.run(all_of_them())


@given(st.lists(st.binary(max_size=30)), st.data())
def test_pieces_make_no_difference(lines: list[bytes], data: st.DataObject) -> None:
    whole = b"\n".join(lines)
    ends = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    pieces = [whole[a:b] for a, b in zip([0, *ends], [*ends, len(whole)], strict=True)]
    assert cut(pieces) == cut([whole])


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line)))
def test_each_line_is_there_once_unless_it_is_blank(lines: list[bytes]) -> None:
    expected = [
        None if len(line) > LONGEST else line.strip()
        for line in lines
        if len(line) > LONGEST or line.strip()
    ]
    assert cut([line + b"\n" for line in lines]) == expected


def test_borders_depend_on_the_lines_only() -> None:
    lines = [b"%d\n" % n for n in range(2 * MOST_LINES + 1)]
    one, other = chunked(lines), chunked([b"".join(lines)])
    assert one == other
    assert [len(chunk) for chunk in one] == [MOST_LINES, MOST_LINES, 1]


def test_a_chunk_of_long_lines_has_fewer() -> None:
    line = b'"' + b"x" * 400_000 + b'"\n'
    assert [len(chunk) for chunk in chunked([line * 5], 2**20)] == [3, 2]


def test_a_line_beyond_the_limit_is_an_error_in_its_place() -> None:
    ((first, long, last),) = chunked([b"1\n" + b"x" * 50, b"x" * 50 + b"\n2"])
    assert (first, last) == (1, 2)
    assert isinstance(long, TooLarge)
