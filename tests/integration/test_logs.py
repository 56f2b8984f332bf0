"""What is logged of real traffic: each operation in one line, by the name its caller knows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from porch_client.errors import Refused
from porch_client.model import Change
from tests.factories import definition, unique
from tests.house import House, User, wait_until

LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (?P<level>[A-Z]+) (?P<pid>\d+) "
    r"(?P<logger>[\w.]+): (?P<message>.*)"
)
OPERATION = re.compile(
    r"(?P<verb>[a-z._0-9]+) (?P<request_id>\S+) (?P<fields>pipeline=.* outcome=\S+ ms=\d+\.\d\d"
    r"(?: status=\d+ client=\S+)?)(?: (?P<method>\S+) "
    r'(?P<path>"(?:[^"\\]|\\.)*"|\S+))?'
)
FIELD = re.compile(r'([\w]+)=("(?:[^"\\]|\\.)*"|\S*)')
FORGED = "x\n2026-01-01T00:00:00.000Z INFO 1 porch: porch.cancel forged\u2028\x1b[2J"


def read_text(line: str) -> dict[str, Any]:
    """The fields of a line of text."""
    found = LINE.fullmatch(line)
    assert found, line
    fields = found.groupdict()
    operation = OPERATION.fullmatch(fields["message"]) if fields["logger"] == "porch" else None
    if operation is None:
        return fields
    parts = operation.groupdict()
    told = {name: value for name, value in FIELD.findall(parts.pop("fields"))}
    return {
        k: json.loads(v) if v[:1] == '"' else v for k, v in (fields | parts | told).items() if v
    }


def lines(house: House) -> list[dict[str, Any]]:
    """Every line that the workers, beat and the gateway have written."""
    read = json.loads if house.ready["format"] == "json" else read_text
    paths = [*house.state_dir.glob("worker.*.log"), *house.state_dir.glob("[bg]*.log")]
    return [
        read(line)
        for path in paths
        # Not splitlines: that takes U+2028 for the end of a line, which grep does not.
        for line in path.read_text(encoding="ascii").split("\n")[:-1]
        if not line.startswith("  | ")
    ]


@pytest.fixture(scope="module", params=["text", "json"])
def logging(request: pytest.FixtureRequest, scratch: Callable[[str], Path]) -> Iterator[House]:
    """All of porch, writing its logs in one of the formats."""
    if request.param == "text":  # as it is unless told
        running = request.getfixturevalue("house")
        running.ready["format"] = "text"
        yield running
        return
    with House(scratch("logs") / "state", env={"PORCH_LOG_FORMAT": "JSON"}) as running:
        running.ready["format"] = "json"
        yield running


@pytest.fixture
def user(logging: House) -> Iterator[User]:
    with User(logging) as made:
        yield made


@pytest.fixture
def http(logging: House, user: User) -> Iterator[httpx.Client]:
    bearer = {"Authorization": f"Bearer {user.token}"}
    with httpx.Client(base_url=logging.ready["gateway_url"], headers=bearer, timeout=30) as made:
        yield made


def of(logging: House, request_id: str) -> dict[str, Any]:
    """The line of a request, which is one."""

    def found() -> list[dict[str, Any]]:
        return [line for line in lines(logging) if line.get("request_id") == request_id]

    (line,) = wait_until(found, what=f"a line of {request_id}")
    return line


def test_operations_of_the_queue_are_a_line_each(logging: House, user: User) -> None:
    made, claim, update, refused = (str(uuid4()) for _ in range(4))
    channel = user.client._channel
    definitions = json.dumps([{"n": 1}, {"n": 2}, 7])
    channel.ask(
        channel.prepare(
            "submit", "porch.submit", {}, encoded={"definitions": definitions}, request_id=made
        )
    )
    tasks = user.client.claim(5, request_id=claim)
    user.client.update([Change(tasks[0].task_input_id, "RUNNING", 1)], request_id=update)
    with pytest.raises(Refused):
        user.client.claim(0, request_id=refused)
    expected = {
        made: {"verb": "porch.submit", "n": "3", "new": "2", "refused": "1", "outcome": "ok"},
        claim: {"verb": "porch.claim", "n": "5", "claimed": "2", "outcome": "ok"},
        update: {"verb": "porch.update", "RUNNING": "1", "refused": "0", "outcome": "ok"},
        refused: {"verb": "porch.claim", "outcome": "bad_request"},
    }
    for request_id, fields in expected.items():
        line = {name: str(value) for name, value in of(logging, request_id).items()}
        assert line.items() >= {**fields, "pipeline": user.pipeline, "level": "INFO"}.items()
        assert 0 < float(line["ms"]) < 30_000


def test_requests_over_http_are_a_line_each_by_the_name_in_the_answer(
    logging: House, user: User, http: httpx.Client
) -> None:
    plain = {"name": user.pipeline, "uri": "https://example.org/p", "version": "1.0"}
    replies = {
        "submit 201": http.post("/tasks", json={"pipeline": plain, "task_input": {"n": 1}}),
        "submit 200": http.post("/tasks", json={"pipeline": plain, "task_input": {"n": 1}}),
        "submit 422": http.post("/tasks", json={"pipeline": plain, "task_input": {"n": 2**60}}),
        "claim 200": http.post("/api/v2/tasks/claim", json={"n": 2}),
        "list 200": http.get("/tasks", params={"pipeline_name": user.pipeline}),
        "register_pipeline 403": http.post("/pipelines", json=plain),
        "show 404": http.get(f"/api/v2/tasks/{'0' * 64}?pipeline={user.pipeline}"),
    }
    outcomes = ["ok", "ok", "not_representable", "ok", "ok", "forbidden", "unknown_task"]
    for (what, reply), outcome in zip(replies.items(), outcomes, strict=True):
        verb, status = what.split()
        line = of(logging, reply.headers["x-request-id"])
        assert str(line["status"]) == status == str(reply.status_code)
        assert (line["verb"], line["outcome"]) == (f"porch.{verb}", outcome)
        assert line["pipeline"] == user.pipeline
        assert (line["method"], line["path"]) == (reply.request.method, reply.request.url.path)
        assert line["client"] == "127.0.0.1"
    claimed = replies["claim 200"]
    assert claimed.json()["request_id"] == claimed.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "verb"),
    [
        ("POST", "/tasks", "porch.submit"),
        ("PUT", "/tasks/", "porch.update"),
        ("POST", "/pipelines/x/token/y", "porch.issue_token"),
        ("POST", "/api/v2/tasks", "porch.submit"),
        ("POST", "/api/v2/tokens/7/rotate", "porch.rotate_token"),
        ("POST", "/api/v2/nothing", "http"),
        ("POST", "/api/v2/counts", "http"),
    ],
)
def test_a_request_that_is_refused_on_its_way_has_its_verb(
    logging: House, http: httpx.Client, method: str, path: str, verb: str
) -> None:
    without = http.request(method, path, headers={"Authorization": "Bearer guessed"})
    no_json = http.request(method, path, content=b"{")
    found = [of(logging, reply.headers["x-request-id"]) for reply in (without, no_json)]
    assert [line["verb"] for line in found] == [verb, verb]
    assert found[0]["outcome"] == "unknown_token"


def test_each_chunk_of_a_stream_is_a_line_of_its_own_that_names_the_whole(
    logging: House, http: httpx.Client
) -> None:
    body = "".join(f'{{"n":{n}}}\n' for n in range(1_500)) + '{"n":0}\nnot json\n'
    kind = {"Content-Type": "application/x-ndjson"}
    whole = http.post("/api/v2/tasks", content=body, headers=kind).headers["x-request-id"]
    line = of(logging, whole)
    assert [int(line[name]) for name in ("n", "new", "refused")] == [1_502, 1_500, 1]
    parts = [line for line in lines(logging) if line.get("of") == whole]
    assert [int(part["n"]) for part in parts] == [1_000, 502]
    assert len({part["request_id"] for part in parts} | {whole}) == 3


def test_of_a_crowd_each_request_has_its_line(logging: House, user: User) -> None:
    sent = [str(uuid4()) for _ in range(40)]
    names = []

    def over_http(_: int) -> str:
        asked = {"pipeline": {"name": user.pipeline}, "task_input": definition()}
        headers = {"Authorization": f"Bearer {user.token}"}
        url = f"{logging.ready['gateway_url']}/tasks"
        return httpx.post(url, json=asked, headers=headers, timeout=30).headers["x-request-id"]

    channel = user.client._channel
    bodies = {"encoded": {"definitions": json.dumps([definition()])}}
    asked = [
        channel.prepare("submit", "porch.submit", {}, request_id=one, **bodies) for one in sent
    ]
    for one in asked:
        channel.send(one)
    with ThreadPoolExecutor(8) as threads:
        names = list(threads.map(over_http, range(40)))
    for one in asked:
        channel.wait(one)
    of(logging, names[-1])
    told = Counter(str(line.get("request_id")) for line in lines(logging))
    assert {told[name] for name in names + sent} == {1}
    ours = [line for line in lines(logging) if line.get("request_id") in {*names, *sent}]
    assert {line["pipeline"] for line in ours} == {user.pipeline}
    assert any(int(line.get("batch", 1)) > 1 for line in ours)


def test_nobody_can_forge_a_line(logging: House, user: User, http: httpx.Client) -> None:
    asked = str(uuid4())
    with pytest.raises(Refused):
        user.client.claim(pipeline=FORGED, request_id=asked)
    assert of(logging, asked)["pipeline"] == FORGED
    reply = http.get("/tasks/" + quote(FORGED))
    line = of(logging, reply.headers["x-request-id"])
    assert line["path"] == "/tasks/" + FORGED
    assert not [line for line in lines(logging) if line.get("request_id") == "forged"]


def test_what_is_nobodys_business_is_in_no_line(
    logging: House, user: User, http: httpx.Client
) -> None:
    secret = unique("secret")
    user.register({"sample": secret})
    http.get("/tasks", params={"pipeline_name": user.pipeline, "token": secret})
    last = http.get("/health/ready", params={"password": secret})
    assert last.is_success
    of(logging, http.get("/api/v2/counts").headers["x-request-id"])
    written = "".join(path.read_text() for path in logging.state_dir.glob("[wbg]*.log"))
    assert secret not in written
    assert user.token not in written
    assert last.headers["x-request-id"] not in written  # a probe that finds all well


@pytest.mark.parametrize("stderr", ["full", "closed"])
def test_a_line_that_cannot_be_written_harms_nobody(stderr: str) -> None:
    program = """
