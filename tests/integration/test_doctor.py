"""The examination of a database: well after everything that porch does, and wrong after everything
that it would not do, each done behind its back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, make_url, text

from config.doctor import examine
from config.wiring import make_coordinator
from coordinator.health import Check, Health, Level
from coordinator.model import Task
from coordinator.requests import Name, Policy, Report, Seen
from coordinator.service import Coordinator
from coordinator.status import Status
from db.schema import SCHEMA
from tests.databases import copy_of
from tests.factories import admin, caller, cancel, definitions, pipeline, rerun, submit
from tests.house import run

S = Status


def do(url: str, *statements: str) -> None:
    """Change a database behind porch's back."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def wrong(health: Health) -> set[str]:
    return {check.name for check in health.wrong}


def the(name: str, health: Health) -> Check:
    return next(check for check in health.checks if check.name == name)


def found(name: str, health: Health) -> str:
    return "\n".join(finding.what for finding in the(name, health).findings)


class Life:
    """A pipeline with leases and retries, in which everything happens that may happen."""

    def __init__(self, porch: Coordinator, url: str) -> None:
        self.porch, self.url = porch, url
        self.pipeline, self.secret = pipeline(porch)
        policy = Policy(lease=3600, max_attempts=2, retry=60)
        porch.set_policy(caller(admin(porch)), self.pipeline, policy)

    def claim(self) -> Task:
        (task,) = self.porch.claim(caller(self.secret), 1)
        return task

    def start(self) -> Task:
        """A new task, claimed: nothing else is PENDING."""
        submit(self.porch, self.secret, definitions(1))
        return self.claim()

    def report(self, task: Task, *statuses: Status) -> None:
        name = Name(task.task_input_id, attempt=task.attempt)
        for status in statuses:
            self.porch.update(caller(self.secret), [Report(name, status)])

    def let_time_pass(self) -> None:
        do(
            self.url,
            "UPDATE porch.task SET lease_until = now() - interval '1 min' WHERE status = 'RUNNING'",
            "UPDATE porch.task SET retry_at = now() - interval '1 min' WHERE retry_at IS NOT NULL",
        )
        self.porch.sweep()

    def fail_until_the_end(self) -> None:
        first = self.start()
        self.report(first, S.RUNNING, S.FAILED)
        self.let_time_pass()
        self.report(self.claim(), S.RUNNING, S.FAILED)
        self.report(first, S.DONE)  # too late

    def be_lost_until_the_end(self) -> None:
        first = self.start()
        self.report(first, S.RUNNING)
        self.let_time_pass()
        self.report(self.claim(), S.RUNNING)
        self.report(first, S.DONE)  # too late
        self.let_time_pass()

    def be_done_twice(self) -> None:
        task = self.start()
        self.report(task, S.RUNNING, S.DONE)
        how = {"reason": "another reference", "force": True}
        rerun(self.porch, caller(self.secret), Name(task.task_input_id), Seen(S.DONE, 1), **how)
        self.report(self.claim(), S.DONE)

    def be_given_back_and_cancelled(self) -> None:
        name = Name(self.start().task_input_id)
        self.porch.release(caller(self.secret), [name])
        cancel(self.porch, caller(self.secret), name, Seen(S.PENDING, 1))
        rerun(self.porch, caller(self.secret), name, Seen(S.CANCELLED, 1))
        self.claim()
        cancel(self.porch, caller(self.secret), name, Seen(S.CLAIMED, 2))

    def be_under_way(self) -> None:
        self.report(self.start(), S.RUNNING)
        self.start()
        submit(self.porch, self.secret, definitions(2))


@pytest.fixture(scope="module")
def lived(template: str) -> Iterator[str]:
    """A database in which much has happened."""
    with copy_of(template, template) as url:
        porch = make_coordinator(url)
        life = Life(porch, url)
        life.fail_until_the_end()
        life.be_lost_until_the_end()
        life.be_done_twice()
        life.be_given_back_and_cancelled()
        life.be_under_way()
        porch.ledger.engine.dispose()  # type: ignore[attr-defined]
        yield url


