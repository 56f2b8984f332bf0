"""The proxy does to connections what it is told, and nothing once it is healed."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import psycopg2
import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError as RedisTimeout
from redis.retry import Retry
from sqlalchemy import make_url

from config.embedded import EmbeddedUrls
from tests.factories import unique
from tests.faults.proxy import Proxy


@pytest.fixture
def proxy(servers: EmbeddedUrls) -> Iterator[Proxy]:
    """In front of Valkey."""
    port = make_url(servers.broker_url).port
    assert port
    with Proxy(port) as standing:
        yield standing


@pytest.fixture
def redis(proxy: Proxy, servers: EmbeddedUrls) -> Iterator[Redis]:
    """A client through the proxy that gives up after 0.5 s and tries nothing again."""
    url = make_url(servers.broker_url)
    with Redis(
        host="127.0.0.1",
        port=proxy.port,
        password=url.password,
        socket_timeout=0.5,
        retry=Retry(NoBackoff(), 0),
    ) as client:
        yield client


def test_what_is_sent_arrives_both_ways(redis: Redis) -> None:
    big = "x" * 1_000_000
    redis.set("big", big)
    assert redis.get("big") == big.encode()


def test_a_drop_cuts_the_connections_there_are_and_no_later_ones(
    redis: Redis, proxy: Proxy
) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as cut:
        cut.sendall(b"*1\r\n$4\r\nPING\r\n")
        assert cut.recv(100).startswith(b"-NOAUTH")
        proxy.drop()
        with pytest.raises(ConnectionResetError):
            cut.recv(100)
    assert redis.ping()


def test_connections_are_refused_until_it_is_healed(redis: Redis, proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port))
    proxy.heal()
    assert redis.ping()


def test_a_delay_holds_back_both_ways(redis: Redis, proxy: Proxy) -> None:
    redis.ping()
    proxy.delay(0.1)
    began = time.monotonic()
    redis.ping()
    assert time.monotonic() - began >= 0.2


def test_a_swallowed_answer_is_of_a_request_that_was_carried_out(
    redis: Redis, proxy: Proxy
) -> None:
    key = unique("key")
    redis.ping()
    proxy.swallow()
    with pytest.raises(RedisTimeout):
        redis.set(key, "1")
    proxy.heal()
    assert redis.get(key) == b"1"
    assert proxy.lost["answers"] >= 1


def test_a_lost_commit_has_happened(database_url: str) -> None:
    url = make_url(database_url)
    assert url.port
    table = "CREATE TABLE landed (n integer)"
    with Proxy(url.port) as proxy:
        through = url.set(drivername="postgresql", port=proxy.port)
        connection = psycopg2.connect(through.render_as_string(hide_password=False))
        connection.cursor().execute(table)
        proxy.lose_commits()
        with pytest.raises(psycopg2.OperationalError):
            connection.commit()
        assert proxy.lost["commits"] == 1
        proxy.heal()
        again = psycopg2.connect(through.render_as_string(hide_password=False))
        with pytest.raises(psycopg2.errors.DuplicateTable):
            again.cursor().execute(table)
        connection.close()
        again.close()


def test_it_closes_while_a_server_does_not_take_a_connection() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        # One fills the queue of a server that accepts nothing; to the others it gives no answer.
        with Proxy(port) as proxy:
            waiting = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(4)]
            time.sleep(0.1)
        for client in waiting:
            client.settimeout(5)
            with suppress(ConnectionResetError):
                assert client.recv(1) == b""
            client.close()
