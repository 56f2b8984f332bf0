"""A submission of any length: cut into messages, a few under way, answered in order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from porch_client.errors import BadInput, PorchError
from porch_client.submission import CHUNK, WINDOW, Submission


class Echo:
    """A channel that registers everything, and notes what is under way."""

    def __init__(self) -> None:
        self.sent: list[list[Any]] = []
        self.asked: list[list[Any]] = []
        self.under_way = 0
        self.most_under_way = 0

    def prepare(self, *_: object, encoded: dict[str, str], **__: object) -> list[Any]:
        return list(json.loads(encoded["definitions"]))

    def send(self, chunk: list[Any]) -> None:
        self.sent.append(chunk)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)

    def wait(self, chunk: list[Any], **_: object) -> dict[str, Any]:
        self.asked.append(chunk)
        self.under_way -= 1
        return {
            "results": [
                {"task_input_id": json.dumps(sent), "status": "PENDING", "created": True}
                for sent in chunk
            ]
        }


def submit(definitions: Any, echo: Echo | None = None) -> Iterator[Any]:
    return Submission(echo or Echo(), None, None, 0).run(definitions)  # type: ignore[arg-type]


def test_answers_come_in_the_order_of_the_definitions() -> None:
    n = 3 * CHUNK + 7
    answers = list(submit({"n": n} for n in range(n)))
    assert [answer.position for answer in answers] == list(range(n))
    assert [json.loads(answer.task_input_id)["n"] for answer in answers] == list(range(n))


def test_no_more_is_read_than_is_under_way() -> None:
    read = 0

    def endless() -> Iterator[dict[str, int]]:
        nonlocal read
        while True:
            read += 1
            yield {"n": read}

    answers = submit(endless())
    for _ in range(10 * CHUNK):
        next(answers)
    assert read <= (10 + WINDOW) * CHUNK


def test_so_many_messages_are_under_way_and_no_more() -> None:
    echo = Echo()
    list(submit(({"n": n} for n in range(10 * CHUNK)), echo))
    assert echo.most_under_way == WINDOW


@pytest.mark.parametrize("given", [[], [BadInput("ragged_row", "line 3")]])
def test_with_nothing_to_send_it_is_asked_whether_it_might(given: list[Any]) -> None:
    echo = Echo()
    assert len(list(submit(given, echo))) == len(given)
    assert echo.asked == [[]]


def test_large_definitions_make_messages_of_fewer() -> None:
    echo = Echo()
    list(submit(({"text": "x" * 400_000} for _ in range(6)), echo))
    assert [len(chunk) for chunk in echo.sent] == [3, 3]


def deep(levels: int) -> Any:
    inner: Any = {}
    for _ in range(levels):
        inner = {"a": inner}
    return inner


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (object(), "bad_json"),
        ({"a": b"bytes"}, "bad_json"),
        ({(1, 2): 3}, "bad_json"),
        ({"a": 10**5_000}, "bad_json"),
        (deep(400), "too_deep"),
        (deep(900), "too_deep"),
        (deep(100_000), "too_deep"),
        ({"a": "x" * 20 * 2**20}, "too_large"),
        (BadInput("ragged_row", "line 3"), "ragged_row"),
    ],
    ids=["object", "bytes", "key", "digits", "400", "900", "100000", "20MiB", "unread"],
)
def test_what_cannot_be_sent_is_refused_at_its_position_and_keeps_nothing_out(
    bad: object, code: str
) -> None:
    echo = Echo()
    first, refused, last = submit([{"a": 1}, bad, {"a": 2}], echo)
    assert (refused.position, refused.error.code) == (1, code)
    assert isinstance(refused.error, PorchError)
    assert (first.position, last.position) == (0, 2)
    assert echo.sent == [[{"a": 1}, {"a": 2}]]


def test_a_circle_is_refused() -> None:
    circle: dict[str, Any] = {}
    circle["a"] = circle
    (refused,) = submit([circle])
    assert refused.error.code in {"bad_json", "too_deep"}