import logging
from config.logs import configure_logging
from config.settings import Settings
from coordinator.operations import Operation
configure_logging(Settings())
Operation("porch.submit").log()
logging.getLogger("x").error("surrogates \\udc80 %s", "and", "too many arguments")
print("done", end="")
"""
    with open("/dev/full", "wb") if stderr == "full" else open(_closed_pipe(), "wb") as where:
        done = subprocess.run(
            [sys.executable, "-P", "-c", program], stdout=subprocess.PIPE, stderr=where, check=True
        )
    assert done.stdout == b"done"


def _closed_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def test_a_traceback_has_no_values_of_rows_and_cannot_pass_for_lines() -> None:
    program = """
import logging
from config.logs import configure_logging
from config.settings import Settings
configure_logging(Settings())
try:
    raise ValueError("broken\\nDETAIL:  Key (a)=(hunter2\\nhunter3) exists.\\nHINT:  none\\n2026 x")
except ValueError:
    logging.getLogger("x").exception("failed")
"""
    argv = [sys.executable, "-P", "-c", program]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    first, *more = done.stderr.splitlines()
    assert read_text(first)["message"] == "failed"
    assert all(line.startswith("  | ") for line in more)
    assert "hunter" not in done.stderr
    assert "HINT:  none" in done.stderr
