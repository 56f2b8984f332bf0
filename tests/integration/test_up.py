"""``porch-server up``: all of it starts, all of it stops, whatever interrupts it."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from config.embedded import embedded_servers
from config.lifeline import running
from config.server_home import remove_state_dir
from tests.house import BIN, default_signals


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "state"
    yield path
    remove_state_dir(path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """One that runs all the time, for the tests that only look: its directory, its line."""
    path = tmp_path_factory.mktemp("up") / "state"
    with _up(path, "--json", PORCH_FLOWER="true") as process:
        yield path, _line(process)
    remove_state_dir(path)


def test_one_line_says_how_to_reach_everything(shared: tuple[Path, dict[str, Any]]) -> None:
    path, line = shared
    assert list(line) == [
        *("database_url", "broker_url", "result_url", "gateway_url", "flower_url", "metrics_urls"),
        *("admin_token", "state_dir", "new", "pids"),
    ]
    assert (line["state_dir"], line["new"]) == (str(path), True)
    assert line["result_url"] == line["broker_url"]
    ours = ["gateway", "flower", "worker.submit", "worker.claim", "beat", "relay"]
    assert list(line["pids"]) == ["postgres", "valkey", *ours]
    assert all(psutil.pid_exists(pid) for pid in line["pids"].values())
    assert _ask(line["database_url"], "SELECT count(*) FROM porch.token") == 1
    assert (path / "admin-token").read_text().strip() == line["admin_token"]


def test_a_port_that_is_taken_is_told(shared: tuple[Path, dict[str, Any]], state_dir: Path) -> None:
    taken = shared[1]["gateway_url"].rpartition(":")[2]
    with _up(state_dir, PORCH_GATEWAY_PORT=taken) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"port {taken}: Address already in use; set PORCH_GATEWAY_HOST" in said


def test_env_sh_sets_what_the_client_needs(shared: tuple[Path, dict[str, Any]]) -> None:
    path, line = shared
    assert _env_sh(path) == {
        "PORCH_STATE_DIR": str(path),
        "PORCH_DATABASE_URL": line["database_url"],
        "PORCH_BROKER_URL": line["broker_url"],
        "PORCH_RESULT_URL": line["result_url"],
        "PORCH_GATEWAY_URL": line["gateway_url"],
        "PORCH_TOKEN": line["admin_token"],
        "PORCH_FLOWER_URL": line["flower_url"],
        "PORCH_FLOWER_PASSWORD": (path / "flower" / "password").read_text().strip(),
    }


def test_env_sh_finds_the_commands_where_the_path_has_none(
    shared: tuple[Path, dict[str, Any]],
) -> None:
    script = f". {shlex.quote(str(shared[0] / 'env.sh'))} && porch pipeline list && command -v ls"
    elsewhere = {"HOME": "/", "PATH": os.defpath}
    done = subprocess.run(["sh", "-euc", script], env=elsewhere, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_file_is_the_owners_alone(shared: tuple[Path, dict[str, Any]]) -> None:
    path, _ = shared
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert [file.name for file in path.iterdir() if file.stat().st_mode & 0o077] == []


def test_a_second_one_is_refused_and_disturbs_nothing(shared: tuple[Path, dict[str, Any]]) -> None:
    path, line = shared
    with _up(path) as second:
        _, errors = second.communicate(timeout=30)
    assert second.returncode == 1
    assert errors.startswith("porch-server: state_dir_in_use: ")
    assert all(psutil.pid_exists(pid) for pid in line["pids"].values())


def test_a_worker_that_is_killed_is_started_again(shared: tuple[Path, dict[str, Any]]) -> None:
    path, line = shared
    os.kill(line["pids"]["worker.submit"], signal.SIGKILL)
    _wait_until(
        lambda: _recorded(path).get("worker.submit") not in {None, line["pids"]["worker.submit"]}
    )
    assert _recorded(path)["worker.claim"] == line["pids"]["worker.claim"]


def test_a_server_that_is_killed_comes_back_with_its_data_and_goes_when_all_of_it_is_killed(
    state_dir: Path,
) -> None:
    with _up(state_dir, "--json") as process:
        line = _line(process)
        _ask(line["database_url"], "CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(line["pids"]["postgres"], signal.SIGKILL)
        _wait_until(lambda: _answers(line["database_url"], "SELECT answer FROM kept", 42))

        started = _identities(_recorded(state_dir).values())
        assert len(started) == len(line["pids"])
        process.kill()
        process.wait()
        _wait_until(lambda: not any(running(*each) for each in started))
        _wait_until(lambda: _left_behind(state_dir) == [])


def test_a_terminal_shows_the_token_once_and_no_password(state_dir: Path) -> None:
    """The second time in a terminal that has its own env.sh, which names these very servers."""
    outputs: list[str] = []
    terminal: dict[str, str] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        with _up(state_dir, PORCH_FLOWER="true", **terminal) as process:
            _wait_for_text(process, "Ctrl-C stops everything.", outputs)
            assert {"postgres", "valkey", "worker.submit", "flower"} <= _recorded(state_dir).keys()
            _stops_cleanly(process, state_dir, number)
        told = _env_sh(state_dir)
        servers = ("PORCH_DATABASE_URL", "PORCH_BROKER_URL", "PORCH_RESULT_URL")
        terminal = {name: told[name] for name in servers}
    token = (state_dir / "admin-token").read_text().strip()
    kept = json.loads((state_dir / "state.json").read_text())
    assert token in outputs[0]
    assert token not in outputs[1]
    assert f"  state      a new, empty porch in {state_dir}\n" in outputs[0]
    assert f"  state      {state_dir}\n" in outputs[1]
    for output in outputs:
        assert kept["postgres_password"] not in output
        assert kept["valkey_password"] not in output
        assert (state_dir / "flower" / "password").read_text().strip() not in output
        assert f"(user porch, password in {state_dir / 'flower' / 'password'})" in output
        assert str(state_dir / "env.sh") in output


# Condition: a file that appears on the way. Each is a different step of the start.
@pytest.mark.parametrize(
    "appears",
    ["lock", "initdb.log", "postgresql.log", "valkey.log", "admin-token", "worker.claim.log"],
)
def test_a_signal_half_way_through_the_start_leaves_nothing_running(
    state_dir: Path, appears: str
) -> None:
    with _up(state_dir, "--json") as process:
        _wait_until((state_dir / appears).exists)
        process.terminate()
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert output == ""
        assert _left_behind(state_dir) == []


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.8, 1.5])
def test_being_killed_half_way_through_the_start_leaves_nothing_running(
    state_dir: Path, seconds: float
) -> None:
    with _up(state_dir, "--json") as process:
        _wait_until((state_dir / "lock").exists)
        time.sleep(seconds)
        process.kill()
        process.wait()
        _wait_until(lambda: _left_behind(state_dir) == [])


def test_configured_servers_are_used_and_none_started(state_dir: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    try:
        with embedded_servers(elsewhere) as servers:
            secret = tmp_path / "database_url"
            secret.write_text(servers.database_url + "\n")
            urls = {
                "PORCH_DATABASE_URL_FILE": str(secret),
                "PORCH_BROKER_URL": servers.broker_url,
            }
            with _up(state_dir, "--json", **urls) as process:
                line = _line(process)
                assert not line["new"]
                assert line["database_url"] == servers.database_url
                assert line["broker_url"] == servers.broker_url
                ours = ["gateway", "worker.submit", "worker.claim", "beat", "relay"]
                assert list(line["pids"]) == ours
                process.terminate()
                assert process.wait(timeout=60) == 0
            assert _ask(servers.database_url, "SELECT 1") == 1
    finally:
        remove_state_dir(elsewhere)


@contextlib.contextmanager
def _up(state_dir: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PORCH_")}
    with subprocess.Popen(
        [str(BIN / "porch-server"), "up", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **kept,
            "PORCH_STATE_DIR": str(state_dir),
            "PORCH_GATEWAY_PORT": "0",
            "PORCH_FLOWER": "false",
            "PORCH_FLOWER_PORT": "0",
            **environment,
        },
        preexec_fn=default_signals,  # noqa: PLW1509 (it starts no thread and takes no lock)
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=60)
            process.kill()


def _stops_cleanly(process: subprocess.Popen[str], state_dir: Path, number: signal.Signals) -> None:
    """A signal stops everything: nothing is left, and the database was closed properly."""
    started = _identities(_recorded(state_dir).values())
    log = state_dir / "postgresql.log"
    before = log.read_text().count("database system is shut down")
    process.send_signal(number)
    assert process.wait(timeout=60) == 0
    assert not any(running(*each) for each in started)
    _wait_until(lambda: _left_behind(state_dir) == [], 2)
    assert log.read_text().count("database system is shut down") == before + 1


def _env_sh(state_dir: Path) -> dict[str, str]:
    """What of ours a terminal has that has read env.sh."""
    shown = subprocess.run(
        ["sh", "-c", f". {shlex.quote(str(state_dir / 'env.sh'))}; env"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return dict(line.split("=", 1) for line in shown if line.startswith("PORCH_"))


def _line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    assert process.stderr is not None
    text = process.stdout.readline()
    assert text, process.stderr.read()
    line: dict[str, Any] = json.loads(text)
    return line


def _wait_for_text(process: subprocess.Popen[str], ending: str, outputs: list[str]) -> None:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if ending in line:
            break
    outputs.append("".join(lines))
    assert ending in outputs[-1]


def _recorded(state_dir: Path) -> dict[str, int]:
    children = json.loads((state_dir / "children.json").read_text())
    return {child["name"]: child["pid"] for child in children}


def _identities(pids: Any) -> list[tuple[int, float]]:
    return [(pid, psutil.Process(pid).create_time()) for pid in pids]


def _ask(url: str, statement: str) -> object:
    """Run one statement; its first value, if it has one."""
    dsn = url.replace("postgresql+psycopg2", "postgresql")
    with contextlib.closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None


def _answers(url: str, statement: str, answer: object) -> bool:
    try:
        return _ask(url, statement) == answer
    except psycopg2.OperationalError:
        return False


def _left_behind(state_dir: Path) -> list[str]:
    """Processes that belong to this state directory, by their arguments or working directory."""
    places = [str(state_dir)]
    with contextlib.suppress(FileNotFoundError):
        if home := json.loads((state_dir / "state.json").read_text())["server_home"]:
            places.append(home)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            told = [
                *process.cmdline(),
                process.cwd(),
                process.environ().get("PORCH_READY_FILE", ""),
            ]
            if process.pid != os.getpid() and any(
                place in text for place in places for text in told
            ):
                found.append(" ".join(process.cmdline()))
    return found


def _wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def test_without_flower_all_else_runs(state_dir: Path, tmp_path: Path) -> None:
    """Where the extra is not installed: here, where it is as good as hidden."""
    hidden = tmp_path / "site"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(_NO_FLOWER)
    with _up(state_dir, "--json", PORCH_FLOWER="true", PYTHONPATH=str(hidden)) as process:
        line = _line(process)
        assert line["flower_url"] is None
        assert "flower" not in line["pids"]
        _stops_cleanly(process, state_dir, signal.SIGHUP)
        _, said = process.communicate(timeout=60)
    assert said.count("Flower") == 1
    assert "no Flower: it is not installed (pip install 'porch-coordinator[flower]')" in said


_NO_FLOWER = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "flower" else found(name, *more)
"""
