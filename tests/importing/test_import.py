"""A whole npg_porch moves over: from each release, on PostgreSQL and in a file."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import create_engine, make_url, text

from config.archive import archive
from config.doctor import examine
from config.import_npg_porch import as_text, import_npg_porch
from coordinator.access import digest, new_secret
from coordinator.errors import PorchError, RevokedToken, StatusChanged
from coordinator.identity import Limits
from coordinator.lookup import or_raise
from coordinator.reconciliation import Reconciliation
from coordinator.requests import Name, Policy, Report, Seen
from coordinator.service import Coordinator
from coordinator.status import Status
from db.engine import make_engine
from db.importing import REGISTERED, move_over
from db.migrate import upgrade
from db.npg_porch_opening import opened
from tests.databases import copy_of
from tests.factories import admin, caller, rerun, submit
from tests.house import BIN, environment, run, start, wait_until
from tests.importing.npg_porch import BEGAN, LIVES, Old, changed

WORKER, POWER, REVOKED, OTHER = (new_secret() for _ in range(4))


def pg(url: str) -> str:
    """As an operator writes it."""
    return url.replace("+psycopg2", "")


def move(
    source: str,
    target: str,
    *,
    dry_run: bool = False,
    zone: str | None = None,
    skipped: Path | None = None,
    schema: str = "npg_porch",
) -> dict[str, Any]:
    """Import; the reconciliation, as the command prints it with --json."""
    account = import_npg_porch(
        target,
        Limits(),
        source_url=pg(source),
        schema=schema,
        zone=zone,
        batch=100,
        dry_run=dry_run,
        skipped=skipped,
    )
    return account.as_dict()


def refused(source: str, target: str, **options: Any) -> str:
    """Import, which is refused: what is said."""
    with pytest.raises(PorchError) as caught:
        move(source, target, **options)
    assert caught.value.cure
    return str(caught.value)


def command(source: str, target: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    argv = ("porch-server", "import-npg-porch", "--from", pg(source), *options)
    return run(*argv, env={"PORCH_DATABASE_URL": pg(target)})


def everything(url: str) -> dict[str, list[dict[str, str]]]:
    """All rows of all tables, as text."""
    return {
        name: rows_of(url, f"SELECT * FROM porch.{name} ORDER BY 1, 2")
        for name in ("pipeline", "version", "token", "task", "claim", "event")
    }


def rows_of(url: str, statement: str) -> list[dict[str, str]]:
    """The rows of a statement, as text."""
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = [
            {k: v.hex() if isinstance(v, memoryview) else str(v) for k, v in row.items()}
            for row in connection.execute(text(statement)).mappings()
        ]
    engine.dispose()
    return rows


def the_key(url: str, status: str) -> str:
    """The task_input_id of the first task with this status."""
    rows = everything(url)["task"]
    return next(row["task_input_id"] for row in rows if row["status"] == status)


def whys(table: dict[str, Any]) -> dict[str, int]:
    return {skipped["why"]: skipped["rows"] for skipped in table["why_skipped"]}


@pytest.fixture(params=["2.2 postgresql", "3.0 postgresql", "2.2 sqlite", "3.0 sqlite"])
def old(request: pytest.FixtureRequest, template: str, tmp_path: Path) -> Iterator[Old]:
    """An empty npg_porch of each release, in each kind of database."""
    release, kind = request.param.split()
    if kind == "sqlite":
        made = Old(f"sqlite:///{tmp_path / 'porch.db'}", release)
        yield made
        made.close()
        return
    with copy_of(None, template) as url:
        made = Old(url, release, "npg_porch")
        yield made
        made.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Old]:
    """An npg_porch in a file, which is quicker to make."""
    made = Old(f"sqlite:///{tmp_path / 'porch.db'}", "2.2")
    yield made
    made.close()


def lived(old: Old) -> int:
    """Six tasks, one in each status, of a pipeline with tokens; what tasks point at."""
    target = old.pipeline("iseq", "1.0", "2.0")
    worker = old.token(WORKER, "iseq", about="farm")
    old.token(REVOKED, "iseq", revoked=True)
    old.token(POWER, None, about="boss")
    for n, (state, life) in enumerate(LIVES.items()):
        old.task(target, {"id_run": n, "state": state}, state, life, worker)
    return target


def at(minutes: int) -> datetime:
    return (BEGAN + timedelta(minutes=minutes)).replace(tzinfo=UTC)


def test_all_of_it_moves(old: Old, database_url: str, porch: Coordinator) -> None:
    lived(old)
    told = move(old.url, database_url)
    tables = told["tables"]
    assert told["adds_up"]
    assert {name: t["written"] for name, t in tables.items()} == {
        "pipeline": 1, "version": 2 if old.release == "3.0" else 1,
        "token": 3, "task": 6, "event": 16,
    }  # fmt: skip
    assert all(t["skipped"] == t["added"] == 0 for t in tables.values())
    assert examine(database_url).healthy
    rows = everything(database_url)["task"]
    assert [(row["status"], row["attempt"], row["lease_until"]) for row in rows] == [
        ("PENDING", "0", "None"),
        ("CLAIMED", "1", "None"),
        ("RUNNING", "1", "None"),
        ("DONE", "1", "None"),
        ("FAILED", "1", "None"),
        ("CANCELLED", "0", "None"),
    ]
    task, events = porch.show(caller(WORKER), Name(rows[3]["task_input_id"]))
    assert (task.created_at, task.updated_at) == (at(0), at(10))
    assert [(e.at, e.token, e.message) for e in events] == [
        (at(7 + n), "farm", change) for n, change in enumerate(LIVES["DONE"])
    ]


def test_porch_goes_on_where_npg_porch_was(
    small: Old, database_url: str, porch: Coordinator
) -> None:
    lived(small)
    move(small.url, database_url)
    (task,) = porch.claim(caller(WORKER), 5)
    assert task.task_input == {"id_run": 0, "state": "PENDING"}
    porch.update(caller(WORKER), [Report(Name(task.task_input_id, attempt=1), Status.DONE)])
    submit(porch, WORKER, [{"id_run": 0, "state": "PENDING"}, {"id_run": 99}])
    failed = the_key(database_url, "FAILED")
    rerun(porch, caller(WORKER), Name(failed), Seen(Status.FAILED, 1), reason="again")
    assert len(porch.claim(caller(WORKER), 5)) == 2  # the new one, and the one that had failed
    assert examine(database_url).healthy


def test_existing_tokens_keep_what_they_may(
    small: Old, database_url: str, porch: Coordinator
) -> None:
    lived(small)
    move(small.url, database_url)
    porch.register_pipeline(caller(POWER), "new", uri="https://example.org/n", version="1")
    with pytest.raises(RevokedToken):
        submit(porch, REVOKED, [{"id_run": 5}])
    with pytest.raises(PorchError, match="admin token"):
        submit(porch, POWER, [{"id_run": 5}])
    assert WORKER not in json.dumps(everything(database_url))


def test_again_it_writes_nothing_and_says_already_here(old: Old, database_url: str) -> None:
    target = lived(old)
    old.task(target, {"jump": 1}, "DONE", ["Created", changed("FAILED")], 1)
    old.task(target, {"jump": 1.0}, "PENDING", ["Created"], 1)
    first = move(old.url, database_url)
    before = everything(database_url)
    again = move(old.url, database_url)
    assert everything(database_url) == before
    assert again["adds_up"]
    for name, table in again["tables"].items():
        assert (table["written"], table["added"]) == (0, 0)
        assert table["already_here"] == first["tables"][name]["written"]
        assert whys(table) == whys(first["tables"][name])


def test_again_it_leaves_pruned_what_was_pruned_meanwhile(
    small: Old, database_url: str, porch: Coordinator, tmp_path: Path
) -> None:
    lived(small)
    first = move(small.url, database_url)
    porch.set_policy(caller(POWER), "iseq", Policy(keep={Status.DONE: 86_400}))
    assert [pruned.tasks for pruned in archive(database_url, tmp_path)] == [1]
    before = everything(database_url)
    again = move(small.url, database_url)
    assert everything(database_url) == before
    assert again["adds_up"]
    assert again["tables"]["task"]["already_here"] == first["tables"]["task"]["written"] - 1
    assert whys(again["tables"]["task"]) == {REGISTERED: 1}
    done = porch.submit(caller(WORKER), [{"id_run": 3, "state": "DONE"}])
    assert [(answer.status, answer.created) for answer in map(or_raise, done)] == [("DONE", False)]
    assert examine(database_url).healthy


def test_a_dry_run_tells_the_same_and_writes_nothing(old: Old, database_url: str) -> None:
    target = lived(old)
    old.task(target, {"n": 1}, "RUNNING", ["Created", changed("RUNNING")], 99)
    before = everything(database_url)
    dry = move(old.url, database_url, dry_run=True)
    assert everything(database_url) == before
    wet = move(old.url, database_url)
    assert dry["tables"] == wet["tables"]
    assert (dry["dry_run"], wet["dry_run"]) == (True, False)
    assert (
        move(old.url, database_url, dry_run=True)["tables"] == move(old.url, database_url)["tables"]
    )


def test_killed_half_way_it_goes_on(small: Old, database_url: str, template: str) -> None:
    target = lived(small)
    lives = [({"n": n}, state, life) for n in range(150) for state, life in LIVES.items()]
    lives = [({**d, "state": s}, s, life) for d, s, life in lives]
    small.tasks(target, lives, 1)
    command = ("porch-server", "import-npg-porch", "--from", small.url, "--batch", "5")
    process = start(*command, env={"PORCH_DATABASE_URL": pg(database_url)})
    engine = create_engine(database_url)

    def moved() -> int:
        with engine.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM porch.task")).scalar_one())

    wait_until(moved)
    process.kill()
    process.communicate()
    there = moved()
    engine.dispose()
    assert 0 < there < 906
    told = move(small.url, database_url)
    assert (told["tables"]["task"]["already_here"], told["tables"]["task"]["read"]) == (there, 906)
    assert told["adds_up"]
    assert examine(database_url).healthy
    with copy_of(None, template) as other:
        upgrade(other)
        move(small.url, other)
        assert _content(other) == _content(database_url)


def _content(url: str) -> Any:
    return rows_of(
        url,
        "SELECT t.task_input_id, t.status, t.attempt, t.created_at, t.updated_at, e.at,"
        " e.from_status, e.to_status, e.attempt, e.request_id, e.message, k.description"
        " FROM porch.task t JOIN porch.event e USING (task_id) JOIN porch.token k"
        " USING (token_id) ORDER BY t.task_id, e.event_id",
    )


def test_two_imports_at_once_move_each_row_once(small: Old, database_url: str) -> None:
    target = lived(small)
    small.tasks(target, [({"n": n}, "DONE", LIVES["DONE"]) for n in range(300)], 999)
    with ThreadPoolExecutor() as pool:
        told = list(pool.map(lambda _: move(small.url, database_url), range(2)))
    for name in ("pipeline", "version", "token", "task", "event"):
        tables = [account["tables"][name] for account in told]
        assert sum(table["written"] for table in tables) == tables[0]["read"]
    assert sum(account["tables"]["token"]["added"] for account in told) == 1
    assert examine(database_url).healthy


def test_a_terminal_sees_it_advance(small: Old, database_url: str) -> None:
    lived(small)
    ours, theirs = pty.openpty()
    argv = [str(BIN / "porch-server"), "import-npg-porch", "--from", small.url, "--batch", "2"]
    env = environment({"PORCH_DATABASE_URL": pg(database_url), "TERM": "xterm"})
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        with suppress(OSError):  # how Linux tells the end of a terminal
            while some := os.read(ours, 4096):
                said += some
    os.close(ours)
    assert process.returncode == 0
    assert b"moving tasks" in said
    assert b"6/6" in said
    assert b"Traceback" not in said


def test_inputs_that_are_one_definition_here(small: Old, database_url: str) -> None:
    target = lived(small)
    small.task(target, {"x": 1}, "PENDING", ["Created"], 1)
    kept = small.task(target, {"x": 1.0}, "DONE", LIVES["DONE"], 1)
    small.task(target, '{"x": 1e0}', "DONE", LIVES["DONE"], 1)
    told = move(small.url, database_url)
    (skipped,) = told["tables"]["task"]["why_skipped"]
    assert skipped["rows"] == 2
    assert all(f"task {kept} is kept" in row for row in skipped["first"])
    assert whys(told["tables"]["event"]) == {"its task is skipped": 5}
    assert told["adds_up"]
    assert examine(database_url).healthy


UNFIT = {
    "NaN": ('{"x": NaN}', "DONE", "its input cannot be held (not_representable)"),
    "beyond 2^53": ({"x": 2**60}, "DONE", "its input cannot be held (not_representable)"),
    "U+0000": ({"x": "\0"}, "DONE", "its input cannot be held (not_representable)"),
    "a surrogate": ('{"x": "\\ud800"}', "DONE", "its input cannot be held (not_representable)"),
    "a list": ([1], "DONE", "its input cannot be held (not_an_object)"),
    "too deep": (
        '{"x":' + "[" * 100 + "]" * 100 + "}", "DONE", "its input cannot be held (too_deep)"),
    "no JSON": ("{x", "DONE", "its input is not JSON"),
    "no state": ({"x": 1}, None, "its state is none of the six statuses"),
}  # fmt: skip


def test_what_cannot_be_held_is_skipped_and_why(
    small: Old, database_url: str, tmp_path: Path
) -> None:
    target = lived(small)
    for definition, state, _ in UNFIT.values():
        small.task(target, definition, state, ["Created"], 1)
    small.task(77, {"of": "no pipeline"}, "DONE", ["Created"], 1)
    small.add("event", task_id=4711, time=BEGAN, change="Created", token_id=1)
    small.token(None, "iseq")
    small.token("F" * 32, "iseq")
    small.token("0" * 32, None)
    told = move(small.url, database_url, skipped=tmp_path / "skipped")
    expected = {why: 0 for *_, why in UNFIT.values()}
    for *_, why in UNFIT.values():
        expected[why] += 1
    assert whys(told["tables"]["task"]) == {**expected, "it has no pipeline, or no version": 1}
    assert whys(told["tables"]["event"]) == {"its task is skipped": 9, "it is of no task": 1}
    assert sorted(whys(told["tables"]["token"]).values()) == [1, 2]
    assert told["adds_up"]
    lines = (tmp_path / "skipped").read_text().splitlines()
    assert len(lines) == 9 + 10 + 3
    assert examine(database_url).healthy


def test_events_of_tokens_that_are_not_here_have_one_that_stands_for_them(
    small: Old, database_url: str
) -> None:
    target = small.pipeline("iseq", "1.0")
    small.pipeline("other", "1.0", uri="https://example.org/o")
    odd = small.token("not a secret", "iseq", about="odd")
    other = small.token(OTHER, "other", about="other")
    power = small.token(POWER, None, about="boss")
    for token in (odd, other, power, 999):
        small.task(target, {"by": token}, "DONE", LIVES["DONE"], token)
    told = move(small.url, database_url)
    assert (told["tables"]["token"]["added"], told["tables"]["token"]["skipped"]) == (1, 1)
    assert examine(database_url).healthy
    messages = {row["message"] for row in everything(database_url)["event"]}
    assert f'Task claimed (npg_porch\'s token {odd}, "odd")' in messages


def test_a_pipeline_that_is_here_gets_what_is_new(
    small: Old, database_url: str, porch: Coordinator
) -> None:
    lived(small)
    boss = caller(admin(porch))
    porch.register_pipeline(boss, "iseq", uri="https://example.org/p", version="0.9")
    porch.set_policy(boss, "iseq", Policy(identity="pipeline"))
    ours = new_secret()
    porch.add_token(boss, digest(ours), pipeline="iseq", description="ours")
    submit(porch, ours, [{"id_run": 3, "state": "DONE"}])
    told = move(small.url, database_url)["tables"]
    assert (told["pipeline"]["already_here"], told["version"]["written"]) == (1, 1)
    assert whys(told["task"]) == {REGISTERED: 1}
    assert examine(database_url).healthy


def test_a_pipeline_with_another_uri_is_refused_before_anything_is_written(
    small: Old, database_url: str, porch: Coordinator
) -> None:
    small.pipeline("first", "1.0", uri="https://example.org/f")
    lived(small)
    boss = caller(admin(porch))
    porch.register_pipeline(boss, "iseq", uri="https://example.org/another", version="1.0")
    before = everything(database_url)
    assert "pipeline_exists: " in refused(small.url, database_url)
    assert everything(database_url) == before


def test_what_npg_porch_does_after_the_import_is_told(small: Old, database_url: str) -> None:
    lived(small)
    move(small.url, database_url)
    late = BEGAN + timedelta(days=2)
    small.add("event", task_id=1, time=late, change="Task claimed", token_id=1)
    with small.engine.begin() as connection:
        connection.execute(text("UPDATE task SET state = 'CLAIMED' WHERE task_id = 1"))
        connection.execute(text("UPDATE token SET date_revoked = date_issued WHERE token_id = 1"))
    told = move(small.url, database_url)
    assert told["tables"]["event"]["written"] == 1
    assert any("1 tasks that had been moved before were brought" in n for n in told["notes"])
    assert told["adds_up"]
    assert told["tables"]["token"]["written"] == 1  # revoked there since, and so here
    assert examine(database_url).healthy


def test_a_schema_between_the_releases(tmp_path: Path, database_url: str) -> None:
    """Its first migration to 3.0 has run, the second, which drops what is obsolete, has not."""
    old = Old(f"sqlite:///{tmp_path / 'my porch%.db'}", "3.0")
    target = old.pipeline("iseq", "2.0", "3.0")
    with old.engine.begin() as connection:
        connection.execute(text("ALTER TABLE pipeline ADD COLUMN version varchar"))
        connection.execute(text("ALTER TABLE task ADD COLUMN pipeline_id integer"))
        connection.execute(text("UPDATE pipeline SET version = '2.0'"))
    for n, pointer in enumerate([target, target + 1, None]):
        old.task(pointer, {"n": n}, "DONE", LIVES["DONE"], 1)
    with old.engine.begin() as connection:
        connection.execute(text("UPDATE task SET pipeline_id = 1"))
    old.close()
    told = move(old.url, database_url)
    assert (told["adds_up"], told["tables"]["version"]["read"]) == (True, 2)
    assert [row["version"] for row in everything(database_url)["task"]] == ["2.0", "3.0", "2.0"]


def test_a_change_of_policy_meanwhile_stops_it(
    small: Old, database_url: str, porch: Coordinator
) -> None:
    lived(small)
    move(small.url, database_url)
    boss = caller(admin(porch))

    def change(_what: str, _tasks: int) -> None:
        porch.set_policy(boss, "iseq", Policy(identity="pipeline"))

    engine = make_engine(database_url)
    with opened(small.url, "", ZoneInfo("UTC")) as source, pytest.raises(StatusChanged):
        move_over(source, engine, Limits(), Reconciliation(False), batch=3, progress=change)
    engine.dispose()
    assert move(small.url, database_url)["tables"]["task"]["already_here"] == 6
    assert examine(database_url).healthy


def test_times_of_another_zone(small: Old, database_url: str) -> None:
    target = small.pipeline("iseq", "1.0")
    token = small.token(WORKER, "iseq")
    small.task(target, {"x": 1}, "PENDING", ["Created"], token)
    move(small.url, database_url, zone="Asia/Tokyo")
    (task,) = everything(database_url)["task"]
    assert task["created_at"].startswith("2025-03-01 03:00:00.25")


def test_the_command(small: Old, database_url: str) -> None:
    target = lived(small)
    small.task(target, '{"x": NaN}', "DONE", ["Created"], 1)
    done = command(small.url, database_url, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "1 skipped: its input cannot be held (not_representable)" in done.stdout
    assert "every row is accounted for (dry run: nothing was written)" in done.stdout
    done = command(small.url, database_url, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["tables"]["task"]["written"] == 6
    done = command("sqlite:////no/such", database_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith('porch-server: no_source: there is no file "/no/such"')
    assert done.stderr.count("\n") == 1


def test_the_source_is_only_read(old: Old, database_url: str) -> None:
    lived(old)
    engine = old.engine
    dot = "npg_porch." if engine.dialect.name == "postgresql" else ""
    with engine.connect() as connection:
        before = connection.execute(text(f"SELECT * FROM {dot}task ORDER BY 1")).all()
    move(old.url, database_url)
    with engine.connect() as connection:
        assert connection.execute(text(f"SELECT * FROM {dot}task ORDER BY 1")).all() == before


# Early, and again at the end ------------------------------------------------------------------


def go_on(old: Old, number: int, state: str, *texts: str) -> None:
    """What a task does in npg_porch after it was imported."""
    late = BEGAN + timedelta(days=1)
    for minute, change in enumerate(texts):
        at = late + timedelta(minutes=minute)
        old.add("event", task_id=number, time=at, change=change, token_id=1)
    with old.engine.begin() as connection:
        statement = text("UPDATE task SET state = :state WHERE task_id = :number")
        connection.execute(statement, {"state": state, "number": number})


def test_early_and_again_at_the_end_is_as_all_at_once(
    small: Old, database_url: str, template: str
) -> None:
    target = lived(small)
    jump = small.task(target, {"jump": 1}, "RUNNING", ["Created", "Task claimed"], 1)
    move(small.url, database_url)
    go_on(small, 1, "DONE", *LIVES["DONE"][1:])
    go_on(small, 2, "RUNNING", "by hand", changed("RUNNING"))
    go_on(small, 5, "RUNNING", changed("RUNNING"))
    again = move(small.url, database_url)
    assert again["adds_up"]
    assert any(note.startswith("3 tasks that had been moved") for note in again["notes"])
    assert again["tables"]["event"]["written"] == 5
    assert examine(database_url).healthy
    with copy_of(None, template) as other:
        upgrade(other)
        move(small.url, other)
        assert _content(other) == _content(database_url)
    go_on(small, jump, "DONE", changed("DONE"))  # where it had been taken there without an event
    dry = move(small.url, database_url, dry_run=True)
    assert dry["tables"] == move(small.url, database_url)["tables"]
    assert examine(database_url).healthy
    before = everything(database_url)
    assert move(small.url, database_url)["notes"] == []
    assert everything(database_url) == before


def test_the_one_that_came_first_is_the_one_that_is_here(small: Old, database_url: str) -> None:
    target = small.pipeline("iseq", "1.0")
    worker = small.token(WORKER, "iseq")
    first = small.task(target, {"d": 1}, "PENDING", ["Created"], worker)
    second = small.task(target, {"d": 1.0}, "PENDING", ["Created"], worker)
    move(small.url, database_url)
    go_on(small, second, "DONE", *LIVES["DONE"][1:])
    told = move(small.url, database_url)["tables"]["task"]
    (skipped,) = told["why_skipped"]
    assert (told["already_here"], skipped["rows"]) == (1, 1)
    assert "another task under our identity rule" in skipped["why"]
    assert skipped["first"] == [f"task {second}: DONE here; task {first} is kept"]


def test_a_task_that_gets_its_first_events_later_is_still_known(
    small: Old, database_url: str
) -> None:
    target = small.pipeline("iseq", "1.0")
    small.token(WORKER, "iseq")
    number = small.task(target, {"d": 1}, "PENDING", [], 1)
    move(small.url, database_url)
    go_on(small, number, "DONE", *LIVES["DONE"])
    told = move(small.url, database_url)
    assert (told["tables"]["task"]["already_here"], told["tables"]["event"]["written"]) == (1, 3)
    assert told["adds_up"]
    assert everything(database_url)["task"][0]["status"] == "DONE"
    assert examine(database_url).healthy


def test_what_porch_has_changed_stays_and_is_told(
    small: Old, database_url: str, porch: Coordinator, tmp_path: Path
) -> None:
    lived(small)
    move(small.url, database_url)
    porch.claim(caller(WORKER), 1)
    go_on(small, 1, "DONE", *LIVES["DONE"][1:])
    told = move(small.url, database_url, skipped=tmp_path / "skipped")
    assert told["notes"][0].startswith("1 tasks are FURTHER ON IN NPG_PORCH THAN HERE")
    assert "task 1: DONE there, CLAIMED here" in (tmp_path / "skipped").read_text()
    assert told["adds_up"]
    assert everything(database_url)["task"][0]["status"] == "CLAIMED"
    assert examine(database_url).healthy


# Rows that nobody should have ---------------------------------------------------------------


@pytest.fixture
def loose(small: Old) -> Old:
    """An npg_porch whose tables forbid nothing."""
    tables = {
        "pipeline": "name varchar, repository_uri varchar, version varchar",
        "token": "token varchar, description varchar, pipeline_id integer, date_issued timestamp,"
        " date_revoked timestamp",
    }
    with small.engine.begin() as connection:
        for name, columns in tables.items():
            connection.execute(text(f"DROP TABLE {name}"))
            create = f"CREATE TABLE {name} ({name}_id integer PRIMARY KEY, {columns})"
            connection.execute(text(create))
    return small


def test_names_that_porch_refuses_are_skipped_with_what_hangs_on_them(
    loose: Old, database_url: str
) -> None:
    for name in (None, "", " p", "a\0b", "x" * 300, "good", "good"):
        number = loose.add("pipeline", name=name, repository_uri=None, version="1")
        loose.task(number, {"x": number}, "PENDING", ["Created"], 1)
    empty = loose.add("pipeline", name="other", repository_uri="u", version="")
    loose.task(empty, {"x": 1}, "PENDING", ["Created"], 1)
    told = move(loose.url, database_url)
    tables = told["tables"]
    assert told["adds_up"]
    assert (tables["pipeline"]["written"], tables["pipeline"]["skipped"]) == (2, 6)
    assert whys(tables["pipeline"])["another pipeline has its name"] == 1
    assert (tables["version"]["written"], tables["task"]["written"]) == (1, 1)
    assert [row["uri"] for row in everything(database_url)["pipeline"]] == [
        "unknown:npg_porch", "u",
    ]  # fmt: skip
    assert sum("unknown:npg_porch" in note for note in told["notes"]) == 1
    assert examine(database_url).healthy
    assert move(loose.url, database_url)["tables"]["task"]["already_here"] == 1


def test_odd_tokens_are_told_the_same_in_a_dry_run(loose: Old, database_url: str) -> None:
    loose.add("pipeline", name="p", repository_uri="u", version="1")
    loose.add("pipeline", name="q", repository_uri="u", version="1")
    loose.add("token", token=WORKER, description=None, pipeline_id=1)
    for pipeline in (1, 2):
        loose.add("token", token=WORKER, description="again", pipeline_id=pipeline)
    loose.add("token", token=OTHER, description="lost", pipeline_id=77)
    dry = move(loose.url, database_url, dry_run=True)["tables"]["token"]
    assert whys(dry) == {
        "its secret is that of another token there": 2,
        "its pipeline is not there, or is skipped": 1,
    }
    assert move(loose.url, database_url)["tables"]["token"] == dry
    (token,) = everything(database_url)["token"]
    assert token["description"] == "token 1 of npg_porch"


@pytest.mark.parametrize(
    ("value", "zone", "said"),
    [
        ("31/12/2021", "UTC", '3 times are none, and were left out: the first is "31/12/2021", '
         "time of event 1"),
        ("0001-01-01 00:00:00", "Asia/Tokyo", "3 times are none"),
        ("2099-01-01 00:00:00", "UTC", "3 times are after the import began"),
    ],
)  # fmt: skip
def test_times_that_cannot_be_are_noted(
    small: Old, database_url: str, value: str, zone: str, said: str
) -> None:
    target = small.pipeline("iseq", "1.0")
    small.token(WORKER, "iseq")
    small.task(target, {"d": 1}, "CLAIMED", LIVES["CLAIMED"], 1)
    with small.engine.begin() as connection:
        connection.execute(text("UPDATE event SET time = :value"), {"value": value})
        connection.execute(text("UPDATE token SET date_revoked = :value"), {"value": value})
    told = move(small.url, database_url, zone=zone)
    assert said in told["notes"][0]
    assert told["adds_up"]
    tables = everything(database_url)
    assert tables["token"][0]["revoked_at"] != "None"
    assert all(row["at"] < datetime.now(UTC).isoformat(" ") for row in tables["event"])
    assert examine(database_url).healthy


def test_infinity_is_the_time_of_the_import(template: str, database_url: str) -> None:
    with copy_of(None, template) as url:
        old = Old(url, "3.0", "npg_porch")
        lived(old)
        with old.engine.begin() as connection:
            connection.execute(
                text("UPDATE npg_porch.event SET time = 'infinity' WHERE event_id = 16")
            )
            connection.execute(
                text("UPDATE npg_porch.event SET time = '-infinity' WHERE event_id = 1")
            )
        old.close()
        told = move(url, database_url, zone="Asia/Tokyo")
    assert len(told["notes"]) == 2
    assert told["adds_up"]
    assert examine(database_url).healthy


def test_a_file_that_cannot_be_written_is_told(small: Old, database_url: str) -> None:
    said = refused(small.url, database_url, skipped=Path("/no/such/folder/file"))
    assert '"/no/such/folder/file" cannot be written: No such file' in said


# Mistakes -----------------------------------------------------------------------------------


def test_mistakes_are_one_line_with_a_cure(
    database_url: str, template: str, tmp_path: Path
) -> None:
    assert "no_source: " in refused("mysql://u:secret@h/d", database_url)
    assert "secret" not in refused("postgresql://u:secret@h:x/d", database_url)
    assert "no_source: there is no file" in refused("sqlite:////no/such", database_url)
    away = refused("postgresql://u:secret@127.0.0.1:1/d", database_url)
    assert "no_source: " in away
    assert "secret" not in away
    (tmp_path / "text").write_text("hello " * 1000)
    assert "no_source: " in refused(f"sqlite:///{tmp_path / 'text'}", database_url)
    said = refused(f"sqlite:///{tmp_path / 'text'}", database_url, zone="Mars/Olympus")
    assert "there is no time zone" in said
    with copy_of(None, template) as url:
        assert 'there is no schema "npg_porch"' in refused(url, database_url)
        old = Old(url, "2.2", "elsewhere")
        old.close()
        assert "try --schema elsewhere" in refused(url, database_url)
        assert "has no table event, pipeline" in refused(url, database_url, schema="public")
        unmigrated = refused(url, url, schema="elsewhere")
        assert "not_migrated: " in unmigrated
        assert "porch-server migrate" in unmigrated
        assert make_url(url).password not in unmigrated


def test_porch_away_is_told_as_such(small: Old) -> None:
    said = command(small.url, "postgresql://u:p@127.0.0.1:1/none").stderr
    assert "database_away" in said
    assert "PORCH_DATABASE_URL right?" in said
    assert said.count("\n") == 1


def test_an_account_that_does_not_add_up_is_told() -> None:
    account = Reconciliation(dry_run=False)
    account["task"].read = 2
    account["task"].written = 1
    assert not account.adds_up
    assert "NOT ADDED UP" in as_text(account)
