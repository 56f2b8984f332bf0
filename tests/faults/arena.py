"""All of porch, twice, with proxies at the seams: what the nemesis attacks.

    wrappers --> client broker proxy --> Valkey      PostgreSQL
                                         |    |       |    |
                     house one: workers, beat |       |    |   (and the servers themselves)
                     house two: workers, beat --- worker broker and database proxies

The second house has no servers of its own: it works on those of the first, as workers on another
host would, over connections that can be cut. Both take from the same queues.
"""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path

import psutil
import psycopg2
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import make_url

from config.queues import QUEUES
from tests.faults.proxy import Proxy
from tests.faults.schedule import LEASE
from tests.house import House

WORKERS = ("worker.submit", "worker.claim")
#: Seconds of backoff before a second attempt.
RETRY = 1


class Arena:
    """Two houses on one pair of servers, and a pipeline with a lease. A context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.states = (folder / "one", folder / "two")
        self._stack = ExitStack()

    def __enter__(self) -> Arena:
        with ExitStack() as stack:
            self.one = stack.enter_context(House(self.states[0]))
            ready = self.one.ready
            self.client_broker = stack.enter_context(Proxy(_port(ready["broker_url"])))
            self.worker_broker = stack.enter_context(Proxy(_port(ready["broker_url"])))
            self.worker_database = stack.enter_context(Proxy(_port(ready["database_url"])))
            broker = _through(ready["broker_url"], self.worker_broker)
            env = {
                "PORCH_DATABASE_URL": _through(ready["database_url"], self.worker_database),
                "PORCH_BROKER_URL": broker,
                "PORCH_RESULT_URL": broker,
            }
            self.two = stack.enter_context(House(self.states[1], env))
            self.pipeline, _ = self.one.pipeline()
            with self.one.admin() as admin:
                admin.set_policy(self.pipeline, lease=LEASE, max_attempts=3, retry=RETRY)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def houses(self) -> tuple[House, House]:
        """The one with the servers first."""
        return self.one, self.two

    @property
    def proxies(self) -> tuple[Proxy, Proxy, Proxy]:
        """Everything that stands between two parts."""
        return self.client_broker, self.worker_broker, self.worker_database

    @property
    def client_url(self) -> str:
        """The broker, as the wrappers are told of it."""
        return _through(self.one.ready["broker_url"], self.client_broker)

    def token(self, name: str) -> str:
        """The secret of a new token of the pipeline, described as ``name``."""
        with self.one.admin() as admin:
            return admin.issue_token(pipeline=self.pipeline, description=name)[1]

    def redis(self) -> Redis:
        """The broker itself, behind everybody's back; a command fails at once or within 1 s."""
        return Redis.from_url(
            self.one.ready["broker_url"],
            socket_timeout=1,
            socket_connect_timeout=1,
            retry=Retry(NoBackoff(), 0),
        )

    def process(self, house: House, name: str) -> psutil.Process:
        """A child of ``up`` as it runs now. Raises psutil.NoSuchProcess."""
        children = json.loads((house.state_dir / "children.json").read_text())
        pids = [child["pid"] for child in children if child["name"] == name]
        process = psutil.Process(pids[0] if pids else 2**22)
        if process.ppid() != house.process.pid or process.status() == psutil.STATUS_ZOMBIE:
            raise psutil.NoSuchProcess(process.pid)
        return process

    def forget_messages(self) -> None:
        """Remove what Valkey has written to its disk. It must not run."""
        state = json.loads((self.one.state_dir / "state.json").read_text())
        shutil.rmtree(Path(state["server_home"]) / "valkey" / "appendonlydir", ignore_errors=True)

    def deliver_again(self) -> None:
        """Make what workers have in hand look as old as what a killed one left behind."""
        with self.redis() as redis:
            tags = redis.zrange("unacked_index", 0, -1)
            if tags:
                redis.zadd("unacked_index", dict.fromkeys(tags, 0), xx=True)

    def broker_is_idle(self) -> bool:
        """Whether no message waits, and no worker has one in hand."""
        try:
            with self.redis() as redis:
                return not redis.hlen("unacked") and not any(redis.llen(q) for q in QUEUES)
        except RedisError:
            return False

    def unfinished(self) -> int:
        """Tasks that are to be worked on, or will be; -1 while nobody can tell."""
        try:
            ((number,),) = self.one.ask(
                "SELECT count(*) FROM porch.task WHERE status IN ('PENDING', 'CLAIMED', 'RUNNING')"
                " OR retry_at IS NOT NULL"
            )
        except psycopg2.OperationalError:
            return -1
        return int(number)

    def heal(self) -> None:
        """Let all proxies be proxies like any other."""
        for proxy in self.proxies:
            proxy.heal()


def _port(url: str) -> int:
    port = make_url(url).port
    assert port is not None
    return port


def _through(url: str, proxy: Proxy) -> str:
    """The same server, reached through a proxy."""
    return make_url(url).set(port=proxy.port).render_as_string(hide_password=False)
