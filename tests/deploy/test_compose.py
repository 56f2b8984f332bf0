"""docker-compose.yml, read as Docker Compose reads it: what it allows, and to whom.

Docker Compose itself, which needs no engine for this, checks it against the schema of the Compose
specification, and every name in it that must be somewhere else in it.
"""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.queues import QUEUES
from config.settings import refuse_unknown
from tests.deploy.engine import ROOT, configuration, project

ONCE = {"users", "migrate", "doctor", "client"}
#: Who may talk to PostgreSQL, and who to the broker.
WRITERS = {"migrate", "worker", "worker-submit", "relay", "gateway", "doctor"}
QUEUERS = {"worker", "worker-submit", "beat", "relay", "flower", "doctor", "client"}


@pytest.fixture(scope="module")
def folder(scratch: Callable[[str], Path]) -> Path:
    return project(scratch("project") / "porch")


@pytest.fixture(scope="module")
def compose(folder: Path) -> dict[str, Any]:
    """The file for a host where all may be reached that can be."""
    return configuration(folder, LISTEN_ADDRESS="0.0.0.0")


def names() -> list[str]:
    return list(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])


def test_a_key_that_the_specification_does_not_have_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    text = (folder / "docker-compose.yml").read_text()
    (tmp_path / "docker-compose.yml").write_text(text + "\nnetwroks: {}\n")
    with pytest.raises(AssertionError, match="additional properties 'netwroks' not allowed"):
        configuration(tmp_path)


def test_what_the_issue_names_is_there(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["postgres"]["image"] == "postgres:18"
    assert services["valkey"]["image"] == "valkey/valkey:9"
    command = services["valkey"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    always = {name for name, service in services.items() if "profiles" not in service}
    assert always == {
        *("postgres", "users", "valkey", "migrate"),
        *("worker-submit", "worker", "beat", "relay", "gateway", "flower"),
    }
    assert {
        name for name, service in services.items() if service.get("profiles") == ["monitoring"]
    } == {"prometheus", "grafana"}


@pytest.mark.parametrize("name", names())
def test_a_service_can_do_no_more_than_it_must(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    forbidden = {"privileged", "cap_add", "devices", "pid", "ipc", "userns_mode"}
    assert not forbidden & set(service)
    assert service.get("network_mode", "none") == "none"
    assert "docker.sock" not in str(service)
    for volume in service.get("volumes", []):
        assert volume["type"] == "volume" or volume["read_only"] is True


@pytest.mark.parametrize("name", names())
def test_a_service_that_lasts_is_watched_and_started_again(
    compose: dict[str, Any], name: str
) -> None:
    service = compose["services"][name]
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    assert ("healthcheck" in service) is (name not in ONCE)
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


def test_only_the_gateway_and_the_broker_can_be_reached_from_outside(
    compose: dict[str, Any],
) -> None:
    published = {
        name: {port["host_ip"] for port in service["ports"]}
        for name, service in compose["services"].items()
        if "ports" in service
    }
    assert published.pop("gateway") == {"0.0.0.0"}
    assert published.pop("valkey") == {"0.0.0.0"}
    assert published == {"flower": {"127.0.0.1"}, "grafana": {"127.0.0.1"}}


def test_unless_told_nothing_can_be_reached_from_outside(folder: Path) -> None:
    services = configuration(folder)["services"].values()
    ports = [port for service in services for port in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def members(compose: dict[str, Any], network: str) -> set[str]:
    return {
        name
        for name, service in compose["services"].items()
        if network in service.get("networks", {})
    }


def test_networks_keep_apart_who_has_nothing_to_say_to_each_other(compose: dict[str, Any]) -> None:
    open_ones = {
        name for name, network in compose["networks"].items() if not network.get("internal")
    }
    assert open_ones == {"outside", "operators"}
    assert members(compose, "outside") == {"gateway", "valkey"}
    assert members(compose, "operators") == {"flower", "grafana"}
    assert members(compose, "database") == {"postgres", *WRITERS}
    assert members(compose, "broker") == {"valkey", *QUEUERS}
    assert list(compose["services"]["postgres"]["networks"]) == ["database"]


def test_workers_can_be_scaled(folder: Path) -> None:
    services = configuration(folder, WORKERS="4", SUBMIT_WORKERS="3")["services"]
    assert services["worker"]["deploy"]["replicas"] == 4
    assert services["worker-submit"]["deploy"]["replicas"] == 3
    for name in ("worker", "worker-submit"):
        assert not {"container_name", "ports"} & set(services[name])


def test_workers_together_take_from_every_queue(compose: dict[str, Any]) -> None:
    taken = [
        compose["services"][name]["command"][-1].split(",") for name in ("worker", "worker-submit")
    ]
    assert sorted(queue for queues in taken for queue in queues) == sorted(QUEUES)


@pytest.mark.parametrize("name", names())
def test_porch_knows_every_setting_that_a_service_gives_it(
    compose: dict[str, Any], name: str
) -> None:
    refuse_unknown(compose["services"][name].get("environment") or {})


class TestSecrets:
    def test_are_in_files_only(self, compose: dict[str, Any]) -> None:
        for name, service in compose["services"].items():
            for variable, value in (service.get("environment") or {}).items():
                secretive = any(word in variable for word in ("PASSWORD", "URL", "TOKEN"))
                if secretive and value is not None and variable != "PORCH_READS_NEED_TOKEN":
                    assert variable.endswith("_FILE"), f"{name}: {variable}"
                    source = value.removeprefix("/run/secrets/")
                    mounted = [
                        secret["target"].removeprefix("/run/secrets/")
                        for secret in service["secrets"]
                    ]
                    assert source in mounted, f"{name} has no secret for {variable}"

    def test_are_all_made_by_the_script(self, compose: dict[str, Any], folder: Path) -> None:
        assert stat.S_IMODE((folder / "secrets").stat().st_mode) == 0o700
        for secret in compose["secrets"].values():
            path = Path(secret["file"])
            assert path.read_text().strip(), path
            assert stat.S_IMODE(path.stat().st_mode) == 0o644

    def test_are_made_once(self, folder: Path) -> None:
        def made() -> dict[str, str]:
            files = [path for path in (folder / "secrets").rglob("*") if path.is_file()]
            return {path.name: path.read_text() for path in files}

        before = made()
        subprocess.run([str(folder / "config" / "docker" / "secrets.sh")], check=True)
        assert made() == before
        random = {value for name, value in before.items() if not name.endswith("_url")}
        assert len(random) == 8
        assert all(len(value.strip()) == 64 for value in random)

    def test_are_not_taken_into_the_repository(self) -> None:
        assert "secrets/" in (ROOT / ".gitignore").read_text().splitlines()

    def test_belong_to_one_service_or_to_those_that_share_a_role(
        self, compose: dict[str, Any]
    ) -> None:
        holders: dict[str, set[str]] = {}
        for name, service in compose["services"].items():
            for secret in service.get("secrets", []):
                holders.setdefault(secret["source"], set()).add(name)
        assert holders.pop("database_url") == WRITERS
        workers = {"worker", "worker-submit", "beat", "relay"}
        assert holders.pop("worker_broker_url") == workers
        assert all(len(services) == 1 for services in holders.values()), holders
        assert set(compose["secrets"]) == {*holders, "database_url", "worker_broker_url"}
