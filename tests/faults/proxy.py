"""A TCP proxy on the loopback interface that loses, delays and cuts as it is told.

What a network does to a connection cannot be had from a healthy one: requests that are carried
out while their answers are lost, silence, refusals. PostgreSQL is spoken to without TLS here, so
that a COMMIT can be seen passing by.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

#: Below the range that the kernel takes the ports of outgoing connections from.
_PORTS = range(20_000, 32_000)
_CHUNK = 65_536
#: How libpq says COMMIT, and how PostgreSQL says that it is done (protocol version 3: Query and
#: CommandComplete, each a type, a length and a text that ends with NUL).
_COMMIT = b"Q\0\0\0\x0bCOMMIT\0"
_COMMITTED = b"C\0\0\0\x0bCOMMIT\0"
#: Closing sends a reset, and throws away what has not been sent yet (man 7 socket).
_WITH_A_RESET = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Proxy:
    """One port of ours in front of a port of a server. A context manager.

    Its methods may be called from any thread. ``lost`` counts answers and commits withheld.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.lost: Counter[str] = Counter()
        self.pause = 0.0
        self.swallowing = False
        self.losing_commits = False
        # Bound and never listening: keeps the port ours while connections to it are refused.
        self._hold = _bound()
        self.port: int = self._hold.getsockname()[1]
        self._connections: set[_Connection] = set()
        self._serving: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._call(self._listen)
        return self

    def __exit__(self, *exception: object) -> None:
        self._call(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._hold.close()

    def drop(self) -> None:
        """Cut every connection now, with a reset."""
        self._call(self._abort)

    def refuse(self) -> None:
        """Refuse new connections until healed, and cut those there are."""
        self._call(self._stop_listening)
        self.drop()

    def delay(self, seconds: float) -> None:
        """Hold every piece of data back for so long, both ways, until healed."""
        self.pause = seconds

    def swallow(self) -> None:
        """Pass requests on and keep their answers, until healed: then such connections are cut."""
        self.swallowing = True

    def lose_commits(self) -> None:
        """Let commits happen, and cut the connection instead of saying so, until healed."""
        self.losing_commits = True

    def heal(self) -> None:
        """Be a proxy like any other."""
        self.pause, self.swallowing, self.losing_commits = 0.0, False, False
        self._call(self._abort, lambda connection: connection.spoilt)
        self._call(self._listen)

    # In the proxy's own thread ----------------------------------------------------------------

    def _call(self, method: Callable[..., Any], *args: Any) -> None:
        asyncio.run_coroutine_threadsafe(method(*args), self._loop).result(10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, sock=_bound(self.port))

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _close(self) -> None:
        await self._stop_listening()
        await self._abort()
        for task in self._serving:  # one may be connecting to a server that is frozen
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _abort(self, which: Callable[[_Connection], bool] = lambda _: True) -> None:
        for connection in filter(which, list(self._connections)):
            connection.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._pass_on(reader, writer)
        finally:
            self._serving.discard(task)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            return
        connection = _Connection(self, (reader, writer), upstream)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)


_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Connection:
    """A client and its server. ``spoilt``: an answer is missing, so that nothing may follow."""

    def __init__(self, proxy: Proxy, client: _Stream, server: _Stream) -> None:
        self._proxy = proxy
        self._client, self._server = client, server
        self._committing = False
        self.spoilt = False

    async def run(self) -> None:
        pumps = {asyncio.create_task(self._requests()), asyncio.create_task(self._answers())}
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for _, writer in (self._client, self._server):
                writer.close()

    def abort(self) -> None:
        for _, writer in (self._client, self._server):
            with contextlib.suppress(OSError):  # closed a moment ago
                writer.get_extra_info("socket").setsockopt(*_WITH_A_RESET)
            writer.transport.abort()

    async def _requests(self) -> None:
        while data := await self._client[0].read(_CHUNK):
            await asyncio.sleep(self._proxy.pause)
            self._committing = self._proxy.losing_commits and _COMMIT in data
            self._server[1].write(data)
            await self._server[1].drain()

    async def _answers(self) -> None:
        while data := await self._server[0].read(_CHUNK):
            await asyncio.sleep(self._proxy.pause)
            if self._committing and _COMMITTED in data:
                self._proxy.lost["commits"] += 1
                self.abort()
                return
            if self._proxy.swallowing or self.spoilt:
                self.spoilt = True
                self._proxy.lost["answers"] += 1
                continue
            self._client[1].write(data)
            await self._client[1].drain()


def _bound(port: int | None = None) -> socket.socket:
    """A socket on ``port``, or on a free one."""
    for candidate in [port] if port else random.sample(_PORTS, 50):
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if port is None:
                bound.bind(("127.0.0.1", candidate))  # without REUSEPORT: nobody else has it
                bound.close()
                return _bound(candidate)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind(("127.0.0.1", candidate))
        except OSError:
            bound.close()
            continue
        return bound
    raise OSError(f"port {port or 'any'} cannot be had")