@pytest.fixture
def url(lived: str) -> Iterator[str]:
    """A copy of it to spoil."""
    with copy_of(lived, lived) as copy:
        yield copy


# Well ---------------------------------------------------------------------------------------


def test_everything_that_porch_does_is_well(lived: str) -> None:
    health = examine(lived)
    assert [check for check in health.checks if check.level not in ("ok", "skipped")] == []
    assert the("paths", health).looked_at == {"tasks": 8, "events": 38}
    assert the("claims", health).looked_at == {"claims": 10}


def test_an_empty_database_is_well(database_url: str) -> None:
    health = examine(database_url)
    assert health.healthy
    assert the("paths", health).looked_at == {"tasks": 0, "events": 0}


def test_without_a_broker_it_says_that_it_did_not_look(lived: str) -> None:
    check = the("broker", examine(lived))
    assert check.level is Level.SKIPPED
    assert check.skipped == "PORCH_BROKER_URL is not set: neither workers nor queues"


def test_it_waits_for_nobody_and_lets_others_write(lived: str) -> None:
    engine = create_engine(lived)
    with engine.connect() as connection:
        connection.execute(text("DELETE FROM porch.event"))
        assert examine(lived).healthy  # what is not committed has not happened
    engine.dispose()


def test_what_is_due_may_wait_for_a_sweep(url: str) -> None:
    do(url, "UPDATE porch.task SET lease_until = now() - interval '1 s' WHERE status = 'RUNNING'")
    assert examine(url).healthy


def test_a_database_that_is_away_is_told_as_such() -> None:
    health = examine("postgresql+psycopg2://u:p@127.0.0.1:1/none")
    assert wrong(health) == {"postgresql"}
    assert "PORCH_DATABASE_URL right?" in str(the("postgresql", health).findings)


# Wrong --------------------------------------------------------------------------------------


def first(status: Status) -> str:
    return f"(task_id = (SELECT min(task_id) FROM porch.task WHERE status = '{status}'))"


DONE, PENDING, RUNNING, FAILED = map(first, (S.DONE, S.PENDING, S.RUNNING, S.FAILED))

