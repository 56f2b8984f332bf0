"""Submitting with a spool: what it keeps, and when it says so."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from porch_client.errors import BadInput, Misconfigured, NotFound, PorchError
from porch_client.model import Flushed, NotRegistered, Registered, Spooled
from porch_client.spool import Spool
from porch_client.submission import CHUNK, WINDOW
from tests.absent import AWAY, SECRET, Coordinator, bundle, kept, numbered


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def submit(coordinator: Coordinator, definitions: Any, folder: Path, **more: Any) -> list[Any]:
    answers = coordinator.client().submit(definitions, pipeline="p", spool=folder, **more)
    return list(answers)


class TestWhatIsNotDelivered:
    def test_is_kept_and_yielded_in_order_with_the_reason(self, folder: Path) -> None:
        bad = BadInput("bad_json", "line 2", "mend it")
        answers = submit(Coordinator(AWAY), [{"a": 1}, bad, {"a": 2}], folder)
        assert answers == [Spooled(0, AWAY), NotRegistered(1, bad), Spooled(2, AWAY)]
        assert kept(folder) == [{"a": 1}, {"a": 2}]

    def test_is_on_disk_before_it_is_yielded(self, folder: Path) -> None:
        answers = Coordinator(AWAY).client().submit(({"n": n} for n in count()), **at(folder))
        for answer in islice(answers, 0, 3 * CHUNK + 1, CHUNK - 1):
            assert {"n": answer.position} in kept(folder)

    def test_is_kept_with_all_that_registers_it(self, folder: Path) -> None:
        submit(Coordinator(AWAY), [{"a": "\ud800ä"}], folder, version="1.0", priority=7)
        (name,) = Spool(folder).waiting()
        assert json.loads((folder / name).read_bytes()) == {
            "pipeline": "p",
            "version": "1.0",
            "priority": 7,
            "definitions": [{"a": "\ud800ä"}],
        }

    def test_is_for_our_eyes_only_whatever_the_umask(self, folder: Path) -> None:
        before = os.umask(0o022)
        try:
            submit(Coordinator(AWAY), [{"a": 1}], folder)
            os.umask(0o477)
            submit(Coordinator(AWAY), [{"a": 2}], folder)
        finally:
            os.umask(before)
        modes = [stat.S_IMODE((folder / name).stat().st_mode) for name in Spool(folder).waiting()]
        assert (stat.S_IMODE(folder.stat().st_mode), modes) == (0o700, [0o600, 0o600])

    def test_is_kept_without_the_token(self, folder: Path) -> None:
        submit(Coordinator(AWAY), [{"a": 1}], folder)
        files = [path.read_text() for path in folder.iterdir()]
        assert any('"a"' in text for text in files)
        assert not any(SECRET in text for text in files)

    def test_is_all_that_follows_without_waiting_again(self, folder: Path) -> None:
        coordinator = Coordinator(AWAY)
        answers = submit(coordinator, numbered(range(10 * CHUNK)), folder)
        assert {type(answer) for answer in answers} == {Spooled}
        assert (coordinator.waits, len(coordinator.sent)) == (1, WINDOW)
        assert kept(folder) == numbered(range(10 * CHUNK))

    def test_is_only_what_was_not_answered_before(self, folder: Path) -> None:
        coordinator = Coordinator()
        coordinator.stays = 2
        answers = submit(coordinator, numbered(range(5 * CHUNK)), folder)
        kinds = [Registered] * (2 * CHUNK) + [Spooled] * (3 * CHUNK)
        assert [type(answer) for answer in answers] == kinds
        assert [answer.position for answer in answers] == list(range(5 * CHUNK))
        assert kept(folder) == numbered(range(2 * CHUNK, 5 * CHUNK))

    def test_of_any_length_takes_no_memory(self, folder: Path) -> None:
        read = 0

        def endless() -> Iterator[dict[str, int]]:
            nonlocal read
            for read in count(1):
                yield {"n": read}

        answers = Coordinator(AWAY).client().submit(endless(), **at(folder))
        for _ in range(10 * CHUNK):
            next(answers)
        assert read <= (10 + WINDOW) * CHUNK

    def test_may_be_one(self, folder: Path) -> None:
        client = Coordinator(AWAY).client()
        assert client.submit_one({"a": 1}, pipeline="p", spool=folder) == Spooled(0, AWAY)

    def test_is_raised_as_ever_without_a_spool(self) -> None:
        with pytest.raises(type(AWAY)):
            list(Coordinator(AWAY).client().submit([{"a": 1}], pipeline="p"))


def at(folder: Path) -> dict[str, Any]:
    return {"pipeline": "p", "spool": folder}


class TestTheNextCall:
    def test_sends_first_what_is_kept(self, folder: Path) -> None:
        coordinator = Coordinator(AWAY)
        submit(coordinator, [{"a": 1}], folder)
        submit(coordinator, [{"a": 2}], folder)
        coordinator.away = None
        told: list[Flushed] = []
        (answer,) = submit(coordinator, [{"a": 3}], folder, on_flush=told.append)
        assert isinstance(answer, Registered)
        assert [one["a"] for _, one in coordinator.registered] == [1, 2, 3]
        assert told == [Flushed(created=2)]
        assert kept(folder) == []

    def test_waits_once_while_nobody_answers(self, folder: Path) -> None:
        submit(Coordinator(AWAY), [{"a": 1}], folder)
        submit(Coordinator(AWAY), [{"a": 2}], folder)
        coordinator = Coordinator(AWAY)
        told: list[Flushed] = []
        assert submit(coordinator, [{"a": 3}], folder, on_flush=told.append) == [Spooled(0, AWAY)]
        assert (coordinator.waits, len(coordinator.sent)) == (1, 1)
        assert kept(folder) == [{"a": 1}, {"a": 2}, {"a": 3}]
        assert told == []

    def test_sends_its_own_while_somebody_else_sends_what_is_kept(self, folder: Path) -> None:
        submit(Coordinator(AWAY), [{"a": 1}], folder)
        with locked(folder):
            (answer,) = submit(Coordinator(), [{"a": 2}], folder)
        assert isinstance(answer, Registered)
        assert kept(folder) == [{"a": 1}]

    def test_finds_nothing_kept_and_says_nothing(self, folder: Path) -> None:
        told: list[Flushed] = []
        submit(Coordinator(), [{"a": 1}], folder, on_flush=told.append)
        assert told == []


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """As if another process were sending."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize(
    "error",
    [
        NotFound("unknown_pipeline", "no such pipeline"),
        Misconfigured("broker_refused", "the broker refuses the password"),
    ],
)
def test_a_refusal_is_raised_and_keeps_nothing(folder: Path, error: PorchError) -> None:
    coordinator = Coordinator()
    coordinator.says["p"] = error
    with pytest.raises(type(error)):
        submit(coordinator, [{"a": 1}], folder)
    assert kept(folder) == []


