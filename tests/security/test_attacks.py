"""What a wrapper's user of the broker may not do, tried on the real one; and that no other may."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.retry import Retry

from config.queues import QUEUES
from tests.envelopes import envelope, text
from tests.house import User, wait_until
from tests.security.broker import USERS, GuardedBroker, GuardedHouse

ROOT = Path(__file__).parents[2]

#: Somebody else's request: it waits in a queue, and its answer to be fetched.
VICTIM = "7b0f1a52-9a0e-4c43-8a35-111111111111"
ANSWER = f"celery-task-meta-{VICTIM}"
CONTROL = json.dumps({"body": "", "headers": {}, "properties": {}})

ATTACKS: dict[str, tuple[Any, ...]] = {
    # Messages of others, with their tokens
    "read a queue": ("LRANGE", "porch.submit", 0, -1),
    "read one message": ("LINDEX", "porch.submit", -1),
    "find a message": ("LPOS", "porch.submit", "x"),
    "sort a queue": ("SORT", "porch.submit", "ALPHA"),
    "copy a queue": ("COPY", "porch.submit", "celery-task-meta-x"),
    "dump a queue": ("DUMP", "porch.submit"),
    "read what is in hand": ("HGETALL", "unacked"),
    "read one in hand": ("HGET", "unacked", "x"),
    "count what is in hand": ("HLEN", "unacked"),
    "list what is in hand": ("ZRANGE", "unacked_index", 0, -1),
    "watch all commands": ("MONITOR",),
    # Messages of others, taken away
    "pop": ("RPOP", "porch.submit"),
    "pop from the other end": ("LPOP", "porch.submit"),
    "wait and pop": ("BRPOP", "porch.submit", 1),
    "pop several": ("LMPOP", 1, "porch.submit", "RIGHT"),
    "move": ("LMOVE", "porch.submit", "porch.query", "RIGHT", "LEFT"),
    "move as of old": ("RPOPLPUSH", "porch.submit", "porch.query"),
    "trim": ("LTRIM", "porch.submit", 1, 0),
    "overwrite a message": ("LSET", "porch.submit", 0, "x"),
    "remove a message": ("LREM", "porch.submit", 0, "x"),
    "jump the queue": ("RPUSH", "porch.submit", "x"),
    "delete a queue": ("DEL", "porch.submit"),
    "unlink a queue": ("UNLINK", "porch.submit"),
    "rename a queue": ("RENAME", "porch.submit", "porch.query"),
    "let a queue expire": ("EXPIRE", "porch.submit", 1),
    "write a queue over": ("SET", "porch.submit", "x"),
    # Names of others
    "list keys": ("KEYS", "*"),
    "scan keys": ("SCAN", 0),
    "a key at random": ("RANDOMKEY",),
    "how many keys": ("DBSIZE",),
    "the type of a key": ("TYPE", "porch.submit"),
    "what is at a key": ("OBJECT", "ENCODING", "porch.submit"),
    # Answers of others
    "read any other key": ("GET", "porch.submit"),
    "read several": ("MGET", ANSWER, "unacked"),
    "forge an answer": ("SET", ANSWER, "{}"),
    "forge an answer for a while": ("SETEX", ANSWER, 60, "{}"),
    "take an answer": ("GETDEL", ANSWER),
    "make an answer expire": ("GETEX", ANSWER, "EX", 1),
    "add to an answer": ("APPEND", ANSWER, "x"),
    "put a list for an answer": ("LPUSH", ANSWER, "x"),
    "delete an answer": ("DEL", ANSWER),
    "tell a forged answer": ("PUBLISH", ANSWER, "{}"),
    "hear all answers": ("PSUBSCRIBE", "celery-task-meta-*"),
    "hear everything": ("PSUBSCRIBE", "*"),
    "who listens to what": ("PUBSUB", "CHANNELS"),
    # What happens in others' pipelines
    "read a stream": ("XREAD", "STREAMS", "porch.feed.1", 0),
    "read a part of a stream": ("XRANGE", "porch.feed.1", "-", "+"),
    "forge an entry": ("XADD", "porch.feed.1", "*", "event_id", "1"),
    "how long a stream is": ("XLEN", "porch.feed.1"),
    "tell of something new": ("PUBLISH", "porch.feed.1", "1"),
    "hear of all pipelines": ("PSUBSCRIBE", "porch.feed.*"),
    "how far the streams are": ("GET", "porch.feed.position"),
    # Workers
    "control workers": ("PUBLISH", "/0.celery.pidbox", CONTROL),
    "hear the control of workers": ("SUBSCRIBE", "/0.celery.pidbox"),
    "hear events of workers": ("PSUBSCRIBE", "/0.celeryev/*"),
    "forge events of workers": ("PUBLISH", "/0.celeryev/worker.heartbeat", CONTROL),
    "bind the control of workers": ("SADD", "_kombu.binding.celery.pidbox", "x"),
    "read bindings": ("SMEMBERS", "_kombu.binding.porch.submit"),
    "remove bindings": ("SREM", "_kombu.binding.porch.submit", "x"),
    "pretend that something is in hand": ("HSET", "unacked", "x", "[]"),
    "forget what is in hand": ("DEL", "unacked"),
    "have it given back at once": ("ZADD", "unacked_index", 0, "x"),
    "keep it from being given back": ("SET", "unacked_mutex", "x"),
    "ask for a sweep": ("LPUSH", "porch.sweep", "x"),
    "a queue of its own": ("LPUSH", "mine", "x"),
    # The server
    "flush all": ("FLUSHALL",),
    "flush": ("FLUSHDB",),
    "another database": ("SELECT", 1),
    "swap databases": ("SWAPDB", 0, 1),
    "move a key": ("MOVE", "porch.submit", 1),
    "read settings": ("CONFIG", "GET", "*"),
    "change settings": ("CONFIG", "SET", "dir", "/"),
    "list users": ("ACL", "LIST"),
    "make a user": ("ACL", "SETUSER", "me", "on", "nopass", "~*", "+@all"),
    "load users": ("ACL", "LOAD"),
    "read its own rights": ("ACL", "GETUSER", "porch-wrapper"),
    "shut down": ("SHUTDOWN", "NOSAVE"),
    "crash": ("DEBUG", "SEGFAULT"),
    "sleep": ("DEBUG", "SLEEP", 1),
    "run a script": ("EVAL", "return 1", 0),
    "run a script by its hash": ("EVALSHA", "0" * 40, 0),
    "keep a script": ("SCRIPT", "LOAD", "return 1"),
    "kill a script": ("SCRIPT", "KILL"),
    "run a function": ("FCALL", "f", 0),
    "load functions": ("FUNCTION", "LOAD", "#!lua name=l\nreturn 1"),
    "load a module": ("MODULE", "LOAD", "/tmp/x.so"),
    "become a replica": ("REPLICAOF", "127.0.0.1", 1),
    "be sent everything": ("PSYNC", "?", -1),
    "fail over": ("FAILOVER",),
    "migrate a key": ("MIGRATE", "127.0.0.1", 1, "porch.submit", 0, 10),
    "save": ("SAVE",),
    "save in the background": ("BGSAVE",),
    "rewrite its log": ("BGREWRITEAOF",),
    "list clients": ("CLIENT", "LIST"),
    "kill clients": ("CLIENT", "KILL", "TYPE", "normal"),
    "stop clients": ("CLIENT", "PAUSE", 1_000),
    "be told of keys": ("CLIENT", "TRACKING", "ON", "BCAST"),
    "what it is": ("INFO",),
    "what was slow": ("SLOWLOG", "GET"),
    "memory": ("MEMORY", "DOCTOR"),
    "wait": ("WAIT", 1, 1),
    "restore a key": ("RESTORE", "x", 0, "x"),
}


@pytest.fixture(scope="module")
def wrapper(house: GuardedHouse, broker: GuardedBroker) -> Iterator[Redis]:
    with broker.as_user("porch-wrapper") as client:
        yield client


@pytest.fixture(scope="module")
def answer(house: GuardedHouse, broker: GuardedBroker) -> Iterator[str]:
    """Where somebody's answer waits to be fetched."""
    with broker.as_user("porch-worker") as worker:
        worker.set(ANSWER, '{"of": "somebody else"}')
        yield ANSWER
        worker.delete(ANSWER)


