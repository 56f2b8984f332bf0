"""The client's way to the queue and back, over Redis as it is and over Celery."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import urlsplit

import pytest
from kombu import pools
from redis import ConnectionPool, Redis

from config.embedded import EmbeddedUrls
from porch_client import channel as channel_module
from porch_client.channel import Channel, Pending
from porch_client.errors import (
    BrokerAway,
    DatabaseAway,
    Misconfigured,
    NoAnswer,
    NotFound,
    NoWorker,
)
from tests.house import wait_until

SECRET = "5ec7e7" * 5 + "00"
QUEUE = "porch.query"


@pytest.fixture(scope="module")
def url(servers: EmbeddedUrls) -> str:
    """A database of the test broker's that is nobody else's."""
    return servers.broker_url.removesuffix("/0") + "/7"


@pytest.fixture
def redis(url: str) -> Iterator[Redis]:
    with Redis.from_url(url) as client:
        client.flushdb()
        yield client


@pytest.fixture(params=["redis", "celery"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways: a broker that is a Redis can be spoken to over Celery as well."""
    if request.param == "celery":
        monkeypatch.setattr(channel_module, "_REDIS", ())
    return str(request.param)


@pytest.fixture
def open_channel(redis: Redis, url: str, way: str) -> Iterator[Callable[..., Channel]]:
    """Makes channels to the broker, and closes them."""
    made: list[Channel] = []

    def make(token: str | None = SECRET, timeout: float = 5.0) -> Channel:
        made.append(Channel(url, None, token, timeout))
        return made[-1]

    yield make
    for channel in made:
        channel.close()


def request(channel: Channel, **body: Any) -> Pending:
    return channel.prepare("show", QUEUE, {"pipeline": "p", **body}, about="n=1")


def waiting(redis: Redis) -> list[dict[str, Any]]:
    """The messages in the queue, oldest first."""
    return [json.loads(raw) for raw in reversed(redis.lrange(QUEUE, 0, -1))]


def body_of(message: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(message["body"]))


def store(redis: Redis, key: str, status: str, result: Any) -> None:
    """Store a result as Celery does."""
    meta = {"status": status, "result": result, "task_id": key.removeprefix("celery-task-meta-")}
    text = json.dumps({**meta, "traceback": "", "children": []})
    redis.set(key, text)
    redis.publish(key, text)


def heard(redis: Redis, key: str) -> bool:
    """Whether somebody listens for a result."""
    ((_, listeners),) = redis.pubsub_numsub(key)
    return bool(listeners)


def again(redis: Redis) -> Redis:
    """Another client of the same Redis."""
    return Redis(connection_pool=ConnectionPool(**redis.get_connection_kwargs()))


def answering(
    redis: Redis,
    *replies: dict[str, Any] | None,
    queue: str = QUEUE,
    results: Redis | None = None,
) -> threading.Thread:
    """A coordinator that takes one message for each reply, and gives it (None: none)."""

    def work() -> None:
        # Of its own: the client may have its answer, and the test be over, before we are.
        with again(redis) as own, again(results or redis) as into:
            for reply in replies:
                _, raw = own.brpop(queue, timeout=10)
                key = f"celery-task-meta-{json.loads(raw)['headers']['id']}"
                if reply is not None:
                    # Celery listens over another connection than it publishes over: it may be late.
                    wait_until(lambda key=key: heard(into, key), 10.0)
                    store(into, key, "SUCCESS", json.dumps(reply))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


