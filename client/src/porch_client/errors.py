"""What can go wrong, as the caller sees it.

PorchError                 .code .message .cure
├── Refused                a rule of the coordinator said no; repeating it changes nothing
│   ├── BadInput           not_an_object, not_representable, too_deep, too_large, bad_json,
│   │                      bad_csv, ragged_row, unknown_column, spool_damaged, ...
│   ├── AccessDenied       missing_token, unknown_token, revoked_token, expired_token, forbidden
│   ├── NotFound           unknown_pipeline, unknown_version, unknown_task, ambiguous_task, ...
│   ├── Conflict           pipeline_exists, illegal_change, status_changed, ...
│   │   └── StaleAttempt   stale_attempt: somebody holds a later attempt of this task
│   └── (any code this client does not know yet is a plain Refused)
├── Misconfigured          no_broker, no_token_set, unknown_setting, set_twice: mend the settings;
│                          spool_needs_pipeline, spool_failed, spool_unreadable, no_spool
└── Unreachable            no answer in time; the request may still be carried out later;
    │                      spool_busy: another process is sending the spool
    ├── BrokerAway         broker_away
    ├── NoWorker           no_worker
    ├── DatabaseAway       database_away
    └── NoAnswer           no_answer: a worker took the request, and did not answer in time

Codes are stable: scripts may rely on them. Messages and cures are for people and may improve.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class PorchError(Exception):
    """Something porch could not do: ``code`` for programs, ``message`` and ``cure`` for people."""

    def __init__(self, code: str, message: str, cure: str = "") -> None:
        super().__init__(code, message, cure)
        self.code = code
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f"; {self.cure}" if self.cure else "")


class Refused(PorchError):
    """A rule of the coordinator said no."""


class BadInput(Refused):
    """The definition or the request is not one that porch can hold."""


class AccessDenied(Refused):
    """The token is missing, unknown, revoked, expired, or not good for this."""


class NotFound(Refused):
    """There is no such pipeline, version, task or token, or more than one fits."""


class Conflict(Refused):
    """The state of things does not allow it."""


class StaleAttempt(Conflict):
    """Somebody has claimed the task again since: this attempt may change nothing any more."""


class Misconfigured(PorchError):
    """A setting is missing, misspelt or not a URL, or a folder cannot be used."""


class Unreachable(PorchError):
    """No answer came in time. The request may still be carried out: repeating it is safe.

    ``perhaps_sent`` is False where it is certain that it never left us.
    """

    perhaps_sent = True


class BrokerAway(Unreachable):
    """The broker cannot be reached."""


class NoWorker(Unreachable):
    """The broker holds the request, and no coordinator worker has taken it."""


class DatabaseAway(Unreachable):
    """Coordinator workers cannot reach PostgreSQL."""


class NoAnswer(Unreachable):
    """The request was taken, and the answer did not come in time."""


_KINDS: dict[str, type[PorchError]] = {
    "stale_attempt": StaleAttempt,
    "database_away": DatabaseAway,
    "broker_away": BrokerAway,
    "no_worker": NoWorker,
    "no_answer": NoAnswer,
    **dict.fromkeys(
        (
            "attempt_needed",
            "bad_csv",
            "bad_json",
            "bad_request",
            "empty_row",
            "not_a_number",
            "not_an_object",
            "not_representable",
            "not_utf8",
            "ragged_row",
            "too_deep",
            "too_large",
            "unknown_column",
            "unknown_wire_version",
        ),
        BadInput,
    ),
    **dict.fromkeys(
        ("missing_token", "unknown_token", "revoked_token", "expired_token", "forbidden"),
        AccessDenied,
    ),
    **dict.fromkeys(
        (
            "unknown_pipeline",
            "unknown_version",
            "which_version",
            "unknown_task",
            "ambiguous_task",
            "unknown_token_id",
        ),
        NotFound,
    ),
    **dict.fromkeys(
        (
            "pipeline_exists",
            "version_exists",
            "token_exists",
            "token_ended",
            "illegal_change",
            "status_changed",
            "task_pruned",
            "identity_conflict",
            "force_needed",
            "reason_needed",
        ),
        Conflict,
    ),
}


def from_wire(error: Mapping[str, Any]) -> PorchError:
    """The typed error for what a coordinator sent: ``{"code", "message", "cure"}``."""
    code = str(error.get("code", "unknown_error"))
    kind = _KINDS.get(code, Refused)
    return kind(code, str(error.get("message", "")), str(error.get("cure", "")))
