"""JSON lines as they come and go: cut into chunks whose borders depend on nothing but the text."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from coordinator.errors import BadRequest, PorchError, TooDeep, TooLarge

#: A chunk ends with the line that makes it so long. A client that repeats a request sends the same
#: text, and gets the same chunks: each is a request of its own, which is answered the same.
MOST_LINES = 1_000
MOST_BYTES = 2**20


class Cutter:
    """Cuts what comes in pieces into lines without blank ones; None for one beyond ``longest``."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._part = bytearray()
        self._over = False

    def cut(self, piece: bytes) -> Iterator[bytes | None]:
        """The lines that end in this piece."""
        *ends, rest = piece.split(b"\n")
        for end in ends:
            self._keep(end)
            yield from self.rest()
        self._keep(rest)

    def rest(self) -> Iterator[bytes | None]:
        """What has come of the line that has not ended yet, as a line."""
        line = bytes(self._part).strip()
        over, self._over = self._over, False
        self._part.clear()
        if over:
            yield None
        elif line:
            yield line

    def _keep(self, part: bytes) -> None:
        self._over = self._over or len(self._part) + len(part) > self._longest
        if self._over:
            self._part.clear()
        else:
            self._part += part


async def chunks(body: AsyncIterator[bytes], longest: int) -> AsyncIterator[list[object]]:
    """What the lines of a body hold, some at a time; in place of a bad line, the error."""
    cutter = Cutter(longest)
    chunk: list[object] = []
    size = 0
    async for piece in body:
        for line in cutter.cut(piece):
            chunk.append(_parsed(line, longest))
            size += len(line or b"")
            if len(chunk) >= MOST_LINES or size >= MOST_BYTES:
                yield chunk
                chunk, size = [], 0
    chunk.extend(_parsed(line, longest) for line in cutter.rest())
    if chunk:
        yield chunk


def written(answers: list[dict[str, Any]]) -> bytes:
    """Answers as JSON lines."""
    return "".join(json.dumps(a, separators=(",", ":")) + "\n" for a in answers).encode()


def _parsed(line: bytes | None, longest: int) -> object:
    if line is None:
        return TooLarge(
            f"this line has more than {longest:,} bytes", "one definition is one line, ended by \\n"
        )
    try:
        return json.loads(line.decode())
    except RecursionError:
        return TooDeep("this line is nested too deeply", "flatten the definition")
    except ValueError as error:  # UnicodeDecodeError is one too
        return _bad(error)


def _bad(error: ValueError) -> PorchError:
    said = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
    return BadRequest(
        f"this line is not JSON in UTF-8: {said}", "send one JSON object a line, ended by \\n"
    )
