"""Logging: one line per operation, to standard error, as text or as JSON."""

from __future__ import annotations

import json
import logging.config
import os
import re
import time
from json.encoder import encode_basestring_ascii
from typing import Any

from config.settings import Settings
from coordinator.operations import Operation

#: Celery tells of each message received, sent and ended; porch's own line says it better.
_QUIET = ("celery.app.trace", "celery.worker.strategy", "celery.beat", "kombu", "alembic")
_STDERR = 2
#: Where PostgreSQL repeats the values of a row.
_DETAIL = re.compile(r"^DETAIL: .*?(?=^(?:HINT:|CONTEXT:|\[SQL:|$)|\Z)", re.DOTALL | re.MULTILINE)
#: What could pass for the beginning of another line, or move a terminal's cursor.
_CONTROL = re.compile(r"[^\n\t -~\u00a0-\u2027\u202f-\ufffd\U00010000-\U0010ffff]")


class Stderr(logging.Handler):
    """Writes each record whole, by one write: other processes write into the same file.

    What cannot be written is lost, and nothing else is: no operation fails because a disk is full.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        """Write it. Without a lock: one write needs none, and a fork may not inherit one."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """As ``handle``."""
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 (an argument of somebody's that has no text)
            line = f"a line of {record.name} could not be written: {type(error).__name__}"
        try:  # noqa: SIM105 (suppress costs a tenth of a line)
            os.write(_STDERR, f"{line}\n".encode("utf-8", "replace"))
        except OSError:
            pass


class _Line(logging.Formatter):
    """What both formats share: the time, in UTC, and tracebacks without the values of rows."""

    _second = 0
    _written = ""

    def time(self, record: logging.LogRecord) -> str:
        """As RFC 3339 has it, with milliseconds."""
        second = int(record.created)
        if second != self._second:
            self._written = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._written}.{int((record.created - second) * 1000):03d}Z"

    def traceback(self, record: logging.LogRecord) -> str:
        """The traceback that belongs to a record, or nothing."""
        if not record.exc_info or record.exc_info[0] is None:
            return ""
        return _DETAIL.sub("DETAIL: (not logged)\n", self.formatException(record.exc_info))


class Text(_Line):
    """``time level process logger: message``; more lines of one record begin with ``  | ``."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, as a line."""
        head = f"{self.time(record)} {record.levelname} {record.process} {record.name}: "
        if isinstance(record.msg, Operation):
            return f"{head}{record.msg}"
        message, traceback = record.getMessage(), self.traceback(record)
        text = f"{message}\n{traceback}" if traceback else message
        return head + _CONTROL.sub(_escaped, text).rstrip("\n").replace("\n", "\n  | ")


class Json(_Line):
    """One JSON object a line, in ASCII: ``time``, ``level``, ``pid``, ``logger``; then the fields
    of an operation, or ``message``, and ``traceback`` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, as a line."""
        if isinstance(record.msg, Operation):
            told = record.msg.fields()
        else:
            told = {"message": record.getMessage()}
            if traceback := self.traceback(record):
                told["traceback"] = traceback
        members = [f'"{name}":{_as_json(value)}' for name, value in told.items()]
        return (
            f'{{"time":"{self.time(record)}","level":"{record.levelname}","pid":{record.process},'
            f'"logger":{_as_json(record.name)},{",".join(members)}}}'
        )


_FORMATS = {"text": "config.logs.Text", "json": "config.logs.Json"}


def configure_logging(settings: Settings) -> None:
    """Log to standard error in the format and from the level that are set."""
    logging.config.dictConfig(logging_config(settings))
    logging.captureWarnings(True)


def logging_config(settings: Settings) -> dict[str, Any]:
    """The same, as the configuration that ``logging.config`` takes."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": _FORMATS[settings.log_format]}},
        "handlers": {"stderr": {"class": "config.logs.Stderr", "formatter": "line"}},
        "root": {"level": settings.log_level.upper(), "handlers": ["stderr"]},
        "loggers": {name: {"level": "WARNING"} for name in _QUIET},
    }


def _as_json(value: object) -> str:
    """A string or a number in ASCII; faster than a call of ``json.dumps`` for each line."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    return "null" if value is None else repr(value)


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
