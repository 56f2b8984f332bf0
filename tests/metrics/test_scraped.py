"""A running porch is scraped: what it tells, to whom, whatever is away, and what it never tells."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest
import yaml

from config.ports import free_port
from coordinator.errors import PorchError as ServerError
from porch_client.errors import PorchError
from porch_client.model import Change
from tests.factories import definitions
from tests.gateway.alone import gateway_alone
from tests.house import House, User, run, start, wait_until
from tests.metrics.exposed import Scraped, scrape
from tests.metrics.monitoring import ROOT, dashboard_queries, documented, metrics_in, rules

NOWHERE = "postgresql://porch@127.0.0.1:1/porch"


@pytest.fixture(scope="module")
def user(house: House) -> Iterator[User]:
    """Somebody who has done a little of everything."""
    with User(house) as made:
        made.register(*definitions(4))
        for status, n in (("DONE", 2), ("FAILED", 1)):
            for task in made.client.claim(n):
                for report in ("RUNNING", status):
                    made.client.update([Change(task.task_input_id, report, task.attempt)])
        made.client.claim(1)
        with pytest.raises(PorchError):
            made.client.show("f" * 64)
        headers = {"Authorization": f"Bearer {made.token}"}
        reply = httpx.post(
            f"{house.ready['gateway_url']}/api/v2/tasks/claim", json={"n": 1}, headers=headers
        )
        assert reply.json()["tasks"] == []
        yield made


@pytest.fixture(scope="module")
def scraped(house: House, user: User) -> dict[str, Scraped]:
    """What each part of the house tells, by its name; of some it takes a while to have any."""
    urls = house.ready["metrics_urls"]
    swept, timed = "porch_sweep_asked_timestamp_seconds", "porch_run_seconds_sum"
    with User(house) as other:

        def finished() -> bool:
            other.register(*definitions(1))
            (task,) = other.client.claim(1)
            other.client.update([Change(task.task_input_id, "DONE", task.attempt)])
            return {swept, timed} <= scrape(urls["worker.claim"]).names

        wait_until(finished, what="a sweep, and a report that is timed")
    # `up` does not wait for it: no work needs it.
    wait_until(lambda: answers(urls["relay"]), what="the relay tells of itself")
    return {name: scrape(url) for name, url in urls.items()}


def answers(url: str) -> bool:
    """Whether anybody listens there."""
    with contextlib.suppress(httpx.ConnectError):
        return httpx.get(url).status_code == 200
    return False


def test_each_part_tells_what_it_did(scraped: dict[str, Scraped], user: User) -> None:
    claims, submits = scraped["worker.claim"], scraped["worker.submit"]
    mine = {"pipeline": user.pipeline}
    assert submits.value("porch_definitions_total", outcome="new", **mine) == 4
    assert claims.value("porch_claims_total", outcome="full", **mine) == 3
    assert scraped["gateway"].value("porch_claims_total", outcome="empty", **mine) == 1
    assert claims.value("porch_reports_total", status="DONE", **mine) == 2
    assert claims.value("porch_reports_total", status="FAILED", **mine) == 1
    assert claims.value("porch_refusals_total", code="unknown_task") >= 1
    for worker in (claims, submits):
        alive = worker.value("porch_sign_of_life_timestamp_seconds")
        assert alive == pytest.approx(time.time(), abs=60)


def test_the_gateway_tells_how_the_ledger_is(scraped: dict[str, Scraped], user: User) -> None:
    told = scraped["gateway"]
    mine = {"pipeline": user.pipeline}
    assert told.value("porch_postgresql_up") == 1
    for status, n in (("DONE", 2), ("FAILED", 1), ("CLAIMED", 1), ("PENDING", 0)):
        assert told.value("porch_tasks", status=status, **mine) == n
    assert 0 <= told.value("porch_longest_silence_seconds", **mine) < 60
    assert told.value("porch_database_bytes") > 2**20
    free, size = told.value("porch_disk_free_bytes"), told.value("porch_disk_bytes")
    assert 0 < free < size


def test_beat_tells_how_the_broker_is(scraped: dict[str, Scraped]) -> None:
    told = scraped["beat"]
    assert told.value("porch_broker_up") == 1
    for queue in ("porch.submit", "porch.claim", "porch.update", "porch.query", "porch.sweep"):
        assert ("queue", queue) in told.labels()
    assert told.value("porch_queue_oldest_seconds", queue="porch.submit") == 0


def test_the_feed_is_told_by_whoever_knows(house: House, scraped: dict[str, Scraped]) -> None:
    streams = {"outlet": "streams"}
    with User(house) as other:
        other.register(*definitions(3))
        relay = house.ready["metrics_urls"]["relay"]
        before = scraped["relay"].value("porch_feed_told_total", **streams)
        wait_until(
            lambda: scrape(relay).value("porch_feed_told_total", **streams) >= before + 3,
            what="three changes are passed on",
        )
    gauges = ("porch_feed_behind_events", "porch_feed_behind_seconds", "porch_feed_failing_seconds")
    for name in gauges:
        assert name in scraped["gateway"].names
    gateway = house.ready["metrics_urls"]["gateway"]
    wait_until(
        lambda: scrape(gateway).value("porch_feed_behind_events", **streams) == 0,
        what="what the gateway has remembered is told anew",
    )
    assert scrape(gateway).value("porch_feed_behind_seconds", **streams) == 0


def test_its_own_port_and_its_own_path_tell_the_same(house: House, user: User) -> None:
    beside = scrape(house.ready["metrics_urls"]["gateway"])
    assert scrape(f"{house.ready['gateway_url']}/metrics").names == beside.names


def test_a_newer_prometheus_is_answered_in_its_own_words(house: House) -> None:
    reply = httpx.get(
        f"{house.ready['gateway_url']}/metrics",
        headers={"Accept": "application/openmetrics-text;version=1.0.0"},
    )
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert reply.text.endswith("# EOF\n")


class TestEveryMetric:
    def test_is_documented_and_every_documented_one_is_told(
        self, scraped: dict[str, Scraped]
    ) -> None:
        told = set().union(*(one.names for one in scraped.values()))
        families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in told}
        # Where nothing waits there is no oldest one.
        assert families | {"porch_oldest_pending_seconds"} == set(documented())

    def test_of_a_rule_or_of_the_dashboard_is_told(self, scraped: dict[str, Scraped]) -> None:
        told = set().union(*(one.names for one in scraped.values()))
        wanted = {name for rule in rules() for name in metrics_in(rule["expr"])}
        wanted |= {name for query in dashboard_queries() for name in metrics_in(query)}
        assert wanted - told - {"porch_oldest_pending_seconds"} == set()

    def test_has_no_label_that_a_caller_can_make_up(
        self, scraped: dict[str, Scraped], house: House
    ) -> None:
        labels = set().union(*(one.labels() for one in scraped.values()))
        names = {name for name, _ in labels}
        assert names <= {
            *("pipeline", "status", "outcome", "verb", "code", "queue", "path", "version", "le"),
            "outlet",
        }
        registered = {row[0] for row in house.ask("SELECT name FROM porch.pipeline")}
        assert {value for name, value in labels if name == "pipeline"} <= registered
        assert {value for name, value in labels if name == "code"} <= codes(ServerError)

    def test_tells_no_secret(self, scraped: dict[str, Scraped], house: House, user: User) -> None:
        text = "".join(one.text for one in scraped.values())
        urls = [house.ready[name] for name in ("database_url", "broker_url")]
        passwords = [httpx.URL(url).password for url in urls]
        for secret in (user.token, house.ready["admin_token"], *passwords):
            assert secret
            assert secret not in text


def codes(error: type[ServerError]) -> set[str]:
    return {error.code}.union(*(codes(kind) for kind in error.__subclasses__()))


class TestAGateway:
    def test_of_several_processes_is_told_as_one(self, house: House, user: User) -> None:
        headers = {"Authorization": f"Bearer {user.token}"}
        port = free_port()
        own = f"http://127.0.0.1:{port}/metrics"
        with gateway_alone(
            house.ready["database_url"], "--workers", "2", PORCH_METRICS_PORT=str(port)
        ) as url:

            def claimed() -> float:
                return scrape(f"{url}/metrics").value("porch_requests_total", verb="claim")

            for n in range(1, 9):
                httpx.post(f"{url}/api/v2/tasks/claim", json={"n": 1}, headers=headers)
                assert claimed() == n
            assert scrape(own).value("porch_requests_total", verb="claim") == 8
            self.kill_a_child(url)
            wait_until(lambda: claimed() == 8)
            httpx.post(f"{url}/api/v2/tasks/claim", json={"n": 1}, headers=headers)
            assert claimed() == 9

    def kill_a_child(self, url: str) -> None:
        port = url.rpartition(":")[2]
        # Others end meanwhile, whose command lines cannot be read.
        told = ["pid", "cmdline"]
        children = [
            child
            for process in psutil.Process().children()
            if port in (process.as_dict(told)["cmdline"] or ())
            for child in process.children()
            if "spawn_main" in " ".join(child.as_dict(told)["cmdline"] or ())
        ]
        os.kill(children[0].pid, signal.SIGKILL)

    def test_answers_while_postgresql_is_away(self) -> None:
        with gateway_alone(NOWHERE) as url:
            httpx.get(f"{url}/health/ready")
            begin = time.monotonic()
            told = scrape(f"{url}/metrics")
            assert time.monotonic() - begin < 8
        assert told.value("porch_postgresql_up") == 0
        assert {"porch_tasks", "porch_database_bytes"} & told.names == set()
        assert told.value("porch_release_info") == 1

    def test_refuses_where_looking_needs_a_token_and_tells_it_on_a_port_of_its_own(
        self, house: House
    ) -> None:
        port = free_port()
        with gateway_alone(
            house.ready["database_url"],
            PORCH_READS_NEED_TOKEN="true",
            PORCH_METRICS_PORT=str(port),
        ) as url:
            for token in (None, house.ready["admin_token"]):
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                reply = httpx.get(f"{url}/metrics", headers=headers)
                assert reply.status_code == 403
                assert "PORCH_METRICS_PORT" in reply.json()["detail"]
            assert scrape(f"http://127.0.0.1:{port}/metrics").value("porch_postgresql_up") == 1


@pytest.mark.parametrize("part", ["worker", "beat", "gateway"])
def test_a_port_that_is_taken_is_told(house: House, part: str) -> None:
    taken = house.ready["metrics_urls"]["beat"].rpartition(":")[2].partition("/")[0]
    env = {
        "PORCH_DATABASE_URL": house.ready["database_url"],
        "PORCH_BROKER_URL": house.ready["broker_url"],
        "PORCH_METRICS_PORT": taken,
    }
    options = ["--port", str(free_port())] if part == "gateway" else []
    done = run("porch-server", part, *options, env=env)
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"porch-server: misconfigured: /metrics cannot listen on 127.0.0.1, port {taken}"
    )
    assert done.returncode == 2


def test_beat_answers_while_the_broker_is_away_and_says_where() -> None:
    env = {"PORCH_BROKER_URL": "redis://127.0.0.1:1/0", "PORCH_METRICS_PORT": "0"}
    process = start("porch-server", "beat", env=env)
    assert process.stderr is not None
    try:
        said = (re.search(r"metrics are at (\S+)", line) for line in process.stderr)
        found = next(filter(None, said))
        assert scrape(found[1]).value("porch_broker_up") == 0
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_compose_scrapes_each_part_where_it_answers() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    asked: dict[str, int] = {}
    config = yaml.safe_load((ROOT / "config" / "prometheus" / "prometheus.yml").read_text())
    for job in config["scrape_configs"]:
        for one in job.get("static_configs", []):
            asked |= {t.rpartition(":")[0]: int(t.rpartition(":")[2]) for t in one["targets"]}
        for one in job.get("dns_sd_configs", []):
            asked |= dict.fromkeys(one["names"], one["port"])
    assert asked.pop("flower") == 5555
    assert asked == {
        name: int(service["environment"]["PORCH_METRICS_PORT"])
        for name, service in services.items()
        if "PORCH_METRICS_PORT" in service.get("environment", {})
    }
    assert set(asked) == {"gateway", "worker", "worker-submit", "beat", "relay"}
    for name in (*asked, "flower", "prometheus"):
        assert "metrics" in services[name]["networks"]