SPOILT = {
    "an event is lost": (
        {"paths"},
        [f"DELETE FROM porch.event WHERE {DONE} AND to_status = 'RUNNING'"],
        "goes from RUNNING to DONE, the task was CLAIMED",
    ),
    "all events are lost": (
        {"paths"},
        [f"DELETE FROM porch.event WHERE {PENDING}"],
        "it has no events",
    ),
    "a reason is lost": (
        {"paths"},
        ["UPDATE porch.event SET message = NULL WHERE from_status = 'DONE'"],
        "runs DONE work again without a reason",
    ),
    "an attempt is counted twice": (
        {"attempts"},
        [
            f"UPDATE porch.event SET attempt = attempt + 1 WHERE {RUNNING} AND attempt > 0",
            f"UPDATE porch.task SET attempt = attempt + 1 WHERE {RUNNING}",
        ],
        "(CLAIMED) is in attempt 2, 1 was next",
    ),
    "an attempt is claimed twice": (
        {"attempts", "schema"},
        [
            "DROP INDEX porch.event_one_claim_per_attempt",
            f"UPDATE porch.event SET attempt = 1 WHERE {DONE} AND attempt = 2",
            f"UPDATE porch.task SET attempt = 1 WHERE {DONE}",
        ],
        "claims attempt 1 once more",
    ),
    "a report is noted as late that was not": (
        {"attempts"},
        [
            "INSERT INTO porch.event (task_id, to_status, attempt, request_id, refused) SELECT"
            f" task_id, 'DONE', 1, gen_random_uuid(), true FROM porch.task WHERE {RUNNING}"
        ],
        "is a late report of attempt 1, in attempt 1",
    ),
    "a status is set by hand": (
        {"standings"},
        [f"UPDATE porch.task SET status = 'DONE' WHERE {PENDING}"],
        "it is DONE in attempt 0, its events say PENDING in attempt 0",
    ),
    "an attempt is set by hand": (
        {"standings"},
        [f"UPDATE porch.task SET attempt = 9 WHERE {DONE}"],
        "it is DONE in attempt 9, its events say DONE in attempt 2",
    ),
    "an input is changed": (
        {"keys"},
        [f'UPDATE porch.task SET task_input = \'{{"run": "another"}}\' WHERE {DONE}'],
        "its input has the key ",
    ),
    "an input is no object": (
        {"keys"},
        [f"UPDATE porch.task SET task_input = '[]' WHERE {DONE}"],
        "its input has no key: a definition must be a JSON object",
    ),
    "a policy is set by hand": (
        {"keys"},
        ["UPDATE porch.pipeline SET identity = 'pipeline'"],
        'under identity policy "pipeline" it is ""',
    ),
    "what waits has a lease": (
        {"holders", "schema"},
        [
            "ALTER TABLE porch.task DROP CONSTRAINT task_lease_check",
            f"UPDATE porch.task SET lease_until = now() + interval '1 h' WHERE {PENDING}",
        ],
        "it has a lease and is PENDING",
    ),
    "what waits is to be tried again": (
        {"holders", "schema"},
        [
            "ALTER TABLE porch.task DROP CONSTRAINT task_retry_check",
            f"UPDATE porch.task SET retry_at = now() + interval '1 h' WHERE {PENDING}",
        ],
        "it is due to be tried again and is PENDING",
    ),
    "a task is lost": (
        {"strays", "schema"},
        [
            "ALTER TABLE porch.event DROP CONSTRAINT event_task_fkey",
            f"DELETE FROM porch.task WHERE {PENDING}",
        ],
        "which there is not",
    ),
    "the last task is lost": (
        {"strays", "schema"},
        [
            "ALTER TABLE porch.event DROP CONSTRAINT event_task_fkey",
            "DELETE FROM porch.task WHERE task_id = (SELECT max(task_id) FROM porch.task)",
        ],
        "which there is not",
    ),
    "claims are lost": (
        {"claims"},
        ["DELETE FROM porch.claim"],
        "claims attempt 1 for a request that there is not",
    ),
    "a claimer is lost": (
        {"claims"},
        [f"UPDATE porch.event SET token_id = NULL WHERE {DONE} AND to_status = 'CLAIMED'"],
        "claims attempt 1 for nobody",
    ),
    "a claim is by an administrator": (
        {"claims"},
        [
            "UPDATE porch.event SET token_id = "
            "(SELECT token_id FROM porch.token WHERE pipeline_id IS NULL LIMIT 1) "
            f"WHERE {DONE} AND to_status = 'CLAIMED'"
        ],
        "with a token of something else",
    ),
    "a definition is two tasks": (
        {"once", "paths", "schema"},
        [
            "ALTER TABLE porch.task DROP CONSTRAINT task_once_key",
            "INSERT INTO porch.task (pipeline_id, version, scope, task_input_id, task_input)"
            f" SELECT pipeline_id, version, scope, task_input_id, task_input"
            f" FROM porch.task WHERE {DONE}",
        ],
        "it is 2 tasks: ",
    ),
    "nobody sweeps leases": (
        {"leases"},
        [f"UPDATE porch.task SET lease_until = now() - interval '20 s' WHERE {RUNNING}"],
        " s ago, and it is still RUNNING",
    ),
    "nobody sweeps retries": (
        {"retries"},
        [f"UPDATE porch.task SET retry_at = now() - interval '20 s' WHERE {FAILED}"],
        " s ago, and is still FAILED",
    ),
}


@pytest.mark.parametrize(("checks", "statements", "what"), SPOILT.values(), ids=SPOILT)
def test_what_porch_would_not_do_is_found(
    url: str, checks: set[str], statements: list[str], what: str
) -> None:
    do(url, *statements)
    health = examine(url)
    assert wrong(health) == checks
    assert any(what in found(check, health) for check in checks)


def test_a_counter_example_says_how_to_look_at_it(url: str) -> None:
    do(url, f"UPDATE porch.task SET attempt = 9 WHERE {DONE}")
    (finding,) = the("standings", examine(url)).findings
    words = (finding.look or "").split()
    assert words[:2] == ["porch", "show"]
    assert finding.what.startswith(f"task {words[2][:12]}: ")
    assert words[3:6] == ["--version", "1.0", "--pipeline"]


