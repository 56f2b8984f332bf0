"""What a collector of OpenTelemetry sees: one trace from who asks to the statements of SQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.factories import definition, unique
from tests.house import House, User, run, wait_until

_missing = "OpenTelemetry is not installed: pip install -e '.[otel]'"
try:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
except ImportError:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip(_missing, allow_module_level=True)


@dataclass(frozen=True)
class Span:
    service: str
    name: str
    trace: str
    span: str
    parent: str
    links: frozenset[str]
    attributes: dict[str, str]


class Collector(ThreadingHTTPServer):
    """Takes spans over OTLP/HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []
        self.bodies: list[bytes] = []

    @property
    def environment(self) -> dict[str, str]:
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def take(self, body: bytes) -> None:
        self.bodies.append(body)
        for of_service in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {one.key: one.value.string_value for one in of_service.resource.attributes}
            for scope in of_service.scope_spans:
                for span in scope.spans:
                    told = {
                        a.key: a.value.string_value or str(a.value.int_value)
                        for a in span.attributes
                    }
                    self.spans.append(
                        Span(
                            named["service.name"],
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            frozenset(link.span_id.hex() for link in span.links),
                            told,
                        )
                    )

    def of(self, trace: str, count: int) -> list[Span]:
        """The spans of a trace, when there are so many."""
        found: list[Span] = []

        def enough() -> bool:
            found[:] = [span for span in self.spans if span.trace == trace]
            return len(found) >= count

        wait_until(enough, 10.0, f"{count} spans of {trace}")
        return found

    def where(self, **attributes: str) -> Span:
        """The span that has these attributes, when it is there."""
        wanted = {f"porch.{name}": value for name, value in attributes.items()}.items()

        def found() -> Span | None:
            return next((s for s in list(self.spans) if s.attributes.items() >= wanted), None)

        span: Span = wait_until(found, 10.0, f"a span with {attributes}")
        return span


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.take(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def traced(scratch: Callable[[str], Path], collector: Collector) -> Iterator[House]:
    with House(scratch("traces") / "state", env=collector.environment) as running:
        yield running


@pytest.fixture
def user(traced: House) -> Iterator[User]:
    with User(traced) as made:
        yield made


def test_a_submission_through_the_queue_is_one_trace_from_the_client_to_its_statements(
    user: User, collector: Collector
) -> None:
    secret = unique("secret")
    sent = json.dumps({"sample": secret})
    done = user.porch("submit", "-", input=sent, env=collector.environment)
    assert done.returncode == 0, done.stderr
    client = collector.where(pipeline=user.pipeline, n="1", new="1")
    spans = {span.span: span for span in collector.of(client.trace, 4)}
    services = [span.service for span in spans.values()]
    assert services.count("porch-client") == 1
    assert set(services) == {"porch-client", "porch-worker"}
    (statement,) = [s for s in spans.values() if s.name == "INSERT porch.task"]
    assert statement.attributes["db.system.name"] == "postgresql"
    path = [statement]
    while path[-1].parent:
        path.append(spans[path[-1].parent])
    assert [span.name for span in path] == [
        *("INSERT porch.task", "submit", "porch.submit", "porch.submit"),
    ]
    _, _, at_worker, at_client = path
    assert (at_worker.service, at_client.service) == ("porch-worker", "porch-client")
    known = at_client.attributes["porch.request_id"]
    assert at_worker.attributes["porch.request_id"] == known
    assert at_worker.attributes["porch.pipeline"] == user.pipeline
    everything = b"".join(collector.bodies)
    assert secret.encode() not in everything
    assert user.token.encode() not in everything


@pytest.mark.parametrize("path", ["/tasks", "/tasks?off=the+lane"])
def test_a_request_over_http_is_one_trace_with_its_statements(
    traced: House, user: User, collector: Collector, path: str
) -> None:
    trace, parent = os.urandom(16).hex(), os.urandom(8).hex()
    headers = {
        "Authorization": f"Bearer {user.token}",
        "traceparent": f"00-{trace}-{parent}-01",
    }
    body = {"pipeline": {"name": user.pipeline}, "task_input": definition()}
    reply = httpx.post(f"{traced.ready['gateway_url']}{path}", json=body, headers=headers)
    assert reply.status_code == 201, reply.text
    # It ends last: what is within it has come before it.
    request = collector.where(request_id=reply.headers["x-request-id"])
    spans = collector.of(trace, 3)
    assert request.parent == parent
    assert (request.service, request.name) == ("porch-gateway", "porch.submit")
    (transaction,) = [span for span in spans if span.parent == request.span]
    # A session plans it once: the first time it is there in full, and then by its name.
    statements = [s.name for s in spans if s.parent == transaction.span]
    assert [name for name in statements if name.startswith(("INSERT porch.task", "EXECUTE "))]
    reading = httpx.get(f"{traced.ready['gateway_url']}/api/v2/counts", headers=headers)
    assert reading.is_success
    count = collector.where(request_id=reading.headers["x-request-id"])
    assert count.name == "porch.count"
    assert [s for s in collector.of(trace, 1) if s.parent == count.span]


def test_of_a_crowd_the_transaction_is_linked_to_each_request(
    traced: House, user: User, collector: Collector
) -> None:
    trace = os.urandom(16).hex()
    headers = {
        "Authorization": f"Bearer {user.token}",
        "traceparent": f"00-{trace}-{'1' * 16}-01",
    }
    limits = httpx.Limits(max_connections=16)
    with (
        httpx.Client(
            base_url=traced.ready["gateway_url"], headers=headers, limits=limits
        ) as client,
        ThreadPoolExecutor(16) as threads,
    ):

        def submit(_: int) -> int:
            body = {"pipeline": {"name": user.pipeline}, "task_input": definition()}
            return client.post("/tasks", json=body).status_code

        assert set(threads.map(submit, range(64))) == {201}

    def asked() -> set[str]:
        ours = [span for span in list(collector.spans) if span.trace == trace]
        return {span.span for span in ours if span.name == "porch.submit"}

    wait_until(lambda: len(asked()) == 64, 10.0, "a span of each request")
    requests = asked()

    def together() -> list[Span]:
        return [s for s in list(collector.spans) if s.links and s.links <= requests]

    several = wait_until(together, 10.0, "a transaction of several")
    assert all(int(span.attributes["porch.requests"]) == len(span.links) for span in several)


@pytest.mark.parametrize("traceparent", ["x", "00-" + "0" * 32 + "-" + "1" * 16 + "-01"])
def test_a_trace_that_is_none_is_not_taken_over_http(
    traced: House, collector: Collector, traceparent: str
) -> None:
    url = f"{traced.ready['gateway_url']}/api/v2/counts"
    reply = httpx.get(url, headers={"traceparent": traceparent})
    assert reply.is_success
    assert collector.where(request_id=reply.headers["x-request-id"]).parent == ""


def test_a_collector_that_is_away_holds_nobody_up_for_long(traced: House, user: User) -> None:
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    done = user.porch("submit", "--quiet", "-", input='{"n":1}', env=away, timeout=15)
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1


def test_nothing_is_imported_unless_it_is_asked_for(traced: House) -> None:
    program = """
import sys
from porch_client.channel import Channel
Channel("redis://127.0.0.1:1/0", None, None, 1.0).prepare("count", "porch.query", {})
import config.wiring
config.wiring.coordinator()
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    env = {"PORCH_DATABASE_URL": traced.ready["database_url"]}
    for more in ({}, {"OTEL_TRACES_EXPORTER": "none"}):
        argv = [sys.executable, "-P", "-c", program]
        done = subprocess.run(argv, env={**env, **more}, capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"
    assert run("porch", "--version", env={"OTEL_TRACES_EXPORTER": "otlp"}).returncode == 0
