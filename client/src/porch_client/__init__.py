"""The client of porch: ``from porch_client import Porch``.

Names are imported when they are first used: the ``porch`` command starts without Celery.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from porch_client.claimed import Claimed
    from porch_client.client import Porch
    from porch_client.errors import PorchError
    from porch_client.model import (
        Change,
        Decision,
        Flushed,
        NotRegistered,
        NotReported,
        Registered,
        Reported,
        Spooled,
        StatusMessage,
    )

_HOMES = {
    "Porch": "client",
    "Claimed": "claimed",
    "PorchError": "errors",
    "Change": "model",
    "Decision": "model",
    "Flushed": "model",
    "NotRegistered": "model",
    "NotReported": "model",
    "Registered": "model",
    "Reported": "model",
    "Spooled": "model",
    "StatusMessage": "model",
}

__all__ = [
    "Change",
    "Claimed",
    "Decision",
    "Flushed",
    "NotRegistered",
    "NotReported",
    "Porch",
    "PorchError",
    "Registered",
    "Reported",
    "Spooled",
    "StatusMessage",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
