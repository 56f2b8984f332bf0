"""What a page takes for granted: who reads it, what they have exported, and what there is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.databases import copy_of
from tests.docs.pages import ROOT
from tests.examples.typed import EXAMPLES, STANDINS
from tests.examples.workflows import installed_snakemake
from tests.factories import unique
from tests.house import BIN, House, User, environment, needs
from tests.importing.npg_porch import Old
from tests.integration.test_doctor import do

#: Of the reader: names on the pages for which each test has its own.
PIPELINE = "cardinal"


@dataclass(slots=True)
class Prepared:
    """``env``: exported. ``change``: words of the page, and ours for them."""

    here: Path
    env: dict[str, str] = field(default_factory=dict)
    change: dict[str, str] = field(default_factory=dict)


Prepare = Callable[[House, Prepared, ExitStack], None]


@contextmanager
def prepared(page: str, house: House, here: Path) -> Iterator[Prepared]:
    """What there is when somebody begins to type a page in the folder ``here``."""
    with ExitStack() as stack:
        found = Prepared(here, environment({"PORCH_STATE_DIR": str(house.state_dir)}))
        _FOR.get(page, _nothing)(house, found, stack)
        yield found


def _nothing(house: House, page: Prepared, stack: ExitStack) -> None:
    """A page that needs no more than the commands."""


def _wrapper(house: House, page: Prepared, stack: ExitStack, name: str = PIPELINE) -> User:
    """Somebody with a token for the pipeline that the page is about."""
    user = stack.enter_context(User(house))
    page.change[name] = user.pipeline
    page.env |= house.env(user.token)
    return user


def _somebody(house: House, page: Prepared, stack: ExitStack) -> None:
    """Somebody with a token, who wants to see how it looks."""
    _wrapper(house, page, stack)


def _security(house: House, page: Prepared, stack: ExitStack) -> None:
    needs("psql", package="postgresql-client")
    url = house.ready["database_url"]
    page.env |= {"PORCH_DATABASE_URL": url, "ADMIN_URL": url.replace("+psycopg2", "")}


def _logs(house: House, page: Prepared, stack: ExitStack) -> None:
    needs("jq")
    user = _wrapper(house, page, stack)
    user.register({"run": 1})
    house.porch("list", "--pipeline", "somebody-elses", token=user.token)
    log = (house.state_dir / "worker.submit.log").read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line.get("pipeline") == user.pipeline]
    page.env["REQUEST"] = line["request_id"]


def _retention(house: House, page: Prepared, stack: ExitStack) -> None:
    """An administrator, and two tasks that ended long ago, of which one is wanted again."""
    needs("jq")
    needs("zgrep", package="gzip")
    user = _wrapper(house, page, stack)
    wanted, _ = user.register({"run": 1}, {"run": 2})
    for claimed in user.client.claim(2):
        claimed.running()
        if claimed.task_input_id == wanted:
            claimed.failed("no space left")
        else:
            claimed.done()
    _let_days_pass(house, user.pipeline, 400)
    _write(page.here / "admin-token", house.ready["admin_token"])
    (page.here / "archive").mkdir()
    page.env["PORCH_DATABASE_URL"] = house.ready["database_url"]
    page.change |= {"/archive/porch": str(page.here / "archive"), "3fa4": wanted[:12]}


def _moving(house: House, page: Prepared, stack: ExitStack) -> None:
    """An npg_porch with a pipeline, and an empty database."""
    server = house.ready["database_url"]
    ours, theirs = (stack.enter_context(copy_of(None, server)) for _ in range(2))
    old = Old(theirs, "3.0", "npg_porch")
    stack.callback(old.close)
    old.pipeline("iseq", "1.0")
    page.env |= house.env()
    page.change |= {
        "postgresql://porch:...@db/porch": ours,
        "postgresql://npg_ro:...@db/npg": theirs,
    }


def _at_home(house: House, page: Prepared, stack: ExitStack, name: str = "align") -> User:
    """Somebody at home, where their token is."""
    user = stack.enter_context(User(house))
    page.env |= {"HOME": str(page.here), "GATEWAY": house.ready["gateway_url"]}
    page.change |= {f" {name}{end}": f" {user.pipeline}{end}" for end in (" ", "\n", ",")}
    return user


def _guide(house: House, page: Prepared, stack: ExitStack) -> None:
    """The author of a wrapper, whom the operators have told what they need."""
    needs("curl")
    user = _at_home(house, page, stack)
    _write(page.here / ".porch" / "align.token", user.token)
    _write(page.here / ".porch" / "admin.token", house.ready["admin_token"])
    placeholder = "redis://porch-wrapper:...@broker.example.org:6379/0"
    page.change[placeholder] = house.ready["broker_url"]


def _operators(house: House, page: Prepared, stack: ExitStack) -> None:
    """An administrator; one run that hangs, and one that failed."""
    page.env |= {
        **house.env(house.ready["admin_token"]),
        "PORCH_DATABASE_URL": house.ready["database_url"],
    }
    name = unique("align")
    page.change |= {f" align{end}": f" {name}{end}" for end in (" ", "\n")}
    page.change["PIPELINE=align"] = f"PIPELINE={name}"
    with house.admin() as admin:
        admin.register_pipeline(name, uri="https://git.example.org/align", version="2.1")
        _, token = admin.issue_token(pipeline=name, description="farm")
    with house.client(token) as client:
        list(client.submit([{"Run": "ERR1"}, {"Run": "ERR2"}]))
        for claimed in client.claim(2, job_id="lsf.4711"):
            claimed.running()
            if claimed.task_input["Run"] == "ERR2":
                claimed.failed("exit 1: no reads pass the filter")
    _let_days_pass(house, name, 2)


def _example(house: House, page: Prepared, stack: ExitStack) -> None:
    """Somebody with a sheet, a command for one task, and stand-ins for the schedulers."""
    needs("curl")
    user = _at_home(house, page, stack)
    here = page.here
    _write(here / "align.token", user.token)
    _write(here / "runs.csv", "Run,Layout\nERR1,SINGLE\nERR2,PAIRED\n")
    for name, says in (("align_one", "aligned"), ("count_bases", "42")):
        _write(here / name, f"#!/bin/sh\necho {says}\n", 0o755)
    (here / "incoming").mkdir()
    _write(here / "incoming" / "one.cram", "reads")
    (here / "examples").symlink_to(EXAMPLES)
    folders = (STANDINS, BIN, installed_snakemake())
    page.env |= {
        **house.env(),
        "PATH": os.pathsep.join((*map(str, folders), os.environ["PATH"])),
        "PORCH_TOKEN_FILE": str(here / "align.token"),
        "STANDIN_CALLS": str(here / "calls.jsonl"),
        "SPOOL": str(here / "spool"),
        "OUTBOX": str(here / "outbox"),
        "PATIENCE": "2",
    }
    page.change |= {
        "http://127.0.0.1:8080": house.ready["gateway_url"],
        "/scratch/align": str(here / "work"),
        "/data/incoming": str(here / "incoming"),
        "'*.cram' 30": "'*.cram' 0.2",
    }


def _write(path: Path, text: str, mode: int = 0o600) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _let_days_pass(house: House, name: str, days: int) -> None:
    """Everything that has happened to a pipeline's tasks happened so long ago."""
    ago = f"make_interval(days => {days})"
    of = f"(SELECT pipeline_id FROM porch.pipeline WHERE name = '{name}')"
    do(
        house.ready["database_url"],
        f"UPDATE porch.event SET at = at - {ago} WHERE task_id IN "
        f"(SELECT task_id FROM porch.task WHERE pipeline_id = {of})",
        f"UPDATE porch.task SET created_at = created_at - {ago}, updated_at = updated_at - {ago}"
        f" WHERE pipeline_id = {of}",
    )


_FOR: Mapping[str, Prepare] = {
    "docs/index.md": _somebody,
    "docs/reference/python.md": _somebody,
    "docs/security.md": _security,
    "docs/logs.md": _logs,
    "docs/retention.md": _retention,
    "docs/moving-over.md": _moving,
    "docs/guides/wrappers.md": _guide,
    "docs/guides/operators.md": _operators,
    **{str(page.relative_to(ROOT)): _example for page in EXAMPLES.glob("*/README.md")},
}
