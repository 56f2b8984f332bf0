"""A start that does not stop to look for garbage: what is imported stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """Import a great deal in the block.

    The collector would walk through all of it hundreds of times as it grows. It never does
    afterwards: what is there by the end is frozen. So the processes that a worker forks go on
    sharing it, too; a collector that looks at an object writes to its page.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
