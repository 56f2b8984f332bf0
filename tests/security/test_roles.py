"""The roles of the database: porch works as the worker's, and what it must never do is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg2
import pytest
from sqlalchemy import create_engine, make_url, text

from config.archive import archive, prune_claims, restore
from config.doctor import examine
from config.embedded import EmbeddedUrls
from config.ports import free_port
from config.wiring import issue_admin_token, make_coordinator
from coordinator.requests import Policy
from coordinator.service import Coordinator
from coordinator.status import Status
from db.migrate import upgrade
from db.roles import printed
from porch_client.client import Porch
from tests.databases import copy_of
from tests.factories import admin, caller, finish, let_time_pass, pipeline, submit
from tests.house import run, start, wait_until
from tests.integration.test_ledger_admin import *  # noqa: F403
from tests.integration.test_ledger_change import *  # noqa: F403
from tests.integration.test_ledger_claim import *  # noqa: F403
from tests.integration.test_ledger_crowd import *  # noqa: F403
from tests.integration.test_ledger_submit import *  # noqa: F403
from tests.integration.test_relay import TestStreams, member, outlets, redis  # noqa: F401

LOGINS = {"porch_worker": "test_worker", "porch_reader": "test_reader"}
EVERYBODY = {**LOGINS, "porch_archiver": "test_archiver"}


@pytest.fixture(scope="module")
def secured(servers: EmbeddedUrls) -> Iterator[str]:
    """The URL of a database to copy, as its owner has it; its server has porch's roles."""
    with copy_of(None, servers.database_url) as url:
        upgrade(url)
        psql(url, printed())
        for role, login in EVERYBODY.items():
            psql(url, f"CREATE ROLE {login} LOGIN PASSWORD '{login}' IN ROLE {role}")
        yield url
    for login in EVERYBODY.values():
        psql(servers.database_url, f"DROP ROLE {login}")
    for role in EVERYBODY:  # of this whole server, which other tests have as well
        psql(servers.database_url, f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.fixture
def owner_url(secured: str) -> Iterator[str]:
    with copy_of(secured, secured) as url:
        yield url


@pytest.fixture
def database_url(owner_url: str) -> str:
    """What a worker is given."""
    return login(owner_url, "porch_worker")


@pytest.fixture
def porch(database_url: str) -> Iterator[Coordinator]:
    coordinator = make_coordinator(database_url)
    yield coordinator
    coordinator.ledger.engine.dispose()  # type: ignore[attr-defined]


def login(url: str, role: str) -> str:
    made = make_url(url).set(username=EVERYBODY[role], password=EVERYBODY[role])
    return made.render_as_string(hide_password=False)


def psql(url: str, statements: str) -> None:
    """Run statements as psql does: each for itself."""
    connection = psycopg2.connect(url.replace("+psycopg2", ""))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statements)
    connection.close()


