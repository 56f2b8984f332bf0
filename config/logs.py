"""Logging: one line per operation, to standard error."""

from __future__ import annotations

import logging.config
from typing import Any

#: Celery tells of each message received, sent and ended; porch's own line says it better.
_QUIET = ("celery.app.trace", "celery.worker.strategy", "celery.beat", "kombu", "alembic")


def configure_logging() -> None:
    """Log to standard error as ``time level process name: message``."""
    logging.config.dictConfig(logging_config())


def logging_config() -> dict[str, Any]:
    """The same, as the configuration that ``logging.config`` takes."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "format": "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s",
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": "INFO", "handlers": ["stderr"]},
        "loggers": {name: {"level": "WARNING"} for name in _QUIET},
    }
