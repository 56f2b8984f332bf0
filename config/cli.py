"""``porch-server``: the commands of whoever runs porch."""

from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path
from typing import Any

import click

from config.cli_upkeep import COMMANDS
from config.importing import without_collector
from config.queues import QUEUES
from config.settings import Misconfigured, Settings
from coordinator.errors import LedgerAway, PorchError

_ALL = ",".join(QUEUES)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="porch-coordinator", prog_name="porch-server")
def cli() -> None:
    """Run porch, which makes sure that a pipeline runs once and only once for each definition.

    Settings are environment variables: PORCH_DATABASE_URL, PORCH_BROKER_URL, PORCH_RESULT_URL,
    PORCH_STATE_DIR, PORCH_MAX_INPUT_BYTES.
    """


@cli.command()
@click.option("--json", "json_output", is_flag=True, help="Print one JSON line when all is ready.")
def up(json_output: bool) -> None:
    """Run everything on this machine until Ctrl-C.

    PostgreSQL and Valkey are started here unless PORCH_DATABASE_URL and PORCH_BROKER_URL say where
    they are. Their data stay in PORCH_STATE_DIR.
    """
    with without_collector():
        from config.up import up as run_everything

    run_everything(Settings.from_environment(), json_output)


@cli.command()
@click.option(
    "--print-roles", is_flag=True, help="Print SQL that makes the roles, instead; for psql."
)
def migrate(print_roles: bool) -> None:
    """Bring the database to the schema that this release needs.

    If the server has the roles porch_worker and porch_reader, their rights are brought up to date
    as well. See docs/security.md.
    """
    from config.logs import configure_logging
    from db.migrate import upgrade
    from db.roles import printed

    if print_roles:
        click.echo(printed(), nl=False)
        return
    settings = Settings.from_environment()
    configure_logging(settings)
    upgrade(settings.required("database_url"))
    click.echo("the database is ready", err=True)


def _known_queues(_: click.Context, __: click.Parameter, text: str) -> str:
    for name in text.split(","):
        if name not in QUEUES:
            raise click.BadParameter(f'there is no queue "{name}", only {_ALL}')
    return text


@cli.command()
@click.option(
    "--queues",
    default=_ALL,
    show_default=True,
    callback=_known_queues,
    help="Which requests to take.",
)
@click.option(
    "--concurrency",
    default=2,
    show_default=True,
    type=click.IntRange(1, 256),
    help="Processes, each with a connection to PostgreSQL.",
)
@click.option("--name", default="porch", show_default=True, help="Unique on its host.")
def worker(queues: str, concurrency: int, name: str) -> None:
    """Run a coordinator worker in the foreground; any number of them, on any hosts.

    Several workers with queues of their own keep a flood of submissions from delaying claims.
    """
    from config.metrics.exposing import check_port
    from config.wiring import worker_argv

    settings = Settings.from_environment()
    settings.required("database_url")
    settings.required("broker_url")
    check_port(settings)
    argv = worker_argv(queues, concurrency, name)
    os.execv(argv[0], argv)  # noqa: S606


@cli.command()
def beat() -> None:
    """Ask for periodic work, in the foreground: without it no lease runs out, nothing is retried.

    It does none of it itself: workers that take from the queue porch.sweep do. A second one on
    another host does no harm, and goes on when the first is gone.
    """
    from config.metrics.exposing import check_port
    from config.wiring import beat_argv

    settings = Settings.from_environment()
    settings.required("broker_url")
    check_port(settings)
    argv = beat_argv()
    os.execv(argv[0], argv)  # noqa: S606


@cli.command()
def relay() -> None:
    """Pass status messages on, in the foreground: to streams in Redis, and to webhooks.

    `porch watch` works without it, and notices changes some seconds later. A second one on another
    host does no harm, and goes on when the first is gone. See docs/feed.md.
    """
    with without_collector():
        from config.logs import configure_logging
        from config.relay.run import run

    settings = Settings.from_environment()
    configure_logging(settings)
    run(settings)


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@cli.command()
@click.option("--host", help="Address to listen on; PORCH_GATEWAY_HOST unless given.")
@click.option("--port", type=click.IntRange(1, 65_535), help="PORCH_GATEWAY_PORT unless given.")
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes."
)
@click.option("--ssl-keyfile", type=_FILE, help="Key of the server's certificate, PEM.")
@click.option("--ssl-certfile", type=_FILE, help="Certificate, PEM: serves HTTPS.")
@click.option("--ssl-ca-certs", type=_FILE, help="Who signs the clients' certificates, PEM.")
@click.option("--log-config", type=_FILE, help="JSON, as Python's logging.config.dictConfig takes.")
def gateway(
    host: str | None, port: int | None, workers: int, log_config: Path | None, **tls: Path | None
) -> None:
    """Serve HTTP in the foreground: the API, its documents, and the page operators open.

    Listens on this machine only unless --host says otherwise.
    """
    with without_collector():
        from config.gateway import serve

    settings = Settings.from_environment()
    settings.required("database_url")
    given: dict[str, Any] = {name: str(path) for name, path in tls.items() if path is not None}
    if bool(tls["ssl_keyfile"]) != bool(tls["ssl_certfile"]):
        raise click.UsageError("--ssl-keyfile and --ssl-certfile need each other")
    if tls["ssl_ca_certs"]:
        given |= {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    serve(host or settings.gateway_host, port or settings.gateway_port, workers, log_config, given)


@cli.command()
@click.option("--host", help="Address to listen on; PORCH_FLOWER_HOST unless given.")
@click.option("--port", type=click.IntRange(1, 65_535), help="PORCH_FLOWER_PORT unless given.")
def flower(host: str | None, port: int | None) -> None:
    """Serve Flower in the foreground: what workers do, request by request. It only looks.

    User porch; the password is PORCH_FLOWER_PASSWORD, or in flower/password in PORCH_STATE_DIR.
    Listens on this machine only unless --host says otherwise. /metrics and /healthcheck are open.
    """
    from config.flower_home import FlowerMissing, is_installed

    if not is_installed():
        raise FlowerMissing
    with without_collector():
        from config.flower import serve

    settings = Settings.from_environment()
    settings.required("broker_url")
    serve(host or settings.flower_host, port or settings.flower_port, settings)


for _command in COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """The entry point: errors of ours are one line on stderr, and exit status 1; 2 for settings."""
    try:
        cli(prog_name="porch-server")
    except LedgerAway as away:
        cure = "is it running, and PORCH_DATABASE_URL right?"
        click.echo(f"porch-server: {LedgerAway(away.message, cure)}", err=True)
        sys.exit(1)
    except PorchError as error:
        click.echo(f"porch-server: {error}", err=True)
        sys.exit(2 if isinstance(error, Misconfigured) else 1)
