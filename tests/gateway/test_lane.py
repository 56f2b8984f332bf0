"""The lane for plain requests: nobody can tell from an answer whether it was taken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg2
import pytest

from tests.factories import definition
from tests.gateway.npg import a_task, full
from tests.house import House, User

#: A query, which these paths ignore, keeps a request off the lane.
ON_THE_LANE, OFF_IT = {}, {"not": "plain"}


def told(reply: httpx.Response) -> tuple[int, Any, dict[str, str]]:
    """All that a caller sees of a reply, but for the time of day and the name of the request."""
    headers = {name: value for name, value in reply.headers.items() if name != "date"}
    assert UUID(headers.pop("x-request-id"))
    body = reply.json()
    # Of the length, only that there is one: JSON may be written with spaces or without.
    assert int(headers.pop("content-length")) == len(reply.content)
    return reply.status_code, body, headers


BODIES: dict[str, Any] = {
    "plain": {"run": 1, "lane": "2"},
    "signs of all alphabets": {"ä": "样本", "emoji": "🧬", "quoted": 'a "b" \\ /'},
    "numbers": {"a": 1.0, "b": 1e22, "c": -0.0, "d": 2**53 - 1, "e": 0.1},
    "nested": {"a": {"b": [{"c": None}, [], {}, True]}},
    "empty": {},
    "an integer beyond 2^53": {"a": 2**60},
    "no object": 7,
    "deep": json.loads('{"a":' * 70 + "{}" + "}" * 70),
    "very deep": json.loads('{"a":' * 300 + "{}" + "}" * 300),
}


@pytest.mark.parametrize("what", BODIES)
def test_a_known_task_is_told_alike(owner: httpx.Client, user: User, what: str) -> None:
    body = {**a_task(user), "task_input": BODIES[what]}
    owner.post("/tasks", json=body)
    plain = owner.post("/tasks", json=body, params=ON_THE_LANE)
    assert told(plain) == told(owner.post("/tasks", json=body, params=OFF_IT))


@pytest.mark.parametrize("way", [ON_THE_LANE, OFF_IT])
def test_a_new_task_is_201(owner: httpx.Client, user: User, way: dict[str, str]) -> None:
    assert owner.post("/tasks", json=a_task(user), params=way).status_code == 201


ODD: dict[str, Any] = {
    "nothing": b"",
    "no JSON": b"{",
    "no UTF-8": b'{"a": "\xff"}',
    "NaN": b'{"pipeline": {"name": "%s"}, "task_input": {"a": NaN}}',
    "a lone surrogate": b'{"pipeline": {"name": "%s"}, "task_input": {"a": "\\ud800"}}',
    "U+0000": b'{"pipeline": {"name": "%s"}, "task_input": {"a": "\\u0000"}}',
    "a list": b"[]",
    "no pipeline": b'{"task_input": {}}',
    "an empty name": b'{"pipeline": {"name": ""}, "task_input": {}}',
    "a number for a name": b'{"pipeline": {"name": 7}, "task_input": {}}',
    "no input": b'{"pipeline": {"name": "%s"}}',
    "a word too many": b'{"pipeline": {"name": "%s", "x": 1}, "task_input": {}}',
    "an unknown version": b'{"pipeline": {"name": "%s", "version": "9"}, "task_input": {}}',
    "another pipeline": b'{"pipeline": {"name": "not mine"}, "task_input": {}}',
    "a key twice": b'{"pipeline": {"name": "%s"}, "task_input": {"a": 1, "a": 2}}',
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_request_is_told_alike(owner: httpx.Client, user: User, what: str) -> None:
    body = ODD[what].replace(b"%s", user.pipeline.encode())
    as_json = {"Content-Type": "application/json"}
    owner.post("/tasks", content=body, params=OFF_IT)
    plain = owner.post("/tasks", content=body, params=ON_THE_LANE, headers=as_json)
    assert told(plain) == told(owner.post("/tasks", content=body, params=OFF_IT, headers=as_json))


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic x"},
        {"Authorization": f"Bearer {'0' * 32}"},
        {"Authorization": "bearer short"},
        {"Idempotency-Key": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/tasks", "/tasks/claim"])
def test_odd_headers_are_told_alike(
    owner: httpx.Client, user: User, headers: dict[str, str], path: str
) -> None:
    body = json.dumps(a_task(user) if path == "/tasks" else {"name": user.pipeline}).encode()
    replies = [
        owner.post(path, content=body, headers=headers, params=way) for way in (ON_THE_LANE, OFF_IT)
    ]
    assert len({reply.status_code for reply in replies}) == 1
    assert len({reply.text for reply in replies}) == 1


def test_a_body_in_pieces_is_taken(owner: httpx.Client, user: User) -> None:
    def pieces(task: dict[str, Any]) -> Iterator[bytes]:
        text = json.dumps(task).encode()
        yield text[:10]
        yield text[10:]

    assert owner.post("/tasks", content=pieces(a_task(user))).status_code == 201


def test_a_claim_is_told_alike(owner: httpx.Client, user: User) -> None:
    for _ in range(2):
        owner.post("/tasks", json=a_task(user))
    of_mine = {"name": user.pipeline}
    plain, other = (
        owner.post("/tasks/claim", json=of_mine, params=way) for way in (ON_THE_LANE, OFF_IT)
    )
    (first,), (second,) = plain.json(), other.json()
    assert first["task_input_id"] != second["task_input_id"]
    assert {**first, "task_input": 0, "task_input_id": 0} == {
        **second, "task_input": 0, "task_input_id": 0
    }  # fmt: skip
    assert first["pipeline"] == full(user)
    assert told(plain)[2] == told(other)[2]
    assert told(owner.post("/tasks/claim", json=of_mine))[:2] == (200, [])


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "", "x/y"])
@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"n": 2}',
        b'{"n": 0}',
        b'{"n": "2"}',
        b'{"job_id": "4711"}',
        b'{"version": "9"}',
        b'{"pipeline": "none"}',
        b'{"request_id": "no uuid"}',
        b'{"surprise": 1}',
        b"nonsense",
        b"[]",
    ],
)
def test_a_claim_of_the_second_api_is_told_alike(
    owner: httpx.Client, user: User, body: bytes, kind: str
) -> None:
    user.register(*[{"n": n} for n in range(4)])
    replies = [
        owner.post("/api/v2/tasks/claim", content=body, params=way) for way in (ON_THE_LANE, OFF_IT)
    ]
    plain, other = (told(reply) for reply in replies)
    assert (plain[0], plain[2]) == (other[0], other[2])
    if plain[0] != 200:
        assert plain[1] == other[1]
        return
    for told_of, differs in ((plain[1], other[1]),):
        assert told_of.keys() == differs.keys()
        assert [task.keys() for task in told_of["tasks"]] == [
            task.keys() for task in differs["tasks"]
        ]
    keys = [task["task_input_id"] for reply in replies for task in reply.json()["tasks"]]
    assert len(keys) == len(set(keys)) > 0


def test_a_claim_under_a_name_is_handed_the_same_on_the_lane_and_off_it(
    owner: httpx.Client, user: User
) -> None:
    user.register(*[{"n": n} for n in range(4)])
    named = {"n": 2, "request_id": str(uuid4())}
    replies = [
        owner.post("/api/v2/tasks/claim", json=named, params=way).json()
        for way in (ON_THE_LANE, OFF_IT, ON_THE_LANE)
    ]
    assert [len(reply["tasks"]) for reply in replies] == [2, 2, 2]
    assert len({json.dumps([t["task_input_id"] for t in r["tasks"]]) for r in replies}) == 1
    assert {reply["request_id"] for reply in replies} == {named["request_id"]}


def change(key: str, **fields: Any) -> dict[str, Any]:
    return {"task": key, "status": "RUNNING", "attempt": 1, **fields}


def bodies_of_reports(key: str) -> list[bytes]:
    """Of a task that was claimed; plain ones and odd ones."""
    plain = change(key)
    return [
        json.dumps(body).encode()
        for body in (
            {"changes": [plain]},
            {"changes": [plain, change(key, status="DONE"), change(key, status="FAILED")]},
            {"changes": [change(key, message="样本 🧬 \u0000", job_id="4711", status="FAILED")]},
            {"changes": [change(key, attempt=None), change("f" * 64), change(key, attempt=7)]},
            {"changes": [change(key, status="PENDING"), change("no key")]},
            {"changes": [plain] * 11},
            {"changes": []},
            {"changes": [plain], "pipeline": "none"},
            {"changes": [{"task": key, "status": "LOST"}]},
            {"changes": plain},
            {"surprise": 1},
            [],
        )
    ] + [b"nonsense"]


@pytest.mark.parametrize("n", range(13))
def test_a_report_is_told_alike(owner: httpx.Client, user: User, n: int) -> None:
    as_json = {"Content-Type": "application/json"}
    replies = []
    for way in (ON_THE_LANE, OFF_IT):
        user.register({"n": len(replies)})
        (task,) = user.client.claim(1)
        body = bodies_of_reports(task.task_input_id)[n]
        reply = owner.post("/api/v2/tasks/update", content=body, params=way, headers=as_json)
        status, answer, headers = told(reply)
        said = json.dumps(answer).replace(task.task_input_id, "KEY")
        kept = [(e.to_status, e.message, e.job_id) for e in user.history(task.task_input_id)]
        replies.append((status, said.replace(task.task_input_id[:12], "KEY"), headers, kept))
    assert replies[0] == replies[1]


def test_a_crowd_of_reports_is_answered_each_by_itself(owner: httpx.Client, user: User) -> None:
    user.register(*[{"n": n} for n in range(40)])
    keys = [task.task_input_id for task in user.client.claim(40)]

    def report(key: str) -> bool:
        reply = owner.post("/api/v2/tasks/update", json={"changes": [change(key, status="DONE")]})
        (verdict,) = reply.json()["results"]
        assert verdict["task_input_id"] == key
        return bool(verdict["changed"])

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(report, [*keys, *keys])) == [False] * 40 + [True] * 40
    assert user.client.count() == {"DONE": 40}


def test_a_report_of_what_somebody_else_is_changing_waits_alone(
    house: House, owner: httpx.Client, user: User
) -> None:
    user.register(*[{"n": n} for n in range(20)])
    keys = [task.task_input_id for task in user.client.claim(20)]

    def report(key: str) -> bool:
        reply = owner.post("/api/v2/tasks/update", json={"changes": [change(key, status="DONE")]})
        return bool(reply.json()["results"][0]["changed"])

    with ThreadPoolExecutor(20) as pool:
        with in_hand(house, keys[0]):
            late, *others = [pool.submit(report, key) for key in keys]
            assert all(one.result() for one in others)
            assert not late.done()
        assert late.result()


@contextmanager
def in_hand(house: House, key: str) -> Iterator[None]:
    """Somebody else is just changing the task."""
    connection = psycopg2.connect(house.ready["database_url"].replace("+psycopg2", ""))
    try:
        with connection.cursor() as cursor:
            lock = "SELECT FROM porch.task WHERE task_input_id = %s FOR NO KEY UPDATE"
            cursor.execute(lock, [bytes.fromhex(key)])
        yield
    finally:
        connection.close()


def test_a_key_that_is_sent_again_registers_once(owner: httpx.Client, user: User) -> None:
    task = a_task(user)
    key = {"Idempotency-Key": "the same"}
    assert [owner.post("/tasks", json=task, headers=key).status_code for _ in range(2)] == [
        201, 201
    ]  # fmt: skip


def test_a_crowd_is_answered_each_by_itself(owner: httpx.Client, user: User) -> None:
    tasks = [{"pipeline": full(user), "task_input": definition(n=n)} for n in range(40)]

    def post(task: dict[str, Any]) -> httpx.Response:
        return owner.post("/tasks", json=task)

    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(post, [*tasks, *tasks]))
    assert sorted(reply.status_code for reply in replies) == [200] * 40 + [201] * 40
    assert [reply.json()["task_input"] for reply in replies] == [
        task["task_input"] for task in [*tasks, *tasks]
    ]
    with ThreadPoolExecutor(16) as pool:
        claimed = list(
            pool.map(lambda _: owner.post("/tasks/claim", json={"name": user.pipeline}), range(45))
        )
    handed = [task["task_input_id"] for reply in claimed for task in reply.json()]
    assert len(handed) == len(set(handed)) == 40
