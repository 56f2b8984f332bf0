"""One connection to a Redis: commands out, replies and messages in (RESP3, by hiredis).

Not redis-py, because a command line must start at once: to import it takes five times as long as
Python takes to start. Commands are sent without waiting, and replies taken in when there is
something to wait for; Redis carries out in order what one connection sends.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import hiredis

from porch_client.way import WrongPassword

_PIECE = 1 << 16
_VERIFY = {"none": 0, "optional": 1, "required": 2}
_TLS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
#: Errors of one command that tell of the password.
_PASSWORD = ("WRONGPASS", "NOAUTH")


class ErrorReply(ConnectionError):
    """Redis said no to a command."""


#: Takes the reply to a command, which may be an ErrorReply.
Taker = Callable[[Any], None]

#: A command, and who takes its reply; None where Redis replies by a message: SUBSCRIBE.
Command = tuple[Sequence[str], Taker | None]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Redis is, and who we are there. ``tls``: the options of a rediss:// URL."""

    host: str
    port: int
    db: int
    user: str
    password: str | None = field(repr=False)
    tls: dict[str, str] | None

    @classmethod
    def of(cls, url: str) -> Address:
        """Raises ValueError, which names what is wrong and never the password."""
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        db = parts.path.strip("/") or "0"
        if not db.isdecimal():
            raise ValueError(f"{db!r} is no number of a database")
        for name in options:
            if name not in _TLS or parts.scheme != "rediss":
                raise ValueError(f"unknown option {name}")
        if _verify(options) not in _VERIFY:
            raise ValueError(f"ssl_cert_reqs is one of {', '.join(_VERIFY)}")
        return cls(
            unquote(parts.hostname or "127.0.0.1"),
            parts.port or 6379,
            int(db),
            unquote(parts.username or "") or "default",
            None if parts.password is None else unquote(parts.password),
            options if parts.scheme == "rediss" else None,
        )


class Link:
    """A connection, made at once. ``patience``: seconds for one operation.

    ``heard`` is called with the channel and the text of each message that is published. Every
    method raises OSError, and the connection is closed then.
    """

    def __init__(
        self, address: Address, patience: float, heard: Callable[[str, str], None]
    ) -> None:
        self._patience = patience
        self._heard = heard
        self._reader = hiredis.Reader(encoding="utf-8")
        self._owed: deque[Taker] = deque()
        self._since = 0.0
        self._socket = _connected(address, min(3.0, patience))
        hello = ["HELLO", "3"]
        if address.password is not None:
            hello += ["AUTH", address.user, address.password]
        first: list[Command] = [(hello, check)]
        if address.db:
            first.append((["SELECT", str(address.db)], check))
        self.send(*first)
        self.settle()

    def send(self, *commands: Command) -> None:
        """Send commands without waiting for what becomes of them."""
        packed = b"".join(
            hiredis.pack_command(tuple(words))  # type: ignore[arg-type]
            for words, _ in commands
        )
        takers = [taker for _, taker in commands if taker is not None]
        if not self._owed:
            self._since = time.monotonic()
        self._owed += takers
        try:
            self._socket.settimeout(self._patience)
            self._socket.sendall(packed)
        except BaseException:
            self.close()
            raise

    def listen(self, seconds: float) -> bool:
        """Take in what comes next; whether anything came in time."""
        try:
            frame = self._reader.gets()
            if frame is False and not self._fill_within(seconds):
                return False
            while frame is False and (frame := self._reader.gets()) is False:
                self._fill(self._patience)
            self._take(frame)
        except hiredis.ProtocolError:
            self.close()
            raise ConnectionError("what answers is no Redis") from None
        except BaseException:
            self.close()
            raise
        return True

    def settle(self, seconds: float | None = None) -> None:
        """Wait until every command has been replied to, for at most so many seconds."""
        deadline = time.monotonic() + (self._patience if seconds is None else seconds)
        while self._owed:
            if not self.listen(deadline - time.monotonic()):
                self.close()
                raise TimeoutError("the broker does not reply")

    def ask(self, *words: str) -> Any:
        """The reply to one command."""
        replies: list[Any] = []
        self.send((words, replies.append))
        self.settle()
        check(replies[0])
        return replies[0]

    def close(self) -> None:
        """End the connection at once."""
        self._socket.close()

    # ----------------------------------------------------------------------------------------

    def _take(self, frame: Any) -> None:
        if isinstance(frame, hiredis.PushNotification):
            if frame[0] == "message":
                self._heard(frame[1], frame[2])
            return
        if isinstance(frame, hiredis.ReplyError):
            said = str(frame)
            frame = (WrongPassword if said.startswith(_PASSWORD) else ErrorReply)(said)
        self._since = time.monotonic()
        if not self._owed:
            check(frame)  # no to a SUBSCRIBE is a reply, though yes is none
            raise ConnectionError("the broker said something that nobody asked for")
        self._owed.popleft()(frame)

    def _fill_within(self, seconds: float) -> bool:
        overdue = self._since + self._patience - time.monotonic() if self._owed else seconds
        try:
            self._fill(min(seconds, overdue))
        except TimeoutError:
            if self._owed and overdue <= seconds:
                raise
            return False
        return True

    def _fill(self, seconds: float) -> None:
        self._socket.settimeout(max(seconds, 0.001))
        piece = self._socket.recv(_PIECE)
        if not piece:
            raise ConnectionError("the broker closed the connection")
        self._reader.feed(piece)


def check(reply: Any) -> None:
    """The taker for commands of which only a refusal matters."""
    if isinstance(reply, OSError):
        raise reply


def _verify(options: dict[str, str]) -> str:
    return options.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")


def _connected(address: Address, seconds: float) -> socket.socket:
    # As bytes: Python would import its tables of Unicode to look at a text.
    host = address.host.encode() if address.host.isascii() else address.host
    plain = socket.create_connection((host, address.port), seconds)  # type: ignore[arg-type]
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if address.tls is None:
        return plain
    try:
        return _wrapped(plain, address.host, address.tls)
    except BaseException:
        plain.close()
        raise


def _wrapped(plain: socket.socket, host: str, options: dict[str, str]) -> socket.socket:
    import ssl  # noqa: PLC0415 (only where there is TLS)

    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    verify = ssl.VerifyMode(_VERIFY[_verify(options)])
    context.check_hostname = verify is ssl.CERT_REQUIRED
    context.verify_mode = verify
    if "ssl_certfile" in options:
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    return context.wrap_socket(plain, server_hostname=host)
