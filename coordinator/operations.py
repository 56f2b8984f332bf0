"""What is told of an operation when it is over: one line, whichever door it came by.

A door begins an Operation and logs it at the end. What is found out on the way is told to it by
whoever finds it out: ``tell`` reaches the operation that is under way in this task or thread.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from contextvars import ContextVar
from uuid import UUID

from coordinator import tracing
from coordinator.request_ids import new_request_id

logger = logging.getLogger("porch")

#: Outcome of what was done; any other is the code of an error.
OK = "ok"
#: Outcomes that an operator should know of: they are no caller's fault.
_LEVELS = {
    "internal_error": logging.ERROR,
    "database_away": logging.WARNING,
    "too_slow": logging.WARNING,
}
_PLAIN = re.compile(r"[!#-<>-~]+").fullmatch
_LONGEST = 200

Fact = int | str
#: Status, the caller's address, method and path.
Http = tuple[int, str, str, str]


class Operation:
    """One request, and what is known of it. Times are seconds; ``facts``: counts and names."""

    __slots__ = (
        "_name",
        "_named",
        "began",
        "facts",
        "http",
        "outcome",
        "pipeline",
        "request_id",
        "span",
        "took",
        "verb",
    )

    def __init__(self, verb: str = "-", request_id: UUID | str | None = None) -> None:
        self.began = time.perf_counter()
        self.took = 0.0
        self.verb = verb
        self.request_id = request_id
        self.pipeline: str | None = None
        self.facts: dict[str, Fact] = {}
        self.outcome = OK
        self.http: Http | None = None
        self.span: tracing.Span | None = None
        self._named: UUID | str | None = None
        self._name = "-"

    @property
    def name(self) -> str:
        """The request_id, as it is written; made once, since that takes a microsecond."""
        if self._named is not self.request_id:
            self._named, self._name = self.request_id, str(self.request_id)
        return self._name

    def fields(self) -> dict[str, object]:
        """All of it, in the order in which it is read; no text is longer than 200 characters."""
        facts = self.facts
        told: dict[str, object] = {
            "verb": self.verb,
            "request_id": None if self.request_id is None else self.name,
            "pipeline": None if self.pipeline is None else self.pipeline[:_LONGEST],
            **{name: f[:_LONGEST] if isinstance(f, str) else f for name, f in facts.items()},
            "outcome": self.outcome,
            "ms": round(self.took * 1000, 2),
        }
        if self.http is not None:
            told["status"], told["client"], told["method"], path = self.http
            told["path"] = path[:_LONGEST]
        return told

    def __str__(self) -> str:
        """The same in words: ``porch.submit ID pipeline=P n=1 new=1 outcome=ok ms=1.25``.

        Of a request that came by HTTP, ``status=201 client=ADDRESS POST /tasks`` follows.
        """
        facts = "".join([f"{name}={_word(fact)} " for name, fact in self.facts.items()])
        line = (
            f"{self.verb} {_word(self.name)} pipeline={_word(self.pipeline)} {facts}"
            f"outcome={self.outcome} ms={self.took * 1000:.2f}"
        )
        if self.http is None:
            return line
        status, client, method, path = self.http
        return f"{line} status={status} client={client} {_word(method)} {_word(path)}"

    def log(self, level: int | None = None, took: float | None = None) -> None:
        """Log it as over. ``took``: seconds, unless it was begun when it came."""
        self.took = time.perf_counter() - self.began if took is None else took
        level = level or _LEVELS.get(self.outcome, logging.INFO)
        if logger.isEnabledFor(level):
            logger.callHandlers(_Record(self, level))
        if self.span is not None:
            self.span.end(self.verb, self.fields(), self.outcome)

    def trace(self, parent: object, *, around: bool) -> None:
        """Trace it until it is logged, if anything is: within ``parent``, a traceparent.

        ``around``: what is done here until then is within it.
        """
        tracer = tracing.tracer()
        if tracer is not None:
            within = tracing.well_formed(parent)
            self.span = tracer.begin(self.verb, within, server=True, around=around)

    @property
    def traceparent(self) -> str | None:
        """What names its span to others."""
        return None if self.span is None else self.span.traceparent


class _Record(logging.LogRecord):
    """A LogRecord of an operation. One that ``logging`` makes costs as much as all the rest of a
    line: it looks for the code that called, for its thread, and for names of both."""

    args = ()
    exc_info = exc_text = stack_info = taskName = None  # noqa: N815 (their names)
    pathname = filename = module = funcName = ""  # noqa: N815
    lineno = thread = 0
    relativeCreated = 0.0  # noqa: N815
    threadName = processName = "-"  # noqa: N815

    def __init__(self, operation: Operation, level: int) -> None:
        self.name = logger.name
        self.msg = operation
        self.levelno = level
        self.levelname = logging.getLevelName(level)
        self.created = time.time()
        self.msecs = self.created % 1 * 1000
        self.process = os.getpid()


_UNDER_WAY: ContextVar[Operation | None] = ContextVar("porch_operation", default=None)


def begin(operation: Operation | None) -> None:
    """From now on, what is told in this task or thread is told of ``operation``."""
    _UNDER_WAY.set(operation)


def tell(
    verb: str | None = None,
    *,
    request_id: UUID | None = None,
    pipeline: str | None = None,
    outcome: str | None = None,
    **facts: Fact,
) -> None:
    """Tell of the operation that is under way, if there is one here."""
    operation = _UNDER_WAY.get()
    if operation is None:
        return
    operation.verb = verb or operation.verb
    operation.request_id = request_id or operation.request_id
    operation.pipeline = pipeline or operation.pipeline
    operation.outcome = outcome or operation.outcome
    operation.facts.update(facts)


def under_way() -> Operation:
    """The operation that is under way here; one that nobody logs where there is none."""
    return _UNDER_WAY.get() or Operation()


def request_id() -> UUID:
    """The name of the request that is under way here; a new one where there is none."""
    known = under_way().request_id
    return known if isinstance(known, UUID) else new_request_id()


def _word(value: Fact | None) -> Fact:
    """A word that ends where it seems to: what would not is written as a JSON string in ASCII."""
    if value is None:
        return "-"
    if isinstance(value, int) or (len(value) <= _LONGEST and _PLAIN(value)):
        return value
    return json.dumps(value[:_LONGEST])
