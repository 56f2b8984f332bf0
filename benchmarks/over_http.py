"""The leanest HTTP client that will do, so that the server is measured and not its caller.

Standard library only. One connection, kept alive; requests and answers that have a length, or
answers in chunks.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable, Mapping
from typing import Any


class Answered(Exception):
    """An answer that is no success: its status and what it says."""


class Connection:
    """A connection to ``host:port``, for one thread. ``headers`` go with each request."""

    def __init__(self, host: str, port: int, headers: Mapping[str, str] | None = None) -> None:
        self._socket = socket.create_connection((host, port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._socket.makefile("rb")
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self._fixed = f"Host: {host}:{port}\r\n{more}"

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON of the answer to a JSON body. Raises Answered for 400 and more."""
        return self._exchange("POST", path, body)

    def put(self, path: str, body: Any) -> tuple[int, Any]:
        """As ``post``."""
        return self._exchange("PUT", path, body)

    def stream(self, path: str, lines: Iterable[bytes], content_type: str) -> bytes:
        """The whole answer to a body that is sent in chunks while the answer is being read."""
        self._socket.sendall(
            f"POST {path} HTTP/1.1\r\n{self._fixed}Content-Type: {content_type}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        sender = threading.Thread(target=self._send, args=(lines,), daemon=True)
        sender.start()
        _, answer = self._answer()
        sender.join()
        return answer

    def _send(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self._socket.sendall(b"%x\r\n%b\r\n" % (len(line), line))
        self._socket.sendall(b"0\r\n\r\n")

    def _exchange(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        text = json.dumps(body, separators=(",", ":")).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\n{self._fixed}Content-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + text)
        status, answer = self._answer()
        return status, json.loads(answer)

    def _answer(self) -> tuple[int, bytes]:
        status = int(self._line().split(b" ", 2)[1])
        length, chunked = 0, False
        while line := self._line():
            name, _, value = line.lower().partition(b":")
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                chunked = b"chunked" in value
        answer = b"".join(self._chunks()) if chunked else self._lines.read(length)
        if status >= 400:
            raise Answered(f"{status} {answer[:300].decode(errors='replace')}")
        return status, answer

    def _chunks(self) -> Iterable[bytes]:
        while length := int(self._line(), 16):
            yield self._lines.read(length)
            self._line()
        self._line()

    def _line(self) -> bytes:
        line = self._lines.readline()
        if not line:
            raise ConnectionError("the server has closed the connection")
        return line.rstrip(b"\r\n")
