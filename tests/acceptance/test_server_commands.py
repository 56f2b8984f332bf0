"""`porch-server`, one part at a time, and the help of every command."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess

import click
import pytest
from click.testing import CliRunner

from config.cli import cli
from porch_client.cli import root
from tests.house import House, User, json_lines, run, start, wait_until

MIGRATE = ("porch-server", "migrate")
WORKER = ("porch-server", "worker")
DOCTOR = ("porch-server", "doctor")
ISSUE = ("porch-server", "token", "issue", "--admin")


def urls(house: House, number: int = 0) -> dict[str, str]:
    """What an operator exports; another database of the broker is a broker of its own."""
    broker = house.ready["broker_url"].removesuffix("0") + str(number)
    return {
        "PORCH_DATABASE_URL": house.ready["database_url"],
        "PORCH_BROKER_URL": broker,
        "PORCH_RESULT_URL": broker,
    }


# Settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [MIGRATE, WORKER, DOCTOR])
def test_a_missing_setting_is_named(argv: tuple[str, ...]) -> None:
    done = run(*argv)
    (line,) = done.stderr.splitlines()
    assert line.startswith("porch-server: misconfigured: PORCH_DATABASE_URL is not set; ")
    assert done.returncode == 2


def test_a_worker_needs_a_broker(house: House) -> None:
    done = run(*WORKER, env={"PORCH_DATABASE_URL": house.ready["database_url"]})
    assert "PORCH_BROKER_URL is not set" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("argv", [MIGRATE, ("porch-server", "up")])
def test_a_misspelt_setting_is_told_with_the_nearest(argv: tuple[str, ...]) -> None:
    done = run(*argv, env={"PORCH_DATABSE_URL": "postgresql://u:p@127.0.0.1/porch"})
    assert done.stderr == (
        "porch-server: misconfigured: there is no setting PORCH_DATABSE_URL; "
        "did you mean PORCH_DATABASE_URL?\n"
    )
    assert done.returncode == 2


def test_a_database_must_be_postgresql() -> None:
    done = run(*MIGRATE, env={"PORCH_DATABASE_URL": "mysql://u:hunter2@127.0.0.1/porch"})
    (line,) = done.stderr.splitlines()
    assert "not a PostgreSQL URL; write postgresql://" in line
    assert "hunter2" not in line
    assert done.returncode == 2


@pytest.mark.parametrize("argv", [MIGRATE, ISSUE])
def test_a_database_that_is_away_is_one_line(argv: tuple[str, ...]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql://u:hunter2@127.0.0.1:{nobody.getsockname()[1]}/porch"
        done = run(*argv, env={"PORCH_DATABASE_URL": url})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "porch-server: database_away: " in done.stderr
    assert "PORCH_DATABASE_URL right?" in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("PORCH_DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:notaport/x"),
        ("PORCH_DATABASE_URL", "postgresql://u:hunter2@[::1/x"),
        ("PORCH_DATABASE_URL", "postgresql://u:hunter2@127.0.0.1/x?colour=blue"),
        ("PORCH_BROKER_URL", "http://:hunter2@127.0.0.1"),
        ("PORCH_BROKER_URL", "redis://:hunter2@127.0.0.1:notaport/0"),
        ("PORCH_BROKER_URL", "redis://:hunter2@127.0.0.1:99999/0"),
        ("PORCH_RESULT_URL", "amqp://u:hunter2@127.0.0.1"),
    ],
)
def test_a_url_that_is_none_is_told_before_anything_is_started(
    name: str, url: str, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    done = run("porch-server", "up", env={name: url, "PORCH_STATE_DIR": str(state)})
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"porch-server: misconfigured: {name} ")
    assert "hunter2" not in line
    assert done.returncode == 2
    assert not state.exists()


@pytest.mark.parametrize("place", ["a file", "below a file"])
def test_a_state_directory_that_cannot_be_one_is_told(tmp_path: Path, place: str) -> None:
    path = tmp_path / "file"
    path.touch()
    path = path if place == "a file" else path / "state"
    done = run("porch-server", "up", env={"PORCH_STATE_DIR": str(path)})
    (line,) = done.stderr.splitlines()
    assert line.startswith("porch-server: state_dir_unsafe: ")
    assert "set PORCH_STATE_DIR to another path" in line
    assert done.returncode == 1


def test_an_open_directory_of_somebody_elses_is_not_to_be_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    done = run("porch-server", "up", env={"PORCH_STATE_DIR": str(tmp_path)})
    assert "open to other users" in done.stderr
    assert "chmod" not in done.stderr


def test_a_worker_of_a_queue_that_is_none_is_refused() -> None:
    done = run(*WORKER, "--queues", "porch.submit,porch.sumbit")
    assert 'there is no queue "porch.sumbit"' in done.stderr
    assert done.returncode == 2


# One part each ------------------------------------------------------------------------------


def test_migrating_again_is_no_error(house: House) -> None:
    done = run(*MIGRATE, env=urls(house))
    assert done.returncode == 0
    assert done.stderr.endswith("the database is ready\n")


def test_an_admin_token_is_issued_over_the_database(house: House) -> None:
    done = run(*ISSUE, "--description", "second admin", env=urls(house))
    token = done.stdout.strip()
    assert done.returncode == 0
    listed = json_lines(house.porch("token", "list", token=token).stdout)
    assert "second admin" in [one["description"] for one in listed if one["pipeline"] is None]


@contextmanager
def worker(ready_file: Path, cwd: Path, env: dict[str, str]) -> Iterator[None]:
    """A worker in the foreground; it must end well when it is asked to."""
    env = {**env, "PORCH_READY_FILE": str(ready_file)}
    process = start(*WORKER, "--concurrency", "1", env=env, cwd=cwd)
    try:
        wait_until(lambda: ready_file.exists() or process.poll() is not None, what="it is ready")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said


def test_a_worker_answers_in_a_hostile_directory_and_takes_what_its_limit_allows(
    house: House, user: User, hostile_directory: Path, tmp_path: Path
) -> None:
    env = urls(house, 1)
    large = json.dumps({"a": "x" * 2**20})
    env_of_worker = {**env, "PORCH_MAX_INPUT_BYTES": str(2**21)}
    with worker(tmp_path / "ready", hostile_directory, env_of_worker):
        client = {name: env[name] for name in ("PORCH_BROKER_URL", "PORCH_RESULT_URL")}
        done = user.porch("submit", "-", input=large, env=client)
    assert done.returncode == 0, done.stderr
    assert json_lines(done.stdout)[0]["created"] is True


# Help ---------------------------------------------------------------------------------------


def commands(command: click.Command, *words: str) -> Iterator[tuple[str, ...]]:
    """The words of a command and of all commands below it."""
    yield words
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, *words, name)


CLIENT = [*commands(root, "porch")]
SERVER = [*commands(cli, "porch-server")]


def explains(words: tuple[str, ...], output: str) -> None:
    """The help names the command, and says in a sentence what it does."""
    usage, _, sentence, *_ = output.splitlines()
    assert usage.startswith(f"Usage: {' '.join(words)} ")
    assert sentence.strip()


@pytest.fixture(scope="module")
def helped() -> dict[tuple[str, ...], CompletedProcess[str]]:
    typed = [*CLIENT, SERVER[0]]
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(typed, pool.map(lambda words: run(*words, "--help"), typed), strict=True))


@pytest.mark.parametrize("words", [*CLIENT, SERVER[0]], ids=" ".join)
def test_every_command_explains_itself(
    helped: dict[tuple[str, ...], CompletedProcess[str]], words: tuple[str, ...]
) -> None:
    done = helped[words]
    assert done.returncode == 0
    explains(words, done.stdout)


@pytest.mark.parametrize("words", SERVER[1:], ids=" ".join)
def test_every_server_command_explains_itself(words: tuple[str, ...]) -> None:
    # In this process: a server command takes a second to start.
    done = CliRunner().invoke(cli, [*words[1:], "--help"], prog_name=words[0])
    assert done.exit_code == 0
    explains(words, done.output)
