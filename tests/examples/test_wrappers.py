"""curl, Python and the watcher, on good days and on bad ones."""

from __future__ import annotations

import pytest

from porch_client.model import Decision
from tests.examples.typed import AWAY, Typist, terminated
from tests.house import needs, wait_until

NOBODY = {"GATEWAY": "http://127.0.0.1:1", "RETRIES": "0"}
WORKERS = {"curl": ("curl/work.sh",), "python": ("python/wrapper.py", "work")}


@pytest.fixture(autouse=True)
def _curl() -> None:
    needs("curl")


@pytest.mark.parametrize("example", WORKERS)
def test_a_worker_works_until_nothing_is_left(typist: Typist, example: str) -> None:
    typist.user.register({"Run": "a"}, {"Run": "bad"})
    done = typist.type(*WORKERS[example], typist.command())
    assert done.returncode == (1 if example == "python" else 0), done.stderr
    assert typist.fates() == {"a": "DONE", "bad": "FAILED"}
    assert typist.words("bad")[-1] == "exit 1: bgzip: no space left"
    assert typist.ran() == ["a", "bad"]


@pytest.mark.parametrize("example", WORKERS)
def test_sigterm_gives_the_task_back(typist: Typist, example: str) -> None:
    (task,) = typist.user.register({"Run": "a"})
    process = typist.start(*WORKERS[example], typist.slow_command())
    wait_until(typist.began)
    status, said = terminated(process)
    assert status == 143, said
    assert typist.user.status(task) == "PENDING"


@pytest.mark.parametrize("example", WORKERS)
def test_a_task_that_was_taken_away_is_stopped(typist: Typist, example: str) -> None:
    with typist.user.house.admin() as admin:
        admin.set_policy(typist.user.pipeline, lease=2)
    (task,) = typist.user.register({"Run": "a"})
    process = typist.start(*WORKERS[example], typist.slow_command(), env={"HEARTBEAT": "0.3"})
    wait_until(typist.began)
    typist.user.client.cancel([Decision(task, "RUNNING", 1)])
    _, said = process.communicate(timeout=30)
    assert typist.user.status(task) == "CANCELLED"
    assert "not reported" in said or "taken from us" in said


def test_curl_keeps_what_it_cannot_send_and_tells_what_is_refused(typist: Typist) -> None:
    first = typist.write("first.jsonl", '{"Run": "a"}\n')
    done = typist.type("curl/submit.sh", first, env=NOBODY)
    assert done.returncode == 0
    assert "kept in" in done.stderr
    second = typist.write("second.jsonl", '{"Run": "b"}\nmistake\n{"Run": "c"}\n')
    done = typist.type("curl/submit.sh", second)
    assert done.returncode == 1
    assert '"position":1' in done.stderr
    assert sorted(typist.fates()) == ["a", "b", "c"]
    outbox = typist.here / "outbox"
    assert not list(outbox.glob("*.jsonl"))
    assert len(list((outbox / "refused").glob("*.jsonl"))) == 1
    assert typist.type("curl/submit.sh").returncode == 0


def test_curl_sets_aside_what_is_refused_as_a_whole(typist: Typist) -> None:
    (typist.here / "token").write_text("0" * 32)
    done = typist.type("curl/submit.sh", typist.write("one.jsonl", '{"Run": "a"}\n'))
    assert done.returncode == 1
    assert "cure" in done.stderr
    assert len(list((typist.here / "outbox" / "refused").glob("*.jsonl"))) == 1


def test_python_registers_what_it_spooled_before(typist: Typist) -> None:
    words = ("python/wrapper.py", "register", typist.user.pipeline)
    done = typist.type(*words, typist.sheet("a"), "Run", env=AWAY)
    assert (done.returncode, typist.fates()) == (0, {}), done.stderr
    done = typist.type(*words, typist.sheet("b"), "Run", "Centre")
    assert (done.returncode, sorted(typist.fates())) == (0, ["a", "b"]), done.stderr


def test_the_watcher_registers_each_file_once_when_it_is_complete(typist: Typist) -> None:
    folder = typist.here / "incoming"
    folder.mkdir()
    (folder / "one.cram").write_text("reads")
    (folder / "one.log").write_text("no reads")
    words = ("watcher/watch.py", typist.user.pipeline, str(folder), "*.cram")
    done = typist.type(*words, "0", env=AWAY)
    assert (done.returncode, typist.user.inputs()) == (0, []), done.stderr
    process = typist.start(*words, "0.2")
    (folder / "two.cram").write_text("more reads")
    wait_until(lambda: len(typist.user.inputs()) == 2)
    status, _ = terminated(process)
    assert status == 0
    assert typist.type(*words, "0").stdout == ""
    assert typist.user.inputs() == [
        {"file": "one.cram", "size": 5},
        {"file": "two.cram", "size": 10},
    ]
