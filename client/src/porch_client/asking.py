"""What every part of `Porch` shares: a channel, and how a question is put to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from porch_client.channel import Channel


class Asking:
    """A channel to the coordinator, opened when it is first used."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def close(self) -> None:
        """Give up the connections; the next call makes new ones."""
        self._channel.close()

    def _ask(
        self,
        verb: str,
        queue: str,
        body: Mapping[str, Any],
        *,
        about: str = "",
        request_id: str | None = None,
    ) -> dict[str, Any]:
        pending = self._channel.prepare(verb, queue, body, about=about, request_id=request_id)
        return self._channel.ask(pending)
