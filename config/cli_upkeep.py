"""The commands of ``porch-server`` that look, keep and mend, and those that move things over.

What only one of them needs is imported by it: the others start sooner without.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from config.settings import Settings
from coordinator.identity import Limits

if TYPE_CHECKING:
    from config.archive import Pruned

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--quick", is_flag=True, help="Only what takes some seconds: see docs/runbook.md.")
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def doctor(quick: bool, json_output: bool) -> None:
    """Examine this porch: its whole database, its broker and workers. Exits 1 if it is not healthy.

    Reads every task and event as they were at one instant, about a million tasks a minute, while
    porch goes on. What is wrong is shown by its first examples. Without PORCH_BROKER_URL, only the
    database is examined. --quick reads neither tasks nor schema, and tells what is stuck, and why.
    """
    from config.doctor import as_text, examine
    from config.embedded_postgres import data_of

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


@click.command("import-npg-porch")
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
    from config import import_npg_porch as moving

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


@click.command()
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
    from config import archive as archiving

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
        raise archiving.NotArchived(
            f"cannot write: {error}; no more was pruned",
            "make room, or say --to a folder that this user may write to; then again",
        ) from error
    claims = archiving.prune_claims(url, seconds)
    for one in done:
        click.echo(json.dumps(asdict(one)) if json_output else _pruned(one))
    click.echo(json.dumps({"claims": claims}) if json_output else f"{claims:,} claims of long ago")


def _tell_pruned(pruned: Pruned) -> None:
    click.echo(_pruned(pruned), err=True)


def _pruned(one: Pruned) -> str:
    where = f", {one.files:,} files, the last of them {one.file}" if one.file else ""
    return f"{one.pipeline} {one.status}: {one.tasks:,} tasks and {one.events:,} events{where}"


@click.command()
@click.argument("files", nargs=-1, required=True, type=_FILE)
@click.option("--task", "tasks", multiple=True, metavar="KEY", help="Only those, by beginnings.")
def restore(files: tuple[Path, ...], tasks: tuple[str, ...]) -> None:
    """Give inputs back to tasks that were pruned, so that they can be run again.

    FILES are what `porch-server archive` wrote, or JSON lines with pipeline, version and
    task_input. Histories stay in the archive.
    """
    from config import archive as archiving

    url = Settings.from_environment().required("database_url")
    restored, fitted = archiving.restore(url, files, tasks)
    click.echo(f"{restored:,} of {fitted:,} given back; the others are not pruned, or not here")
    sys.exit(0 if restored else 1)


@click.command("redis-users")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def redis_users(directory: Path) -> None:
    """Print the users of the broker, for the file that its setting `aclfile` names.

    In DIRECTORY is a file for each user's password, NAME; one that is missing is made. Printed are
    hashes. To change a password, rename its file to NAME.old: both are good until that is removed.
    """
    from config.redis_users import users_acl

    click.echo(users_acl(directory), nl=False)


@click.group()
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
    from config.wiring import issue_admin_token

    del admin  # said for clarity: the only kind that this command issues
    url = Settings.from_environment().required("database_url")
    click.echo(issue_admin_token(url, description))


@click.command()
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
    from config import demo as demonstration

    sys.exit(demonstration.run(sheet, key))


COMMANDS = (doctor, import_npg_porch, archive, restore, redis_users, token, demo)
