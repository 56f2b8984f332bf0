"""The relay: what is committed reaches the streams and the webhooks, whatever happens meanwhile."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from redis import Redis
from sqlalchemy import text

from config.embedded import EmbeddedUrls
from config.feed_health import examine_feed
from config.relay.passing import pass_on
from config.relay.streams import Streams, client_of
from config.relay.webhooks import Hook, Webhook, read_webhooks
from config.settings import Misconfigured
from coordinator.health import Level
from coordinator.requests import Name, Report
from coordinator.service import Coordinator
from coordinator.status import Status
from db.engine import make_engine
from db.feed import Settling
from db.outlets import NotTaken, Outlet, Outlets
from tests.factories import caller, definitions, pipeline, submit
from tests.house import wait_until

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OLD = "whsec_" + base64.b64encode(b"o" * 32).decode()
_DATABASE = 7


@pytest.fixture
def redis(servers: EmbeddedUrls) -> Iterator[Redis]:
    """A database of Redis that is nobody else's."""
    base, _, _ = servers.broker_url.rpartition("/")
    client = client_of(f"{base}/{_DATABASE}")
    client.flushdb()
    yield client
    client.flushdb()
    client.close()


@pytest.fixture
def outlets(porch: Coordinator, database_url: str) -> Iterator[Outlets]:
    made = Outlets(make_engine(database_url, pool_size=3))
    yield made
    made.engine.dispose()


@pytest.fixture
def member(porch: Coordinator) -> tuple[str, str]:
    return pipeline(porch)


def pass_all(outlets: Outlets, outlet: Outlet) -> None:
    settling = Settling()
    while outlets.pass_on(outlet, settling):
        pass


def tell_and_lose_half(
    porch: Coordinator, secret: str, outlets: Outlets, streams: Streams, redis: Redis
) -> None:
    """Four changes are told, and Redis is as it was after two."""
    submit(porch, secret, definitions(2))
    pass_all(outlets, streams)
    (key,) = redis.keys("porch.feed.[0-9]*")
    kept, position = redis.dump(key), redis.get("porch.feed.position")
    submit(porch, secret, definitions(2))
    pass_all(outlets, streams)
    redis.restore(key, 0, kept, replace=True)
    redis.set("porch.feed.position", position)


def entries(redis: Redis) -> list[int]:
    """The event_ids in all streams, in the order of each."""
    found: Any = [redis.xrange(key) for key in sorted(redis.keys("porch.feed.[0-9]*"))]
    return [int(fields[b"event_id"]) for stream in found for _, fields in stream]


def all_events(porch: Coordinator, secret: str) -> list[int]:
    found: list[int] = []
    while page := porch.feed(caller(secret), after=found[-1] if found else 0)[0].messages:
        found += [message.event_id for message in page]
    return found


@contextmanager
def filling_up(redis: Redis) -> Iterator[None]:
    """A Redis that is full, and has room again, many times a second."""
    stop = threading.Event()

    def fill() -> None:
        while not stop.is_set():
            redis.config_set("maxmemory", 1)
            redis.config_set("maxmemory", 0)

    redis.config_set("maxmemory", 1)
    filler = threading.Thread(target=fill)
    filler.start()
    try:
        yield
    finally:
        stop.set()
        filler.join()


