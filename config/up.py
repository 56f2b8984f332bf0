"""``porch-server up``: everything on this machine, started in order, stopped together.

1. lock the state directory; 2. start the servers that no URL is configured for; 3. migrate;
4. issue the first admin token; 5. start the gateway, Flower, the workers and beat, all at once;
6. say how to reach it all; 7. keep it running until a signal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

from config.embedded import POSTGRES_STAGE, VALKEY_STAGE
from config.embedded_postgres import postgres_url, start_postgres
from config.embedded_valkey import start_valkey, valkey_url
from config.flower_home import is_installed
from config.ports import check_address, free_port
from config.private_files import write_private
from config.processes import Child, Family, Program
from config.queues import QUEUES
from config.reached import Urls, as_json, as_text, write_env_sh
from config.relay.webhooks import read_webhooks
from config.server_home import server_home
from config.settings import IN_FILES, Settings
from config.signals import Stopped, StopSignals
from config.state import State
from config.supervision import keep_running
from config.system_user import server_user
from config.wiring import (
    beat_argv,
    flower_argv,
    gateway_argv,
    issue_admin_token,
    relay_argv,
    worker_argv,
)
from db.migrate import upgrade

_WORKER_STAGE = 0
# A worker finishes or hands back its messages within 10 s of SIGTERM.
_WORKER_STOP_SECONDS = 20.0
_READY_SECONDS = 60.0
_CONCURRENCY = 2
# Two, so that a flood of submissions does not keep claims and reports waiting.
_SUBMIT, *_OTHERS = QUEUES
_CELERY = {
    "worker.submit": worker_argv(_SUBMIT, _CONCURRENCY, "submit"),
    "worker.claim": worker_argv(",".join(_OTHERS), _CONCURRENCY, "claim"),
    "beat": beat_argv(),
}


def up(settings: Settings, json_output: bool) -> None:
    """Run everything until SIGINT, SIGTERM or SIGHUP; returns when all of it is stopped.

    Prints, once ready, one JSON line or a few lines to read. Raises PorchError when something
    cannot be started; nothing is left running then either.
    """
    with (
        StopSignals() as stop,
        contextlib.suppress(Stopped),
        State(settings.state_dir, stop.pause) as state,
        Family(state.lock, state.children, stop.pause) as family,
    ):
        try:
            _check_addresses(settings)
            read_webhooks(settings.webhooks_file)  # rather than a relay that dies of them
            urls = _start_servers(settings, state, family)
            with stop.interrupting():
                upgrade(urls.database)
            new_token = _ensure_admin_token(urls, state)
            gateway, flower = _addresses(settings)
            urls = replace(urls, gateway=gateway, flower=flower, metrics=_metrics())
            started = [_start_gateway(urls, settings, state, family)]
            if urls.flower:
                started.append(_start_flower(urls, settings, state, family))
            write_env_sh(urls, settings, state)
            _start_celery(urls, state, family)
            _start_relay(urls, state, family)
            for child, health in started:
                family.wait_until(child, partial(_answers, health), _READY_SECONDS)
            if json_output:
                _print(as_json(urls, state, family))
            else:
                _print(as_text(urls, settings, state, new_token))
            keep_running(family, _say)
        except Stopped:
            _say("stopping")
            raise


def worker_ready(family: Family, child: Child, ready_file: Path) -> None:
    """Wait for the worker to make its ready file; raises ProgramDied with the end of its log."""
    family.wait_until(child, ready_file.exists, _READY_SECONDS)


def _start_servers(settings: Settings, state: State, family: Family) -> Urls:
    """Start an embedded server for each URL that is not configured."""
    # Where the terminal has our own env.sh, it names the very servers that we are about to start.
    ours = (postgres_url(state), valkey_url(state))
    database, broker, result = (
        None if url in ours else url
        for url in (settings.database_url, settings.broker_url, settings.result_url)
    )
    new = state.new and not database
    if not (database and broker):
        user = server_user()
        home = server_home(state, user)
        if not database:
            _say("starting PostgreSQL")
            database = start_postgres(family, state, home, user, POSTGRES_STAGE).url
        if not broker:
            _say("starting Valkey")
            broker = start_valkey(family, state, home, user, VALKEY_STAGE).url
    return Urls(database, broker, result or broker, new=new)


def _ensure_admin_token(urls: Urls, state: State) -> str | None:
    """Issue the first admin token; None if there is one already.

    Killed between issuing and writing, the next start issues another: a token that nobody ever
    saw does no harm, an installation without one does.
    """
    if state.admin_token.exists():
        return None
    token = issue_admin_token(urls.database, "first admin token, made by porch-server up")
    write_private(state.admin_token, token + "\n")
    return token


def _start_celery(urls: Urls, state: State, family: Family) -> None:
    _say("starting workers")
    started = []
    for name, argv in _CELERY.items():
        ready_file = state.path / f"{name}.ready"
        ready_file.unlink(missing_ok=True)
        program = Program(
            name=name,
            argv=argv,
            env={
                **_environment(),
                **({} if name == "beat" else {"PORCH_DATABASE_URL": urls.database}),
                "PORCH_BROKER_URL": urls.broker,
                "PORCH_RESULT_URL": urls.result,
                "PORCH_READY_FILE": str(ready_file),
                **_scraped_at(urls, name),
            },
            cwd=Path.cwd(),  # so that relative paths in the environment keep their meaning
            log=state.log(name),
            stage=_WORKER_STAGE,
            stop_signal=signal.SIGTERM,
            stop_seconds=_WORKER_STOP_SECONDS,
        )
        started.append((family.start(program), ready_file))
    for child, ready_file in started:
        worker_ready(family, child, ready_file)


def _start_relay(urls: Urls, state: State, family: Family) -> None:
    family.start(
        Program(
            name="relay",
            argv=relay_argv(),
            env={
                **_environment(),
                "PORCH_DATABASE_URL": urls.database,
                "PORCH_BROKER_URL": urls.broker,
                "PORCH_RESULT_URL": urls.result,
                **_scraped_at(urls, "relay"),
            },
            cwd=Path.cwd(),
            log=state.log("relay"),
            stage=_WORKER_STAGE,
            stop_signal=signal.SIGTERM,
            stop_seconds=_WORKER_STOP_SECONDS,
        )
    )


def _environment() -> dict[str, str]:
    """Ours, without the names of files: what was read from them is handed on itself."""
    return {name: value for name, value in os.environ.items() if name not in IN_FILES}


def _metrics() -> dict[str, str]:
    """Where each part is scraped: on this machine only, at any port that is free."""
    ports: set[int] = set()
    names = ("gateway", *_CELERY, "relay")
    while len(ports) < len(names):
        ports.add(free_port())
    return {
        name: f"http://127.0.0.1:{port}/metrics" for name, port in zip(names, ports, strict=True)
    }


def _scraped_at(urls: Urls, name: str) -> dict[str, str]:
    host, port = _host_and_port(urls.metrics[name])
    return {"PORCH_METRICS_HOST": host, "PORCH_METRICS_PORT": str(port)}


def _check_addresses(settings: Settings) -> None:
    """Find a port that is taken before anything is started."""
    if settings.gateway_port:
        check_address(settings.gateway_host, settings.gateway_port, "the gateway", "PORCH_GATEWAY")
    if settings.flower and not is_installed():
        _say("no Flower: it is not installed (pip install 'porch-coordinator[flower]')")
    elif settings.flower and settings.flower_port:
        check_address(settings.flower_host, settings.flower_port, "Flower", "PORCH_FLOWER")


def _addresses(settings: Settings) -> tuple[str, str]:
    """Where the gateway and Flower will be reached; empty for what is not to be started."""
    flower = settings.flower and is_installed()
    return (
        _url(settings.gateway_host, settings.gateway_port),
        _url(settings.flower_host, settings.flower_port) if flower else "",
    )


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port or free_port()}"


def _start_web(
    name: str, argv: list[str], env: dict[str, str], state: State, family: Family
) -> Child:
    return family.start(
        Program(
            name=name,
            argv=argv,
            env={**_environment(), **env},
            cwd=Path.cwd(),
            log=state.log(name),
            stage=_WORKER_STAGE,
            stop_signal=signal.SIGTERM,
            stop_seconds=_WORKER_STOP_SECONDS,
        )
    )


def _start_gateway(
    urls: Urls, settings: Settings, state: State, family: Family
) -> tuple[Child, str]:
    """The gateway, and the address that answers when it is ready."""
    _say("starting the gateway")
    argv = gateway_argv(*_host_and_port(urls.gateway))
    env = {
        "PORCH_DATABASE_URL": urls.database,
        "PORCH_METRICS_DISKS": settings.metrics_disks or str(state.path),
        **_scraped_at(urls, "gateway"),
    }
    child = _start_web("gateway", argv, env, state, family)
    return child, f"{urls.gateway}/health/live"


def _start_flower(
    urls: Urls, settings: Settings, state: State, family: Family
) -> tuple[Child, str]:
    """Flower, and the address that answers when it is ready."""
    env = {"PORCH_BROKER_URL": urls.broker, "PORCH_STATE_DIR": str(state.path)}
    if settings.flower_password:  # it may have been read from a file
        env["PORCH_FLOWER_PASSWORD"] = settings.flower_password
    _say("starting Flower")
    argv = flower_argv(*_host_and_port(urls.flower))
    return _start_web("flower", argv, env, state, family), f"{urls.flower}/healthcheck"


def _host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 0)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2):  # noqa: S310 (our own http:// address)
            return True
    except OSError:
        return False


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it, or there is no room: work goes on
        sys.stderr.write(f"porch-server: {text}\n")
        sys.stderr.flush()
