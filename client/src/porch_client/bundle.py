"""Definitions that travel together: one message to the coordinator, or one file of a spool."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from porch_client.channel import Channel, Pending


@dataclass(frozen=True, slots=True)
class Bundle:
    """Definitions of one pipeline, as JSON texts, and how they are to be registered."""

    pipeline: str | None
    version: str | None
    priority: int
    texts: Sequence[str]

    def prepare(self, channel: Channel) -> Pending:
        """The request that registers them."""
        return channel.prepare(
            "submit",
            "porch.submit",
            self._head(),
            encoded={"definitions": self._definitions()},
            about=f"n={len(self.texts)}",
        )

    def as_text(self) -> str:
        """As one line of JSON, which holds neither the wire format of today nor a token."""
        return f'{json.dumps(self._head())[:-1]}, "definitions": {self._definitions()}}}\n'

    @classmethod
    def from_text(cls, text: str) -> Bundle:
        """What ``as_text`` wrote. Raises ValueError where it is anything else."""
        try:
            held = json.loads(text)
        except RecursionError:
            raise ValueError("it is nested too deep") from None
        if not isinstance(held, dict) or held.keys() != _FIELDS.keys():
            raise ValueError("it is not an object of " + ", ".join(_FIELDS))
        wrong = [name for name, kind in _FIELDS.items() if not isinstance(held[name], kind)]
        if wrong:
            raise ValueError(f"its {wrong[0]} is {held[wrong[0]]!r:.40}")
        texts = tuple(encoded(definition) for definition in held["definitions"])
        return cls(held["pipeline"], held["version"], held["priority"], texts)

    def only(self, offsets: Iterable[int]) -> Bundle:
        """Some of them, by their places in it."""
        return replace(self, texts=tuple(self.texts[offset] for offset in offsets))

    def _head(self) -> dict[str, Any]:
        return {"pipeline": self.pipeline, "version": self.version, "priority": self.priority}

    def _definitions(self) -> str:
        return "[" + ",".join(self.texts) + "]"


_FIELDS: dict[str, type | tuple[type, ...]] = {
    "pipeline": str,
    "version": (str, type(None)),
    "priority": int,
    "definitions": list,
}


def encoded(definition: Any) -> str:
    """A definition as JSON text, without needless blanks."""
    return _ENCODER.encode(definition)


_ENCODER = json.JSONEncoder(separators=(",", ":"))
