"""``porch-server relay``: one thread for each outlet, so that a slow one holds up no other."""

from __future__ import annotations

import gc
import os
import signal
import threading

from config.metrics.exposing import Exposition, check_port, serve_beside
from config.relay.counted import Counted, FeedCounting
from config.relay.passing import pass_on
from config.relay.streams import Streams, client_of
from config.relay.webhooks import read_webhooks
from config.settings import Settings
from db.engine import make_engine
from db.outlets import Outlet, Outlets

#: Seconds between tries, at most: Redis is ours, and webhooks are somebody's.
_REDIS_AGAIN = 2.0
_HOOK_AGAIN = 300.0
_ENDS = (signal.SIGTERM, signal.SIGINT)
#: On a host that is busy, the work comes before the news of it.
_YIELDING = 10
#: Seconds between two touches of PORCH_READY_FILE.
_SIGN_OF_LIFE = 2.0
#: Seconds to end in; what is under way then is passed on again at the next start.
_ENDING = 5.0


def run(settings: Settings) -> None:
    """Pass status messages on until SIGTERM or SIGINT. Raises Misconfigured."""
    check_port(settings)
    os.nice(_YIELDING)
    database = settings.required("database_url")
    redis = client_of(settings.result_url or settings.required("broker_url"))
    hooks = read_webhooks(settings.webhooks_file)
    outlets = Outlets(make_engine(database, pool_size=1 + len(hooks)))
    stop = threading.Event()
    # Blocked in every thread, and taken from the queue here: no handler interrupts anything.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    all_of_them: list[tuple[Outlet, float]] = [(Streams(redis, settings.feed_length), _REDIS_AGAIN)]
    all_of_them += [(hook, _HOOK_AGAIN) for hook in hooks]
    counting = FeedCounting()
    counted = [(Counted(outlet, counting), longest) for outlet, longest in all_of_them]
    if settings.metrics_port is not None:
        serve_beside(settings, Exposition(counting))
    threads = [
        threading.Thread(target=pass_on, args=(outlets, outlet, longest, stop), daemon=True)
        for outlet, longest in counted
    ]
    for thread in threads:
        thread.start()
    # What there is by now stays. Each page makes thousands of objects, over which the collector
    # would walk through everything that was imported: half of the relay's processor time.
    gc.collect()
    gc.freeze()
    while signal.sigtimedwait(_ENDS, _SIGN_OF_LIFE) is None:
        if settings.ready_file is not None and all(thread.is_alive() for thread in threads):
            settings.ready_file.touch()
    stop.set()
    for thread in threads:
        thread.join(_ENDING)