def test_the_command_exits_1_and_shows_what_is_wrong(url: str) -> None:
    do(url, f"UPDATE porch.task SET attempt = 9 WHERE {DONE}")
    done = run("porch-server", "doctor", env={"PORCH_DATABASE_URL": url})
    assert done.returncode == 1
    assert "- task " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("NOT healthy: standings (")


def test_of_many_counter_examples_the_first_are_shown_and_all_are_counted(
    database_url: str, porch: Coordinator
) -> None:
    _, secret = pipeline(porch)
    submit(porch, secret, definitions(40))
    do(database_url, "UPDATE porch.task SET attempt = 3", "DELETE FROM porch.event")
    check = the("paths", examine(database_url))
    assert (check.found, len(check.findings)) == (40, 5)


# The schema ---------------------------------------------------------------------------------

MISSING = {
    "an index": ("DROP INDEX porch.task_retry", "index task_retry is missing"),
    "an index that was not finished": (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'porch.task_lease'::regclass",
        "index task_lease is not valid",
    ),
    "a rule": (
        "ALTER TABLE porch.task DROP CONSTRAINT task_attempt_check",
        "constraint task_attempt_check is missing",
    ),
    "a rule that was not looked at": (
        "ALTER TABLE porch.task DROP CONSTRAINT task_attempt_check, "
        "ADD CONSTRAINT task_attempt_check CHECK (attempt >= 0) NOT VALID",
        "constraint task_attempt_check has not been validated",
    ),
    "a foreign key": (
        "ALTER TABLE porch.event DROP CONSTRAINT event_token_fkey",
        "foreign key event_token_fkey is missing",
    ),
    "a column": ("ALTER TABLE porch.event DROP COLUMN host", "column event.host is missing"),
    "what must be there": (
        "ALTER TABLE porch.task ALTER COLUMN version DROP NOT NULL",
        "nullable of task.version is True, not False",
    ),
}


@pytest.mark.parametrize(("statement", "what"), MISSING.values(), ids=MISSING)
def test_what_the_schema_lacks_is_found(url: str, statement: str, what: str) -> None:
    do(url, statement)
    health = examine(url)
    assert wrong(health) == {"schema"}
    assert found("schema", health) == what


def test_what_an_operator_has_added_is_a_warning(url: str) -> None:
    do(url, "CREATE INDEX by_host ON porch.event (host)")
    health = examine(url)
    assert health.healthy
    assert the("schema", health).level is Level.WARNING
    assert found("schema", health) == "index by_host is none of porch's"


def test_a_search_path_that_begins_with_our_schema_hides_nothing(url: str) -> None:
    database = make_url(url).database
    do(url, f"ALTER DATABASE {database} SET search_path = {SCHEMA}, public")
    assert examine(url).healthy


def test_tables_that_cannot_be_read_are_told(url: str) -> None:
    do(url, "ALTER TABLE porch.event DROP COLUMN refused CASCADE")
    health = examine(url)
    assert wrong(health) == {"schema", "tasks"}
    assert "the database cannot be read: column" in found("tasks", health)


# Migrations ---------------------------------------------------------------------------------


def test_an_older_schema_is_not_read(url: str) -> None:
    do(url, "UPDATE porch.migration SET version_num = '0001'")
    health = examine(url)
    assert wrong(health) == {"migrations"}
    assert "the database is at 0001, this release needs " in found("migrations", health)
    assert the("tasks", health).skipped == "the migrations come first"


def test_a_database_without_porch_is_told(template: str) -> None:
    with copy_of(None, template) as empty:
        health = examine(empty)
    assert "the database is at nothing" in found("migrations", health)


def test_a_newer_schema_is_a_warning_and_is_read(url: str) -> None:
    do(
        url,
        "UPDATE porch.migration SET version_num = 'of tomorrow'",
        "ALTER TABLE porch.task ADD COLUMN colour text",
    )
    health = examine(url)
    assert health.healthy
    assert found("migrations", health).endswith("which is newer than this release")
    assert found("schema", health) == "column task.colour is none of porch's"
    assert the("paths", health).looked_at["tasks"] == 8
