"""Traces: a span for each request, where OpenTelemetry's OTEL_* variables ask for that.

Nothing of OpenTelemetry is imported otherwise. Needs the extra: ``pip install porch-client[otel]``.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from porch_client.otel import Span, Tracer

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def begin(name: str, request_id: str, pipeline: object) -> Span | None:
    """A span for a request that is to be sent, within the caller's own; None if none is wanted."""
    tracer = _tracer()
    return None if tracer is None else tracer.begin(name, request_id, pipeline)


@cache
def _tracer() -> Tracer | None:
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "")
    wanted = exporter or any(os.environ.get(name) for name in _ENDPOINTS)
    if not wanted or exporter == "none" or os.environ.get("OTEL_SDK_DISABLED", "") == "true":
        return None
    try:
        from porch_client.otel import Tracer  # noqa: PLC0415 (only where it is asked for)
    except ImportError:  # the variables may be meant for others
        return None
    return Tracer()
