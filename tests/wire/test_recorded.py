"""What clients of an earlier day send is answered as it was: messages as they lay in the queue.

An answer may have more in it than then, as clients take no notice of what they do not know; and
nothing less.
"""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from secrets import token_bytes
from typing import Any

from redis import Redis

from porch_client.proof import proof, sealed
from tasks import wire
from tests.factories import unique
from tests.house import House, wait_until

RECORDED = sorted((Path(__file__).parent / "v1").glob("*.json"))

#: What is another each time: clocks and numbers.
PASSING = {
    "at",
    "host",
    "created_at",
    "updated_at",
    "lease_until",
    "expires_at",
    "used_at",
    "revoked_at",
    "oldest_pending",
    "token_id",
    "subject_id",
    "replaced_by",
    "admin_event_id",
    "event_id",
    "next",
    "signal",
    "first",
    "last",
    "begin",
    "mean",
    "median",
    "p95",
    "limit",
    "group",
    "pattern",
}


def fits(then: Any, now: Any, name: str = "") -> bool:
    """Whether all of what was answered then is in what is answered now."""
    if name in PASSING:
        return (then is None) is (now is None)
    if name == "throughput":  # what happened may lie on both sides of the end of an interval
        return len(then) == len(now) and all(
            sum(one[what] for one in then) == sum(one[what] for one in now)
            for what in then[0].keys() - PASSING
        )
    if isinstance(then, dict):
        return isinstance(now, dict) and all(
            key in now and fits(value, now[key], key) for key, value in then.items()
        )
    if isinstance(then, list):
        return isinstance(now, list) and all(any(fits(one, n) for n in now) for one in then)
    return type(then) is type(now) and then == now


class Replay:
    """Sends recorded messages again, to a house in which other tokens are good."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.pipeline = unique("recorded")
        self.secrets = {"$admin": house.ready["admin_token"]}
        self.token_ids: dict[int, int] = {}
        self.groups: dict[str, str] = {}
        self.redis = Redis.from_url(house.ready["broker_url"])

    def message(self, path: Path) -> dict[str, Any]:
        read = path.read_text().replace("recorded-pipeline", self.pipeline)
        return dict(json.loads(read))

    def send(self, message: dict[str, Any]) -> Any:
        envelope = message["envelope"]
        headers, (arguments, *rest) = envelope["headers"], envelope["body"]
        (request,) = arguments
        if request.get("token_id") in self.token_ids:
            request["token_id"] = self.token_ids[request["token_id"]]
        if "group" in request:
            request["group"] = self.groups[request["group"]]
        secret = headers["porch_proof"]
        if secret == "$member" and secret not in self.secrets:
            with self.house.admin() as admin:
                _, self.secrets[secret] = admin.issue_token(
                    pipeline=self.pipeline, description="recorded"
                )
        token, request_id = self.secrets[secret], headers["id"]
        if "digest" in request:
            request["digest"] = sealed(token, request_id, token_bytes(32))
        text = json.dumps(request)
        headers["porch_proof"] = proof(token, headers["task"], request_id, text)
        body = json.dumps([[text], *rest])
        sent = {**envelope, "body": b64encode(body.encode()).decode()}
        self.redis.lpush(message["queue"], json.dumps(sent))
        key = f"celery-task-meta-{headers['id']}"
        meta = json.loads(wait_until(lambda: self.redis.get(key), 20.0, "an answer"))
        assert meta["status"] == "SUCCESS"
        return json.loads(meta["result"])

    def note(self, then: Any, now: Any) -> None:
        """Which token is which, and which group of failures."""
        for old, new in zip(then.get("tokens", []), now.get("tokens", []), strict=False):
            self.token_ids[old["token_id"]] = new["token_id"]
        for old, new in zip(then.get("groups", []), now.get("groups", []), strict=False):
            self.groups[old["group"]] = new["group"]


def test_each_verb_was_recorded_and_what_was_recorded_is_still_one() -> None:
    verbs = {shape.__doc__.split(":")[0].split(".")[1] for shape in _shapes() if shape.__doc__}
    assert {path.stem.partition("-")[2] for path in RECORDED} == verbs
    assert len(RECORDED) == 35


def _shapes() -> list[type[wire.Request]]:
    found, todo = [], [wire.Request]
    while todo:
        shape = todo.pop()
        todo += shape.__subclasses__()
        if (shape.__doc__ or "").startswith("porch."):
            found.append(shape)
    return found


def test_messages_of_an_earlier_day_are_answered_as_they_were(house: House) -> None:
    replay = Replay(house)
    for path in RECORDED:
        message = replay.message(path)
        now = replay.send(message)
        then = message["answer"]
        assert fits(then, now), f"{path.name}: {json.dumps(now, indent=1)}"
        if path.stem.endswith(("issue_token", "rotate_token", "failure_groups")):
            replay.note(then["ok"], now["ok"])
    replay.redis.close()
