"""OpenTelemetry as the client uses it: see ``tracing``, which imports this where it is wanted."""

from __future__ import annotations

import atexit
import logging
import os
from types import TracebackType

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_TRACE_CONTEXT = TraceContextTextMapPropagator()
#: Seconds for which sending is tried, and the end of a command waits for it.
_PATIENCE = 2.0
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")


class Tracer:
    """Exports over the program's own provider where it has set one, or else as OTEL_* say."""

    def __init__(self) -> None:
        provider = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider):
            provider = _own_provider()
        self._tracer = provider.get_tracer("porch_client")

    def begin(self, name: str, request_id: str, pipeline: object) -> Span:
        """A span within the one that is under way here."""
        attributes = {"porch.request_id": request_id}
        if isinstance(pipeline, str):
            attributes["porch.pipeline"] = pipeline
        span = self._tracer.start_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes)
        return Span(span)


class Span:
    """A request under way: a context manager, around the wait for its answer."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        carrier: dict[str, str] = {}
        _TRACE_CONTEXT.inject(carrier, trace.set_span_in_context(span))
        self.traceparent = carrier.get("traceparent")

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            # Its code, and not its words: they may repeat what was sent.
            code = getattr(error, "code", kind.__name__)
            self._span.set_attribute("porch.outcome", str(code))
            self._span.set_status(trace.StatusCode.ERROR, str(code))
        self._span.end()


def _own_provider() -> TracerProvider:
    """One that is not the program's: what else it does is not ours to trace."""
    # A collector that is away is no reason to write into a command's standard error.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "porch-client"}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    console = os.environ.get("OTEL_TRACES_EXPORTER") == "console"
    patience = None if any(os.environ.get(name) for name in _TIMEOUTS) else _PATIENCE
    exporter = ConsoleSpanExporter() if console else OTLPSpanExporter(timeout=patience)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    atexit.register(provider.shutdown)
    return provider
