"""The client's settings: environment variables named ``PORCH_*``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from porch_client.errors import Misconfigured

#: What the client reads. The reference of settings is made of these words.
MEANINGS = {
    "PORCH_BROKER_URL": "The broker: `redis://:password@host:6379/0`.",
    "PORCH_RESULT_URL": "Where answers come back; the broker unless set.",
    "PORCH_TOKEN": "Who asks: a token, as an administrator issues it.",
    "PORCH_TIMEOUT": "Seconds that an answer may take.",
}
#: What nobody reads but scripts: set by ``porch drain`` for the commands that it runs, and by the
#: ``env.sh`` of ``porch-server up``.
SET_FOR_SCRIPTS = {
    "PORCH_TASK": "By `porch drain`: the task as JSON, if it has at most 128 KiB.",
    "PORCH_GATEWAY_URL": "By `env.sh`: where the gateway of `porch-server up` answers.",
    "PORCH_FLOWER_URL": "By `env.sh`: where its Flower answers.",
}
#: Secrets among them, each with the code of the error where it cannot be read: NAME_FILE may say in
#: which file one is.
SECRETS = {
    "PORCH_BROKER_URL": "no_broker",
    "PORCH_RESULT_URL": "no_broker",
    "PORCH_TOKEN": "no_token_set",
}
_KNOWN = frozenset(
    (
        *MEANINGS,
        *SET_FOR_SCRIPTS,
        *(f"{name}_FILE" for name in SECRETS),
        "PORCH_DATABASE_URL",
        "PORCH_DATABASE_URL_FILE",
        "PORCH_STATE_DIR",
        "PORCH_MAX_INPUT_BYTES",
        "PORCH_READY_FILE",
        "PORCH_LOG_FORMAT",
        "PORCH_LOG_LEVEL",
        "PORCH_GATEWAY_HOST",
        "PORCH_GATEWAY_PORT",
        "PORCH_READS_NEED_TOKEN",
        "PORCH_METRICS_HOST",
        "PORCH_METRICS_PORT",
        "PORCH_METRICS_DISKS",
        "PORCH_FEED_LENGTH",
        "PORCH_WEBHOOKS_FILE",
        "PORCH_FLOWER",
        "PORCH_FLOWER_HOST",
        "PORCH_FLOWER_PORT",
        "PORCH_FLOWER_PASSWORD",
        "PORCH_FLOWER_PASSWORD_FILE",
    )
)
#: One for each scalar of the input, for the commands that ``porch drain`` runs.
_INPUT = "PORCH_INPUT_"

TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the broker is, who asks, and how many seconds an answer may take."""

    broker_url: str | None
    result_url: str | None
    token: str | None = field(repr=False)
    timeout: float = TIMEOUT

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """The settings as the environment and the files that it names have them.

        Raises Misconfigured: a name is misspelt, or a file cannot be read.
        """
        given = os.environ if environment is None else environment
        for name in given:
            if name.startswith("PORCH_") and name not in _KNOWN and not name.startswith(_INPUT):
                from difflib import get_close_matches  # noqa: PLC0415 (only for a mistake)

                near = get_close_matches(name, sorted(_KNOWN), n=1, cutoff=0.0)[0]
                raise Misconfigured(
                    "unknown_setting", f"there is no setting {name}", f"did you mean {near}?"
                )
        return cls(
            _secret(given, "PORCH_BROKER_URL"),
            _secret(given, "PORCH_RESULT_URL"),
            _secret(given, "PORCH_TOKEN"),
            seconds(given.get("PORCH_TIMEOUT") or str(TIMEOUT)),
        )


def _secret(given: Mapping[str, str], name: str) -> str | None:
    path = given.get(f"{name}_FILE")
    if not path:
        return given.get(name) or None
    if given.get(name):
        raise Misconfigured("set_twice", f"both {name} and {name}_FILE are set", "unset one")
    return in_file(path, name, SECRETS[name])


def in_file(path: str, name: str, code: str) -> str:
    """The secret that a file holds, for the setting ``name``. Raises Misconfigured(code)."""
    try:
        with open(path, encoding="utf-8") as file:
            value = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "not a text file"
        raise Misconfigured(
            code, f"cannot read {name} from {path}: {problem}", "give the right file"
        ) from None
    if not value:
        raise Misconfigured(code, f"{path} is empty", f"write {name} into it")
    return value


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
