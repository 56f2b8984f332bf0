"""What workers tell Flower of their requests, some times a second and not one by one.

Celery would publish what has gathered each time the worker's main process goes round its loop, and
that process has requests to fetch.
"""

from __future__ import annotations

from typing import Any

#: Seconds for which what happens is gathered, and the number of events that are enough.
_GATHER = 0.5
_ENOUGH = 500


class Telling:
    """A part of a consumer of messages: when it flushes its events."""

    event_dispatcher: Any
    timer: Any
    _about_to_tell = False

    def on_send_event_buffered(self) -> None:
        """Called after each event that was put with the others."""
        if not self._about_to_tell:
            self._about_to_tell = True
            self.event_dispatcher.buffer_limit = _ENOUGH
            self.timer.call_after(_GATHER, self._tell)

    def _tell(self) -> None:
        self._about_to_tell = False
        if self.event_dispatcher:
            self.event_dispatcher.flush()
