"""The outlet over HTTP: each change is posted to a URL, signed, in order, until it is taken.

Source of the form: the Standard Webhooks specification, https://www.standardwebhooks.com
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from config.settings import Misconfigured
from coordinator.messages import StatusMessage
from coordinator.status import Status
from db.outlets import NotTaken

_MOST = 100
#: Seconds for one operation on a connection, and for which one transaction is kept open.
_TIMEOUT = 10.0
_TURN = 5.0
#: Seconds for a whole answer, which may come in drops, and must not outlast the transaction.
_ANSWERED_WITHIN = 20.0
#: Bytes of an answer that are read, so that the connection can be used again.
_ANSWER = 1 << 16
_PREFIX = "whsec_"
_TAKEN = range(200, 300)


def _key(secret: str) -> str:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a secret is whsec_ and base64") from None
    if not 24 <= len(key) <= 64:
        raise ValueError("a secret has 24 to 64 bytes: whsec_ and `openssl rand -base64 32`")
    return secret


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ValueError("a url is http:// or https://, with a host and without a password")
    try:
        good = url.isascii() and parts.port != 0 and parts.hostname.encode("idna")
    except ValueError:
        good = False  # whatever is wrong with it is not repeated
    if not good or any(char.isspace() for char in url):
        raise ValueError("a url is ASCII without spaces; a port is 1 to 65535, a host a name")
    return url


Secret = Annotated[str, AfterValidator(_key)]


class Hook(BaseModel):
    """A webhook as the file has it. ``old_secret``: signs as well, while the secret is changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    pipeline: str
    url: Annotated[str, AfterValidator(_address)]
    secret: Secret
    old_secret: Secret | None = None
    status: frozenset[Status] = frozenset()


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    webhooks: list[Hook]


class Webhook:
    """An Outlet (see there) that posts each change to a URL; any answer from 200 to 299 takes it.

    It follows no redirect: where it posts is the administrator's decision.
    """

    most = _MOST

    def __init__(self, hook: Hook) -> None:
        self.name = f"webhook:{hook.name}"
        self.pipeline: str | None = hook.pipeline
        self.statuses = hook.status
        self._url = urlsplit(hook.url)
        self._keys = [_bytes(key) for key in (hook.secret, hook.old_secret) if key]
        self._connection: http.client.HTTPConnection | None = None

    def begin(self, position: int) -> int:
        return position

    def tell(self, messages: Sequence[StatusMessage]) -> int:
        until = time.monotonic() + _TURN
        first, *others = messages
        self._post(first)
        taken = first.event_id
        for message in others:
            if time.monotonic() > until:
                break
            try:
                self._post(message)
            except NotTaken:
                break  # the next turn begins with it
            taken = message.event_id
        return taken

    def _post(self, message: StatusMessage) -> None:
        body = json.dumps(
            {
                "type": f"task.{message.to_status.lower()}",
                "timestamp": message.as_wire()["at"],
                "data": message.as_wire(),
            },
            separators=(",", ":"),
        ).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "porch",
            **signed(str(message.event_id), int(time.time()), body, self._keys),
        }
        fresh = self._connection is None
        try:
            status = self._answered(body, headers)
        except (OSError, http.client.HTTPException) as lost:
            self.close()
            # A connection that has been kept may have been closed meanwhile, which says nothing.
            if fresh or isinstance(lost, TimeoutError):
                raise NotTaken(f"{self._url.hostname}: {_said(lost)}") from lost
            self._post(message)
            return
        if status not in _TAKEN:
            self.close()
            raise NotTaken(f"{self._url.hostname} answered {status}")

    def _answered(self, body: bytes, headers: dict[str, str]) -> int:
        if self._connection is None:
            self._connection = _connection(self._url)
            self._connection.connect()
        path = self._url.path or "/"
        target = f"{path}?{self._url.query}" if self._url.query else path
        late = threading.Timer(_ANSWERED_WITHIN, _cut, [self._connection.sock])
        late.start()
        try:
            self._connection.request("POST", target, body, headers)
            response = self._connection.getresponse()
            if len(response.read(_ANSWER)) == _ANSWER:
                self.close()
            return response.status
        finally:
            late.cancel()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def signed(event_id: str, now: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """The headers that name a message and prove who sent it."""
    content = b".".join((event_id.encode(), str(now).encode(), body))
    signatures = (
        base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys
    )
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(now),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def read_webhooks(path: Path | None) -> list[Webhook]:
    """The webhooks of a file. Raises Misconfigured, which repeats no secret."""
    if path is None:
        return []
    try:
        hooks = _File.model_validate_json(path.read_bytes()).webhooks
    except OSError as error:
        raise Misconfigured(f"PORCH_WEBHOOKS_FILE: cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Misconfigured(
            f"PORCH_WEBHOOKS_FILE: {path}: {where}: {first['msg']}", "see docs/feed.md"
        ) from None
    names = [hook.name for hook in hooks]
    if len(set(names)) != len(names):
        raise Misconfigured(f"PORCH_WEBHOOKS_FILE: {path}: two webhooks have one name")
    return [Webhook(hook) for hook in hooks]


def _bytes(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(_PREFIX))


def _connection(url: Any) -> http.client.HTTPConnection:
    if url.scheme == "http":
        return http.client.HTTPConnection(url.hostname, url.port, timeout=_TIMEOUT)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(url.hostname, url.port, timeout=_TIMEOUT, context=context)


def _cut(connected: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        # Not that of TLS, which forgets the session under whoever is reading.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _said(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
