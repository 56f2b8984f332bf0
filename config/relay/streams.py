"""The outlet into Redis: a stream for each pipeline, and a channel that says when to look.

The id of an entry is that of the event. So an entry that comes again is refused by Redis itself,
and a reader that asks for what is beyond the last event it knows needs no other bookmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import Celery
from hiredis import pack_command
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from coordinator.messages import StatusMessage, signal_of
from coordinator.status import Status
from db.outlets import NotTaken

_MOST = 1_000
#: The last event that the streams have. It is written after them, so that what of it a Redis still
#: knows after a loss is no more than it has.
_POSITION = "porch.feed.position"
#: Redis' words for an entry that is there already.
_KNOWN = "equal or smaller than the target stream top item"


class Streams:
    """An Outlet (see there). ``length``: entries that each stream keeps, about; 0 for none."""

    name = "streams"
    pipeline: str | None = None
    statuses: frozenset[Status] = frozenset()
    most = _MOST

    def __init__(self, redis: Redis, length: int) -> None:
        self._redis = redis
        self._length = length

    def begin(self, position: int) -> int:
        """A Redis that has lost its last seconds gets them again; one that is empty begins anew."""
        if not self._length:
            return position
        try:
            known = self._redis.get(_POSITION)
        except (RedisError, OSError) as away:
            raise _not_taken(away) from away
        return position if known is None else min(position, int(known))

    def tell(self, messages: Sequence[StatusMessage]) -> int:
        last = messages[-1].event_id
        commands = [self._entry(message) for message in messages] if self._length else []
        if self._length:
            commands.append(("SET", _POSITION, last))
        for pipeline_id in {message.pipeline_id for message in messages}:
            commands.append(("PUBLISH", signal_of(pipeline_id), last))
        commands.append(("PUBLISH", signal_of(None), last))
        try:
            refusals = self._said(commands)
        except (RedisError, OSError) as away:
            raise _not_taken(away) from away
        for refusal in refusals:
            if _KNOWN not in str(refusal):
                raise _not_taken(refusal) from refusal
        return last

    def _said(self, commands: Sequence[tuple[Any, ...]]) -> list[ResponseError]:
        """Say all in one write; what was refused. A pipeline would take thrice the processor time,
        which is much where thousands of changes are told a second.

        All or nothing: an entry cannot be added any more once a later one of its stream is there,
        and a Redis without memory refuses one command, and takes the next.
        """
        connection: Any = self._redis.connection_pool.get_connection()
        said = [("MULTI",), *commands, ("EXEC",)]
        try:
            connection.send_packed_command([b"".join(map(pack_command, said))])
            refusals = []
            for _ in said:
                try:
                    answer = connection.read_response()
                except ResponseError as refusal:
                    refusals.append(refusal)
                else:  # of EXEC: what each command answers
                    told = answer if isinstance(answer, list) else ()
                    refusals += [one for one in told if isinstance(one, ResponseError)]
        except BaseException:
            connection.disconnect()  # what is still to be read would answer somebody else
            raise
        finally:
            self._redis.connection_pool.release(connection)
        return refusals

    def _entry(self, message: StatusMessage) -> tuple[Any, ...]:
        key, number = signal_of(message.pipeline_id), f"{message.event_id}-0"
        fields = message.as_wire().items()
        told = (part for field in fields if field[1] is not None for part in field)
        return ("XADD", key, "MAXLEN", "~", self._length, number, *told)

    def close(self) -> None:
        self._redis.close()


def client_of(url: str) -> Redis:
    """A client of the Redis of a URL as Celery reads it: with TLS, or named by sentinels."""
    app = Celery("porch-relay", backend=url, set_as_current=False, fixups=[])
    app.conf.update(redis_socket_timeout=5, redis_socket_connect_timeout=3)
    client: Redis = app.backend.client
    return client


def _not_taken(error: Exception) -> NotTaken:
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return NotTaken(f"Redis: {said}")
