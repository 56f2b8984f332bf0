"""``porch-server``: the commands of whoever runs porch."""

from __future__ import annotations

import json
import os
import ssl
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from config import demo as demonstration
from config.doctor import as_text, examine
from config.embedded_postgres import data_of
from config.flower_home import FlowerMissing, is_installed
from config.logs import configure_logging
from config.metrics.exposing import check_port
from config.redis_users import users_acl
from config.settings import Misconfigured, Settings
from config.up import up as run_everything
from config.wiring import QUEUES, beat_argv, issue_admin_token, worker_argv
from coordinator.errors import LedgerAway, PorchError
from coordinator.identity import Limits
from db.migrate import upgrade
from db.roles import printed

if TYPE_CHECKING:
    from config.archive import Pruned

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
    from config.relay.run import run  # noqa: PLC0415 (the other commands start sooner without)

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
    from config.gateway import serve  # noqa: PLC0415 (the other commands start sooner without)

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
    if not is_installed():
        raise FlowerMissing
    from config.flower import serve  # noqa: PLC0415 (it is an extra)

    settings = Settings.from_environment()
    settings.required("broker_url")
    serve(host or settings.flower_host, port or settings.flower_port, settings)


@cli.command()
@click.option("--quick", is_flag=True, help="Only what takes some seconds: see docs/runbook.md.")
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def doctor(quick: bool, json_output: bool) -> None:
    """Examine this porch: its whole database, its broker and workers. Exits 1 if it is not healthy.

    Reads every task and event as they were at one instant, about a million tasks a minute, while
    porch goes on. What is wrong is shown by its first examples. Without PORCH_BROKER_URL, only the
    database is examined. --quick reads neither tasks nor schema, and tells what is stuck, and why.
    """
    settings = Settings.from_environment()
    database = settings.required("database_url")
    progress = _tell if sys.stderr.isatty() else _tell_nobody
    data = data_of(settings.state_dir, database)
    health = examine(database, settings.broker_url, progress, quick=quick, data=data)
    click.echo(json.dumps(health.as_dict()) if json_output else as_text(health))
    sys.exit(0 if health.healthy else 1)


def _tell(tasks: int) -> None:
    click.echo(f"{tasks:,} tasks read", err=True)


def _tell_nobody(_: object) -> None:
    """Progress is for terminals."""


@cli.command("import-npg-porch")
@click.option(
    "--from", "source", required=True, help="postgresql://... or sqlite:///...; is only read."
)
@click.option("--schema", default="npg_porch", show_default=True, help="On PostgreSQL.")
@click.option("--timezone", help="Of the times there, which have none; UTC unless given.")
@click.option("--dry-run", is_flag=True, help="Write nothing, and tell the same.")
@click.option("--json", "json_output", is_flag=True, help="The reconciliation as one JSON object.")
@click.option(
    "--skipped",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for all rows that are skipped, as JSON lines.",
)
@click.option(
    "--batch", default=1000, show_default=True, type=click.IntRange(1), help="Tasks a transaction."
)
def import_npg_porch(
    source: str,
    schema: str,
    timezone: str | None,
    dry_run: bool,
    json_output: bool,
    skipped: Path | None,
    batch: int,
) -> None:
    """Move over from npg_porch: pipelines, versions, tokens, tasks and events.

    May be broken off and started again at any time: what is here already stays as it is. Exits 1 if
    not every row that was read is accounted for. See docs/moving-over.md.
    """
    from config import import_npg_porch as moving  # noqa: PLC0415 (the others start sooner without)

    settings = Settings.from_environment()
    account = moving.import_npg_porch(
        settings.required("database_url"),
        Limits(max_bytes=settings.max_input_bytes),
        source_url=source,
        schema=schema,
        zone=timezone,
        batch=batch,
        dry_run=dry_run,
        skipped=skipped,
    )
    click.echo(json.dumps(account.as_dict()) if json_output else moving.as_text(account))
    sys.exit(0 if account.adds_up else 1)


