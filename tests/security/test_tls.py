"""TLS by URL, to a real Redis and a real PostgreSQL: porch works, and strangers are refused.

The servers in the embedded wheels are built without TLS, so these are those of the system.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
import trustme
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from config.ports import free_port
from config.system_user import server_user
from porch_client.client import Porch
from porch_client.errors import BrokerAway, Misconfigured
from tests.house import House, User, run, wait_until

POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signs, and the files of a server that is called localhost and nothing else."""

    ca: Path
    stranger: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def signed(scratch: Callable[[str], Path]) -> Signed:
    folder = scratch("tls")
    folder.chmod(0o755)
    ca, stranger = trustme.CA(), trustme.CA()
    server = ca.issue_cert("localhost")
    made = Signed(*(folder / name for name in ("ca.pem", "stranger.pem", "cert.pem", "key.pem")))
    ca.cert_pem.write_to_path(made.ca)
    stranger.cert_pem.write_to_path(made.stranger)
    server.cert_chain_pems[0].write_to_path(made.certificate)
    server.private_key_pem.write_to_path(made.key)
    return made


@pytest.fixture(scope="module")
def redis_port(scratch: Callable[[str], Path], signed: Signed) -> Iterator[int]:
    """A Redis that speaks nothing but TLS."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip(
            "this machine has no redis-server that speaks TLS: apt-get install redis-server"
        )
    folder, port = scratch("redis"), free_port()
    settings = {
        "port": 0,
        "tls-port": port,
        "bind": "127.0.0.1",
        "dir": folder,
        "tls-cert-file": signed.certificate,
        "tls-key-file": signed.key,
        "tls-ca-cert-file": signed.ca,
        "tls-auth-clients": "no",
        "requirepass": "secret",
        "appendonly": "yes",
        "maxmemory-policy": "noeviction",
    }
    (folder / "redis.conf").write_text("".join(f"{n} {v}\n" for n, v in settings.items()))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, folder / "redis.conf"], stdout=log, stderr=log)
    try:
        with Redis.from_url(broker_url(port, signed.ca)) as redis:
            wait_until(lambda: _answers(redis), 20.0, (folder / "log").read_text())
        yield port
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def postgres_port(scratch: Callable[[str], Path], signed: Signed) -> Iterator[int]:
    """A PostgreSQL that lets nobody in without TLS."""
    if not POSTGRES:
        pytest.skip("this machine has no PostgreSQL that speaks TLS: apt-get install postgresql")
    programs, folder, port = POSTGRES[-1].parent, scratch("postgres"), free_port()
    user = server_user()
    identity = {"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}
    data, key = folder / "data", folder / "key.pem"
    shutil.copy(signed.key, key)
    key.chmod(0o600)
    (folder / "password").write_text("secret")
    if user:
        for path in (folder, key):
            os.chown(path, user.uid, user.gid)
    given = ("--username=porch", f"--pwfile={folder / 'password'}", "--auth=scram-sha-256")
    subprocess.run(
        [programs / "initdb", f"--pgdata={data}", *given],
        check=True,
        capture_output=True,
        cwd="/",
        **identity,
    )
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
    settings = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "ssl": "on",
        "ssl_cert_file": signed.certificate,
        "ssl_key_file": key,
    }
    argv = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, *argv], stdout=out, stderr=out, cwd="/", **identity
        )
    try:
        wait_until(lambda: _connects(database_url(port, signed.ca)), 30.0, "PostgreSQL is ready")
        yield port
    finally:
        process.terminate()
        process.wait(30)


def broker_url(port: int, ca: Path, host: str = "localhost") -> str:
    return f"rediss://:secret@{host}:{port}/0?ssl_cert_reqs=required&ssl_ca_certs={ca}"


def database_url(port: int, ca: Path, host: str = "localhost") -> str:
    tls = f"sslmode=verify-full&sslrootcert={ca}"
    return f"postgresql+psycopg2://porch:secret@{host}:{port}/postgres?{tls}"


def _answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


def _connects(url: str) -> bool:
    try:
        psycopg2.connect(url.replace("+psycopg2", "")).close()
    except psycopg2.OperationalError:
        return False
    return True


def test_porch_works_over_tls(
    scratch: Callable[[str], Path], signed: Signed, redis_port: int, postgres_port: int
) -> None:
    env = {
        "PORCH_BROKER_URL": broker_url(redis_port, signed.ca),
        "PORCH_DATABASE_URL": database_url(postgres_port, signed.ca),
    }
    with House(scratch("house") / "state", env) as house, User(house) as user:
        user.register({"a": 1}, {"a": 2})
        done = user.porch("drain", "--", "true")
        assert done.returncode == 0, done.stderr
        assert user.client.count() == {"DONE": 2}
        health = run("porch-server", "doctor", env=env)
        assert health.returncode == 0, health.stdout
        used = "SELECT count(*), count(*) FILTER (WHERE ssl) FROM pg_stat_ssl JOIN pg_stat_activity"
        (connections,) = house.ask(f"{used} USING (pid) WHERE application_name = 'porch'")
        assert connections[0] == connections[1] > 0


def test_a_broker_with_another_signer_is_refused(signed: Signed, redis_port: int) -> None:
    _refused(broker_url(redis_port, signed.stranger))


def test_a_broker_with_another_name_is_refused(signed: Signed, redis_port: int) -> None:
    _refused(broker_url(redis_port, signed.ca, "127.0.0.1"))


def test_a_broker_in_clear_is_not_taken_for_one_with_tls(signed: Signed, redis_port: int) -> None:
    _refused(f"redis://:secret@localhost:{redis_port}/0")


def _refused(url: str) -> None:
    with Porch(url, "0" * 32, timeout=3.0) as porch, pytest.raises((BrokerAway, Misconfigured)):
        porch.count()


@pytest.mark.parametrize(
    ("signer", "host", "says"),
    [
        ("stranger", "localhost", "certificate verify failed"),
        ("ca", "127.0.0.1", "does not match host name"),
    ],
)
def test_a_database_that_is_not_the_one_is_refused(
    signed: Signed, postgres_port: int, signer: str, host: str, says: str
) -> None:
    engine = create_engine(database_url(postgres_port, getattr(signed, signer), host))
    with pytest.raises(OperationalError, match=says):
        engine.connect()
    engine.dispose()


def test_a_database_lets_nobody_in_without_tls(postgres_port: int) -> None:
    engine = create_engine(
        f"postgresql+psycopg2://porch:secret@localhost:{postgres_port}/postgres?sslmode=disable"
    )
    with pytest.raises(OperationalError, match="no pg_hba"):
        engine.connect()
    engine.dispose()
