"""Every refusal, in one tree. Each class has a stable ``code``; each error says what to do.

PorchError
├── BadInput                bad_input
│   ├── BadRequest          bad_request           the message has not the shape the verb needs
│   ├── UnknownWire         unknown_wire_version
│   ├── NotAnObject         not_an_object
│   ├── NotRepresentable    not_representable     RFC 8785 or PostgreSQL cannot hold a value
│   ├── AttemptNeeded       attempt_needed        under a lease, a report must say its attempt
│   ├── TooDeep             too_deep
│   └── TooLarge            too_large
├── AccessDenied            access_denied
│   ├── MissingToken        missing_token
│   ├── UnknownToken        unknown_token
│   ├── RevokedToken        revoked_token
│   ├── ExpiredToken        expired_token
│   └── Forbidden           forbidden
├── NotFound                not_found
│   ├── UnknownPipeline     unknown_pipeline
│   ├── UnknownVersion      unknown_version
│   ├── WhichVersion        which_version         several versions, and none was named
│   ├── UnknownTask         unknown_task
│   ├── AmbiguousTask       ambiguous_task
│   └── UnknownTokenId      unknown_token_id
├── Conflict                conflict
│   ├── PipelineExists      pipeline_exists
│   ├── VersionExists       version_exists
│   ├── TokenExists         token_exists
│   ├── TokenEnded          token_ended           it cannot be rotated any more
│   ├── IdentityConflict    identity_conflict
│   ├── IllegalChange       illegal_change
│   ├── StaleAttempt        stale_attempt
│   ├── StatusChanged       status_changed        the task is not as the caller saw it
│   ├── TaskPruned          task_pruned           its input is no longer kept
│   ├── ForceNeeded         force_needed
│   └── ReasonNeeded        reason_needed
├── LedgerAway              database_away         PostgreSQL cannot be reached just now
├── TooSlow                 too_slow              PostgreSQL took too long: ask for less
└── InternalError           internal_error        a defect of ours, or a broken ledger
"""

from __future__ import annotations

from typing import ClassVar


class PorchError(Exception):
    """A refusal: ``message`` says what was wrong and where, ``cure`` what to do about it."""

    code: ClassVar[str] = "porch_error"
    #: Whether an observer has counted it: it passes a verb first, and then a door.
    counted = False

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message, cure)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f"; {self.cure}" if self.cure else "")

    def as_wire(self) -> dict[str, str]:
        """The error as data: ``{"code", "message", "cure"}``."""
        return {"code": self.code, "message": self.message, "cure": self.cure}


class BadInput(PorchError):
    """What was sent cannot be used."""

    code = "bad_input"


class BadRequest(BadInput):
    """The message has not the shape that the verb needs."""

    code = "bad_request"


class UnknownWire(BadInput):
    """The message speaks a version of the wire format that this coordinator does not."""

    code = "unknown_wire_version"


class NotAnObject(BadInput):
    """A task_input must be a JSON object."""

    code = "not_an_object"


class NotRepresentable(BadInput):
    """A value that canonical JSON or PostgreSQL cannot hold."""

    code = "not_representable"


class AttemptNeeded(BadInput):
    """Where a lease may have run out, who reports must say in which attempt."""

    code = "attempt_needed"


class TooDeep(BadInput):
    """A task_input nested deeper than the limit."""

    code = "too_deep"


class TooLarge(BadInput):
    """A task_input, a message or a text beyond its limit."""

    code = "too_large"


class AccessDenied(PorchError):
    """The caller may not do this."""

    code = "access_denied"


class MissingToken(AccessDenied):
    """No token came with the request."""

    code = "missing_token"


class UnknownToken(AccessDenied):
    """No such token was ever issued here."""

    code = "unknown_token"


class RevokedToken(AccessDenied):
    """The token was good once."""

    code = "revoked_token"


class ExpiredToken(AccessDenied):
    """The token was good until some time."""

    code = "expired_token"


class Forbidden(AccessDenied):
    """The token is good, but not for this."""

    code = "forbidden"


class NotFound(PorchError):
    """Nothing, or more than one thing, has that name."""

    code = "not_found"


class UnknownPipeline(NotFound):
    """No pipeline has that name."""

    code = "unknown_pipeline"


class UnknownVersion(NotFound):
    """The pipeline has no such version."""

    code = "unknown_version"


class WhichVersion(NotFound):
    """The pipeline has several versions and none was named."""

    code = "which_version"


class UnknownTask(NotFound):
    """No task has that task_input_id."""

    code = "unknown_task"


class AmbiguousTask(NotFound):
    """More than one task fits the prefix."""

    code = "ambiguous_task"


class UnknownTokenId(NotFound):
    """No token has that number."""

    code = "unknown_token_id"


class Conflict(PorchError):
    """The state of things does not allow it."""

    code = "conflict"


class PipelineExists(Conflict):
    """The name is taken."""

    code = "pipeline_exists"


class VersionExists(Conflict):
    """The pipeline has this version already."""

    code = "version_exists"


class TokenExists(Conflict):
    """This secret is registered already, for something else."""

    code = "token_exists"


class TokenEnded(Conflict):
    """Only a token that is good, and that none has replaced, can be rotated."""

    code = "token_ended"


class IdentityConflict(Conflict):
    """The other identity policy would make one task of two that exist."""

    code = "identity_conflict"


class IllegalChange(Conflict):
    """The status table has no such change."""

    code = "illegal_change"


class StaleAttempt(Conflict):
    """The report is of an earlier attempt than the current one."""

    code = "stale_attempt"


class StatusChanged(Conflict):
    """The task is not in the status and attempt that the caller saw."""

    code = "status_changed"


#: How work is run again whose input is gone.
PRUNED_CURE = "let an operator of porch give it back from the archive: `porch-server restore FILE`"


class TaskPruned(Conflict):
    """The task has ended long ago, and its input is no longer kept."""

    code = "task_pruned"


class ForceNeeded(Conflict):
    """Running finished work again needs to be said twice."""

    code = "force_needed"


class ReasonNeeded(Conflict):
    """Running finished work again needs a reason."""

    code = "reason_needed"


class LedgerAway(PorchError):
    """The ledger cannot be reached, or gave up; the same request may be tried again."""

    code = "database_away"


class TooSlow(PorchError):
    """The question takes longer to answer than a coordinator may take."""

    code = "too_slow"


class InternalError(PorchError):
    """Something that should not happen; the log of the coordinator has the details."""

    code = "internal_error"