def test_a_spool_needs_a_pipeline(folder: Path) -> None:
    with pytest.raises(Misconfigured, match="spool_needs_pipeline"):
        Coordinator(AWAY).client().submit([{"a": 1}], spool=folder)
    assert not folder.exists()


class TestAFolder:
    @pytest.mark.parametrize("name", ["", "file", "file/below", "dangling"])
    def test_that_cannot_be_used_is_told_before_anything_is_read(
        self, tmp_path: Path, name: str
    ) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "at" / "all")
        with pytest.raises(Misconfigured, match="spool_failed"):
            Coordinator().client().submit(
                iter([]), pipeline="p", spool=str(tmp_path / name) if name else ""
            )

    def test_may_be_reached_by_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        submit(Coordinator(AWAY), [{"a": 1}], tmp_path / "link")
        assert kept(tmp_path / "real") == [{"a": 1}]

    def test_is_made_with_those_above_it(self, tmp_path: Path) -> None:
        submit(Coordinator(AWAY), [{"a": 1}], tmp_path / "a" / "b")
        assert kept(tmp_path / "a" / "b") == [{"a": 1}]

    def test_takes_from_many_writers_at_once(self, folder: Path) -> None:
        def write(writer: int) -> None:
            for n in range(20):
                submit(Coordinator(AWAY), [{"n": 100 * writer + n}], folder)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
        found = sorted(one["n"] for one in kept(folder))
        assert found == sorted(100 * writer + n for writer in range(8) for n in range(20))


@contextmanager
def files_no_longer_than(length: int) -> Iterator[None]:
    """A disk that is full, as far as a process can have one of its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_nothing_is_called_kept_that_is_not(folder: Path) -> None:
    definitions = [*numbered(range(CHUNK)), {"text": "x" * 400_000}, {"n": 1}]
    answers = Coordinator(AWAY).client().submit(definitions, **at(folder))
    yielded: list[Any] = []
    with files_no_longer_than(100_000), pytest.raises(Misconfigured) as failed:
        yielded.extend(answers)
    assert failed.value.code == "spool_failed"
    assert "File too large" in failed.value.message
    assert yielded == [Spooled(n, AWAY) for n in range(CHUNK)]
    assert kept(folder) == numbered(range(CHUNK))
    assert [path for path in folder.iterdir() if path.name.startswith(".unfinished")] == []


def test_a_file_is_on_disk_before_it_has_its_name_and_the_name_before_it_is_called_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(folder)
    spool.make()
    steps: list[str] = []
    rename = os.rename

    def fsync(file: int) -> None:
        steps.append(f"fsync {'folder' if stat.S_ISDIR(os.fstat(file).st_mode) else 'file'}")

    def renamed(*names: Path) -> None:
        steps.append("rename")
        rename(*names)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", renamed)
    spool.put(bundle({"n": 1}))
    assert steps == ["fsync file", "rename", "fsync folder"]


def test_a_bundle_comes_back_as_it_was_put(folder: Path) -> None:
    spool = Spool(folder)
    spool.make()
    put = bundle({"x": 0.1, "big": 2**70, "text": '"]}\n\x00'}, 1, None, version="2")
    spool.put(put)
    got = spool.read(*spool.waiting())
    assert got is not None
    assert (got.pipeline, got.version, got.priority) == ("p", "2", 0)
    assert list(got.texts) == list(put.texts)
