"""``porch-server gateway``: the HTTP door, served by uvicorn."""

from __future__ import annotations

import json
import ssl
from logging.config import dictConfig
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from config.logs import logging_config
from config.metrics import sharing
from config.metrics.exposing import Exposition, check_port, serve_beside
from config.metrics.ledger_gauges import LedgerGauges
from config.ports import check_address
from config.settings import Misconfigured, Settings
from config.wiring import counting, make_coordinator, traced
from coordinator.gateway.app import CONNECTIONS, make_gateway
from coordinator.identity import Limits

# Requests that are under way when it is told to stop have so many seconds to end.
_STOP_SECONDS = 10


def make_app() -> FastAPI:
    """The application of one gateway process, from the environment."""
    settings = Settings.from_environment()
    porch = make_coordinator(
        settings.required("database_url"),
        Limits(max_bytes=settings.max_input_bytes),
        connections=CONNECTIONS,
        open_reads=not settings.reads_need_token,
        counting=counting(),
    )
    return make_gateway(traced(porch, "porch-gateway"), _exposition(settings).told)


def _exposition(settings: Settings) -> Exposition:
    gauges = LedgerGauges(settings.required("database_url"), settings.watched_disks)
    return Exposition(counting(), gauges)


def serve(host: str, port: int, workers: int, log_config: Path | None, tls: dict[str, Any]) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises Misconfigured.

    ``tls``: uvicorn's options for keys and certificates, paths.
    """
    check_address(host, port, "the gateway", "PORCH_GATEWAY")
    _check_tls(tls)
    settings = Settings.from_environment()
    check_port(settings)
    if workers > 1:
        sharing.count_together()
    else:
        sharing.count_alone()
    log = _read(log_config) if log_config else logging_config(settings)
    if settings.metrics_port is not None:
        dictConfig(log)  # uvicorn does it later: this tells where it listens
        serve_beside(settings, _exposition(settings))
    uvicorn.run(
        "config.gateway:make_app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        log_config=log,
        access_log=False,  # our own line tells more: see coordinator.operations
        timeout_graceful_shutdown=_STOP_SECONDS,
        server_header=False,
        **tls,
    )


def _check_tls(tls: dict[str, Any]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if "ssl_certfile" in tls:
            context.load_cert_chain(tls["ssl_certfile"], tls["ssl_keyfile"])
        if "ssl_ca_certs" in tls:
            context.load_verify_locations(tls["ssl_ca_certs"])
    except OSError as error:  # ssl.SSLError is one too
        raise Misconfigured(
            f"the key and certificates cannot be used: {error}",
            "give PEM files that belong together",
        ) from None


def _read(log_config: Path) -> dict[str, Any]:
    """A logging configuration: the JSON form of what ``logging.config.dictConfig`` takes."""
    try:
        config = json.loads(log_config.read_text())
    except (OSError, ValueError) as error:
        raise Misconfigured(f"cannot use {log_config}: {error}", "give a JSON file") from None
    if not isinstance(config, dict) or config.get("version") != 1:
        raise Misconfigured(
            f'{log_config} is no logging configuration: it has no "version": 1',
            "see logging.config.dictConfig in Python's documentation",
        )
    # What it does not name goes on telling, to its root.
    return {"disable_existing_loggers": False, **config}