@pytest.mark.parametrize("what", ATTACKS)
def test_a_wrapper_cannot(wrapper: Redis, broker: GuardedBroker, answer: str, what: str) -> None:
    with pytest.raises(NoPermissionError):
        wrapper.execute_command(*ATTACKS[what])
    with broker.as_user("porch-worker") as worker:
        assert worker.get(answer) == '{"of": "somebody else"}'


def test_the_answer_to_a_request_can_be_read_by_whoever_knows_its_id(
    wrapper: Redis, answer: str
) -> None:
    """The threat model says so: an id is a random UUID, which nobody is told but who made it."""
    assert wrapper.get(answer) is not None


def test_who_hears_answers_must_name_one(wrapper: Redis) -> None:
    """A pattern is taken for a name, which no answer has."""
    with wrapper.pubsub() as listening:
        listening.subscribe("celery-task-meta-*")
        assert listening.get_message(timeout=5)["type"] == "subscribe"


def test_a_user_made_as_the_docs_say_reads_streams_and_nothing_else(
    house: GuardedHouse, broker: GuardedBroker
) -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    (rule,) = re.findall(r"^user (porch-streams .*)$", page, re.MULTILINE)
    password = "p" * 43
    begun = "SELECT name FROM porch.feed_position"
    with User(house) as someone, broker.as_user("porch-admin") as admin:
        wait_until(lambda: house.ask(begun), 20.0, "the relay has begun")
        someone.register({"run": 1})
        hashed = sha256(password.encode()).hexdigest()
        words = rule.replace("SHA256_OF_ITS_PASSWORD", hashed).split()
        admin.execute_command("ACL", "SETUSER", *words)
        once = Retry(NoBackoff(), 0)
        reader = Redis(port=broker.port, username=words[0], password=password, retry=once)
        with reader:
            wait_until(lambda: admin.keys("porch.feed.[0-9]*"), 10.0, "the relay has told")
            (key,) = admin.keys("porch.feed.[0-9]*")[:1]
            assert reader.xread({key: 0})
            for attack in (("LRANGE", "porch.submit", 0, -1), ("XADD", key, "*", "a", "b")):
                with pytest.raises(NoPermissionError):
                    reader.execute_command(*attack)
        admin.acl_deluser(words[0])


