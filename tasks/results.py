"""Where answers are stored: Celery's Redis backend, with fewer round trips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery.states import SUCCESS

from tasks.wire import Reply


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
