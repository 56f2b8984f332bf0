"""The wire format: what is understood, and how everything else is answered."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from coordinator.errors import BadInput, BadRequest, TooDeep, UnknownTask, UnknownWire
from coordinator.status import Status
from tasks import wire
from tasks.reply import Reply, refusal
from tasks.wire import Request, parse

KEY = "ab" * 32
SEEN = {"task": KEY, "status": "DONE", "attempt": 1}


def text(**fields: Any) -> str:
    return json.dumps({"wire": 1, **fields})


def test_a_request_is_read() -> None:
    asked = parse(text(host="h", pipeline="p", definitions=[{"a": 1}]), wire.SubmitRequest)
    assert (asked.host, asked.pipeline, asked.definitions) == ("h", "p", [{"a": 1}])


def test_a_definition_is_taken_as_it_is() -> None:
    odd = [{"__type__": "uuid", "__value__": "x"}, None, 1, "a", [1.0], {"n": 1e22}]
    assert parse(text(definitions=odd), wire.SubmitRequest).definitions == odd


def test_statuses_are_read() -> None:
    asked = parse(text(changes=[{"task": KEY, "status": "DONE"}]), wire.UpdateRequest)
    assert asked.changes[0].status is Status.DONE


def test_policies_left_out_are_told_from_policies_set_to_none() -> None:
    asked = parse(text(pipeline="p", lease=None), wire.SetPolicyRequest)
    assert asked.model_fields_set & {"identity", "lease", "max_attempts"} == {"lease"}


def test_a_message_may_have_broken_characters_since_a_report_is_never_refused_for_its_words() -> (
    None
):
    sent = text(changes=[{"task": KEY, "status": "FAILED", "message": "bytes \udc80 \0"}])
    assert parse(sent, wire.UpdateRequest).changes[0].message == "bytes \udc80 \0"


@pytest.mark.parametrize("argument", [None, 1, ["x"], {"wire": 1}, b"{}"])
def test_an_argument_that_is_no_text_is_refused(argument: object) -> None:
    with pytest.raises(BadRequest, match="not a JSON text"):
        parse(argument, Request)


@pytest.mark.parametrize("sent", ["", "{", "nonsense", "{'wire': 1}", '{"wire": 1} more'])
def test_a_text_that_is_no_json_is_refused(sent: str) -> None:
    with pytest.raises(BadRequest, match="not JSON"):
        parse(sent, Request)


@pytest.mark.parametrize("sent", ["null", "1", '"x"', "[]", "[1]", "true"])
def test_json_that_is_no_object_is_refused(sent: str) -> None:
    with pytest.raises(BadRequest, match="not a JSON object"):
        parse(sent, Request)


@pytest.mark.parametrize("until", ["2026-11-25T16:04:00", "yesterday"])
def test_a_time_of_no_zone_is_no_moment_of_a_failure(until: str) -> None:
    with pytest.raises(BadRequest, match="until: "):
        parse(text(group="0123456789abcdef", until=until), wire.FailuresRequest)


@pytest.mark.parametrize("version", [None, 0, 2, "1", [1], {"a": 1}])
def test_another_wire_version_is_refused(version: object) -> None:
    with pytest.raises(BadInput):
        parse(json.dumps({"wire": version}), Request)


def test_no_wire_version_is_refused() -> None:
    with pytest.raises(UnknownWire):
        parse("{}", Request)


def test_endless_nesting_is_refused() -> None:
    with pytest.raises(TooDeep):
        parse('{"wire":1,"definitions":' + "[" * 100_000 + "]" * 100_000 + "}", wire.SubmitRequest)


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(BadInput):
        parse('{"wire":1,"definitions":[' + "9" * 5_000 + "]}", wire.SubmitRequest)


SHAPES: list[tuple[type[Request], dict[str, Any], dict[str, Any], str]] = [
    # shape, good fields, what is put wrong, field that the answer names
    (wire.SubmitRequest, {"definitions": []}, {"definitions": None}, "definitions"),
    (wire.SubmitRequest, {"definitions": []}, {"definitions": {"a": 1}}, "definitions"),
    (wire.SubmitRequest, {"definitions": []}, {"priority": "high"}, "priority"),
    (wire.SubmitRequest, {"definitions": []}, {"priority": 1.5}, "priority"),
    (wire.SubmitRequest, {"definitions": []}, {"pipeline": 7}, "pipeline"),
    (wire.SubmitRequest, {"definitions": []}, {"pipeline": "a\0b"}, "pipeline"),
    (wire.SubmitRequest, {"definitions": []}, {"pipeline": "\ud800"}, "pipeline"),
    (wire.SubmitRequest, {"definitions": []}, {"pipeline": "x" * 20_000}, "pipeline"),
    (wire.SubmitRequest, {"definitions": []}, {"version": ["1.0"]}, "version"),
    (wire.SubmitRequest, {"definitions": []}, {"version": "\0"}, "version"),
    (wire.SubmitRequest, {"definitions": []}, {"host": "h" * 256}, "host"),
    (wire.SubmitRequest, {"definitions": []}, {"host": "h\0"}, "host"),
    (wire.SubmitRequest, {"definitions": []}, {"callback": "x"}, "callback"),
    (wire.ClaimRequest, {"n": 1}, {"n": None}, "n"),
    (wire.ClaimRequest, {"n": 1}, {"n": "many"}, "n"),
    (wire.ClaimRequest, {"n": 1}, {"n": 0.5}, "n"),
    (wire.UpdateRequest, {"changes": []}, {"changes": [7]}, "changes.0"),
    (wire.UpdateRequest, {"changes": []}, {"changes": [{"status": "DONE"}]}, "changes.0.task"),
    (wire.UpdateRequest, {"changes": []}, {"changes": [{"task": KEY}]}, "changes.0.status"),
    (
        wire.UpdateRequest,
        {"changes": []},
        {"changes": [{"task": KEY, "status": "FINISHED"}]},
        "changes.0.status",
    ),
    (
        wire.UpdateRequest,
        {"changes": []},
        {"changes": [{"task": KEY, "status": "DONE", "attempt": 2**31}]},
        "changes.0.attempt",
    ),
    (
        wire.UpdateRequest,
        {"changes": []},
        {"changes": [{"task": KEY, "status": "DONE", "attempt": -1}]},
        "changes.0.attempt",
    ),
    (
        wire.UpdateRequest,
        {"changes": []},
        {"changes": [{"task": KEY, "status": "DONE", "message": 7}]},
        "changes.0.message",
    ),
    (wire.HeartbeatRequest, {"tasks": []}, {"tasks": [{"task": 7}]}, "tasks.0.task"),
    (wire.HeartbeatRequest, {"tasks": []}, {"tasks": [{"task": KEY, "x": 1}]}, "tasks.0.x"),
    (wire.ReleaseRequest, {}, {"claim": "not a uuid"}, "claim"),
    (wire.RerunRequest, {}, {"reason": "x"}, "tasks"),
    (wire.RerunRequest, {}, {"tasks": [{"task": KEY, "attempt": 1}]}, "tasks.0.status"),
    (wire.RerunRequest, {}, {"tasks": [{**SEEN, "status": "failed"}]}, "tasks.0.status"),
    (wire.RerunRequest, {}, {"tasks": [{**SEEN, "attempt": 2**40}]}, "tasks.0.attempt"),
    (wire.RerunRequest, {"tasks": [SEEN]}, {"force": "x"}, "force"),
    (wire.ShowRequest, {}, {"task": None}, "task"),
    (wire.CountRequest, {}, {"status": "DONE"}, "status"),
    (wire.CountRequest, {}, {"since": "yesterday"}, "since"),
    (wire.CountRequest, {}, {"text": "\0"}, "text"),
    (wire.ListRequest, {}, {"after": 2**63}, "after"),
    (wire.ListRequest, {}, {"limit": None}, "limit"),
    (wire.RegisterPipelineRequest, {"pipeline": "p", "uri": "u"}, {"version": None}, "version"),
    (wire.AddVersionRequest, {"version": "1"}, {"pipeline": None}, "pipeline"),
    (wire.SetPolicyRequest, {"pipeline": "p"}, {"identity": "both"}, "identity"),
    (wire.SetPolicyRequest, {"pipeline": "p"}, {"lease": "2h"}, "lease"),
    (wire.IssueTokenRequest, {"description": "d"}, {"digest": "ab"}, "digest"),
    (wire.IssueTokenRequest, {"description": "d"}, {"digest": KEY + "\n"}, "digest"),
    (wire.IssueTokenRequest, {"digest": KEY}, {"description": None}, "description"),
    (wire.RevokeTokenRequest, {}, {"token_id": "first"}, "token_id"),
    (wire.RevokeTokenRequest, {}, {"token_id": 2**63}, "token_id"),
]


@pytest.mark.parametrize(("shape", "good", "wrong", "field"), SHAPES)
def test_a_bad_shape_is_answered_with_the_name_of_the_field(
    shape: type[Request], good: dict[str, Any], wrong: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(text(**{**good, **wrong}), shape)
    assert refused.value.message.startswith(f"{field}: ")


@pytest.mark.parametrize(
    "sent",
    [
        {"wire": "x" * 10_000},
        {"wire": 1, "x" * 10_000: 1},
        {"wire": 1, "pipeline": "x" * 20_000},
        {"wire": 1, "pipeline": ["x" * 10_000]},
    ],
)
def test_a_refusal_does_not_repeat_what_was_sent_at_length(sent: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as refused:
        parse(json.dumps(sent), Request)
    assert len(refused.value.message) < 500


def test_an_answer_is_json_on_the_wire_and_a_sentence_in_logs() -> None:
    reply = Reply({"ok": {"tasks": [{"secret": 1}]}}, "n=1 claimed=1", "cardinal")
    assert json.loads(reply.__json__()) == {"ok": {"tasks": [{"secret": 1}]}}
    assert repr(reply) == "pipeline=cardinal n=1 claimed=1"


def test_a_refusal_travels_as_data() -> None:
    reply = refusal(UnknownTask("no task", "look"))
    assert json.loads(reply.__json__()) == {
        "error": {"code": "unknown_task", "message": "no task", "cure": "look"}
    }


def test_a_claim_is_named_by_its_request_id() -> None:
    claim = uuid4()
    assert parse(text(claim=str(claim)), wire.ReleaseRequest).claim == claim


def test_what_is_told_back_of_half_a_surrogate_can_be_sent() -> None:
    answer = {"error": {"code": "bad_request", "message": "\ud83e is no text", "cure": "ü"}}
    assert json.loads(Reply(answer, "refused: bad_request").__json__()) == answer
