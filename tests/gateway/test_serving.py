"""How the gateway is served: TLS, several processes, a log of the administrator's own, mistakes."""

from __future__ import annotations

import json
import ssl
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme

from tests.gateway.alone import gateway_alone
from tests.house import House, run, wait_until

NOWHERE = {"PORCH_DATABASE_URL": "postgresql://porch@127.0.0.1:1/porch"}


@dataclass
class Institute:
    """Who signs certificates, for the gateway and for its clients."""

    folder: Path

    def __post_init__(self) -> None:
        self.authority = trustme.CA()
        self.ca = self._written("ca", self.authority.cert_pem)
        server = self.authority.issue_cert("127.0.0.1")
        self.key = self._written("key", server.private_key_pem)
        self.certificate = self._written("cert", *server.cert_chain_pems)

    def _written(self, name: str, *parts: trustme.Blob) -> str:
        path = self.folder / f"{name}.pem"
        path.write_bytes(b"".join(part.bytes() for part in parts))
        return str(path)

    def context(self, *, known: bool) -> ssl.SSLContext:
        """What a client trusts, and, if it is ``known``, its own certificate."""
        context = ssl.create_default_context(cafile=self.ca)
        if known:
            self.authority.issue_cert("client@example.org").configure_cert(context)
        return context

    def live(self, port: int, *, known: bool = True) -> httpx.Response:
        """What the gateway says of itself."""
        address = f"https://127.0.0.1:{port}/health/live"
        return httpx.get(address, verify=self.context(known=known))

    def answers(self, port: int) -> bool:
        """Whether the gateway is there."""
        try:
            return self.live(port).is_success
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def institute(tmp_path_factory: pytest.TempPathFactory) -> Institute:
    return Institute(tmp_path_factory.mktemp("certificates"))


def test_it_speaks_tls_with_several_processes_to_clients_that_are_known(
    house: House, institute: Institute
) -> None:
    options = (
        *("--workers", "2", "--ssl-keyfile", institute.key),
        *("--ssl-certfile", institute.certificate, "--ssl-ca-certs", institute.ca),
    )
    with gateway_alone(house.ready["database_url"], *options, answers=institute.answers) as url:
        port = int(url.rpartition(":")[2])
        assert institute.live(port).json() == {"status": "alive"}
        with pytest.raises(httpx.TransportError):
            institute.live(port, known=False)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url}/health/live")


def test_it_logs_as_it_is_told_and_never_a_token(house: House, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    config = tmp_path / "log.json"
    config.write_text(
        json.dumps(
            {
                "version": 1,
                "handlers": {"file": {"class": "logging.FileHandler", "filename": str(log)}},
                "root": {"level": "DEBUG", "handlers": ["file"]},
            }
        )
    )
    token = house.ready["admin_token"]
    with ExitStack() as stack:
        url = stack.enter_context(
            gateway_alone(house.ready["database_url"], "--log-config", str(config))
        )
        reply = httpx.get(f"{url}/api/v2/tokens", headers={"Authorization": f"Bearer {token}"})
        assert reply.status_code == 200
        wait_until(lambda: "GET /api/v2/tokens" in log.read_text())
    assert token not in log.read_text()


@pytest.mark.parametrize(
    ("content", "says"),
    [("no JSON", "cannot use"), ("{}", 'has no "version": 1'), ("[]", 'has no "version": 1')],
)
def test_a_log_configuration_that_is_none_is_told(tmp_path: Path, content: str, says: str) -> None:
    config = tmp_path / "log.json"
    config.write_text(content)
    done = run("porch-server", "gateway", "--log-config", str(config), env=NOWHERE)
    (line,) = done.stderr.splitlines()
    assert line.startswith("porch-server: misconfigured: ")
    assert says in line
    assert done.returncode == 2


def test_a_key_needs_its_certificate(institute: Institute) -> None:
    done = run("porch-server", "gateway", "--ssl-keyfile", institute.key, env=NOWHERE)
    assert "--ssl-keyfile and --ssl-certfile need each other" in done.stderr
    assert done.returncode == 2


def test_what_is_no_certificate_is_told(institute: Institute) -> None:
    done = run(
        *("porch-server", "gateway", "--ssl-keyfile", institute.key),
        *("--ssl-certfile", institute.key),
        env=NOWHERE,
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith("porch-server: misconfigured: ")
    assert done.returncode == 2


def test_an_address_that_is_taken_is_told(house: House) -> None:
    taken = house.ready["gateway_url"].rpartition(":")[2]
    done = run("porch-server", "gateway", "--port", taken, env=NOWHERE)
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"porch-server: misconfigured: the gateway cannot listen on 127.0.0.1, port {taken}"
    )
    assert done.returncode == 2
