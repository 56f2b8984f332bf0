"""The embedded servers: real, private, durable, and gone when their holder is."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis

from config.embedded import EmbeddedUrls, embedded_servers
from config.lifeline import running
from config.server_home import remove_state_dir, server_home
from config.state import State, StateDirInUse, StateDirUnsafe
from config.system_user import server_user

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become other users")

# Starts the servers, says so, and holds them until it is killed or its input ends.
HOLDER = """
import json, sys
from pathlib import Path
from config.embedded import embedded_servers
with embedded_servers(Path(sys.argv[1])) as servers:
    print(json.dumps([servers.database_url, servers.postgres_pid, servers.valkey_pid]), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "state"
    yield path
    remove_state_dir(path)


@pytest.fixture(scope="module")
def shared_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("embedded") / "state"
    yield path
    remove_state_dir(path)


@pytest.fixture(scope="module")
def servers(shared_dir: Path) -> Iterator[EmbeddedUrls]:
    with embedded_servers(shared_dir) as servers:
        yield servers


def test_both_answer_with_the_settings_that_keep_data(servers: EmbeddedUrls) -> None:
    assert _ask(servers.database_url, "SHOW fsync") == "on"
    assert _ask(servers.database_url, "SHOW listen_addresses") == "127.0.0.1"
    assert _ask(servers.database_url, "SHOW unix_socket_directories") == ""
    assert _ask(servers.database_url, "SHOW server_encoding") == "UTF8"
    with contextlib.closing(redis.Redis.from_url(servers.broker_url)) as valkey:
        assert valkey.config_get("appendonly") == {"appendonly": "yes"}
        assert valkey.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert valkey.config_get("bind") == {"bind": "127.0.0.1"}


def test_only_the_owner_may_open_anything_in_the_state_directory(
    shared_dir: Path, servers: EmbeddedUrls
) -> None:
    assert stat.S_IMODE(shared_dir.stat().st_mode) == 0o700
    open_to_others = [
        str(path)
        for path in (*shared_dir.iterdir(), *_home(shared_dir).iterdir())
        if not path.name.startswith("programs-") and path.stat().st_mode & 0o077
    ]
    assert open_to_others == []


def test_no_secret_is_shown_in_the_list_of_processes(
    shared_dir: Path, servers: EmbeddedUrls
) -> None:
    kept = json.loads((shared_dir / "state.json").read_text())
    for pid in (servers.postgres_pid, servers.valkey_pid):
        shown = " ".join(psutil.Process(pid).cmdline())
        assert kept["postgres_password"] not in shown
        assert kept["valkey_password"] not in shown


@as_root
def test_another_user_can_read_none_of_the_files(shared_dir: Path, servers: EmbeddedUrls) -> None:
    files = [
        path
        for top in (shared_dir, _home(shared_dir))
        for path in top.rglob("*")
        if path.is_file() and "programs-" not in str(path)
    ]
    assert len(files) > 100

    def read_them() -> str:
        return " ".join(str(path) for path in files if _can_open(path))

    assert _as_nobody(read_them) == ""


@as_root
def test_another_user_is_let_in_nowhere_without_the_password(servers: EmbeddedUrls) -> None:
    port = psycopg2.extensions.parse_dsn(_dsn(servers.database_url))["port"]

    def knock() -> str:
        answers = []
        for password in (None, "", "postgres", "porch"):
            try:
                psycopg2.connect(
                    host="127.0.0.1", port=port, user="postgres", dbname="porch", password=password
                )
                answers.append("let in")
            except psycopg2.OperationalError as error:
                answers.append("refused" if "password" in str(error) else str(error))
        address = servers.broker_url.rpartition("@")[2]
        for credentials in ("", ":porch@", "default:wrong@"):
            try:
                redis.Redis.from_url(f"redis://{credentials}{address}").ping()
                answers.append("let in")
            except redis.AuthenticationError:
                answers.append("refused")
        return ", ".join(answers)

    assert _as_nobody(knock) == ", ".join(["refused"] * 7)


def test_the_servers_do_not_run_as_root(servers: EmbeddedUrls) -> None:
    for pid in (servers.postgres_pid, servers.valkey_pid):
        assert psutil.Process(pid).uids().effective != 0


def test_data_urls_and_passwords_are_the_same_after_a_restart(state_dir: Path) -> None:
    with embedded_servers(state_dir) as first:
        _ask(first.database_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        with contextlib.closing(redis.Redis.from_url(first.broker_url)) as valkey:
            valkey.lpush("queue", "message")
    assert not psutil.pid_exists(first.postgres_pid)
    assert not psutil.pid_exists(first.valkey_pid)
    with embedded_servers(state_dir) as second:
        assert second.database_url == first.database_url
        assert second.broker_url == first.broker_url
        assert _ask(second.database_url, "SELECT answer FROM kept") == 42
        with contextlib.closing(redis.Redis.from_url(second.broker_url)) as valkey:
            assert valkey.lrange("queue", 0, -1) == [b"message"]


def test_a_port_taken_in_between_is_replaced(state_dir: Path) -> None:
    with contextlib.closing(_listening()) as one, contextlib.closing(_listening()) as other:
        taken = [listener.getsockname()[1] for listener in (one, other)]
        with State(state_dir) as state:
            state.change(postgres_port=taken[0], valkey_port=taken[1])
        with embedded_servers(state_dir) as servers:
            assert f":{taken[0]}/" not in servers.database_url
            assert f":{taken[1]}/" not in servers.broker_url
            assert _ask(servers.database_url, "SELECT 1") == 1


def test_a_second_holder_is_refused_by_name(shared_dir: Path, servers: EmbeddedUrls) -> None:
    with (
        pytest.raises(StateDirInUse, match=rf"process {os.getpid()}\b.*PORCH_STATE_DIR"),
        embedded_servers(shared_dir),
    ):
        pytest.fail("two at once")


def test_a_directory_open_to_others_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "open"
    path.mkdir(mode=0o755)
    path.chmod(0o755)
    with pytest.raises(StateDirUnsafe, match="open to other users"), embedded_servers(path):
        pytest.fail("it was taken")
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert list(path.iterdir()) == []


def test_killing_the_holder_leaves_nothing_running_and_the_next_start_works(
    state_dir: Path,
) -> None:
    with _holder(state_dir) as holder:
        url, *pids = _announced(holder)
        _ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        started = [(pid, psutil.Process(pid).create_time()) for pid in pids]
        holder.kill()
        holder.wait()
        # At once, while the old servers are still being stopped.
        with embedded_servers(state_dir) as servers:
            assert not any(running(*process) for process in started)
            assert _ask(servers.database_url, "SELECT answer FROM kept") == 42
    _wait_until(lambda: _left_behind(state_dir) == [])


def test_a_start_after_everybody_was_killed_finds_its_data(state_dir: Path) -> None:
    with _holder(state_dir) as holder:
        url, _, _ = _announced(holder)
        _ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        # Lifeline, holder, servers: as when the power goes, but for the stale files.
        for process in psutil.Process(holder.pid).children():
            process.kill()
        holder.kill()
        holder.wait()
    with embedded_servers(state_dir) as servers:
        assert _ask(servers.database_url, "SELECT answer FROM kept") == 42


def test_servers_that_outlived_their_holder_and_lifeline_are_replaced(state_dir: Path) -> None:
    with _holder(state_dir) as holder:
        _, *pids = _announced(holder)
        started = [(pid, psutil.Process(pid).create_time()) for pid in pids]
        for process in psutil.Process(holder.pid).children():
            if process.pid not in pids:
                process.kill()
        holder.kill()
        holder.wait()
    assert all(running(*process) for process in started)
    with embedded_servers(state_dir) as servers:
        assert not any(running(*process) for process in started)
        assert _ask(servers.database_url, "SELECT 1") == 1


def test_a_pid_file_with_the_number_of_some_other_process_is_no_obstacle(state_dir: Path) -> None:
    with embedded_servers(state_dir):
        pid_file = _home(state_dir) / "postgres" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
    owner = psutil.Process().uids().real if os.geteuid() else pid_file.parent.stat().st_uid
    with subprocess.Popen(["sleep", "1000"], user=owner) as stranger:
        try:
            pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
            with embedded_servers(state_dir) as servers:
                assert _ask(servers.database_url, "SELECT 1") == 1
            assert stranger.poll() is None
        finally:
            stranger.kill()


@pytest.mark.parametrize("seconds", [0.2, 0.5, 0.9, 1.4])
def test_killing_the_holder_half_way_through_its_start_leaves_nothing_running(
    state_dir: Path, seconds: float
) -> None:
    with _holder(state_dir) as holder:
        time.sleep(seconds)
        holder.kill()
        holder.wait()
        _wait_until(lambda: _left_behind(state_dir) == [])
    with embedded_servers(state_dir) as servers:
        assert _ask(servers.database_url, "SELECT 1") == 1


@as_root
def test_a_normal_user_can_start_them_too() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o711)
        own = Path(folder) / "nobody"
        own.mkdir()
        os.chown(own, *_nobody())
        with _holder(own / "state", become_nobody=True) as holder:
            url, *pids = _announced(holder)
            assert _ask(url, "SELECT 1") == 1
            for pid in pids:
                assert psutil.Process(pid).uids().real == _nobody()[0]
            assert (own / "state/servers/postgres/PG_VERSION").exists()
            holder.send_signal(signal.SIGKILL)
            _wait_until(lambda: not any(map(psutil.pid_exists, pids)))


@as_root
def test_data_of_a_temporary_state_directory_go_when_it_is_gone(
    tmp_path: Path, state_dir: Path
) -> None:
    forgotten = tmp_path / "forgotten"
    with State(forgotten) as state:
        home = server_home(state, server_user())
    assert home.is_dir()
    shutil.rmtree(forgotten)
    with State(state_dir) as state:
        assert server_home(state, server_user()).is_dir()
    assert not home.exists()


def _ask(url: str, statement: str) -> object:
    """Run one statement; its first value, if it has one."""
    with contextlib.closing(psycopg2.connect(_dsn(url))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None


def _dsn(url: str) -> str:
    return url.replace("postgresql+psycopg2", "postgresql")


def _home(state_dir: Path) -> Path:
    return Path(json.loads((state_dir / "state.json").read_text())["server_home"])


def _listening() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


# The user nobody, but able to read what root installed for itself (an interpreter in /root).
BECOME_NOBODY = [
    "setpriv", "--reuid=nobody", f"--regid={pwd.getpwnam('nobody').pw_gid}", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
]  # fmt: skip


@contextlib.contextmanager
def _holder(state_dir: Path, *, become_nobody: bool = False) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*(BECOME_NOBODY if become_nobody else []), sys.executable, "-c", HOLDER, str(state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as holder:
        try:
            yield holder
        finally:
            holder.kill()


def _announced(holder: subprocess.Popen[str]) -> tuple[str, int, int]:
    assert holder.stdout is not None
    url, postgres, valkey = json.loads(holder.stdout.readline())
    return url, postgres, valkey


def _left_behind(state_dir: Path) -> list[str]:
    """Processes that have to do with this state directory, by their arguments."""
    places = [str(state_dir)]
    with contextlib.suppress(FileNotFoundError):
        home = json.loads((state_dir / "state.json").read_text())["server_home"]
        places += [home] if home else []
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            arguments = " ".join(process.cmdline())
            if process.pid != os.getpid() and any(place in arguments for place in places):
                found.append(arguments)
    return found


def _wait_until(condition: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


def _nobody() -> tuple[int, int]:
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def _can_open(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def _as_nobody(act: Callable[[], str]) -> str:
    """What ``act`` returns in a process that has become the user ``nobody``."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            uid, gid = _nobody()
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            os.write(write, act().encode()[:60_000])
        except BaseException as error:  # noqa: BLE001  (nothing may return into the test run)
            os.write(write, f"failed: {error!r}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return answer
