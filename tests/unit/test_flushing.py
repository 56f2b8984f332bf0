"""Sending what a spool keeps: in which order, and what stays, goes, or is set aside."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from porch_client.errors import AccessDenied, Misconfigured, NotFound, PorchError, Unreachable
from porch_client.model import Flushed
from porch_client.spool import Spool
from tests.absent import AWAY, Coordinator, bundle, kept, numbered


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path / "spool")
    spool.make()
    return spool


def reasons(spool: Spool) -> list[tuple[int | None, str]]:
    """What stands beside the refused: the place of each in its file, and the code."""
    files = sorted(spool.refused.glob("*.errors"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [(line["position"], line["code"]) for line in lines]


def test_the_oldest_goes_first_and_all_of_it_is_registered(spool: Spool) -> None:
    for n in range(0, 60, 3):
        spool.put(bundle(*numbered(range(n, n + 3))))
    coordinator = Coordinator()
    assert coordinator.client().flush(spool.path) == Flushed(created=60)
    assert [one for _, one in coordinator.registered] == numbered(range(60))
    assert spool.waiting() == []


def test_what_is_registered_already_is_known(spool: Spool) -> None:
    spool.put(bundle({"n": 1}, {"n": 2}))
    coordinator = Coordinator()
    coordinator.registered.append(("p", {"n": 1}))
    flushed = coordinator.client().flush(spool.path)
    assert flushed == Flushed(created=1, known={"PENDING": 1})


def test_a_file_stays_until_its_definitions_are_answered(spool: Spool) -> None:
    spool.put(bundle({"n": 1}))
    seen: list[list[str]] = []
    coordinator = Coordinator()
    coordinator.before_answering = lambda: seen.append(spool.waiting())
    coordinator.client().flush(spool.path)
    assert [len(names) for names in seen] == [1]


def test_out_of_reach_everything_unanswered_stays(spool: Spool) -> None:
    for n in range(10):
        spool.put(bundle(*numbered(range(2 * n, 2 * n + 2))))
    coordinator = Coordinator()
    coordinator.stays = 3
    assert coordinator.client().flush(spool.path) == Flushed(created=6, left=14, away=AWAY)
    assert kept(spool.path) == numbered(range(6, 20))


def test_while_nobody_answers_one_message_is_sent_and_not_a_window_full(spool: Spool) -> None:
    for n in range(10):
        spool.put(bundle({"n": n}))
    coordinator = Coordinator(AWAY)
    coordinator.client().flush(spool.path)
    assert len(coordinator.sent) == 1


def test_a_refused_definition_is_set_aside_with_the_reason_and_the_others_go(spool: Spool) -> None:
    spool.put(bundle({"n": 1}, {"bad": 2}, {"n": 3}, {"bad": 4}))
    spool.put(bundle({"n": 5}))
    flushed = Coordinator().client().flush(spool.path)
    assert (flushed.created, flushed.refused, spool.waiting()) == (3, 2, [])
    assert kept(spool.refused) == [{"bad": 2}, {"bad": 4}]
    assert reasons(spool) == [(0, "not_representable"), (1, "not_representable")]
    (error,) = flushed.errors
    assert error.message == f"2 definitions of the spool in {spool.refused}: $.bad"


def test_a_file_refused_as_a_whole_is_set_aside_and_the_others_go(spool: Spool) -> None:
    spool.put(bundle({"n": 1}, {"n": 2}, pipeline="cardnial"))
    spool.put(bundle({"n": 3}))
    coordinator = Coordinator()
    coordinator.says["cardnial"] = NotFound("unknown_pipeline", 'no "cardnial"')
    flushed = coordinator.client().flush(spool.path)
    assert (flushed.created, flushed.refused, spool.waiting()) == (1, 2, [])
    assert kept(spool.refused) == [{"n": 1}, {"n": 2}]
    assert reasons(spool) == [(None, "unknown_pipeline")]


def test_what_was_set_aside_is_sent_again_once_it_is_moved_back(spool: Spool) -> None:
    spool.put(bundle({"n": 1}, pipeline="late"))
    coordinator = Coordinator()
    coordinator.says["late"] = NotFound("unknown_pipeline", 'no "late"')
    coordinator.client().flush(spool.path)
    for path in spool.refused.glob("*.json"):
        path.rename(spool.path / path.name)
    coordinator.says.clear()
    assert coordinator.client().flush(spool.path) == Flushed(created=1)


def test_what_another_token_may_send_stays_for_it_and_keeps_nothing_back(spool: Spool) -> None:
    for n in range(20):
        spool.put(bundle({"n": n}, pipeline="theirs"))
    spool.put(bundle({"n": 1}))
    coordinator = Coordinator()
    coordinator.says["theirs"] = AccessDenied("forbidden", "this token is of another pipeline")
    flushed = coordinator.client().flush(spool.path)
    assert (flushed.created, flushed.kept, len(spool.waiting())) == (1, 20, 20)
    assert [error.code for error in flushed.errors] == ["forbidden"]
    # Asked once, and not once for each file.
    assert [sent["pipeline"] for sent in coordinator.sent] == ["theirs", "p"]


@pytest.mark.parametrize("code", ["internal_error", "too_slow", "unknown_wire_version"])
def test_what_failed_for_no_fault_of_its_own_stays(spool: Spool, code: str) -> None:
    spool.put(bundle({"n": 1}))
    coordinator = Coordinator()
    coordinator.says["p"] = PorchError(code, "a defect")
    assert coordinator.client().flush(spool.path).kept == 1
    assert kept(spool.path) == [{"n": 1}]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"pipeline": "p", "version": null, "priority": 0, "definitions": [{"n"',
        b"\xff",
        b"[]",
        b'{"definitions": []}',
        b'{"pipeline": null, "version": null, "priority": 0, "definitions": []}',
        b'{"pipeline": "p", "version": null, "priority": 0, "definitions": {}}',
        b"[" * 100_000,
    ],
    ids=["empty", "torn", "binary", "array", "bare", "nobody's", "object", "deep"],
)
def test_a_damaged_file_is_set_aside_as_it_is_and_the_others_go(
    spool: Spool, content: bytes
) -> None:
    spool.put(bundle({"n": 1}, {"n": 2}))
    (name,) = spool.waiting()
    (spool.path / name).write_bytes(content)
    spool.put(bundle({"n": 3}))
    flushed = Coordinator().client().flush(spool.path)
    assert (flushed.created, flushed.refused, spool.waiting()) == (1, 2, [])
    assert (spool.refused / name).read_bytes() == content
    assert reasons(spool) == [(None, "spool_damaged")]


def test_a_file_that_is_not_ours_to_read_stays_for_its_owner(spool: Spool) -> None:
    spool.put(bundle({"n": 1}))
    (name,) = spool.waiting()
    (spool.path / name).unlink()
    (spool.path / name).mkdir()  # what even root cannot read
    spool.put(bundle({"n": 2}))
    flushed = Coordinator().client().flush(spool.path)
    assert (flushed.created, flushed.kept, spool.waiting()) == (1, 1, [name])
    assert [error.code for error in flushed.errors] == ["spool_unreadable"]


def test_a_file_that_another_process_has_sent_meanwhile_is_no_error(spool: Spool) -> None:
    for n in range(3):
        spool.put(bundle({"n": n}))
    coordinator = Coordinator()
    coordinator.before_answering = lambda: [spool.remove(name) for name in spool.waiting()]
    assert coordinator.client().flush(spool.path) == Flushed(created=1)


def test_what_killed_writers_left_unfinished_is_never_sent_and_goes_after_a_day(
    spool: Spool,
) -> None:
    (young, old) = (spool.path / f".unfinished-{word}" for word in ("young", "old"))
    for path in (young, old):
        path.write_text('{"pipeline": "p"')
    os.utime(old, (time.time() - 90_000,) * 2)
    assert Coordinator().client().flush(spool.path) == Flushed()
    assert (young.exists(), old.exists()) == (True, False)


def test_no_such_folder_is_not_an_empty_spool(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no_spool"):
        Coordinator().client().flush(tmp_path / "spol")


def test_who_meets_another_sender_waits_and_says_so(spool: Spool) -> None:
    spool.put(bundle({"n": 1}))
    with spool.lock(), pytest.raises(Unreachable, match="spool_busy"):
        Coordinator().client().flush(spool.path)
    assert Coordinator().client().flush(spool.path).created == 1


def test_a_file_system_without_locks_will_do(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    spool.put(bundle({"n": 1}))
    assert Coordinator().client().flush(spool.path).created == 1
