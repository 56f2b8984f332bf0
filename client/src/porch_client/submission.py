"""Submitting any number of definitions: cut into messages, several under way, answers in order.

With a spool, what it keeps is sent first; and from the first message that nobody answers on, it
keeps that one, those under way (which may be registered all the same) and all that follow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from porch_client.bundle import Bundle, encoded
from porch_client.channel import UNSENT, Channel, Pending
from porch_client.errors import BadInput, PorchError, Unreachable, from_wire
from porch_client.model import Flushed, NotRegistered, Registered, Spooled

if TYPE_CHECKING:
    from porch_client.spool import Spool

#: What becomes of one definition.
Answer = Registered | NotRegistered | Spooled

#: Definitions and characters of one message, whichever is reached first. A thousand makes the cost
#: of a message small beside that of its definitions; more would only take longer to answer.
CHUNK = 1_000
CHUNK_CHARACTERS = 1_000_000

#: What no coordinator takes, refused here and at its position: a message that has such a definition
#: would be refused as a whole. A coordinator's own limits are far lower, and it tells them itself.
DEEPEST = 200
LONGEST = 16 * 2**20

#: Messages under way at once: enough to keep two workers busy while the next is being read. This
#: bounds the memory that a submission of any length takes.
WINDOW = 4


@dataclass(slots=True)
class Chunk:
    """Some definitions in a row: JSON texts to send, and those that are refused already."""

    start: int
    size: int = 0
    texts: list[str] = field(default_factory=list)
    refused: dict[int, PorchError] = field(default_factory=dict)
    characters: int = 0
    pending: Pending | None = None

    def add(self, definition: Any) -> None:
        """Take the next definition; an error stands for one that could not even be read."""
        offset = self.size
        self.size += 1
        if isinstance(definition, PorchError):
            self.refused[offset] = definition
            return
        try:
            text = _encoded(definition, f"definition {self.start + offset}")
        except BadInput as refusal:
            self.refused[offset] = refusal
            return
        self.texts.append(text)
        self.characters += len(text)

    def full(self) -> bool:
        return self.size >= CHUNK or self.characters >= CHUNK_CHARACTERS


class Submission:
    """One submission over a channel; iterate over ``run`` to send it and to get the answers.

    ``told`` is called with what became of what the spool kept, where it kept anything.
    """

    def __init__(
        self,
        channel: Channel,
        pipeline: str | None,
        version: str | None,
        priority: int,
        spool: Spool | None = None,
        told: Callable[[Flushed], object] | None = None,
    ) -> None:
        self._channel = channel
        self._pipeline = pipeline
        self._version = version
        self._priority = priority
        self._spool = spool
        self._told = told
        self._away: Unreachable | None = None

    def run(self, definitions: Iterable[Any]) -> Iterator[Answer]:
        """Send everything; yield one answer per definition, in order."""
        if self._spool is not None:
            self._flush(self._spool)
        under_way: deque[Chunk] = deque()
        asked = False
        for chunk in _chunks(definitions):
            self._send(chunk)
            asked = asked or bool(chunk.pending)
            under_way.append(chunk)
            if len(under_way) >= WINDOW:
                yield from self._answers(under_way.popleft())
        while under_way:
            yield from self._answers(under_way.popleft())
        if not asked and self._spool is None:
            self._ask_with_nothing()

    def _ask_with_nothing(self) -> None:
        """See that definitions would be taken, had there been any: a cron job whose input came out
        empty is told of its wrong token on that day, and not on the next."""
        pending = Bundle(self._pipeline, self._version, self._priority, ()).prepare(self._channel)
        self._channel.wait(pending)

    def _flush(self, spool: Spool) -> None:
        from porch_client.flushing import flush_first  # noqa: PLC0415 (only with a spool)

        flushed = flush_first(self._channel, spool, WINDOW)
        self._away = flushed.away
        if self._told is not None and flushed.any():
            self._told(flushed)

    def _send(self, chunk: Chunk) -> None:
        if not chunk.texts or self._away is not None:
            return
        chunk.pending = self._bundle(chunk).prepare(self._channel)
        if self._spool is None:
            chunk.texts.clear()
        self._channel.send(chunk.pending)

    def _bundle(self, chunk: Chunk) -> Bundle:
        return Bundle(self._pipeline, self._version, self._priority, chunk.texts)

    def _answers(self, chunk: Chunk) -> Iterator[Answer]:
        outcome = self._outcome(chunk)
        answer = {} if isinstance(outcome, Unreachable) else outcome
        pipeline = answer.get("pipeline", self._pipeline)
        answers = iter(answer.get("results", ()))
        for offset in range(chunk.size):
            position = chunk.start + offset
            if offset in chunk.refused:
                yield NotRegistered(position, chunk.refused[offset])
                continue
            if isinstance(outcome, Unreachable):
                yield Spooled(position, outcome)
                continue
            result = next(answers)
            if "error" in result:
                yield NotRegistered(position, from_wire(result["error"]))
            else:
                yield Registered(
                    position,
                    result["task_input_id"],
                    result["status"],
                    result["created"],
                    pipeline,
                )

    def _outcome(self, chunk: Chunk) -> dict[str, Any] | Unreachable:
        """The answer to what was sent of a chunk, or why it went into the spool."""
        if chunk.pending is not None and self._away is None:
            try:
                patience = None if self._spool is None else UNSENT
                return self._channel.wait(chunk.pending, unsent=patience)
            except Unreachable as away:
                if self._spool is None:
                    raise
                self._away = away
        if self._spool is None or self._away is None or not chunk.texts:
            return {}
        self._spool.put(self._bundle(chunk))
        return self._away


def _chunks(definitions: Iterable[Any]) -> Iterator[Chunk]:
    chunk = Chunk(0)
    for definition in definitions:
        chunk.add(definition)
        if chunk.full():
            yield chunk
            chunk = Chunk(chunk.start + chunk.size)
    if chunk.size:
        yield chunk


def _encoded(definition: Any, what: str) -> str:
    """The definition as JSON text. Raises BadInput."""
    try:
        text = encoded(definition)
    except (TypeError, ValueError) as error:
        raise BadInput(
            "bad_json",
            f"{what} cannot be written as JSON ({error})",
            "give dicts of text, numbers, booleans, None, lists and dicts",
        ) from None
    except RecursionError:
        raise _too_deep(what) from None
    if len(text) > LONGEST:
        raise BadInput(
            "too_large",
            f"{what} has {len(text):,} characters, more than any coordinator takes",
            "name the data by path or id instead of carrying it",
        )
    # Brackets are counted first, which is cheap, so that only suspects are walked.
    if text.count("{") + text.count("[") > DEEPEST and _is_deeper(definition, DEEPEST):
        raise _too_deep(what)
    return text


def _is_deeper(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [inner for outer in layer for inner in _inside(outer)]
    return any(isinstance(inner, dict | list | tuple) for inner in layer)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _too_deep(what: str) -> BadInput:
    return BadInput(
        "too_deep",
        f"{what} is nested deeper than {DEEPEST} levels",
        "flatten it: a definition names the work, it does not carry it",
    )
