"""Tracing with OpenTelemetry: only where its environment variables ask for it, and it is there."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from coordinator import tracing

if TYPE_CHECKING:
    from sqlalchemy import Engine

logger = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def begin_tracing(service: str, engine: Engine) -> None:
    """Trace what this process does from now on, with the statements of ``engine``, as ``service``.

    Called after a fork: what exports has a thread.
    """
    if not _asked_for():
        return
    try:
        from config import otel  # noqa: PLC0415 (only where it is asked for)
    except ImportError as missing:
        logger.warning("OTEL_* asks for traces: pip install porch-coordinator[otel] (%s)", missing)
        return
    tracer = otel.OpenTelemetry(service)
    tracing.use(tracer)
    tracer.trace_statements(engine)


def flush() -> None:
    """Send what has been traced: this process ends."""
    tracer = tracing.tracer()
    if tracer is not None:
        from config import otel  # noqa: PLC0415

        otel.flush(tracer)


def _asked_for() -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "")
    if exporter == "none":
        return False
    return bool(exporter) or any(os.environ.get(name) for name in _ENDPOINTS)
