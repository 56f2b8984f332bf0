"""Traces of what is done, for those who collect them: nothing is traced unless ``use`` is called.

A span is named to others by its traceparent (W3C Trace Context, www.w3.org/TR/trace-context), in
messages and in headers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Protocol, TypeVar

from coordinator.errors import PorchError

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)

F = TypeVar("F", bound=Callable[..., Any])


class Span(Protocol):
    """Something that takes time, and of which ``traceparent`` tells others."""

    traceparent: str

    def end(self, name: str, fields: Mapping[str, object], outcome: str) -> None:
        """It is over. No field has a secret, or what a task is about."""


class Tracer(Protocol):
    """Begins spans."""

    def begin(
        self,
        name: str,
        parent: str | None = None,
        links: Sequence[str] = (),
        *,
        server: bool = False,
        around: bool = True,
    ) -> Span:
        """A span within ``parent``, or else within the one that is under way here.

        ``around``: what is begun here, until it ends, is within it. ``server``: it answers what
        somebody else has asked.
        """


class _Used:
    tracer: Tracer | None = None


def use(tracer: Tracer) -> None:
    """Trace with it from now on, in this process."""
    _Used.tracer = tracer


def tracer() -> Tracer | None:
    """What to trace with, if with anything."""
    return _Used.tracer


def well_formed(traceparent: object) -> str | None:
    """The traceparent, if it is one."""
    good = isinstance(traceparent, str) and _TRACEPARENT.fullmatch(traceparent)
    return str(traceparent) if good else None


def in_one_transaction(name: str) -> Callable[[F], F]:
    """Trace a verb that answers many: within the span of who asked, or linked to all of theirs."""

    def traced(verb: F) -> F:
        @wraps(verb)
        def carry_out(self: Any, asked: Sequence[Any], **how: Any) -> Any:
            if _Used.tracer is None:
                return verb(self, asked, **how)
            spans = [one.caller.traceparent for one in asked if one.caller.traceparent]
            alone = spans[0] if len(asked) == len(spans) == 1 else None
            span = _Used.tracer.begin(name, alone, () if alone else spans)
            outcome = "internal_error"
            try:
                answers = verb(self, asked, **how)
                outcome = "ok"
                return answers
            except PorchError as refusal:
                outcome = refusal.code
                raise
            finally:
                span.end(name, {"requests": len(asked)}, outcome)

        return carry_out  # type: ignore[return-value]

    return traced
