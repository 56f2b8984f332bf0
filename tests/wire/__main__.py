"""Records what the present client sends, over every verb, and what it is answered.

``python -m tests.wire`` writes ``tests/wire/v1``, a file for each message in the order in which
they were sent. What is recorded is what clients of that day send for years: it is recorded once for
a wire version, and never again to make a test pass. What is added here, at the end, is recorded
beside what there is.
"""

from __future__ import annotations

import json
import socket
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

from porch_client import over_redis
from porch_client.client import Porch
from porch_client.model import Change, Decision
from porch_client.proof import proof
from tests.house import House

FOLDER = Path(__file__).parent / "v1"
DAY = 86_400


class Recorder:
    """Notes every message of some clients, and its answer."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names
        self.messages: list[dict[str, Any]] = []
        publish, answer = over_redis.OverRedis.publish, over_redis.OverRedis.answer

        def published(way: Any, message: Any) -> None:
            envelope = json.loads(over_redis._envelope(message))
            envelope["body"] = json.loads(b64decode(envelope["body"]))
            self.messages.append({"queue": message.queue, "envelope": envelope})
            publish(way, message)

        def answered(way: Any, request_id: str, seconds: float) -> Any:
            told = answer(way, request_id, seconds)
            for message in self.messages:
                if message["envelope"]["headers"]["id"] == request_id:
                    message["answer"] = json.loads(told)
            return told

        over_redis.OverRedis.publish = published  # type: ignore[method-assign]
        over_redis.OverRedis.answer = answered  # type: ignore[method-assign]

    def write(self) -> None:
        FOLDER.mkdir(exist_ok=True)
        for number, message in enumerate(self.messages, 1):
            envelope = message["envelope"]
            envelope["headers"]["origin"] = "1@recorded"
            for header in ("porch_sent", "traceparent"):
                envelope["headers"].pop(header, None)
            request = json.loads(envelope["body"][0][0])
            request["host"] = "recorded"
            envelope["body"][0][0] = request
            proven = envelope["headers"]["porch_proof"]
            for secret, name in self.names.items():
                if proven[:64] == proof(secret, "", "", "")[:64]:
                    envelope["headers"]["porch_proof"] = name
            text = json.dumps(message, indent=1, sort_keys=True)
            text = text.replace(json.dumps(socket.gethostname()), '"recorded"')
            verb = envelope["headers"]["task"].removeprefix("porch.")
            path = FOLDER / f"{number:02}-{verb}.json"
            earlier = list(FOLDER.glob(f"{number:02}-*.json"))
            assert earlier in ([], [path]), f"{earlier} would be {path.name} now"
            if not earlier:
                path.write_text(text + "\n")


def drive(admin: Porch, house: House, recorder: Recorder) -> None:
    """Every verb, with every word that it takes."""
    name = "recorded-pipeline"
    admin.register_pipeline(name, uri="https://example.org/p", version="1.0")
    admin.add_version(name, "2.0")
    admin.set_policy(name, lease=3600, max_attempts=3, retry=60, identity="version")
    _, secret = admin.issue_token(pipeline=name, description="recorded", expires=90 * DAY)
    recorder.names[secret] = "$member"
    spare, _ = admin.issue_token(pipeline=name, description="spare")
    new, _, _ = admin.rotate_token(spare.token_id, overlap=DAY, expires=30 * DAY)
    admin.revoke_token(new.token_id)
    admin.tokens(pipeline=name)
    with house.client(secret) as member:
        sample = {"id": "S1", "lanes": [1, 2.5, None, True]}
        given = [{"run": n, "sample": sample} for n in range(6)]
        list(member.submit(given, pipeline=name, version="1.0", priority=5))
        list(member.submit([given[0], {"run": float("1e22")}], version="1.0"))
        tasks = member.claim(4, pipeline=name, version="1.0", job_id="job-1")
        ids = [task.task_input_id for task in tasks]
        member.update([Change(ids[0], "RUNNING", 1, "begun", "1.0", "job-2")])
        member.heartbeat([(ids[0], 1, "1.0")])
        member.update(
            [
                Change(ids[0], "DONE", 1, "well", "1.0"),
                Change(ids[1], "FAILED", 1, "disk full", "1.0", permanent=True),
                Change(ids[2], "DONE", 7, "of no such attempt", "1.0"),
            ]
        )
        member.release([(ids[2], 1, "1.0")], message="not today")
        member.rerun([Decision(ids[1], "FAILED", 1, "1.0")], reason="more disk")
        member.rerun([Decision(ids[0], "DONE", 1, "1.0")], reason="new reference", force=True)
        member.cancel([Decision(ids[3], "CLAIMED", 1, "1.0")], reason="wrong sample")
        member.show(ids[0], version="1.0")
        since = "2020-01-01T00:00:00+00:00"
        list(member.list(status=["PENDING"], version="1.0", text="S1", since=since))
        member.count(status=["FAILED"], message="disk%", stale=60)
        member._ask("sweep", "porch.sweep", {})
        claim = "0197f000-0000-7000-8000-000000000000"
        member.claim(1, request_id=claim)
        member.release(claim=claim, message="not started")
    admin.pipelines()
    admin.pipeline(name)
    list(admin.admin_events())
    with house.client(secret) as member:
        done, failed = member.claim(2)
        name, words = failed.task_input_id, (failed.attempt, "/scratch/7 is full", "1.0")
        member.update([Change(name, "FAILED", *words, permanent=True)])
        member.update([Change(done.task_input_id, "RUNNING", done.attempt)])
        member.update([Change(done.task_input_id, "DONE", done.attempt)])
        next(member.watch(after=0, task=name, status=["FAILED"], version="1.0"))
        (group,) = member.failures(most=5)
        list(member.failed_alike(group.group))
        member.stats(hours=24)


if __name__ == "__main__":
    with House(Path(tempfile.mkdtemp()) / "state") as house:
        recorder = Recorder({house.ready["admin_token"]: "$admin"})
        with house.admin() as admin:
            drive(admin, house, recorder)
        recorder.write()