TABLES = (
    "pipeline",
    "version",
    "token",
    "task",
    "claim",
    "event",
    "admin_event",
    "pruning",
    "migration",
)
ATTACKS = [
    *(f"DROP TABLE porch.{table} CASCADE" for table in TABLES),
    *(f"TRUNCATE porch.{table} CASCADE" for table in TABLES),
    *(f"DELETE FROM porch.{table}" for table in TABLES),
    *(f"ALTER TABLE porch.{table} ADD COLUMN mine text" for table in TABLES),
    *(f"ALTER TABLE porch.{table} DISABLE TRIGGER ALL" for table in TABLES),
    *(f"ALTER TABLE porch.{table} OWNER TO test_worker" for table in TABLES),
    "UPDATE porch.event SET message = 'never happened'",
    "UPDATE porch.event SET at = now()",
    "UPDATE porch.admin_event SET token_id = NULL",
    "UPDATE porch.admin_event SET detail = '{}'",
    "UPDATE porch.claim SET request_id = NULL",
    "UPDATE porch.task SET task_input = '{}'",
    "UPDATE porch.task SET task_input = NULL, pruned_at = now()",
    "UPDATE porch.task SET pruned_events = 0",
    "UPDATE porch.pruning SET events = 0",
    "UPDATE porch.task SET task_input_id = ''",
    "UPDATE porch.task SET pipeline_id = 0",
    "UPDATE porch.task SET version = '0'",
    "UPDATE porch.task SET created_at = now()",
    "UPDATE porch.token SET digest = ''",
    "UPDATE porch.token SET pipeline_id = NULL",
    "UPDATE porch.token SET description = 'somebody else'",
    "UPDATE porch.pipeline SET name = 'mine'",
    "UPDATE porch.version SET version = '0'",
    "UPDATE porch.migration SET version_num = '0001'",
    "INSERT INTO porch.event (task_id, at, to_status, attempt, request_id)"
    " VALUES (1, '2020-01-01', 'DONE', 1, gen_random_uuid())",
    "INSERT INTO porch.admin_event (at, action, request_id, detail)"
    " VALUES ('2020-01-01', 'register', gen_random_uuid(), '{}')",
    "CREATE TABLE porch.mine (a int)",
    "CREATE TABLE public.mine (a int)",
    "CREATE SCHEMA mine",
    "CREATE INDEX ON porch.task (status)",
    "CREATE TRIGGER t BEFORE INSERT ON porch.event EXECUTE FUNCTION suppress_redundant_updates_trigger()",  # noqa: E501
    "CREATE RULE r AS ON INSERT TO porch.event DO INSTEAD NOTHING",
    "CREATE EXTENSION dblink",
    "CREATE ROLE mine",
    "ALTER ROLE test_worker SUPERUSER",
    "SELECT setval('porch.task_task_id_seq', 1)",
    "SET ROLE postgres",
    "SET session_replication_role = replica",
    "COPY porch.event TO PROGRAM 'true'",
    "COPY porch.event TO '/tmp/x'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user",
    "SELECT rolpassword FROM pg_authid",
    "DROP SCHEMA porch CASCADE",
]


@pytest.fixture(scope="module")
def attacked(secured: str) -> Iterator[str]:
    """A database with something in it, that nothing is to change."""
    with copy_of(secured, secured) as url:
        porch = make_coordinator(url)
        _, secret = pipeline(porch)
        submit(porch, secret, [{"a": 1}])
        porch.ledger.engine.dispose()  # type: ignore[attr-defined]
        yield url


