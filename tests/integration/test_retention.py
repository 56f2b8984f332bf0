"""Retention: what ended long ago is pruned, is still known, and can be given back."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, text

from config.archive import ArchiveBusy, NotArchived, Pruned, archive, prune_claims, restore
from config.cli import cli
from config.doctor import examine
from coordinator.errors import BadRequest, TaskPruned, UnknownTask
from coordinator.lookup import or_raise
from coordinator.messages import FeedPage, StatusMessage
from coordinator.model import Standing
from coordinator.requests import Name, Policy, Report, Search, Seen
from coordinator.service import Coordinator
from coordinator.status import Status
from db.archiving import PRUNE_CLAIMS, Archive
from db.feed import Settling
from db.outlets import Outlets
from tests.factories import (
    admin,
    caller,
    definitions,
    finish,
    let_time_pass,
    pipeline,
    rerun,
    submit,
)
from tests.house import wait_until

S = Status
DAY = 86_400
KEEP = {S.DONE: 30 * DAY, S.FAILED: 60 * DAY, S.CANCELLED: 10 * DAY}


class Past:
    """A pipeline with a task that ended in each way, long ago, and one that waits."""

    def __init__(self, porch: Coordinator, url: str, folder: Path, days: int = 100) -> None:
        self.porch, self.url, self.folder = porch, url, folder
        self.pipeline, self.secret = pipeline(porch)
        porch.set_policy(caller(admin(porch)), self.pipeline, Policy(keep=KEEP))
        self.given = definitions(4)
        submit(porch, self.secret, self.given)
        self.ended = {s: finish(porch, self.secret, s) for s in (S.DONE, S.FAILED, S.CANCELLED)}
        let_time_pass(porch, days * DAY)

    def archive(self, **options: Any) -> list[Pruned]:
        return archive(self.url, self.folder, **options)

    def submit(self) -> list[Standing]:
        return [or_raise(a) for a in self.porch.submit(caller(self.secret), self.given)]

    def show(self, status: Status) -> Any:
        return self.porch.show(caller(self.secret), Name(self.ended[status]))

    def kept(self) -> set[Status]:
        """Of which ends the input is still here."""
        return {s for s in self.ended if self.show(s)[0].task_input is not None}

    def lines(self) -> list[dict[str, Any]]:
        found = []
        for path in sorted(self.folder.glob("*.ndjson.gz")):
            with gzip.open(path, "rt") as f:
                found += [json.loads(line) for line in f]
        return found


@pytest.fixture
def past(porch: Coordinator, database_url: str, tmp_path: Path) -> Past:
    return Past(porch, database_url, tmp_path / "archive")


def healthy(url: str) -> bool:
    health = examine(url)
    assert not [c for c in health.wrong if c.findings], health.wrong
    return True


class TestWhatIsPruned:
    def test_is_known_when_it_is_submitted_again(self, past: Past) -> None:
        before = past.submit()
        past.archive()
        assert past.kept() == set()
        assert past.submit() == before
        assert [s.created for s in before] == [False] * 4
        assert past.porch.claim(caller(past.secret), 10)[0].task_input == past.given[3]
        assert past.porch.claim(caller(past.secret), 10) == []

    def test_is_what_ended_longer_ago_than_its_policy_says(
        self, porch: Coordinator, database_url: str, tmp_path: Path
    ) -> None:
        past = Past(porch, database_url, tmp_path, days=0)
        for days, kept in (
            (9, {S.DONE, S.FAILED, S.CANCELLED}),
            (2, {S.DONE, S.FAILED}),
            (20, {S.FAILED}),
            (30, set()),
        ):
            let_time_pass(porch, days * DAY)
            past.archive()
            assert past.kept() == kept

    def test_keeps_its_last_event_and_no_other(self, past: Past) -> None:
        past.archive()
        for status in past.ended:
            task, events = past.show(status)
            assert [event.to_status for event in events] == [status]
            assert (task.status, task.attempt) == (status, 1)

    def test_is_counted(self, past: Past) -> None:
        told = {one.status: (one.tasks, one.events) for one in past.archive()}
        assert told == {"DONE": (1, 2), "FAILED": (1, 2), "CANCELLED": (1, 2)}
        assert {(one.tasks, one.files) for one in past.archive()} == {(0, 0)}

    def test_is_nothing_where_nothing_was_said(
        self, porch: Coordinator, database_url: str, tmp_path: Path
    ) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        finish(porch, secret, S.DONE)
        let_time_pass(porch, 10_000 * DAY)
        assert archive(database_url, tmp_path) == []

    def test_is_nothing_that_waits_to_be_tried_again(
        self, porch: Coordinator, database_url: str, tmp_path: Path
    ) -> None:
        name, secret = pipeline(porch)
        policy = Policy(keep=KEEP, retry=60, max_attempts=3)
        porch.set_policy(caller(admin(porch)), name, policy)
        submit(porch, secret, definitions(1))
        finish(porch, secret, S.FAILED)
        let_time_pass(porch, 100 * DAY)
        assert {one.tasks for one in archive(database_url, tmp_path)} == {0}

    def test_is_told_by_the_doctor_from_what_is_lost(self, past: Past) -> None:
        past.archive()
        assert healthy(past.url)
        engine = create_engine(past.url)
        with engine.begin() as connection:
            connection.execute(text("UPDATE porch.pruning SET events = 0 WHERE status = 'DONE'"))
            connection.execute(
                text(
                    "DELETE FROM porch.event WHERE task_id ="
                    " (SELECT task_id FROM porch.task WHERE status = 'FAILED')"
                )
            )
        engine.dispose()
        wrong = {check.name for check in examine(past.url).wrong}
        assert {"pruned", "tombstones", "paths"} <= wrong

    def test_is_in_lists_without_an_input(self, past: Past) -> None:
        past.archive()
        search = Search(statuses=frozenset({S.DONE}))
        (listed,) = past.porch.tasks(caller(past.secret), search, after=0, limit=10)
        assert (listed.task_input_id, listed.task_input) == (past.ended[S.DONE], None)
        assert past.porch.count(caller(past.secret), Search())["DONE"] == 1
        outlines = past.porch.outlines(caller(past.secret), Search(), after=0, limit=10)
        assert [outline.status for outline in outlines] == ["PENDING"]
        text_search = Search(text="run")
        assert len(past.porch.tasks(caller(past.secret), text_search, after=0, limit=10)) == 1

    def test_is_foreseen_as_known(self, past: Past) -> None:
        past.archive()
        near = [{"run": str(given["run"])} for given in past.given]
        foreseen = past.porch.foresee(caller(past.secret), past.given + near, nearest=True)
        assert [or_raise(one).status for one in foreseen[:4]] == [
            S.DONE,
            S.FAILED,
            S.CANCELLED,
            S.PENDING,
        ]
        assert [or_raise(one).near is None for one in foreseen[4:]] == [True, True, True, False]

    def test_takes_no_late_report_for_more_than_it_is(self, past: Past) -> None:
        past.archive()
        who = caller(past.secret)
        (again,) = past.porch.update(who, [Report(Name(past.ended[S.DONE], attempt=1), S.DONE)])
        assert not or_raise(again).changed
        (late,) = past.porch.update(who, [Report(Name(past.ended[S.DONE], attempt=1), S.FAILED)])
        assert getattr(late, "code", None) == "illegal_change"
        assert healthy(past.url)


class TestAReRun:
    @pytest.mark.parametrize("status", [S.DONE, S.FAILED, S.CANCELLED])
    def test_of_what_is_pruned_is_refused_with_the_cure(self, past: Past, status: Status) -> None:
        past.archive()
        name, seen = Name(past.ended[status]), Seen(status, 1)
        with pytest.raises(TaskPruned, match="porch-server restore"):
            rerun(past.porch, caller(past.secret), name, seen, force=True, reason="why not")
        assert healthy(past.url)

    def test_that_passes_a_pruning_on_its_way_is_refused_too(
        self, past: Past, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        past.archive()
        monkeypatch.setattr("coordinator.verdicts.check_input", lambda task: None)
        with pytest.raises(TaskPruned):
            rerun(past.porch, caller(past.secret), Name(past.ended[S.FAILED]), Seen(S.FAILED, 1))

    def test_over_the_first_api_is_refused_and_what_is_so_is_told(self, past: Past) -> None:
        past.archive()
        bring: Callable[..., Any] = past.porch.bring
        who = caller(past.secret)
        with pytest.raises(TaskPruned):
            bring(who, past.given[1], S.PENDING, pipeline=past.pipeline)
        told = bring(who, past.given[0], S.DONE, pipeline=past.pipeline)
        assert (told.status, told.task_input) == (S.DONE, past.given[0])

    def test_goes_on_when_the_archive_has_given_the_input_back(self, past: Past) -> None:
        past.archive()
        files = sorted(past.folder.iterdir())
        assert restore(past.url, files, [past.ended[S.FAILED][:10]]) == (1, 1)
        rerun(past.porch, caller(past.secret), Name(past.ended[S.FAILED]), Seen(S.FAILED, 1))
        tasks = past.porch.claim(caller(past.secret), 10)
        assert [(t.task_input, t.attempt) for t in tasks] == [
            (past.given[1], 2),
            (past.given[3], 1),
        ]
        past.porch.update(
            caller(past.secret), [Report(Name(tasks[0].task_input_id, attempt=2), S.DONE)]
        )
        assert healthy(past.url)
        past.archive()
        assert past.kept() == {S.FAILED}  # anew, from when it ended now
        let_time_pass(past.porch, 100 * DAY)
        past.archive()
        assert past.kept() == set()
        assert healthy(past.url)


class TestRestoring:
    def test_gives_all_back_once(self, past: Past) -> None:
        past.archive()
        files = sorted(past.folder.iterdir())
        assert restore(past.url, files) == (3, 3)
        assert restore(past.url, files) == (0, 3)
        assert past.kept() == set(past.ended)
        for from_the_start in (False, True):  # kept as long as before
            assert {one.tasks for one in past.archive(from_the_start=from_the_start)} == {0}
        let_time_pass(past.porch, 100 * DAY)
        assert {one.tasks for one in past.archive(from_the_start=True)} == {1}
        assert past.kept() == set()
        assert healthy(past.url)

    def test_leaves_when_it_ended_as_it_was(self, past: Past) -> None:
        before = {status: past.show(status)[0].updated_at for status in past.ended}
        past.archive()
        restore(past.url, sorted(past.folder.iterdir()))
        assert {status: past.show(status)[0].updated_at for status in past.ended} == before
        assert healthy(past.url)

    def test_is_of_the_tasks_that_are_named(self, past: Past) -> None:
        past.archive()
        files = sorted(past.folder.iterdir())
        for name in ("ZZ", "", "3f", "0123x"):
            with pytest.raises(UnknownTask):
                restore(past.url, files, [name])
        assert restore(past.url, files, [past.ended[S.FAILED][:12].upper()]) == (1, 1)
        assert past.kept() == {S.FAILED}

    def test_takes_what_a_wrapper_submits(self, past: Past, tmp_path: Path) -> None:
        past.archive()
        lines = tmp_path / "given.ndjson"
        said = {"pipeline": past.pipeline, "version": "1.0"}
        lines.write_text("".join(json.dumps({**said, "task_input": g}) + "\n" for g in past.given))
        assert restore(past.url, [lines]) == (3, 4)

    def test_says_which_line_it_cannot_use(self, past: Past, tmp_path: Path) -> None:
        lines = tmp_path / "given.ndjson"
        lines.write_text('{"pipeline": "p", "version": "1", "task_input": {}}\n[]\n')
        with pytest.raises(BadRequest, match="line 2"):
            restore(past.url, [lines])

    @pytest.mark.parametrize("name", [5, ["p"], None, "p\0", "\ud800"])
    def test_takes_no_line_whose_names_no_pipeline_has(
        self, past: Past, tmp_path: Path, name: object
    ) -> None:
        lines = tmp_path / "given.ndjson"
        lines.write_text(json.dumps({"pipeline": name, "version": "1", "task_input": {}}))
        with pytest.raises(BadRequest, match="line 1"):
            restore(past.url, [lines])

    def test_says_how_far_a_broken_file_can_be_read(self, past: Past, tmp_path: Path) -> None:
        past.archive()
        file = sorted(past.folder.iterdir())[0]
        whole = file.read_bytes()
        for damaged in (whole[:-8], whole[:-8] + b"damaged.", whole[:10] + b"\xff" * 50):
            file.write_bytes(damaged)
            with pytest.raises(BadRequest, match=r"damaged, after line \d") as refusal:
                restore(past.url, [file])
            assert str(file) in refusal.value.cure


class TestAnArchive:
    def test_has_the_whole_history(self, past: Past) -> None:
        task, events = past.show(S.DONE)
        past.archive()
        line = next(line for line in past.lines() if line["status"] == "DONE")
        assert line["task_input_id"] == task.task_input_id
        assert (line["task_input"], line["attempt"]) == (task.task_input, 1)
        assert [e["to_status"] for e in line["events"]] == [str(e.to_status) for e in events]
        assert {e["token"] for e in line["events"]} == {"test token"}
        assert all(e["at"].endswith("+00:00") for e in line["events"])

    def test_belongs_to_one_run_at_a_time(self, past: Past) -> None:
        past.folder.mkdir()
        held = subprocess.Popen(
            ["flock", str(past.folder), "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with held:
            wait_until(lambda: _is_held(past.folder))
            with pytest.raises(ArchiveBusy):
                past.archive()
            held.communicate()
        assert past.archive()

    def test_that_cannot_be_written_prunes_nothing(
        self, past: Past, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("config.archive.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            past.archive()
        assert past.kept() == set(past.ended)
        assert list(past.folder.iterdir()) == []  # nothing is left to fill the disk

    def test_that_cannot_be_written_is_told_with_a_code_and_a_cure(
        self, past: Past, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        past.folder.write_text("a file")
        monkeypatch.setenv("PORCH_DATABASE_URL", past.url)
        done = CliRunner().invoke(cli, ["archive", "--to", str(past.folder / "within")])
        assert isinstance(done.exception, NotArchived)
        assert "Not a directory" in done.exception.message
        assert "--to" in done.exception.cure
        assert past.kept() == set(past.ended)

    @pytest.mark.parametrize("first", [".", "-", "~"])
    def test_is_found_by_a_shell_whatever_the_pipeline_is_called(
        self, past: Past, first: str
    ) -> None:
        rows(past.url, f"UPDATE porch.pipeline SET name = '{first}hidden'")
        past.archive()
        found = subprocess.run(
            ["sh", "-c", "ls *.gz"], cwd=past.folder, check=False, capture_output=True, text=True
        )
        assert len(found.stdout.splitlines()) == 3, found.stderr

    def test_looks_at_old_times_again_when_told(self, past: Past) -> None:
        past.archive()
        imported = definitions(1)
        submit(past.porch, past.secret, imported)
        for _ in range(2):  # the one that waited, and this one
            finish(past.porch, past.secret, S.DONE)
        let_time_pass(past.porch, 500 * DAY)
        assert sum(one.tasks for one in past.archive()) == 0
        assert sum(one.tasks for one in past.archive(from_the_start=True)) == 2

    def test_that_is_killed_at_any_moment_loses_nothing(
        self, porch: Coordinator, database_url: str, tmp_path: Path
    ) -> None:
        past = Past(porch, database_url, tmp_path / "archive")
        more = definitions(60)
        submit(porch, past.secret, more)
        for _ in more:
            finish(porch, past.secret, S.DONE)
        let_time_pass(porch, 100 * DAY)
        for moment in range(11):
            killed = subprocess.run(
                [sys.executable, "-c", _KILLED, database_url, str(past.folder), str(moment)],
                env=os.environ.copy(),
                check=False,
            )
            assert killed.returncode == -signal.SIGKILL, moment
            assert healthy(database_url)
            written = {line["task_input_id"]: line["task_input"] for line in past.lines()}
            for task in porch.tasks(caller(past.secret), Search(), after=0, limit=100):
                assert task.task_input is not None or task.task_input_id in written
        past.archive()
        assert past.kept() == set()
        assert all(len(line["events"]) == 3 for line in past.lines())
        assert {path.suffix for path in past.folder.iterdir()} == {".gz"}


#: Dies before the Nth of what reaches the disk or the database, in batches of three.
_KILLED = """
import os, signal, sys
from pathlib import Path
import config.archive as archiving
import db.archiving