@cli.command()
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for what is pruned: gzipped JSON lines, written and synced first.",
)
@click.option("--discard", is_flag=True, help="Prune without writing what is pruned.")
@click.option(
    "--seconds", type=click.FloatRange(0), help="Begin no new file after so many; go on next time."
)
@click.option(
    "--from-the-start",
    is_flag=True,
    help="Look at old times again: after an import, which may have brought more.",
)
@click.option(
    "--json", "json_output", is_flag=True, help="One JSON line for each status, and for claims."
)
def archive(
    folder: Path | None,
    discard: bool,
    seconds: float | None,
    from_the_start: bool,
    json_output: bool,
) -> None:
    """Prune inputs and histories that the policies of their pipelines keep no longer.

    `porch pipeline update NAME --keep DONE=90d` sets how long; without that nothing is pruned.
    The keys stay, and the last event of each task: what was submitted once is known for ever.
    Claims of two weeks ago go as well, where they got nothing or what they got was pruned, whatever
    the policies. Run it by a timer, once a day or once an hour. See docs/retention.md.
    """
    if (folder is None) is not discard:
        raise click.UsageError("say --to FOLDER, or --discard")
    from config import archive as archiving  # noqa: PLC0415 (the others start sooner without)

    url = Settings.from_environment().required("database_url")
    try:
        done = archiving.archive(
            url,
            folder,
            seconds=seconds,
            from_the_start=from_the_start,
            tell=_tell_pruned if sys.stderr.isatty() else _tell_nobody,
        )
    except OSError as error:
        raise click.ClickException(f"cannot write: {error}; no more was pruned") from error
    claims = archiving.prune_claims(url, seconds)
    for one in done:
        click.echo(json.dumps(asdict(one)) if json_output else _pruned(one))
    click.echo(json.dumps({"claims": claims}) if json_output else f"{claims:,} claims of long ago")


def _tell_pruned(pruned: Pruned) -> None:
    click.echo(_pruned(pruned), err=True)


def _pruned(one: Pruned) -> str:
    where = f", {one.files:,} files, the last of them {one.file}" if one.file else ""
    return f"{one.pipeline} {one.status}: {one.tasks:,} tasks and {one.events:,} events{where}"


@cli.command()
@click.argument("files", nargs=-1, required=True, type=_FILE)
@click.option("--task", "tasks", multiple=True, metavar="KEY", help="Only those, by beginnings.")
def restore(files: tuple[Path, ...], tasks: tuple[str, ...]) -> None:
    """Give inputs back to tasks that were pruned, so that they can be run again.

    FILES are what `porch-server archive` wrote, or JSON lines with pipeline, version and
    task_input. Histories stay in the archive.
    """
    from config import archive as archiving  # noqa: PLC0415 (the others start sooner without)

    url = Settings.from_environment().required("database_url")
    restored, fitted = archiving.restore(url, files, tasks)
    click.echo(f"{restored:,} of {fitted:,} given back; the others are not pruned, or not here")
    sys.exit(0 if restored else 1)


@cli.command("redis-users")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def redis_users(directory: Path) -> None:
    """Print the users of the broker, for the file that its setting `aclfile` names.

    In DIRECTORY is a file for each user's password, NAME; one that is missing is made. Printed are
    hashes. To change a password, rename its file to NAME.old: both are good until that is removed.
    """
    click.echo(users_acl(directory), nl=False)


@cli.group()
def token() -> None:
    """Tokens, for whoever has access to the database."""


@token.command("issue")
@click.option("--admin", is_flag=True, required=True, help="An administrator's token.")
@click.option(
    "--description", default="admin", show_default=True, help="Whose it is: events tell it."
)
def issue(admin: bool, description: str) -> None:
    """Print a new admin token, once; the database keeps only a hash of it.

    Tokens of pipelines are issued with `porch token issue --pipeline NAME --description TEXT`.
    """
    del admin  # said for clarity: the only kind that this command issues
    url = Settings.from_environment().required("database_url")
    click.echo(issue_admin_token(url, description))


@cli.command()
@click.option("--input", "sheet", type=click.Path(exists=True, dir_okay=False), help="CSV file.")
@click.option(
    "--key",
    default="Run,LibraryLayout,Platform",
    show_default=True,
    help="The columns that make a definition.",
)
def demo(sheet: str | None, key: str) -> None:
    """Watch thousands of definitions run exactly once, on servers of its own.

    Racing wrappers submit them twice, several batch scripts drain them at once, some fail and are
    run again. Exits 0 only if every definition ran exactly once.
    """
    sys.exit(demonstration.run(sheet, key))


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
