"""Bulk submission: JSON lines in, JSON lines out, of any length."""

from __future__ import annotations

import signal
from itertools import islice

import httpx
import psutil

from tests.factories import definition, definitions
from tests.gateway.conftest import http
from tests.gateway.lines import NDJSON, Conversation, posted, written
from tests.house import House, User

#: As the gateway has it: so many lines are one chunk.
CHUNK = 1_000


def test_each_line_is_answered_in_order_with_its_position(owner: httpx.Client) -> None:
    one, other = definitions(2)
    answers = posted(owner, "", written([one, other, one]))
    assert [(a["position"], a["status"], a["created"]) for a in answers] == [
        (0, "PENDING", True),
        (1, "PENDING", True),
        (2, "PENDING", False),
    ]
    assert answers[0]["task_input_id"] == answers[2]["task_input_id"]


def test_a_mistake_in_one_line_keeps_no_other_out(owner: httpx.Client) -> None:
    bad = [
        b"nope",
        b"[1]",
        b'{"x": NaN}',
        b"\xff",
        b"[" * 100_000,
        b'{"x": "%b"}' % (b"x" * 300_000),
    ]
    good = written([definition()]).strip()
    body = b"\n".join(part for line in bad for part in (line, good)) + b"\n"
    answers = posted(owner, "", body)
    assert [a["position"] for a in answers] == list(range(12))
    assert [a["error"]["code"] for a in answers[::2]] == [
        "bad_request",
        "not_an_object",
        "not_representable",
        "bad_request",
        "too_deep",
        "too_large",
    ]
    assert [a["created"] for a in answers[1::2]] == [True] + [False] * 5


def test_a_line_that_never_ends_is_not_kept(owner: httpx.Client) -> None:
    answers = posted(owner, "", b"x" * 3_000_000 + b"\n" + written([definition()]))
    assert answers[0]["error"]["code"] == "too_large"
    assert answers[1]["created"]


def test_blank_lines_are_none_and_the_last_needs_no_end(owner: httpx.Client) -> None:
    body = b"\n\r\n" + written([definition()]) + b"  \n" + written([definition()]).strip()
    assert [a["position"] for a in posted(owner, "", body)] == [0, 1]
    assert posted(owner, "", b"") == []


def test_priority_and_version_are_of_the_whole_request(house: House) -> None:
    with User(house, "1.0", "2.0") as user, http(house, user.token) as client:
        posted(client, "?version=2.0&priority=5", written([definition()]))
        (task,) = client.get(f"/api/v2/tasks?pipeline={user.pipeline}").json()["tasks"]
        assert (task["version"], task["priority"]) == ("2.0", 5)
        unnamed = client.post("/api/v2/tasks", content=b"{}", headers=NDJSON)
        assert (unnamed.status_code, unnamed.json()["code"]) == (404, "which_version")


def test_whoever_sends_slowly_is_answered_before_the_end(house: House, user: User) -> None:
    with Conversation(house, user.token) as talk:
        for _ in range(3):
            talk.say(written(definitions(CHUNK)))
            assert all(answer["created"] for answer in talk.hear(CHUNK))
        talk.say(written([definition()]))
        talk.end()
        assert [answer["position"] for answer in talk.answers()] == [3 * CHUNK]
    assert len(user.inputs()) == 3 * CHUNK + 1


def test_whoever_leaves_in_the_middle_has_what_was_answered(house: House, user: User) -> None:
    with Conversation(house, user.token) as talk:
        talk.say(written(definitions(CHUNK)))
        assert len(talk.hear(CHUNK)) == CHUNK
        talk.say(written(definitions(10)))
    assert len(user.inputs()) == CHUNK


def test_memory_does_not_grow_with_the_length(house: House, user: User) -> None:
    gateway = psutil.Process(house.pid("gateway"))
    lines = 100_000
    bodies = (
        written({"n": n} for n in range(start, start + CHUNK)) for start in range(0, lines, CHUNK)
    )
    with Conversation(house, user.token, "/api/v2/tasks/preview?pipeline=" + user.pipeline) as talk:
        talk.say_all(bodies)
        answers = talk.answers()
        heard = sum(1 for _ in islice(answers, lines // 10))
        early = most = gateway.memory_info().rss
        for heard, _ in enumerate(answers, heard + 1):  # noqa: B020
            if heard % CHUNK == 0:
                most = max(most, gateway.memory_info().rss)
    assert heard == lines
    assert most - early < 8 * 2**20


def test_the_same_request_again_is_told_the_same(owner: httpx.Client, user: User) -> None:
    body = written(definitions(2 * CHUNK + 5))
    key = {"Idempotency-Key": "sheet-7"}
    first = posted(owner, "", body, headers=key)
    assert posted(owner, "", body, headers=key) == first
    assert all(answer["created"] for answer in first)
    other = posted(owner, "", body, headers={"Idempotency-Key": "sheet-8"})
    assert not any(answer["created"] for answer in other)
    assert len(user.inputs()) == 2 * CHUNK + 5


def test_where_postgresql_goes_away_the_last_line_says_so(own_house: House) -> None:
    with User(own_house) as user, Conversation(own_house, user.token) as talk:
        talk.say(written(definitions(CHUNK)))
        assert all(answer["created"] for answer in talk.hear(CHUNK))
        # Its processes end at once, and with them the connection that the gateway has.
        postgres = psutil.Process(own_house.pid("postgres"))
        postgres.send_signal(signal.SIGQUIT)
        psutil.wait_procs([postgres], timeout=30)
        talk.say(written(definitions(CHUNK)))
        (last,) = talk.answers()
        assert last["stopped_at"] == CHUNK
        assert last["error"]["code"] == "database_away"
        assert len(user.inputs()) == CHUNK