class TestStreams:
    def test_have_each_change_under_the_id_of_its_event(
        self, porch: Coordinator, outlets: Outlets, redis: Redis, member: tuple[str, str]
    ) -> None:
        outlets.begin("streams")
        submit(porch, member[1], definitions(1))
        (task,) = porch.claim(caller(member[1]), 1, job_id="j1")
        pass_all(outlets, Streams(redis, 100))
        (key,) = redis.keys("porch.feed.[0-9]*")
        first, second = redis.xrange(key)
        told = {name.decode(): value.decode() for name, value in second[1].items()}
        assert first[1][b"to_status"] == b"PENDING"
        assert second[0].decode() == told.pop("event_id") + "-0"
        assert told.pop("at").endswith("+00:00")
        assert told == {
            "pipeline": member[0],
            "version": "1.0",
            "task_input_id": task.task_input_id,
            "from_status": "PENDING",
            "to_status": "CLAIMED",
            "attempt": "1",
            "token": "test token",
            "host": "test-host",
            "job_id": "j1",
        }

    def test_have_no_change_twice_that_is_passed_on_again(
        self, porch: Coordinator, outlets: Outlets, redis: Redis, member: tuple[str, str]
    ) -> None:
        outlets.begin("streams")
        submit(porch, member[1], definitions(3))
        streams = Streams(redis, 100)
        messages = porch.feed(caller(member[1]), after=0)[0].messages
        streams.tell(messages[:2])  # and dies, before PostgreSQL knows
        pass_all(outlets, streams)
        assert entries(redis) == all_events(porch, member[1])

    def test_have_again_what_a_redis_lost_of_its_last_seconds(
        self, porch: Coordinator, outlets: Outlets, redis: Redis, member: tuple[str, str]
    ) -> None:
        outlets.begin("streams")
        streams = Streams(redis, 100)
        tell_and_lose_half(porch, member[1], outlets, streams, redis)
        submit(porch, member[1], definitions(1))
        pass_all(outlets, streams)
        assert entries(redis) == all_events(porch, member[1])

    def test_have_it_again_though_nothing_happens(
        self,
        porch: Coordinator,
        outlets: Outlets,
        redis: Redis,
        member: tuple[str, str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("db.outlets._COMPARED", 0.2)
        outlets.begin("streams")
        streams = Streams(redis, 100)
        tell_and_lose_half(porch, member[1], outlets, streams, redis)

        def whole() -> bool:
            pass_all(outlets, streams)
            return entries(redis) == all_events(porch, member[1])

        wait_until(whole)

    def test_begin_anew_in_a_redis_that_has_lost_everything(
        self, porch: Coordinator, outlets: Outlets, redis: Redis, member: tuple[str, str]
    ) -> None:
        outlets.begin("streams")
        streams = Streams(redis, 100)
        submit(porch, member[1], definitions(2))
        pass_all(outlets, streams)
        redis.flushdb()
        submit(porch, member[1], definitions(1))
        pass_all(outlets, streams)
        assert entries(redis) == all_events(porch, member[1])[2:]

    def test_have_no_gap_where_redis_has_room_for_some_of_it_only(
        self, porch: Coordinator, outlets: Outlets, redis: Redis, member: tuple[str, str]
    ) -> None:
        outlets.begin("streams")
        streams, refused = Streams(redis, 10_000), 0
        with filling_up(redis):
            for turn in range(20):
                submit(porch, member[1], [{"turn": turn, "n": n} for n in range(300)])
                with suppress(NotTaken):
                    pass_all(outlets, streams)
                    continue
                refused += 1
                if refused == 3:
                    break
        pass_all(outlets, streams)
        assert refused
        assert entries(redis) == all_events(porch, member[1])

    def test_are_bounded(
        self, porch: Coordinator, outlets: Outlets, redis: Redis, member: tuple[str, str]
    ) -> None:
        outlets.begin("streams")
        submit(porch, member[1], definitions(900))
        pass_all(outlets, Streams(redis, 50))
        assert 50 <= len(entries(redis)) < 300

    def test_are_left_out_where_none_are_wanted(
        self, porch: Coordinator, outlets: Outlets, redis: Redis, member: tuple[str, str]
    ) -> None:
        outlets.begin("streams")
        submit(porch, member[1], definitions(1))
        with redis.pubsub() as listener:
            listener.subscribe("porch.feed.all")
            listener.get_message(timeout=30)
            pass_all(outlets, Streams(redis, 0))
            heard = listener.get_message(timeout=30)
        assert heard is not None
        assert int(heard["data"]) == all_events(porch, member[1])[-1]
        assert redis.keys("*") == []


class TestSeveralRelays:
    def test_do_no_harm(
        self, porch: Coordinator, outlets: Outlets, redis: Redis, member: tuple[str, str]
    ) -> None:
        outlets.begin("streams")
        stop = threading.Event()
        with ThreadPoolExecutor(3) as pool:
            for _ in range(3):
                pool.submit(pass_on, outlets, Streams(redis, 10_000), 1.0, stop)
            for _ in range(5):
                submit(porch, member[1], definitions(40))
            try:
                wait_until(lambda: len(entries(redis)) == 200, 20, "all of it is passed on")
            finally:
                stop.set()
        assert entries(redis) == all_events(porch, member[1])


def test_what_a_standby_tells_after_it_has_lost_some_events_is_passed_on(
    porch: Coordinator, outlets: Outlets, redis: Redis, member: tuple[str, str]
) -> None:
    outlets.begin("streams")
    settling, lost = Settling(), definitions(3)
    submit(porch, member[1], definitions(2))
    streams = Streams(redis, 100)
    outlets.pass_on(streams, settling)
    kept = all_events(porch, member[1])[-1]
    submit(porch, member[1], lost)
    with outlets.engine.begin() as connection:
        settling.look(connection)  # and the server is gone; the standby has less
        connection.execute(text("DELETE FROM porch.event WHERE event_id > :kept"), {"kept": kept})
        connection.execute(
            text(
                "DELETE FROM porch.task t WHERE NOT EXISTS ("
                "SELECT FROM porch.event e WHERE e.task_id = t.task_id)"
            )
        )
        connection.execute(text(f"ALTER TABLE porch.event ALTER event_id RESTART WITH {kept + 1}"))
    for number in range(3):
        submit(porch, member[1], [{"again": number}])
        outlets.pass_on(streams, settling)
    assert entries(redis) == all_events(porch, member[1])
    assert entries(redis)[-1] == kept + 3


class Receiver:
    """A server that takes webhooks, as it is told to. A context manager."""

    def __init__(self) -> None:
        self.status = 204
        self.headers: dict[str, str] = {}
        self.pause = 0.0
        self.released = threading.Event()  # ends each pause
        self.requests: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.released.wait(receiver.pause)
                receiver.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """The tests have no use for it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/in?x=1"

    def __enter__(self) -> Receiver:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def ids(self) -> list[int]:
        return [int(headers["webhook-id"]) for headers, _ in self.requests]


def drip(server: socket.socket) -> None:
    """Answer one request, a byte at a time, until nobody listens any more."""
    taken, _ = server.accept()
    with taken, suppress(OSError):
        taken.sendall(b"HTTP/1.1 ")
        for _ in range(600):
            taken.sendall(b"2")
            time.sleep(0.05)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


MakeHook = Callable[..., Webhook]


@pytest.fixture
def hook() -> Iterator[MakeHook]:
    made: list[Webhook] = []

    def make(url: str, pipeline: str, **more: Any) -> Webhook:
        made.append(Webhook(Hook(name="test", pipeline=pipeline, url=url, secret=SECRET, **more)))
        return made[-1]

    yield make
    for one in made:
        one.close()


class TestWebhooks:
    def test_are_told_each_change_signed(
        self,
        porch: Coordinator,
        outlets: Outlets,
        member: tuple[str, str],
        receiver: Receiver,
        hook: MakeHook,
    ) -> None:
        outlets.begin("webhook:test")
        submit(porch, member[1], definitions(3))
        pass_all(outlets, hook(receiver.url, member[0], old_secret=OLD))
        assert receiver.ids() == all_events(porch, member[1])
        headers, body = receiver.requests[0]
        told = json.loads(body)
        assert told["type"] == "task.pending"
        assert told["data"]["event_id"] == receiver.ids()[0]
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = [
            "v1," + base64.b64encode(hmac.new(key * 32, content, hashlib.sha256).digest()).decode()
            for key in (b"k", b"o")
        ]
        assert headers["webhook-signature"].split() == expected

    def test_are_told_of_their_pipeline_and_the_statuses_that_they_want(
        self,
        porch: Coordinator,
        outlets: Outlets,
        member: tuple[str, str],
        receiver: Receiver,
        hook: MakeHook,
    ) -> None:
        outlets.begin("webhook:test")
        _, other = pipeline(porch)
        submit(porch, other, definitions(2))
        submit(porch, member[1], definitions(2))
        (task,) = porch.claim(caller(member[1]), 1)
        done = Report(Name(task.task_input_id, attempt=1), Status.DONE)
        porch.update(caller(member[1]), [done])
        pass_all(outlets, hook(receiver.url, member[0], status={Status.DONE}))
        assert [json.loads(body)["type"] for _, body in receiver.requests] == ["task.done"]

    @pytest.mark.parametrize("status", [302, 400, 410, 500])
    def test_that_take_nothing_are_noted_and_told_again(
        self,
        porch: Coordinator,
        outlets: Outlets,
        member: tuple[str, str],
        receiver: Receiver,
        hook: MakeHook,
        status: int,
    ) -> None:
        outlets.begin("webhook:test")
        submit(porch, member[1], definitions(2))
        receiver.status, receiver.headers = status, {"Location": receiver.url}
        mine = hook(receiver.url, member[0])
        with pytest.raises(NotTaken, match=f"answered {status}") as refused:
            pass_all(outlets, mine)
        outlets.failed(mine.name, str(refused.value))
        (standing,) = outlets.standings()
        assert (standing.behind, standing.said) == (2, f"127.0.0.1 answered {status}")
        assert standing.failing_since is not None
        receiver.status = 200
        pass_all(outlets, mine)
        first, second = all_events(porch, member[1])
        assert receiver.ids() == [first, first, second]
        (standing,) = outlets.standings()
        assert (standing.behind, standing.failing_since, standing.said) == (0, None, None)

    def test_whose_answer_comes_in_drops_are_given_up(
        self,
        porch: Coordinator,
        outlets: Outlets,
        member: tuple[str, str],
        hook: MakeHook,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("config.relay.webhooks._ANSWERED_WITHIN", 0.5)
        outlets.begin("webhook:test")
        submit(porch, member[1], definitions(1))
        with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
            pool.submit(drip, server)
            began = time.monotonic()
            with pytest.raises(NotTaken, match=r"127\.0\.0\.1: "):
                pass_all(outlets, hook(f"http://127.0.0.1:{server.getsockname()[1]}", member[0]))
            assert time.monotonic() - began < 10

    def test_that_nobody_answers_wait(
        self, porch: Coordinator, outlets: Outlets, member: tuple[str, str], hook: MakeHook
    ) -> None:
        outlets.begin("webhook:test")
        submit(porch, member[1], definitions(1))
        with pytest.raises(NotTaken, match=r"127\.0\.0\.1: .*refused"):
            pass_all(outlets, hook("http://127.0.0.1:1/", member[0]))

    def test_hold_up_no_other(
        self,
        porch: Coordinator,
        outlets: Outlets,
        redis: Redis,
        member: tuple[str, str],
        receiver: Receiver,
        hook: MakeHook,
    ) -> None:
        receiver.pause, stop = 60.0, threading.Event()
        with ThreadPoolExecutor(2) as pool:
            for outlet in (hook(receiver.url, member[0]), Streams(redis, 100)):
                outlets.begin(outlet.name)
                pool.submit(pass_on, outlets, outlet, 1.0, stop)
            submit(porch, member[1], definitions(5))
            try:
                wait_until(lambda: len(entries(redis)) == 5, what="the streams have it")
                assert receiver.requests == []
            finally:
                stop.set()
                receiver.released.set()


class TestTheFileOfWebhooks:
    GOOD: ClassVar = {
        "name": "a",
        "pipeline": "p",
        "url": "https://example.org/x",
        "secret": SECRET,
    }

    def read(self, folder: Path, *hooks: dict[str, Any]) -> list[Webhook]:
        file = folder / "webhooks.json"
        file.write_text(json.dumps({"webhooks": hooks}))
        return read_webhooks(file)

    def test_names_them(self, tmp_path: Path) -> None:
        found = self.read(tmp_path, self.GOOD, {**self.GOOD, "name": "b", "status": ["FAILED"]})
        assert [(one.name, one.pipeline) for one in found] == [
            ("webhook:a", "p"),
            ("webhook:b", "p"),
        ]
        assert read_webhooks(None) == []

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"secret": "hunter2"}, "whsec_"),
            ({"secret": "whsec_aHVudGVyMg=="}, "24 to 64 bytes"),
            ({"url": "ftp://example.org"}, "http"),
            ({"url": "https://me:hunter2@example.org"}, "without a password"),
            ({"url": "https://me:hunter2"}, "a port is"),
            ({"url": "https://example.org:99999"}, "a port is"),
            ({"url": "https://example..org"}, "a host a name"),
            ({"url": "https://example.org/a b"}, "without spaces"),
            ({"surprise": "hunter2"}, "surprise"),
            ({"status": ["hunter2"]}, "status"),
        ],
    )
    def test_is_refused_without_repeating_a_secret(
        self, tmp_path: Path, wrong: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(Misconfigured, match=said) as refused:
            self.read(tmp_path, {**self.GOOD, **wrong})
        assert "hunter2" not in str(refused.value)

    def test_has_each_name_once(self, tmp_path: Path) -> None:
        with pytest.raises(Misconfigured, match="one name"):
            self.read(tmp_path, self.GOOD, self.GOOD)

    def test_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(Misconfigured, match="cannot read"):
            read_webhooks(tmp_path / "nothing")


class TestTheDoctor:
    def test_says_nothing_of_a_feed_that_goes(
        self, porch: Coordinator, outlets: Outlets, redis: Redis, member: tuple[str, str]
    ) -> None:
        outlets.begin("streams")
        submit(porch, member[1], definitions(1))
        pass_all(outlets, Streams(redis, 10))
        check = examine_feed(outlets.engine)
        assert (check.level, check.looked_at) == (Level.OK, {"outlets": 1, "behind": 0})

    def test_warns_of_an_outlet_that_is_behind_and_says_why(
        self, porch: Coordinator, outlets: Outlets, member: tuple[str, str]
    ) -> None:
        for name in ("streams", "webhook:test"):
            outlets.begin(name)
        submit(porch, member[1], definitions(2))
        outlets.failed("webhook:test", "example.org answered 500")
        assert examine_feed(outlets.engine).level is Level.OK  # it is no matter of seconds
        with outlets.engine.begin() as connection:
            connection.execute(text("UPDATE porch.event SET at = at - interval '2 minutes'"))
            connection.execute(
                text(
                    "UPDATE porch.feed_position SET failing_since = failing_since"
                    " - interval '2 minutes'"
                )
            )
        streams, webhook = examine_feed(outlets.engine).findings
        assert streams.what.startswith("streams is 2 events behind, the first for 12")
        assert webhook.what.startswith("webhook:test is 2 events behind, nobody has taken them")
        assert webhook.what.endswith("example.org answered 500")
        assert {streams.level, webhook.level} == {Level.WARNING}
