"""Where answers are stored: Celery's Redis backend, with fewer round trips; and a notice to all who
wait for theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery.states import SUCCESS

from tasks.reply import Reply

#: The state that a waiting client sees while a worker has its request and PostgreSQL is away.
DATABASE_AWAY = "DATABASE_AWAY"
#: Nobody's request: where clients look whose own request no worker has come to yet.
_EVERYBODY = "porch.database"
#: Seconds that the notice hangs. A worker that waits for PostgreSQL renews it every five at least.
_NOTICE_SECONDS = 10


def store_all(backend: Any, answers: Sequence[tuple[str, Reply]]) -> None:
    """Store the answer of each request id, and tell who waits for it, in one round trip.

    As Celery stores one, with its patience while the broker is away; raises what it raises.
    """
    keys = []
    for request_id, reply in answers:
        meta = backend._get_result_meta(reply, SUCCESS, None, None)
        meta["task_id"] = request_id
        keys.append((backend.get_key_for_task(request_id), backend.encode(meta)))

    def store() -> None:
        with backend.client.pipeline(transaction=False) as pipe:
            for key, value in keys:
                pipe.setex(key, backend.expires, value)
                pipe.publish(key, value)
            pipe.execute()

    backend.ensure(store, ())


class Notice:
    """That PostgreSQL is away, for all who wait, also those whose requests wait behind others.

    One for each process. Both raise what Redis' client raises.
    """

    def __init__(self) -> None:
        self.hangs = False

    def put_up(self, backend: Any) -> None:
        """Say so, for some seconds; or go on saying so."""
        meta = backend._get_result_meta(None, DATABASE_AWAY, None, None)
        notice = backend.encode({**meta, "task_id": _EVERYBODY})
        backend.client.setex(backend.get_key_for_task(_EVERYBODY), _NOTICE_SECONDS, notice)
        self.hangs = True

    def take_down(self, backend: Any) -> None:
        """PostgreSQL has answered."""
        self.hangs = False
        backend.delete(backend.get_key_for_task(_EVERYBODY))
