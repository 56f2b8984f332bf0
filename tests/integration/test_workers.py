"""Coordinator workers, as ``porch-server up`` runs them: whatever is sent, they go on serving."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
import psycopg2
import pytest
from celery import Celery
from redis import Redis

from porch_client.channel import Channel
from porch_client.client import Porch
from porch_client.errors import Misconfigured, NotFound
from porch_client.model import NotRegistered, Registered
from tests.envelopes import QUEUE, envelope, replaced, text, without
from tests.factories import definitions
from tests.house import House, wait_until

WORKERS = ("worker.submit", "worker.claim")


@pytest.fixture(scope="module")
def redis(house: House) -> Iterator[Redis]:
    with Redis.from_url(house.ready["broker_url"]) as client:
        yield client


@pytest.fixture(scope="module")
def member(house: House) -> tuple[str, str]:
    """A pipeline, and a token for it."""
    return house.pipeline()


@pytest.fixture(scope="module")
def client(house: House, member: tuple[str, str]) -> Iterator[Porch]:
    with house.client(member[1], timeout=15.0) as porch:
        yield porch


def processes(house: House) -> dict[str, list[int]]:
    """The processes of each worker: its main process and its children."""
    found = {}
    for name in WORKERS:
        main = psutil.Process(house.pid(name))
        found[name] = [main.pid, *sorted(child.pid for child in main.children())]
    return found


@pytest.fixture(autouse=True)
def _unharmed(house: House, client: Porch, redis: Redis) -> Iterator[None]:
    """After each test the same processes answer a good request, and have nothing left in hand."""
    client.count()
    before = processes(house)
    yield
    client.count()
    assert processes(house) == before
    wait_until(lambda: redis.hlen("unacked") == 0, what="every message is acknowledged")


def send(redis: Redis, message: dict[str, Any], queue: str = QUEUE) -> str:
    """Put a message into a queue; where its answer is to be found."""
    redis.lpush(queue, json.dumps(message))
    return f"celery-task-meta-{message['headers']['id']}"


def meta_of(redis: Redis, message: dict[str, Any], queue: str = QUEUE) -> dict[str, Any]:
    key = send(redis, message, queue)
    raw = wait_until(lambda: redis.get(key), 20.0, "an answer")
    return dict(json.loads(raw))


def error_of(redis: Redis, message: dict[str, Any], queue: str = QUEUE) -> str:
    """The code of the error with which a message is answered."""
    answer = json.loads(meta_of(redis, message, queue)["result"])
    return str(answer["error"]["code"])


# What can be answered -----------------------------------------------------------------------


def test_a_good_message_by_hand_is_answered(redis: Redis, member: tuple[str, str]) -> None:
    meta = meta_of(redis, envelope(text(), token=member[1]))
    assert json.loads(meta["result"]) == {"ok": {"counts": {}}}


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        ("nonsense", "bad_request"),
        ("[]", "bad_request"),
        ({"wire": 1}, "bad_request"),
        (None, "bad_request"),
        (text(surprise=1), "bad_request"),
        (text(status="DONE"), "bad_request"),
        (text(pipeline="x\0"), "bad_request"),
        (text(host="\0"), "bad_request"),
        ('{"wire": 2}', "unknown_wire_version"),
        ("{}", "unknown_wire_version"),
        ("[" * 100_000, "too_deep"),
        (text(pipeline="nowhere"), "unknown_pipeline"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_bad_request_is_answered(
    redis: Redis, member: tuple[str, str], argument: Any, code: str
) -> None:
    assert error_of(redis, envelope(argument, token=member[1])) == code


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (None, "missing_token"),
        ("short", "unknown_token"),
        ("0" * 32, "unknown_token"),
        ("0" * 96, "unknown_token"),
        ("\0" * 96, "unknown_token"),
        (7, "missing_token"),
        (["x"], "missing_token"),
    ],
)
def test_a_bad_proof_is_answered(redis: Redis, token: Any, code: str) -> None:
    assert error_of(redis, envelope(text(), porch_proof=token)) == code


def test_a_token_itself_opens_nothing(redis: Redis, member: tuple[str, str]) -> None:
    assert error_of(redis, envelope(text(), porch_proof=member[1])) == "unknown_token"


@pytest.mark.parametrize(
    ("task", "argument"), [("porch.pipelines", text()), ("porch.count", text(version="1"))]
)
def test_a_proof_is_good_for_its_own_request_only(
    redis: Redis, member: tuple[str, str], task: str, argument: str
) -> None:
    seen = envelope(text(), token=member[1])["headers"]
    stolen = {"id": seen["id"], "porch_proof": seen["porch_proof"]}
    assert error_of(redis, envelope(argument, task=task, **stolen)) == "unknown_token"
    other = {"porch_proof": seen["porch_proof"]}
    assert error_of(redis, envelope(text(), **other)) == "unknown_token"


STEP = {"task": "porch.count", "args": ["x"], "kwargs": {}, "options": {}, "subtask_type": None}
UNWANTED = {
    "no argument": envelope(),
    "two arguments": envelope(text(), text()),
    "a keyword": envelope(text(), kwargs={"text": text()}),
    "a callback": envelope(text(), embed={"callbacks": [STEP]}),
    "an errback": envelope(text(), embed={"errbacks": [STEP]}),
    "a chain": envelope(text(), embed={"chain": [STEP]}),
    "a chord": envelope(text(), embed={"chord": STEP}),
    "a callback in the headers": envelope(text(), callbacks=[STEP]),
    "an errback in the headers": envelope(text(), errbacks=[STEP]),
    "a chain in the headers": envelope(text(), chain=[STEP]),
    "a chord in the headers": envelope(text(), chord=STEP),
    "a link without a body of its own": envelope(body=json.dumps([[text()], {}, {}]), chain=[STEP]),
    "a header that nobody knows": envelope(text(), taskset="x"),
    "a header of megabytes": envelope(text(), argsrepr="x" * 2**21),
    "another name to be shown by": envelope(text(), shadow="porch.sweep"),
    "a trace that is none": envelope(text(), traceparent=f"00-{'0' * 32}-{'1' * 16}-01"),
    "a trace that ends a line": envelope(text(), traceparent=f"00-{'1' * 32}-{'1' * 16}-01\n"),
    "stamps": envelope(text(), stamped_headers=["a"], a="b"),
    "a place in a group": envelope(text(), group_index=1),
    "another exchange": replaced(
        envelope(text()), "celery.pidbox", "properties", "delivery_info", "exchange"
    ),
    "another queue": replaced(
        envelope(text()), "unacked", "properties", "delivery_info", "routing_key"
    ),
    "a list for a queue": replaced(
        envelope(text()), ["unacked"], "properties", "delivery_info", "routing_key"
    ),
    "an endless priority": replaced(envelope(text()), float("inf"), "properties", "priority"),
    "an encoding that takes hours": replaced(envelope(text()), "punycode", "content-encoding"),
    "no encoding": replaced(envelope(text()), None, "content-encoding"),
    "an embed that is a list": envelope(body=json.dumps([[text()], {}, [1]])),
    "a far eta": envelope(text(), eta="2099-01-01T00:00:00"),
    "an eta that is none": envelope(text(), eta={"a": 1}),
    "an expiry": envelope(text(), expires="2001-01-01T00:00:00"),
    "a group": envelope(text(), group=str(uuid4())),
    "a time limit": envelope(text(), timelimit=[0.001, 0.001]),
    "a time limit that is none": envelope(text(), timelimit=5),
    "a text for a time limit": envelope(text(), timelimit="soon"),
    "an id that is no UUID": envelope(text(), id=f"no-uuid-{uuid4()}"),
    "a pickle": envelope(
        body=base64.b64encode(pickle.dumps([[text()], {}, {}])).decode(),
        content_type="application/x-python-serialize",
    ),
    "yaml": envelope(text(), content_type="application/x-yaml"),
    "no content type": envelope(text(), content_type=None),
    "a body that is no JSON": envelope(body="nonsense"),
    "a body that is no list": envelope(body='{"a": 1}'),
    "a body of one": envelope(body="[[]]"),
    "a body of another type": envelope(body="7"),
    "an unknown type in the body": envelope(body='[[{"__type__": "x", "__value__": 1}], {}, {}]'),
    "a date in the body": envelope(body='[[{"__type__": "datetime", "__value__": "x"}], {}, {}]'),
    "a body that is no UTF-8": replaced(envelope(), base64.b64encode(b"\xff\xfe").decode(), "body"),
    "a body that is no base64": replaced(envelope(), "%%%", "body"),
}


@pytest.mark.parametrize("what", UNWANTED)
def test_a_message_that_is_not_one_plain_request_is_answered(redis: Redis, what: str) -> None:
    assert error_of(redis, UNWANTED[what]) == "bad_request"


def test_a_message_that_is_too_large_is_answered(redis: Redis) -> None:
    message = envelope(text(pipeline="x" * 33 * 2**20))
    assert error_of(redis, message, "porch.submit") == "too_large"


@pytest.mark.parametrize(
    "task",
    [
        "porch.nothing",
        "porch.together",
        "celery.backend_cleanup",
        "celery.chain",
        "celery.map",
        "celery.accumulate",
        "os.system",
        "",
    ],
)
def test_a_task_that_is_not_ours_is_answered(redis: Redis, task: str) -> None:
    assert error_of(redis, envelope(text(), task=task)) == "bad_request"


def test_a_definition_may_look_like_an_object_of_kombus(client: Porch) -> None:
    odd = {"__type__": "datetime", "__value__": "2026-11-01"}
    registered = client.submit_one(odd)
    assert client.show(registered.task_input_id)[0].task_input == odd


def test_bad_definitions_keep_no_good_ones_out(client: Porch) -> None:
    good = definitions(3)
    given = [good[0], 7, good[1], {"a": float("nan")}, {"a": "\0"}, {"a": 2**60}, good[2]]
    answers = list(client.submit(given))
    assert [type(answer) for answer in answers] == [
        Registered,
        NotRegistered,
        Registered,
        NotRegistered,
        NotRegistered,
        NotRegistered,
        Registered,
    ]


@pytest.mark.parametrize("levels", [65, 100, 190, 250, 900])
def test_a_deep_definition_keeps_no_good_one_out(client: Porch, levels: int) -> None:
    deep: dict[str, Any] = {}
    for _ in range(levels):
        deep = {"a": deep}
    (good,) = definitions(1)
    refused, registered = client.submit([deep, good])
    assert isinstance(refused, NotRegistered)
    assert refused.error.code == "too_deep"
    assert isinstance(registered, Registered)


# What cannot be answered --------------------------------------------------------------------

GARBAGE: dict[str, bytes | str | dict[str, Any]] = {
    "nothing": b"",
    "text": b"garbage",
    "bytes": b"\xff\x00\xfe",
    "half a message": json.dumps(envelope(text()))[:200],
    "a number": b"7",
    "null": b"null",
    "a list": b"[1, 2]",
    "an empty object": b"{}",
    "a deep list": b"[" * 100_000,
    "no headers": without(envelope(text()), "headers"),
    "null headers": replaced(envelope(text()), None, "headers"),
    "a list for headers": replaced(envelope(text()), [1], "headers"),
    "a text for headers": replaced(envelope(text()), "x", "headers"),
    "no task": without(envelope(text()), "headers", "task"),
    "a null task": envelope(text(), task=None),
    "a list for a task": envelope(text(), task=["porch.count"]),
    "an object for a task": envelope(text(), task={"a": 1}),
    "no id": without(envelope(text()), "headers", "id"),
    "a null id": envelope(text(), id=None),
    "a list for an id": envelope(text(), id=[1]),
    "no properties": without(envelope(text()), "properties"),
    "null properties": replaced(envelope(text()), None, "properties"),
    "no delivery tag": without(envelope(text()), "properties", "delivery_tag"),
    "an object for a delivery tag": replaced(
        envelope(text()), {"a": 1}, "properties", "delivery_tag"
    ),
    "no delivery info": without(envelope(text()), "properties", "delivery_info"),
    "null delivery info": replaced(envelope(text()), None, "properties", "delivery_info"),
    "a list for delivery info": replaced(envelope(text()), ["x"], "properties", "delivery_info"),
    "no body": without(envelope(text()), "body"),
    "a null body": replaced(envelope(text()), None, "body"),
    "a number for a body": replaced(envelope(text()), 7, "body"),
    "an unknown body encoding": replaced(
        envelope(text()), "klingon", "properties", "body_encoding"
    ),
    "protocol 1": {
        **envelope(body=json.dumps({"task": "porch.count", "id": str(uuid4()), "args": ["x"]})),
        "headers": {},
    },
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_in_the_queue_harms_nobody(redis: Redis, what: str) -> None:
    garbage = GARBAGE[what]
    redis.lpush(QUEUE, json.dumps(garbage) if isinstance(garbage, dict) else garbage)
    wait_until(lambda: not redis.exists(QUEUE), 10.0, "the queue is empty again")


# Secrets ------------------------------------------------------------------------------------


def test_a_token_is_in_no_log(house: House, client: Porch, member: tuple[str, str]) -> None:
    client.submit_one({"run": str(uuid4())})
    with pytest.raises(NotFound):
        client.show("0" * 64)
    logs = list(house.state_dir.glob("*.log"))
    written = "".join(log.read_text(errors="replace") for log in logs)
    assert "porch.submit" in written
    assert member[1] not in written
    assert house.ready["admin_token"] not in written


def test_a_token_is_in_no_answer(
    house: House, redis: Redis, client: Porch, member: tuple[str, str]
) -> None:
    client.submit_one({"run": str(uuid4())})
    meta = meta_of(redis, envelope(text(), token=member[1]))
    assert member[1] not in json.dumps(meta)


def test_a_token_is_not_shown_by_celery_inspect(
    house: House, member: tuple[str, str], client: Porch
) -> None:
    url = house.ready["database_url"].replace("+psycopg2", "")
    app = Celery(broker=house.ready["broker_url"], set_as_current=False)
    channel = Channel(house.ready["broker_url"], None, member[1], 20.0)
    pending = channel.prepare(
        "submit", "porch.submit", {}, encoded={"definitions": '[{"run": 1}]'}, about="n=1"
    )
    with closing(psycopg2.connect(url)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE porch.task IN ACCESS EXCLUSIVE MODE")
        channel.send(pending)
        found = wait_until(lambda: _active(app), 10.0, "the request is being carried out")
    channel.wait(pending)
    channel.close()
    app.close()
    assert pending.request_id in found
    assert member[1] not in found


def _active(app: Celery) -> str:
    """What ``celery inspect active`` shows, if there is something."""
    shown = app.control.inspect(timeout=0.5).active() or {}
    return json.dumps(shown) if any(shown.values()) else ""


def test_a_wrong_password_is_told_without_repeating_it(house: House) -> None:
    broker = urlsplit(house.ready["broker_url"])
    wrong = f"redis://:hunter2@{broker.hostname}:{broker.port}/0"
    with Porch(wrong, "0" * 32, timeout=5.0) as stranger, pytest.raises(Misconfigured) as refused:
        stranger.count()
    assert refused.value.code == "broker_refused"
    assert "hunter2" not in str(refused.value)
