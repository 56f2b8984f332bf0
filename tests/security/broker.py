"""A real Valkey with porch's users, as an operator sets it up, and a porch that uses it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from config.ports import free_port
from config.server_home import valkey_program
from tests.house import House, run, wait_until

USERS = ("porch-admin", "porch-wrapper", "porch-worker", "porch-flower", "porch-doctor")


class GuardedBroker:
    """Valkey with the output of ``porch-server redis-users`` for its users. A context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.passwords = folder / "passwords"
        self.passwords.mkdir()
        self.acl = folder / "users.acl"
        self.write_users()
        self.port = free_port()
        settings = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": folder,
            "aclfile": self.acl,
            "acllog-max-len": 1_000,
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            # Off as a rule. Here it is to be the users' rights that refuse these.
            "enable-debug-command": "local",
            "enable-module-command": "local",
        }
        configuration = "".join(f"{name} {value}\n" for name, value in settings.items())
        (folder / "valkey.conf").write_text(configuration)
        with (folder / "valkey.log").open("w") as log:
            self.process = subprocess.Popen(
                [str(valkey_program(folder, None)), folder / "valkey.conf"], stdout=log, stderr=log
            )

    def __enter__(self) -> GuardedBroker:
        try:
            with self.as_user("porch-admin") as admin:
                wait_until(lambda: _answers(admin), 20.0, "the broker is ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.terminate()
        self.process.wait(20)

    def write_users(self) -> None:
        """Make the broker's file of users from the passwords."""
        made = run("porch-server", "redis-users", str(self.passwords))
        assert made.returncode == 0, made.stderr
        self.acl.write_text(made.stdout)

    def url(self, user: str) -> str:
        """What a user of the broker configures."""
        password = (self.passwords / user).read_text().strip()
        return f"redis://{user}:{password}@127.0.0.1:{self.port}/0"

    def as_user(self, user: str) -> Redis:
        """A client of Redis with a user's rights, that tries everything once."""
        return Redis.from_url(
            self.url(user), retry=Retry(NoBackoff(), 0), socket_timeout=10, decode_responses=True
        )

    def refused(self, user: str) -> set[tuple[str, str]]:
        """What the broker has refused to a user: (reason, command, key or channel)."""
        with self.as_user("porch-admin") as admin:
            log = admin.acl_log()
        return {(entry["reason"], entry["object"]) for entry in log if entry["username"] == user}


class GuardedHouse(House):
    """A porch whose workers have the worker's user; whoever asks it has the wrapper's."""

    def __init__(self, folder: Path, broker: GuardedBroker) -> None:
        worker = broker.url("porch-worker")
        super().__init__(folder, {"PORCH_BROKER_URL": worker, "PORCH_RESULT_URL": worker})
        self.broker = broker
        self.ready["broker_url"] = self.ready["result_url"] = broker.url("porch-wrapper")


def _answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False
