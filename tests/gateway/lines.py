"""JSON lines over HTTP as a careful client has them: it reads answers while it still sends."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from http.client import HTTPConnection, HTTPResponse
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.house import House

NDJSON = {"Content-Type": "application/x-ndjson"}


def written(things: Iterable[Any]) -> bytes:
    """Things as JSON lines."""
    return "".join(json.dumps(thing) + "\n" for thing in things).encode()


def posted(client: httpx.Client, path: str, body: bytes, **options: Any) -> list[dict[str, Any]]:
    """What a body that is sent whole is answered, line by line."""
    headers = {**NDJSON, **options.pop("headers", {})}
    answer = client.post(f"/api/v2/tasks{path}", content=body, headers=headers, **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


class Conversation:
    """One request whose body is sent bit by bit. A context manager."""

    def __init__(self, house: House, token: str, path: str = "/api/v2/tasks") -> None:
        address = urlsplit(house.ready["gateway_url"])
        assert address.hostname is not None
        self._connection = HTTPConnection(address.hostname, address.port, timeout=60)
        self._connection.putrequest("POST", path)
        headers = {**NDJSON, "Authorization": f"Bearer {token}", "Transfer-Encoding": "chunked"}
        for name, value in headers.items():
            self._connection.putheader(name, value)
        self._connection.endheaders()
        self._response: HTTPResponse | None = None

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def say(self, body: bytes) -> None:
        """Send more of the body."""
        self._connection.sock.sendall(b"%x\r\n%b\r\n" % (len(body), body))

    def end(self) -> None:
        """Say that this was all."""
        self._connection.sock.sendall(b"0\r\n\r\n")

    def say_all(self, bodies: Iterable[bytes]) -> Thread:
        """Send all of it from a thread of its own, so that answers can be read."""

        def speak() -> None:
            for body in bodies:
                self.say(body)
            self.end()

        speaker = Thread(target=speak, daemon=True)
        speaker.start()
        return speaker

    def hear(self, n: int) -> list[dict[str, Any]]:
        """The next ``n`` answers."""
        answers = self.answers()
        return [next(answers) for _ in range(n)]

    def answers(self) -> Iterator[dict[str, Any]]:
        """All answers that are still to come."""
        if self._response is None:
            self._response = self._connection.getresponse()
            assert self._response.status == 200, self._response.read()
        while line := self._response.readline():
            yield json.loads(line)
