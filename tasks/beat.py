"""Periodic work: Celery's beat, which asks for a sweep every few seconds."""

from __future__ import annotations

from typing import Any

from celery import beat
from kombu.exceptions import ChannelError

from tasks.sign_of_life import go_on


class Scheduler(beat.Scheduler):
    """Celery's scheduler, keeping nothing on disk, and asking for nothing that waits already.

    While no worker takes sweeps, one waits in the queue, and not one for every two seconds of the
    outage. Any number of these may run at once.
    """

    def apply_async(self, entry: Any, *args: Any, **options: Any) -> Any:
        """Publish what is due, unless the same is waiting."""
        asked = None
        if not self._waits(entry.options["queue"]):
            asked = super().apply_async(entry, *args, **options)
        go_on()
        return asked

    def _waits(self, queue: str) -> bool:
        try:
            declared = self.connection.default_channel.queue_declare(queue, passive=True)
        except ChannelError:  # an empty queue of Redis does not exist
            return False
        return bool(declared.message_count)