def test_without_a_password_nobody_may_do_anything(broker: GuardedBroker) -> None:
    with Redis(port=broker.port) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()


@pytest.mark.parametrize("user", ["default", *USERS])
@pytest.mark.parametrize("password", ["", "x", "porch"])
def test_a_wrong_password_lets_nobody_in(broker: GuardedBroker, user: str, password: str) -> None:
    once = Retry(NoBackoff(), 0)
    wrong = Redis(port=broker.port, username=user, password=password, retry=once)
    with wrong, pytest.raises(AuthenticationError):
        wrong.ping()


@pytest.mark.parametrize("user", USERS[1:])
@pytest.mark.parametrize(
    "command",
    [
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("SHUTDOWN",),
        ("DEBUG", "SLEEP", 0),
        ("MODULE", "LIST"),
        ("REPLICAOF", "NO", "ONE"),
        ("SAVE",),
        ("MONITOR",),
        ("CLIENT", "LIST"),
        ("KEYS", "*"),
        ("SCAN", 0),
        ("SET", "mine", 1),
        ("EVAL", "return 1", 0),
    ],
    ids=lambda command: str(command[0]),
)
def test_no_user_of_porch_administers(
    broker: GuardedBroker, user: str, command: tuple[Any, ...]
) -> None:
    with broker.as_user(user) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command)


@pytest.mark.parametrize("user", ["porch-flower"])
@pytest.mark.parametrize(
    "command",
    [("LINDEX", "porch.submit", 0), ("BRPOP", "porch.submit", 1), ("HGET", "unacked", "x")],
    ids=lambda command: str(command[0]),
)
def test_flower_sees_no_message_and_so_no_token(
    broker: GuardedBroker, user: str, command: tuple[Any, ...]
) -> None:
    with broker.as_user(user) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command)


# What a wrapper may push --------------------------------------------------------------------


def _callback() -> dict[str, Any]:
    step = {"task": "porch.sweep", "args": ["x"], "kwargs": {}, "options": {}}
    return envelope(text(), embed={"callbacks": [step]})


@pytest.mark.parametrize(
    "message",
    [
        lambda: envelope(text(), task="os.system"),
        lambda: envelope(text(), task="celery.chain"),
        lambda: envelope(text(), eta="2099-01-01T00:00:00"),
        lambda: envelope(text(), chain=[{"task": "porch.sweep"}]),
        _callback,
    ],
    ids=["a foreign task", "a task of Celery's", "an eta", "a chain in the headers", "a callback"],
)
def test_what_is_no_plain_request_costs_its_sender_an_error(
    wrapper: Redis, user: User, message: Callable[[], dict[str, Any]]
) -> None:
    sent = message()
    wrapper.lpush("porch.query", json.dumps(sent))
    raw = wait_until(lambda: wrapper.get(f"celery-task-meta-{sent['headers']['id']}"), 20.0)
    assert json.loads(json.loads(raw)["result"])["error"]["code"] == "bad_request"
    assert user.client.count() == {}


def test_junk_in_every_queue_costs_no_worker_its_slot(
    wrapper: Redis, broker: GuardedBroker, user: User
) -> None:
    for queue in QUEUES[:-1]:
        for junk in (b"\xff", "7", "{}", "[" * 10_000, json.dumps({"headers": 1})):
            for _ in range(20):
                wrapper.lpush(queue, junk)
    with broker.as_user("porch-doctor") as doctor:
        wait_until(lambda: not any(doctor.llen(queue) for queue in QUEUES), 20.0, "all are empty")
        assert doctor.hlen("unacked") == 0
    assert len(user.register({"a": 1}, {"a": 2})) == 2
    assert len(user.client.claim(2)) == 2