@pytest.mark.parametrize("statement", ATTACKS)
def test_neither_may(attacked: str, statement: str) -> None:
    for role in LOGINS:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            psql(login(attacked, role), statement)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO porch.pipeline (name, uri) VALUES ('mine', 'u')",
        "UPDATE porch.task SET status = 'DONE'",
        "INSERT INTO porch.token (digest, description) VALUES (sha256('x'), 'mine')",
        "SELECT digest FROM porch.token",
        "SELECT * FROM porch.token",
        "SELECT FROM porch.task FOR UPDATE",
    ],
)
def test_a_reader_only_reads(attacked: str, statement: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        psql(login(attacked, "porch_reader"), statement)


def test_a_reader_sees_work_and_who_did_it(attacked: str) -> None:
    psql(
        login(attacked, "porch_reader"),
        "SELECT t.*, e.*, k.description FROM porch.task t JOIN porch.event e USING (task_id)"
        " JOIN porch.token k USING (token_id)",
    )


def test_a_reader_may_be_the_doctor(attacked: str) -> None:
    health = examine(login(attacked, "porch_reader"))
    assert [check.name for check in health.wrong] == []
    assert {check.name: check for check in health.checks}["paths"].skipped is None


def test_an_archiver_prunes_and_gives_back(owner_url: str, tmp_path: Path) -> None:
    porch = make_coordinator(owner_url)
    name, secret = pipeline(porch)
    porch.set_policy(caller(admin(porch)), name, Policy(keep={Status.DONE: 86_400}))
    submit(porch, secret, [{"a": 1}])
    finish(porch, secret, Status.DONE)
    let_time_pass(porch, 2 * 86_400)
    porch.ledger.engine.dispose()  # type: ignore[attr-defined]
    archiver = login(owner_url, "porch_archiver")
    assert [(one.tasks, one.events) for one in archive(archiver, tmp_path)] == [(1, 2)]
    assert restore(archiver, list(tmp_path.iterdir())) == (1, 1)
    psql(owner_url, "UPDATE porch.claim SET claimed_at = claimed_at - interval '20 days'")
    assert prune_claims(archiver) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM porch.task",
        "DELETE FROM porch.pruning",
        "UPDATE porch.claim SET claimed_at = now()",
        "UPDATE porch.event SET message = 'never happened'",
        "UPDATE porch.task SET status = 'DONE'",
        "UPDATE porch.task SET task_input_id = ''",
        "INSERT INTO porch.event (task_id, to_status, attempt, request_id)"
        " VALUES (1, 'DONE', 1, gen_random_uuid())",
        "SELECT digest FROM porch.token",
        "UPDATE porch.pipeline SET keep_done_seconds = 86400",
        "DROP TABLE porch.event",
    ],
)
def test_an_archiver_does_nothing_else(attacked: str, statement: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        psql(login(attacked, "porch_archiver"), statement)


def test_the_rights_are_brought_up_to_date_by_each_migration(owner_url: str) -> None:
    reader = login(owner_url, "porch_reader")
    psql(
        owner_url,
        "GRANT DELETE ON porch.task TO porch_reader; REVOKE ALL ON porch.task FROM porch_worker",
    )
    upgrade(owner_url)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        psql(reader, "DELETE FROM porch.task")
    psql(login(owner_url, "porch_worker"), "SELECT FROM porch.task")


def test_the_roles_are_printed_and_may_be_made_again(owner_url: str) -> None:
    done = run("porch-server", "migrate", "--print-roles")
    assert done.returncode == 0, done.stderr
    for _ in range(2):
        psql(owner_url, done.stdout)


def test_workers_beat_and_gateway_need_no_more_than_the_role(
    owner_url: str, database_url: str, servers: EmbeddedUrls, tmp_path: Path
) -> None:
    ready, port = tmp_path / "ready", free_port()
    env = {
        "PORCH_DATABASE_URL": database_url,
        "PORCH_BROKER_URL": servers.broker_url,
        "PORCH_READY_FILE": str(ready),
    }
    gateway = ("gateway", "--port", str(port))
    processes = [
        start("porch-server", *argv, env=env) for argv in (("worker",), ("beat",), gateway)
    ]
    try:
        wait_until(ready.exists, 60.0, "a worker is ready")
        boss = issue_admin_token(owner_url, "first")
        with Porch(servers.broker_url, boss, timeout=60.0) as admin:
            admin.register_pipeline("p", uri="u", version="1")
            admin.set_policy("p", lease=1, max_attempts=3)
            _, secret = admin.issue_token(pipeline="p", description="farm")
        with Porch(servers.broker_url, secret, timeout=60.0) as farm:
            list(farm.submit([{"a": n} for n in range(20)]))
            farm.claim(1)
            wait_until(lambda: farm.count() == {"PENDING": 20}, 20.0, "the lease has run out")
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}) as http:
            wait_until(lambda: _answers(http), 60.0, "the gateway is ready")
            handed = http.post("/api/v2/tasks/claim", json={"n": 20}).json()["tasks"]
            done = [
                {"task": t["task_input_id"], "status": "DONE", "attempt": t["attempt"]}
                for t in handed
            ]
            assert http.post("/api/v2/tasks/update", json={"changes": done}).status_code == 200
            assert http.get("/").status_code == 200
            assert http.get("/api/v2/counts").json() == {"counts": {"DONE": 20}}
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.communicate(timeout=30)


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_a_worker_does_not_migrate(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        may = "SELECT has_database_privilege(current_database(), 'CREATE')"
        assert connection.execute(text(may)).scalar_one() is False
    engine.dispose()
