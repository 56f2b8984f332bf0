"""What travels together: one message to the coordinator, or one file of a spool."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
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

    def __len__(self) -> int:
        return len(self.texts)

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
        held = _held(text, _FIELDS)
        texts = tuple(encoded(definition) for definition in held["definitions"])
        return cls(held["pipeline"], held["version"], held["priority"], texts)

    def only(self, offsets: Iterable[int]) -> Bundle:
        """Some of them, by their places in it."""
        return replace(self, texts=tuple(self.texts[offset] for offset in offsets))

    def _head(self) -> dict[str, Any]:
        return {"pipeline": self.pipeline, "version": self.version, "priority": self.priority}

    def _definitions(self) -> str:
        return "[" + ",".join(self.texts) + "]"


@dataclass(frozen=True, slots=True)
class Reports:
    """Reports on tasks of one pipeline. Sent again under its ``request_id``, what was carried out
    is not refused for what has become of a task since."""

    pipeline: str
    request_id: str
    changes: Sequence[Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.changes)

    def prepare(self, channel: Channel) -> Pending:
        """The request that reports them."""
        return channel.prepare(
            "update",
            "porch.update",
            {"pipeline": self.pipeline, "changes": self.changes},
            about=f"n={len(self)}",
            request_id=self.request_id,
        )

    def as_text(self) -> str:
        """As one line of JSON, without a token."""
        return json.dumps({name: getattr(self, name) for name in _REPORTED}) + "\n"

    @classmethod
    def from_text(cls, text: str) -> Reports:
        """What ``as_text`` wrote. Raises ValueError where it is anything else."""
        return cls(**_held(text, _REPORTED))

    def only(self, offsets: Iterable[int]) -> Reports:
        """Some of them, by their places in it."""
        return replace(self, changes=[self.changes[offset] for offset in offsets])


_Kinds = dict[str, type | tuple[type, ...]]

_REPORTED: _Kinds = {"pipeline": str, "request_id": str, "changes": list}
_FIELDS: _Kinds = {
    "pipeline": str,
    "version": (str, type(None)),
    "priority": int,
    "definitions": list,
}


def _held(text: str, fields: _Kinds) -> dict[str, Any]:
    """An object of these fields. Raises ValueError where it is anything else."""
    try:
        held = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(held, dict) or held.keys() != fields.keys():
        raise ValueError("it is not an object of " + ", ".join(fields))
    wrong = [name for name, kind in fields.items() if not isinstance(held[name], kind)]
    if wrong:
        raise ValueError(f"its {wrong[0]} is {held[wrong[0]]!r:.40}")
    return held


def encoded(definition: Any) -> str:
    """A definition as JSON text, without needless blanks."""
    return _ENCODER.encode(definition)


_ENCODER = json.JSONEncoder(separators=(",", ":"))