left = int(sys.argv[3])
archiving.BATCH, archiving.FILE = 3, 6

def dying(do):
    def step(*args, **kwargs):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return do(*args, **kwargs)
    return step

os.fsync = dying(os.fsync)
Path.replace = dying(Path.replace)
db.archiving.Archive.prune = dying(db.archiving.Archive.prune)
archiving.archive(sys.argv[1], Path(sys.argv[2]))
"""


def _is_held(folder: Path) -> bool:
    return subprocess.run(["flock", "-n", str(folder), "true"], check=False).returncode != 0


def test_a_policy_keeps_for_a_day_at_least_and_only_what_has_ended(porch: Coordinator) -> None:
    name, _ = pipeline(porch)
    boss = admin(porch)
    with pytest.raises(BadRequest, match="a day"):
        porch.set_policy(caller(boss), name, Policy(keep={S.DONE: DAY - 1}))
    with pytest.raises(BadRequest, match="never pruned"):
        porch.set_policy(caller(boss), name, Policy(keep={S.RUNNING: DAY}))
    porch.set_policy(caller(boss), name, Policy(keep={S.DONE: DAY, S.FAILED: 2 * DAY}))
    load = porch.set_policy(caller(boss), name, Policy(keep={S.FAILED: None}))
    assert load.pipeline.keep == (DAY, None, None)
    (*_, last) = porch.admin_events(caller(boss), after=0, limit=1_000)
    assert last.detail == {"keep_failed_seconds": [2 * DAY, None]}


def rows(url: str, statement: str) -> list[Any]:
    """Carry out a statement; its rows, if it has any."""
    engine = create_engine(url)
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        found = list(result) if result.returns_rows else []
    engine.dispose()
    return found


class TestClaims:
    """Rows by which a claim that is asked again is answered as before."""

    def age(self, url: str, days: int) -> None:
        rows(url, f"UPDATE porch.claim SET claimed_at = claimed_at - interval '{days} days'")

    def test_go_when_they_are_old_and_nothing_refers_to_them(
        self, past: Past, database_url: str
    ) -> None:
        # Three that got something that has ended, two that got nothing, one that holds something.
        nothing = [caller(past.secret) for _ in range(2)]
        holds = caller(past.secret)
        (held,) = past.porch.claim(holds, 10)
        assert [past.porch.claim(one, 10) for one in nothing] == [[], []]
        self.age(database_url, 15)
        young = caller(past.secret)
        assert past.porch.claim(young, 10) == []
        assert prune_claims(database_url) == 2
        assert healthy(database_url)
        past.archive()
        assert prune_claims(database_url) == 3
        assert healthy(database_url)
        assert rows(database_url, "SELECT count(*) FROM porch.claim") == [(2,)]
        # What is left is answered as before, and claims no more.
        submit(past.porch, past.secret, [{"more": 1}])
        (again,) = past.porch.claim(holds, 10)
        assert (again.task_id, again.attempt) == (held.task_id, held.attempt)
        assert past.porch.claim(young, 10) == []
        assert len(past.porch.claim(nothing[0], 10)) == 1

    def test_are_looked_at_by_place_and_each_once(self, past: Past, database_url: str) -> None:
        number = rows(database_url, "SELECT min(pipeline_id) FROM porch.claim")[0][0]
        rows(
            database_url,
            "INSERT INTO porch.claim (pipeline_id, request_id, claimed_at)"
            f" SELECT {number}, gen_random_uuid(), now() - interval '20 days'"
            " FROM generate_series(1, 5000)",
        )
        engine = create_engine(database_url)
        with engine.connect() as connection:
            values = {"begin": "(0,0)", "end": "(16,0)", "days": 14}
            plan = connection.execute(text(f"EXPLAIN {PRUNE_CLAIMS.text}"), values).scalars().all()
        assert "Tid Range Scan on claim" in "".join(plan)
        found = list(Archive(engine).prune_claims(14, 16))
        engine.dispose()
        assert sum(found) == 5000
        assert len(found) > 1
        assert max(found) < 4000
        assert prune_claims(database_url) == 0


class TestTheFeed:
    def test_says_what_was_pruned_of_it(self, past: Past) -> None:
        def page(after: int) -> FeedPage:
            return past.porch.feed(caller(past.secret), after=after)[0]

        whole = page(0)
        past.archive()
        left = page(0)
        gone = {m.event_id for m in whole.messages} - {m.event_id for m in left.messages}
        assert len(gone) == 6
        assert (whole.pruned, left.pruned) == (0, max(gone))
        # Of another pipeline nothing is.
        other = pipeline(past.porch)[1]
        assert past.porch.feed(caller(other), after=0)[0].pruned == 0

    def test_tells_an_outlet_that_was_away_too_long(
        self, past: Past, caplog: pytest.LogCaptureFixture
    ) -> None:
        outlets = Outlets(create_engine(past.url))
        first = past.porch.feed(caller(past.secret), after=0)[0].messages[0].event_id
        rows(past.url, f"INSERT INTO porch.feed_position (name, event_id) VALUES ('x', {first})")
        past.archive()
        while outlets.pass_on(Deaf(), Settling()):
            pass
        (said,) = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
        assert said.startswith(f"the feed x has a gap: changes between the events {first} and ")
        outlets.engine.dispose()


class Deaf:
    """An outlet that takes all."""

    name, pipeline, statuses, most = "x", None, frozenset[Status](), 1_000

    def begin(self, position: int) -> int:
        return position

    def tell(self, messages: Sequence[StatusMessage]) -> int:
        return messages[-1].event_id

    def close(self) -> None:
        pass
