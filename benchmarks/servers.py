"""The servers that all contestants share, and a place on them for each, removed afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import redis
from sqlalchemy.engine import URL, make_url

from config.embedded import embedded_servers
from config.server_home import remove_state_dir
from config.settings import Settings


@dataclass(frozen=True, slots=True)
class Place:
    """A database and a logical database of the broker that nobody else uses."""

    database_url: str
    broker_url: str


class Servers:
    """A PostgreSQL and a Redis or Valkey."""

    def __init__(self, database_url: str, broker_url: str) -> None:
        self._database = make_url(database_url).set(drivername="postgresql")
        self._broker = make_url(broker_url)
        self._taken: set[int] = set()

    @contextmanager
    def place(self) -> Iterator[Place]:
        """An empty place; all that is in it is removed at the end."""
        with self.database() as database_url, self.broker() as broker_url:
            yield Place(database_url, broker_url)

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of an empty database."""
        name = f"porch_bench_{uuid4().hex[:12]}"
        self.ask(f"CREATE DATABASE {name}", autocommit=True)
        try:
            yield _text(self._database.set(database=name))
        finally:
            self.ask(f"DROP DATABASE {name} WITH (FORCE)", autocommit=True)

    @contextmanager
    def broker(self) -> Iterator[str]:
        """The URL of an empty logical database of the broker."""
        number = self._free()
        self._taken.add(number)
        try:
            yield self._broker_url(number)
        finally:
            with self._redis(number) as client:
                client.flushdb()
            self._taken.discard(number)

    def versions(self) -> dict[str, str]:
        """What the servers call themselves."""
        (row,) = self.ask("SHOW server_version")
        with self._redis(0) as client:
            info = client.info("server")
        broker = f"{info.get('server_name', 'redis')} "
        broker += info.get("valkey_version", info["redis_version"])
        return {"postgresql": str(row[0]), "broker": broker}

    def ask(self, statement: str, *, autocommit: bool = False) -> list[tuple[Any, ...]]:
        """The rows of a statement, asked of the database that the URL names."""
        with closing(psycopg2.connect(_text(self._database), connect_timeout=10)) as connection:
            connection.autocommit = autocommit
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []

    def _free(self) -> int:
        with self._redis(0) as client:
            most = int(client.config_get("databases")["databases"])
        # Not 0, which is where somebody's broker would be.
        for number in range(1, most):
            if number not in self._taken:
                with self._redis(number) as client:
                    if client.dbsize() == 0:
                        return number
        raise SystemExit(f"the broker has no empty logical database among its {most}")

    def _broker_url(self, number: int) -> str:
        return _text(self._broker.set(database=str(number)))

    def _redis(self, number: int) -> redis.Redis:
        return redis.Redis.from_url(self._broker_url(number), socket_timeout=10)


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@contextmanager
def servers() -> Iterator[Servers]:
    """Those of PORCH_DATABASE_URL and PORCH_BROKER_URL, or embedded ones that are removed."""
    settings = Settings.from_environment()
    with ExitStack() as stack:
        database_url, broker_url = settings.database_url, settings.broker_url
        if not (database_url and broker_url):
            state_dir = Path(tempfile.mkdtemp(prefix="porch-bench-")) / "state"
            stack.callback(state_dir.parent.rmdir)
            stack.callback(remove_state_dir, state_dir)
            embedded = stack.enter_context(embedded_servers(state_dir))
            database_url = database_url or embedded.database_url
            broker_url = broker_url or embedded.broker_url
        yield Servers(database_url, broker_url)
