"""One connection to a Redis: what is said, what is understood, and what is given up on."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from config.embedded import EmbeddedUrls
from porch_client.link import Address, ErrorReply, Link
from porch_client.way import WrongPassword

Heard = list[tuple[str, str]]


def connect(url: str, heard: Heard | None = None, patience: float = 5.0) -> Link:
    said = heard if heard is not None else []
    return Link(Address.of(url), patience, lambda channel, text: said.append((channel, text)))


@pytest.fixture
def link(servers: EmbeddedUrls) -> Iterator[Link]:
    with closing(connect(servers.broker_url)) as made:
        yield made


class TestALink:
    def test_asks_and_is_replied_to(self, link: Link) -> None:
        assert link.ask("SET", "link:a", "ä\r\n$3\r\n") == "OK"
        assert link.ask("GET", "link:a") == "ä\r\n$3\r\n"
        assert link.ask("GET", "link:none") is None
        assert link.ask("DEL", "link:a") == 1

    def test_carries_what_is_longer_than_one_piece(self, link: Link) -> None:
        text = "0123456789" * 300_000
        link.ask("SET", "link:long", text)
        assert link.ask("GET", "link:long") == text
        link.ask("DEL", "link:long")

    def test_hears_what_is_published_between_its_replies(self, servers: EmbeddedUrls) -> None:
        heard: Heard = []
        with closing(connect(servers.broker_url, heard)) as link:
            link.send((("SUBSCRIBE", "link:news"), None))
            assert link.ask("PUBLISH", "link:news", "one") == 1
            assert link.ask("PUBLISH", "link:news", "two") == 1
            while len(heard) < 2:
                assert link.listen(5.0)
        assert heard == [("link:news", "one"), ("link:news", "two")]

    def test_hands_on_a_no(self, link: Link) -> None:
        replies: list[object] = []
        link.send((("LPUSH", "link:only"), replies.append))
        link.settle()
        assert isinstance(replies[0], ErrorReply)

    def test_takes_time_for_nothing_that_does_not_come(self, link: Link) -> None:
        assert not link.listen(0.05)

    @pytest.mark.parametrize("password", ["", ":wrong@"])
    def test_knows_a_wrong_password_and_the_lack_of_one(
        self, servers: EmbeddedUrls, password: str
    ) -> None:
        where = urlsplit(servers.broker_url)
        with pytest.raises(WrongPassword):
            connect(f"redis://{password}127.0.0.1:{where.port}/0")


@pytest.fixture
def answering() -> Iterator[Callable[..., str]]:
    """The URL of a server that says these pieces to the first who connects, and then is silent."""
    threads: list[threading.Thread] = []
    over = threading.Event()

    def serve(*pieces: bytes, ends: bool = False) -> str:
        listener = socket.create_server(("127.0.0.1", 0))

        def talk() -> None:
            with listener, listener.accept()[0] as connection, suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(0.001)
                if not ends:
                    over.wait(30)

        threads.append(threading.Thread(target=talk))
        threads[-1].start()
        return f"redis://127.0.0.1:{listener.getsockname()[1]}/0"

    yield serve
    over.set()
    for thread in threads:
        thread.join()


HELLO = b"%1\r\n$5\r\nproto\r\n:3\r\n"


class TestWhatIsSaidToALink:
    def test_may_come_in_pieces_of_a_byte(self, answering: Callable[..., str]) -> None:
        said = HELLO + b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\n\xc3\xa4\r\n"
        heard: Heard = []
        link = connect(answering(*(bytes([byte]) for byte in said)), heard)
        while not heard:
            assert link.listen(5.0)
        link.close()
        assert heard == [("c", "ä")]

    def test_may_end(self, answering: Callable[..., str]) -> None:
        with pytest.raises(ConnectionError):
            connect(answering(HELLO[:7], ends=True))

    @pytest.mark.parametrize(
        "said", [b"HTTP/1.1 400 Bad Request\r\n", b"\x15\x03\x01\r\n", b"*x\r\n", b"\xff\r\n"]
    )
    def test_may_be_of_no_redis(self, answering: Callable[..., str], said: bytes) -> None:
        with pytest.raises(ConnectionError, match="no Redis"):
            connect(answering(said))

    def test_may_be_nothing(self, answering: Callable[..., str]) -> None:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            connect(answering(), patience=0.3)
        assert time.monotonic() - began < 3.0

    def test_may_stop_in_the_middle_of_a_word(self, answering: Callable[..., str]) -> None:
        with pytest.raises(TimeoutError):
            connect(answering(HELLO[:-4]), patience=0.3)

    def test_may_be_late_with_a_reply_while_an_answer_is_waited_for(
        self, answering: Callable[..., str]
    ) -> None:
        link = connect(answering(HELLO), patience=0.3)
        link.send((("LPUSH", "q", "m"), lambda reply: None))
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            link.listen(60.0)
        assert time.monotonic() - began < 3.0


class TestTLS:
    @pytest.fixture
    def authority(self) -> trustme.CA:
        return trustme.CA()

    @pytest.fixture
    def port(self, authority: trustme.CA, servers: EmbeddedUrls) -> Iterator[int]:
        """The port of a relay that speaks TLS, before the broker, for one connection."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        listener = socket.create_server(("127.0.0.1", 0))
        broker = urlsplit(servers.broker_url)

        def copy(source: socket.socket, into: socket.socket) -> None:
            with suppress(OSError):
                while piece := source.recv(65536):
                    into.sendall(piece)
                into.shutdown(socket.SHUT_RDWR)

        def relay() -> None:
            with (
                suppress(OSError),
                listener,
                listener.accept()[0] as plain,
                context.wrap_socket(plain, server_side=True) as near,
                socket.create_connection(("127.0.0.1", broker.port)) as far,
            ):
                back = threading.Thread(target=copy, args=(far, near))
                back.start()
                copy(near, far)
                back.join()

        thread = threading.Thread(target=relay)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()

    def url(self, servers: EmbeddedUrls, port: int, options: str) -> str:
        password = urlsplit(servers.broker_url).password
        return f"rediss://:{password}@127.0.0.1:{port}/0{options}"

    def test_checks_who_the_broker_is(
        self, authority: trustme.CA, servers: EmbeddedUrls, port: int, tmp_path: Path
    ) -> None:
        ca = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(str(ca))
        link = connect(self.url(servers, port, f"?ssl_ca_certs={ca}"))
        assert link.ask("PING") == "PONG"
        link.close()

    @pytest.mark.parametrize("options", ["", "?ssl_cert_reqs=CERT_REQUIRED"])
    def test_talks_to_no_stranger(self, servers: EmbeddedUrls, port: int, options: str) -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(self.url(servers, port, options))

    def test_may_be_told_not_to_check(self, servers: EmbeddedUrls, port: int) -> None:
        link = connect(self.url(servers, port, "?ssl_cert_reqs=none"))
        assert link.ask("PING") == "PONG"
        link.close()


class TestAnAddress:
    def test_has_its_defaults(self) -> None:
        found = Address.of("redis://")
        assert (found.host, found.port, found.db, found.user) == ("127.0.0.1", 6379, 0, "default")
        assert (found.password, found.tls) == (None, None)

    def test_is_unquoted_and_hides_its_password(self) -> None:
        found = Address.of("redis://us%40er:pa%2Fss@[::1]:7/3")
        assert (found.host, found.port, found.db) == ("::1", 7, 3)
        assert (found.user, found.password) == ("us@er", "pa/ss")
        assert "pa/ss" not in repr(found)

    @pytest.mark.parametrize(
        "url",
        [
            "redis://h/none",
            "redis://h?ssl_cert_reqs=none",
            "rediss://h?ssl_cert_req=none",
            "rediss://h?ssl_cert_reqs=perhaps",
        ],
    )
    def test_with_something_unknown_in_it_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"none|ssl_cert"):
            Address.of(url)
