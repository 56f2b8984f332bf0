"""Where everything is reached that ``porch-server up`` runs, and how that is told."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kombu.utils.url import maybe_sanitize_url
from sqlalchemy.engine import make_url

from config.flower_home import USER, FlowerHome
from config.private_files import write_private
from config.processes import Family
from config.settings import Settings
from config.state import State


@dataclass(frozen=True, slots=True)
class Urls:
    """Where everything is reached, passwords included."""

    database: str
    broker: str
    result: str
    gateway: str = ""
    #: Of each part that can be scraped.
    metrics: Mapping[str, str] = field(default_factory=dict)
    #: Empty where none is started.
    flower: str = ""
    #: Whether the database has been made just now: there are no tasks in it.
    new: bool = False


def write_env_sh(urls: Urls, settings: Settings, state: State) -> None:
    """Write what a terminal needs, for its owner alone: `. env.sh`."""
    values = {
        "PORCH_STATE_DIR": str(state.path),
        "PORCH_DATABASE_URL": urls.database,
        "PORCH_BROKER_URL": urls.broker,
        "PORCH_RESULT_URL": urls.result,
        "PORCH_GATEWAY_URL": urls.gateway,
        "PORCH_TOKEN": state.admin_token.read_text().strip(),
    }
    if urls.flower:
        values["PORCH_FLOWER_URL"] = urls.flower
        values["PORCH_FLOWER_PASSWORD"] = (
            settings.flower_password or FlowerHome(state.path).password()
        )
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in values.items()]
    # Another terminal may not have them on its path, and what follows there is `porch ...`.
    commands = shlex.quote(str(Path(sys.executable).parent))
    lines.append(f'command -v porch >/dev/null || export PATH={commands}:"$PATH"\n')
    write_private(state.env_sh, "".join(lines))


def as_json(urls: Urls, state: State, family: Family) -> str:
    """For a program: one line, passwords and the token included."""
    return json.dumps(
        {
            "database_url": urls.database,
            "broker_url": urls.broker,
            "result_url": urls.result,
            "gateway_url": urls.gateway,
            "flower_url": urls.flower or None,
            "metrics_urls": urls.metrics,
            "admin_token": state.admin_token.read_text().strip(),
            "state_dir": str(state.path),
            "new": urls.new,
            "pids": {child.program.name: child.pid for child in family.children},
        }
    )


def as_text(urls: Urls, settings: Settings, state: State, new_token: str | None) -> str:
    """For a terminal, whose contents end up in logs: no password, and the token only once."""
    flower = []
    if urls.flower:
        kept = FlowerHome(state.path).password_file
        where = "the one you set" if settings.flower_password else f"in {kept}"
        flower = [f"  Flower     {urls.flower}/  (user {USER}, password {where})"]
    lines = [
        "porch is ready",
        f"  database   {make_url(urls.database).render_as_string(hide_password=True)}",
        f"  broker     {maybe_sanitize_url(urls.broker)}",
        f"  web page   {urls.gateway}/",
        *flower,
        f"  metrics    {' '.join(urls.metrics.values())}",
        f"  logs       {state.path}",
        # Whoever looks for their tasks has started it with another PORCH_STATE_DIR before, or none.
        f"  state      {'a new, empty porch in ' if urls.new else ''}{state.path}",
    ]
    if new_token:
        lines.append(f"  admin token (shown this once, kept in {state.admin_token}): {new_token}")
    lines += [
        "",
        f"In another terminal:  . {shlex.quote(str(state.env_sh))}",
        "Ctrl-C stops everything.",
    ]
    return "\n".join(lines)
