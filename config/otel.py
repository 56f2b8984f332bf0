"""OpenTelemetry's SDK as porch uses it. Imported only where it is asked for: see ``tracing``."""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import Engine, event

from coordinator.tracing import Tracer

#: Seconds for which sending is tried, and the end of a process waits for it.
_PATIENCE = 2.0
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
_TRACE_CONTEXT = TraceContextTextMapPropagator()
_CHANGE = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM)\s+(porch\.\w+)|\b(EXECUTE) (\w+)")
_LONGEST_STATEMENT = 2_000
#: Outcomes that are errors of porch, and no refusals.
_ERRORS = frozenset({"internal_error", "database_away", "too_slow", "put_back"})


class OpenTelemetry:
    """A Tracer that exports over OTLP/HTTP, or to the console, as OTEL_* say."""

    def __init__(self, service: str) -> None:
        # Not the global provider: a library may have plans of its own for that.
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service}
        provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        console = os.environ.get("OTEL_TRACES_EXPORTER") == "console"
        patience = None if any(os.environ.get(name) for name in _TIMEOUTS) else _PATIENCE
        exporter = ConsoleSpanExporter() if console else OTLPSpanExporter(timeout=patience)
        self.processor = BatchSpanProcessor(exporter)
        provider.add_span_processor(self.processor)
        self._tracer = provider.get_tracer("porch")
        atexit.register(flush, self)

    def begin(
        self,
        name: str,
        parent: str | None = None,
        links: Sequence[str] = (),
        *,
        server: bool = False,
        around: bool = True,
    ) -> _Span:
        """See Tracer."""
        span = self._tracer.start_span(
            name,
            context=_context_of(parent) if parent else None,
            kind=trace.SpanKind.SERVER if server else trace.SpanKind.INTERNAL,
            links=[trace.Link(_span_context(one)) for one in links],
        )
        return _Span(span, around)

    def trace_statements(self, engine: Engine) -> None:
        """A span for each statement, with its text; never with its parameters."""

        @event.listens_for(engine, "before_cursor_execute")
        def begun(_: Any, __: Any, statement: str, ___: Any, execution: Any, ____: bool) -> None:
            text = " ".join(statement.split())[:_LONGEST_STATEMENT]
            change = _CHANGE.search(statement)
            verb, what = (word for word in change.groups() if word) if change else ("SELECT", "")
            name = f"{verb.split()[0]} {what}".strip()
            attributes = {"db.system.name": "postgresql", "db.query.text": text}
            execution.porch_span = self._tracer.start_span(
                name, kind=trace.SpanKind.CLIENT, attributes=attributes
            )

        @event.listens_for(engine, "after_cursor_execute")
        def ended(*given: Any) -> None:
            given[4].porch_span.end()

        @event.listens_for(engine, "handle_error")
        def failed(failure: Any) -> None:
            span = getattr(failure.execution_context, "porch_span", None)
            if span is not None:
                kind = type(failure.original_exception).__name__
                span.set_status(trace.StatusCode.ERROR, kind)
                span.end()


class _Span:
    def __init__(self, span: trace.Span, around: bool) -> None:
        self._span = span
        within = trace.set_span_in_context(span)
        self._token = context.attach(within) if around else None
        carrier: dict[str, str] = {}
        _TRACE_CONTEXT.inject(carrier, within)
        self.traceparent = carrier.get("traceparent", "")

    def end(self, name: str, fields: Mapping[str, object], outcome: str) -> None:
        """See Span."""
        if self._token is not None:
            context.detach(self._token)
        self._span.update_name(name)
        for field, value in fields.items():
            if isinstance(value, str | int | float):
                self._span.set_attribute(f"porch.{field}", value)
        self._span.set_attribute("porch.outcome", outcome)
        if outcome in _ERRORS:
            self._span.set_status(trace.StatusCode.ERROR, outcome)
        self._span.end()


def flush(tracer: Tracer) -> None:
    """Send what is left; what cannot be sent is lost."""
    if isinstance(tracer, OpenTelemetry):
        tracer.processor.shutdown()  # type: ignore[no-untyped-call]


def _context_of(traceparent: str) -> context.Context:
    return _TRACE_CONTEXT.extract({"traceparent": traceparent}, context.Context())


def _span_context(traceparent: str) -> trace.SpanContext:
    return trace.get_current_span(_context_of(traceparent)).get_span_context()