class TestAMessage:
    def test_proves_the_token_and_has_it_nowhere(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        channel = open_channel()
        channel.send(request(channel))
        (message,) = waiting(redis)
        assert len(message["headers"]["porch_proof"]) == 96
        assert SECRET not in json.dumps(message)
        assert SECRET not in json.dumps(body_of(message))

    def test_has_no_such_header_without_a_token(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        channel = open_channel(token=None)
        channel.send(request(channel))
        assert "porch_proof" not in waiting(redis)[0]["headers"]

    def test_says_when_it_was_sent(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        before = time.time()
        channel = open_channel()
        channel.send(request(channel))
        assert before <= waiting(redis)[0]["headers"]["porch_sent"] <= time.time()

    def test_shows_the_pipeline_and_the_amount_and_not_the_definitions(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        channel = open_channel()
        channel.send(request(channel, definitions=[{"patient": "Jane"}]))
        headers = waiting(redis)[0]["headers"]
        assert headers["argsrepr"] == "pipeline=p n=1"
        assert headers["kwargsrepr"] == ""
        assert "Jane" not in json.dumps(headers)

    def test_is_one_json_text_with_the_wire_version(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        channel = open_channel()
        channel.send(request(channel, task="abcd"))
        args, kwargs, _ = body_of(waiting(redis)[0])
        sent = json.loads(args[0])
        assert (sent["wire"], sent["pipeline"], sent["task"]) == (1, "p", "abcd")
        assert (len(args), kwargs) == (1, {})

    def test_names_the_verb_and_the_request(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        channel = open_channel()
        pending = request(channel)
        channel.send(pending)
        headers = waiting(redis)[0]["headers"]
        assert (headers["task"], headers["id"]) == ("porch.show", pending.request_id)


class TestAnAnswer:
    def test_comes_back(self, open_channel: Callable[..., Channel], redis: Redis) -> None:
        channel = open_channel()
        answering(redis, {"ok": {"n": 7}})
        assert channel.ask(request(channel)) == {"n": 7}

    def test_that_says_no_is_raised_as_what_it_is(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        channel = open_channel()
        answering(redis, {"error": {"code": "unknown_task", "message": "none", "cure": "look"}})
        with pytest.raises(NotFound) as refused:
            channel.ask(request(channel))
        assert (refused.value.code, refused.value.cure) == ("unknown_task", "look")

    def test_is_not_kept_by_the_broker_once_it_is_here(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        channel = open_channel()
        answering(redis, {"ok": {}})
        channel.ask(request(channel))
        wait_until(lambda: redis.keys("celery-task-meta-*") == [])

    def test_may_be_longer_than_redis_keeps_for_one_who_listens(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        channel = open_channel(timeout=30.0)
        text = "x" * 34 * 2**20
        answering(redis, {"ok": {"text": text}})
        assert channel.ask(request(channel)) == {"text": text}

    def test_of_many_requests_under_way_goes_to_the_right_one(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        channel = open_channel()
        asked = [request(channel) for _ in range(3)]
        for pending in asked:
            channel.send(pending)
        answering(redis, *({"ok": {"n": n}} for n in range(3)))
        assert [channel.wait(pending)["n"] for pending in reversed(asked)] == [2, 1, 0]

    def test_lost_on_the_way_is_asked_for_again_with_the_same_request_id(
        self,
        open_channel: Callable[..., Channel],
        redis: Redis,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(channel_module, "RESEND_AFTER", 0.3)
        channel = open_channel()
        answering(redis, None, {"ok": {"n": 1}})
        assert channel.ask(request(channel)) == {"n": 1}

    def test_of_celery_alone_is_none_and_the_request_is_sent_again(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        channel = open_channel()
        pending = request(channel)
        failure = {"exc_type": "ConnectionError", "exc_module": "builtins", "exc_message": ["x"]}
        store(redis, f"celery-task-meta-{pending.request_id}", "FAILURE", failure)
        answering(redis, None, {"ok": {"n": 1}})
        assert channel.ask(pending) == {"n": 1}


class TestNoAnswer:
    def test_makes_it_send_the_very_same_again(
        self,
        open_channel: Callable[..., Channel],
        redis: Redis,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(channel_module, "RESEND_AFTER", 0.2)
        channel = open_channel(timeout=2.5)
        with pytest.raises(NoWorker):
            channel.ask(request(channel))
        sent = waiting(redis)
        assert len(sent) > 1
        assert len({message["headers"]["id"] for message in sent}) == 1
        assert len({message["body"] for message in sent}) == 1

    def test_while_the_message_waits_means_no_worker(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        channel = open_channel(timeout=0.5)
        with pytest.raises(NoWorker, match=r"within 0\.5 s.*1 requests wait in queue porch\.query"):
            channel.ask(request(channel))

    def test_after_a_worker_took_the_message_is_told_as_such(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        channel = open_channel(timeout=0.7)
        answering(redis, None)
        with pytest.raises(NoAnswer):
            channel.ask(request(channel))

    def test_while_the_worker_says_that_the_database_is_away_is_told_as_such(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        channel = open_channel(timeout=0.7)
        pending = request(channel)
        say_away(redis, pending.request_id)
        with pytest.raises(DatabaseAway):
            channel.ask(pending)

    def test_is_told_of_a_database_that_workers_cannot_reach_before_one_takes_the_message(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        channel = open_channel(timeout=0.7)
        say_away(redis, "porch.database")
        with pytest.raises(DatabaseAway):
            channel.ask(request(channel))


def say_away(redis: Redis, request_id: str) -> None:
    away = {"status": "DATABASE_AWAY", "result": None, "task_id": request_id}
    redis.set(f"celery-task-meta-{request_id}", json.dumps(away))


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port on which nobody listens: bound, so that nobody else takes it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("way", ["celery"], indirect=True)
class TestTwoChannelsOverCelery:
    def test_keep_each_other_from_nothing(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        stuck, other = open_channel(), open_channel()
        answering(redis, {"ok": {"n": 1}})
        with ThreadPoolExecutor() as pool:
            with stuck._open_way().app.producer_or_acquire():  # type: ignore[attr-defined]
                answer = pool.submit(lambda: other.ask(request(other)))
                done, _ = wait([answer], timeout=10)
            assert done
            assert answer.result() == {"n": 1}

    def test_leave_celerys_own_pools_alone(
        self, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        pools.reset()
        pools.set_limit(7)
        channel = open_channel()
        channel.send(request(channel))
        assert (pools.get_limit(), dict(pools.producers)) == (7, {})


@pytest.mark.usefixtures("way")
class TestABrokerThatIsAway:
    def test_is_told_within_the_timeout(self, nobody: int) -> None:
        channel = Channel(f"redis://127.0.0.1:{nobody}/0", None, SECRET, 1.0)
        began = time.monotonic()
        with pytest.raises(BrokerAway) as away:
            channel.ask(request(channel))
        channel.close()
        assert time.monotonic() - began < 3.0
        assert away.value.code == "broker_away"
        assert not away.value.perhaps_sent

    def test_is_told_within_the_timeout_where_answers_come_from_elsewhere(
        self, nobody: int, url: str
    ) -> None:
        channel = Channel(f"redis://127.0.0.1:{nobody}/0", url, SECRET, 0.3)
        began = time.monotonic()
        pending = request(channel)
        channel.send(pending)
        with pytest.raises(BrokerAway):
            channel.wait(pending)
        channel.close()
        assert time.monotonic() - began < 3.0

    def test_is_told_soon_where_nothing_could_be_sent_and_somebody_keeps_it(
        self, nobody: int
    ) -> None:
        channel = Channel(f"redis://127.0.0.1:{nobody}/0", None, SECRET, 60.0)
        began = time.monotonic()
        with pytest.raises(BrokerAway):
            channel.wait(request(channel), unsent=0.5)
        channel.close()
        assert time.monotonic() - began < 10.0

    def test_is_named_without_its_password(self, nobody: int) -> None:
        channel = Channel(f"redis://user:hunter2@127.0.0.1:{nobody}/0", None, SECRET, 0.3)
        with pytest.raises(BrokerAway) as away:
            channel.ask(request(channel))
        channel.close()
        assert f"redis://127.0.0.1:{nobody}" in str(away.value)
        assert "hunter2" not in str(away.value)

    def test_does_not_fail_the_sending_which_waiting_repeats(self, nobody: int) -> None:
        channel = Channel(f"redis://127.0.0.1:{nobody}/0", None, SECRET, 20.0)
        pending = request(channel)
        channel.send(pending)
        assert not pending.sent

    def test_is_tried_by_the_first_of_several_requests_and_not_by_each(
        self, nobody: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        channel = Channel(f"redis://127.0.0.1:{nobody}/0", None, SECRET, 1.0)
        tried: list[Pending] = []
        publish = channel._publish
        monkeypatch.setattr(channel, "_publish", lambda p: (tried.append(p), publish(p)))
        several = [request(channel) for _ in range(4)]
        for pending in several:
            channel.send(pending)
        assert tried == several[:1]

    def test_is_sent_everything_once_it_is_back(
        self, nobody: int, open_channel: Callable[..., Channel], redis: Redis
    ) -> None:
        channel = open_channel()
        away, channel._broker = channel._broker, f"redis://127.0.0.1:{nobody}/0"
        several = [request(channel) for _ in range(3)]
        for pending in several:
            channel.send(pending)
        assert waiting(redis) == []
        channel.close()
        channel._broker = away
        answering(redis, *({"ok": {"n": n}} for n in range(3)))
        assert [channel.wait(pending)["n"] for pending in several] == [0, 1, 2]


class TestTheWayOverRedis:
    def test_may_lead_to_one_redis_and_back_from_another(self, redis: Redis, url: str) -> None:
        results = url.removesuffix("/7") + "/8"
        channel = Channel(url, results, SECRET, 5.0)
        with Redis.from_url(results) as elsewhere:
            answering(redis, {"ok": {"n": 1}}, results=elsewhere)
            assert channel.ask(request(channel)) == {"n": 1}
            channel.close()
            assert elsewhere.keys() == []

    def test_takes_one_connection_and_no_word_too_many(self, redis: Redis, url: str) -> None:
        channel = Channel(url, None, SECRET, 5.0)
        with redis.monitor() as monitor:
            answering(redis, {"ok": {"n": 1}}, {"ok": {"n": 2}})
            for _ in range(2):
                channel.ask(request(channel))
            channel.close()
            redis.echo("over")
            heard = [(seen["client_port"], seen["command"]) for seen in until(monitor, "ECHO over")]
        connections = {port for port, command in heard if command.startswith("LPUSH porch.query ")}
        said = [command.split()[0] for port, command in heard if port in connections]
        once = ["SUBSCRIBE", "GET", "LPUSH", "UNSUBSCRIBE", "DEL"]
        assert len(connections) == 1
        assert said == ["HELLO", "SELECT", *once, *once]

    @pytest.fixture
    def wrapper(self, servers: EmbeddedUrls) -> Iterator[str]:
        """The URL of a user of Redis who may do what a wrapper must, and nothing else."""
        rules = (
            "on >hers resetkeys resetchannels -@all +ping +multi +exec +llen +sadd +lpush "
            "+subscribe +unsubscribe +get +mget %W~porch.work* %W~_kombu.binding.porch.work "
            "%W~_kombu.binding_permanent.porch.work %R~celery-task-meta-* &celery-task-meta-*"
        )
        with Redis.from_url(servers.broker_url) as admin:
            admin.execute_command("ACL", "SETUSER", "wrapper", *rules.split())
            admin.execute_command("ACL", "LOG", "RESET")  # of others who were here before
            yield servers.broker_url.replace("//:", "//wrapper:").replace(
                urlsplit(servers.broker_url).password or "", "hers"
            )
            admin.execute_command("ACL", "DELUSER", "wrapper")
            admin.execute_command("ACL", "LOG", "RESET")

    def test_is_open_to_a_user_who_may_not_even_delete(
        self, servers: EmbeddedUrls, wrapper: str
    ) -> None:
        channel = Channel(wrapper, None, SECRET, 5.0)
        with Redis.from_url(servers.broker_url) as admin:
            replies = [{"ok": {"n": n}} for n in range(3)]
            answering(admin, *replies, queue="porch.work")
            asked = [channel.prepare("show", "porch.work", {"pipeline": "p"}) for _ in replies]
            assert [channel.ask(pending)["n"] for pending in asked] == [0, 1, 2]
            channel.close()
            refused = [entry["object"] for entry in admin.acl_log()]
            assert refused == ["del"]
            admin.delete(*(f"celery-task-meta-{pending.request_id}" for pending in asked))


def until(monitor: Any, command: str) -> Iterator[dict[str, Any]]:
    """What a Redis is told, up to this command."""
    while (seen := monitor.next_command())["command"] != command:
        yield seen


@pytest.mark.parametrize(
    "url",
    ["", "localhost", "localhost/0", "redis://h:no/0", "redis://h:99999/0", "redis://[::1/0"],
)
def test_what_is_no_url_is_refused_before_anything_is_tried(url: str) -> None:
    with pytest.raises(Misconfigured, match="PORCH_BROKER_URL"):
        Channel(url, None, SECRET, 1.0)
