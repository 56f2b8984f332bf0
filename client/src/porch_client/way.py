"""What a Channel asks of the way to a broker and back; there is one over Redis, one over Celery.

Connections that are lost, refused or silent are OSErrors, whatever the library calls them:
TimeoutError for silence, ConnectionRefusedError and socket.gaierror where nothing was ever reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


class NotYet(Exception):
    """The answer has not come in the time given for it."""


class NoAnswerOfOurs(Exception):
    """Celery's word and not the coordinator's: a worker could not store its answer."""


class WrongPassword(ConnectionError):
    """The broker refuses the password, or wants one."""


@dataclass(frozen=True, slots=True)
class Message:
    """One request as it is published. ``about`` is what logs and Flower may show of it.

    ``again``: it may have been sent before, and be answered.
    """

    name: str
    queue: str
    request_id: str
    text: str
    about: str
    headers: dict[str, Any]
    again: bool


class Way(Protocol):
    """Connections of one thread, opened when they are first used. All but ``close`` raise OSError,
    after which the way is of no more use."""

    def publish(self, message: Message) -> None:
        """Send a request and listen for its answer; whether it arrived may be known only later."""

    def answer(self, request_id: str, seconds: float) -> Any:
        """The result of a request, which the broker then lets go of.

        Raises NotYet after ``seconds``, and NoAnswerOfOurs.
        """

    def state(self, request_id: str) -> str:
        """Celery's name for how a request stands: PENDING where nothing is known."""

    def waiting(self, queue: str) -> int:
        """How many messages wait in a queue."""

    def hear(self, signal: str, seconds: float) -> None:
        """Wait until a channel says that there is something new, and for no longer than that.

        Returns at once where nobody was listening yet: it may just have been said.
        """

    def close(self) -> None:
        """End the connections, in whatever state they are."""
