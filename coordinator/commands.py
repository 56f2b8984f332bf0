"""Commands as messages name them: they are pasted into a shell, whatever a pipeline is called."""

from __future__ import annotations

import shlex


def command(*words: str) -> str:
    """The words as a shell is to be told them."""
    return shlex.join(words)
