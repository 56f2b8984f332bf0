"""The client's settings: environment variables named ``PORCH_*``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from porch_client.errors import Misconfigured

#: Names the server reads, names that ``porch drain`` sets for the commands it runs, and ours.
_OURS = ("PORCH_BROKER_URL", "PORCH_RESULT_URL", "PORCH_TOKEN", "PORCH_TIMEOUT")
_KNOWN = frozenset(
    (
        *_OURS,
        "PORCH_DATABASE_URL",
        "PORCH_STATE_DIR",
        "PORCH_MAX_INPUT_BYTES",
        "PORCH_READY_FILE",
        "PORCH_GATEWAY_URL",
        "PORCH_GATEWAY_HOST",
        "PORCH_GATEWAY_PORT",
        "PORCH_READS_NEED_TOKEN",
        "PORCH_TASK",
    )
)
_INPUT = "PORCH_INPUT_"

_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the broker is, who asks, and how many seconds an answer may take."""

    broker_url: str | None
    result_url: str | None
    token: str | None = field(repr=False)
    timeout: float = _TIMEOUT

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """The settings as the environment has them. Raises Misconfigured for a misspelt name."""
        given = os.environ if environment is None else environment
        for name in given:
            if name.startswith("PORCH_") and name not in _KNOWN and not name.startswith(_INPUT):
                from difflib import get_close_matches  # noqa: PLC0415 (only for a mistake)

                near = get_close_matches(name, sorted(_KNOWN), n=1, cutoff=0.0)[0]
                raise Misconfigured(
                    "unknown_setting", f"there is no setting {name}", f"did you mean {near}?"
                )
        return cls(
            given.get("PORCH_BROKER_URL") or None,
            given.get("PORCH_RESULT_URL") or None,
            given.get("PORCH_TOKEN") or None,
            seconds(given.get("PORCH_TIMEOUT") or str(_TIMEOUT)),
        )


def seconds(text: str) -> float:
    """A time limit in seconds, more than 0. Raises Misconfigured."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise Misconfigured(
            "bad_timeout", f"{text!r} is not a number of seconds", "PORCH_TIMEOUT=60, for example"
        )
    return value
