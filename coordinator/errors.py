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
    #: What to do about it in general, for the reference of codes; ``cure`` knows of the case.
    to_do: ClassVar[str] = ""
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
    to_do = "mend what the message names, and send it again"


class BadRequest(BadInput):
    """The message has not the shape that the verb needs."""

    code = "bad_request"
    to_do = "mend what the message names; who speaks the wire format by hand: use porch_client"


class UnknownWire(BadInput):
    """The message speaks a version of the wire format that this coordinator does not."""

    code = "unknown_wire_version"
    to_do = "use a porch client and coordinator of about the same age"


class NotAnObject(BadInput):
    """A task_input must be a JSON object."""

    code = "not_an_object"
    to_do = 'write the input as {"name": value, ...}'


class NotRepresentable(BadInput):
    """A value that canonical JSON or PostgreSQL cannot hold."""

    code = "not_representable"
    to_do = "send the value as text, or leave it out"


class AttemptNeeded(BadInput):
    """Where a lease may have run out, who reports must say in which attempt."""

    code = "attempt_needed"
    to_do = "add --attempt N, as `porch claim` told it"


class TooDeep(BadInput):
    """A task_input nested deeper than the limit."""

    code = "too_deep"
    to_do = "flatten it: a definition names the work, it does not carry it"


class TooLarge(BadInput):
    """A task_input, a message or a text beyond its limit."""

    code = "too_large"
    to_do = "name data by path or id instead of carrying them; send fewer things at once"


class AccessDenied(PorchError):
    """The caller may not do this."""

    code = "access_denied"


class MissingToken(AccessDenied):
    """No token came with the request."""

    code = "missing_token"
    to_do = "set PORCH_TOKEN; over HTTP, send `Authorization: Bearer TOKEN`"


class UnknownToken(AccessDenied):
    """No such token was ever issued here."""

    code = "unknown_token"
    to_do = "check PORCH_TOKEN, and that PORCH_BROKER_URL is the porch that issued it"


class RevokedToken(AccessDenied):
    """The token was good once."""

    code = "revoked_token"
    to_do = "ask an administrator of porch for a new one"


class ExpiredToken(AccessDenied):
    """The token was good until some time."""

    code = "expired_token"
    to_do = "ask an administrator of porch for a new one"


class Forbidden(AccessDenied):
    """The token is good, but not for this."""

    code = "forbidden"
    to_do = "use a token of the pipeline; for pipelines and tokens themselves, an admin token"


class NotFound(PorchError):
    """Nothing, or more than one thing, has that name."""

    code = "not_found"


class UnknownPipeline(NotFound):
    """No pipeline has that name."""

    code = "unknown_pipeline"
    to_do = "`porch pipeline list` shows them all"


class UnknownVersion(NotFound):
    """The pipeline has no such version."""

    code = "unknown_version"
    to_do = "an administrator adds one: `porch pipeline add-version NAME VERSION`"


class WhichVersion(NotFound):
    """The pipeline has several versions and none was named."""

    code = "which_version"
    to_do = "name one with --version"


class UnknownTask(NotFound):
    """No task has that task_input_id."""

    code = "unknown_task"
    to_do = "`porch list` shows them"


class AmbiguousTask(NotFound):
    """More than one task fits the prefix."""

    code = "ambiguous_task"
    to_do = "give more digits of the task_input_id, or --pipeline and --version"


class UnknownTokenId(NotFound):
    """No token has that number."""

    code = "unknown_token_id"
    to_do = "`porch token list` shows them"


class Conflict(PorchError):
    """The state of things does not allow it."""

    code = "conflict"


class PipelineExists(Conflict):
    """The name is taken."""

    code = "pipeline_exists"
    to_do = "to add a version: `porch pipeline add-version NAME VERSION`"


class VersionExists(Conflict):
    """The pipeline has this version already."""

    code = "version_exists"
    to_do = "nothing is to be done, if it is the one that you meant"


class TokenExists(Conflict):
    """This secret is registered already, for something else."""

    code = "token_exists"
    to_do = "make a new one"


class TokenEnded(Conflict):
    """Only a token that is good, and that none has replaced, can be rotated."""

    code = "token_ended"
    to_do = "issue a new one instead, or rotate the one that replaced it"


class IdentityConflict(Conflict):
    """The other identity policy would make one task of two that exist."""

    code = "identity_conflict"
    to_do = "keep the identity policy `version`"


class IllegalChange(Conflict):
    """The status table has no such change."""

    code = "illegal_change"
    to_do = "`porch show` tells what happened: who holds the task, or whether it was cancelled"


class StaleAttempt(Conflict):
    """The report is of an earlier attempt than the current one."""

    code = "stale_attempt"
    to_do = "stop, and leave its results alone: somebody else has the task, or had it since"


class StatusChanged(Conflict):
    """The task is not in the status and attempt that the caller saw."""

    code = "status_changed"
    to_do = "look again with `porch show`, and decide anew"


#: How work is run again whose input is gone.
PRUNED_CURE = "let an operator of porch give it back from the archive: `porch-server restore FILE`"


class TaskPruned(Conflict):
    """The task has ended long ago, and its input is no longer kept."""

    code = "task_pruned"
    to_do = PRUNED_CURE


class ForceNeeded(Conflict):
    """Running finished work again needs to be said twice."""

    code = "force_needed"
    to_do = "add --force --reason"


class ReasonNeeded(Conflict):
    """Running finished work again needs a reason."""

    code = "reason_needed"
    to_do = "add --reason: it is kept with the task"


class LedgerAway(PorchError):
    """The ledger cannot be reached, or gave up; the same request may be tried again."""

    code = "database_away"
    to_do = "try again, and tell the operator of porch if it lasts; nothing was lost"
    #: Whether it is there, and somebody else holds what is needed.
    busy = False


class TooSlow(PorchError):
    """The question takes longer to answer than a coordinator may take."""

    code = "too_slow"
    to_do = "ask for less: name a pipeline, a status, or a time with --since"


class InternalError(PorchError):
    """Something that should not happen; the log of the coordinator has the details."""

    code = "internal_error"
    to_do = "tell the operator of porch: the log of the coordinator has the details"
