"""What operators look at, against small histories made by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from config.import_npg_porch import import_npg_porch
from config.wiring import make_coordinator
from coordinator.access import new_secret
from coordinator.errors import BadRequest, Forbidden, MissingToken, TooLarge, UnknownPipeline
from coordinator.identity import Limits
from coordinator.model import Task
from coordinator.overview import Page, RunTimes, View
from coordinator.requests import Name
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import (
    admin,
    caller,
    definition,
    definitions,
    finish,
    let_time_pass,
    pipeline,
    submit,
)
from tests.importing.npg_porch import LIVES, Old, changed
from tests.leased import events, say

S = Status


@pytest.fixture
def boss(porch: Coordinator) -> str:
    return admin(porch)


def numbers(page: Page) -> list[int]:
    return [task.task_input["run"] for task in page.tasks]


def shown(porch: Coordinator, secret: str, **view: Any) -> list[int]:
    return numbers(porch.page(caller(secret), View(**view)))


def all_pages(porch: Coordinator, secret: str, view: View, limit: int) -> list[list[int]]:
    pages, after = [], None
    while True:
        page = porch.page(caller(secret), view, after=after, limit=limit)
        pages.append(numbers(page))
        after = page.next
        if after is None:
            return pages


def numbered(*given: int) -> list[dict[str, Any]]:
    return [{"run": number} for number in given]


def fail(porch: Coordinator, secret: str, message: str | None) -> Task:
    (task,) = porch.claim(caller(secret), 1)
    say(porch, secret, task, S.FAILED, **({"message": message} if message else {}))
    return task


def run_for(porch: Coordinator, secret: str, *seconds: float) -> None:
    """Submit, claim and finish a task for each of the run times."""
    for lasted in seconds:
        submit(porch, secret, definitions(1))
        (task,) = porch.claim(caller(secret), 1)
        say(porch, secret, task, S.DONE)
        lasting(porch, task, lasted)


def lasting(porch: Coordinator, task: Task, seconds: float) -> None:
    """As if the task had been claimed so many seconds before it was DONE."""
    with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
        connection.execute(
            text(
                "UPDATE porch.event e SET at = t.updated_at - make_interval(secs => :s)"
                " FROM porch.task t WHERE t.task_id = e.task_id AND t.task_id = :id"
                " AND to_status = 'CLAIMED'"
            ),
            {"s": seconds, "id": task.task_id},
        )


def one_of_each(porch: Coordinator, secret: str) -> dict[Status, int]:
    """A task in every status: which number it has."""
    is_now = {}
    for number, status in enumerate((S.DONE, S.FAILED, S.CANCELLED, S.CLAIMED, S.RUNNING), 1):
        submit(porch, secret, numbered(number))
        if status in {S.CLAIMED, S.RUNNING}:
            (task,) = porch.claim(caller(secret), 1)
            if status is S.RUNNING:
                say(porch, secret, task, status)
        else:
            finish(porch, secret, status)
        is_now[status] = number
    submit(porch, secret, numbered(6))
    return {**is_now, S.PENDING: 6}


class TestAPage:
    def test_shows_the_newest_first(self, porch: Coordinator, boss: str) -> None:
        _, one = pipeline(porch)
        _, other = pipeline(porch)
        for number, secret in enumerate((one, other, one, other), 1):
            submit(porch, secret, numbered(number))
        assert shown(porch, boss) == [4, 3, 2, 1]

    @pytest.mark.parametrize("kind", ["all", "not_done"])
    def test_is_followed_by_the_next_until_the_end(
        self, porch: Coordinator, boss: str, kind: Any
    ) -> None:
        name, secret = pipeline(porch)
        submit(porch, secret, numbered(*range(1, 8)))
        finish(porch, secret, S.FAILED)
        for where in (None, name):
            pages = all_pages(porch, boss, View(kind, where), 3)
            assert pages == [[7, 6, 5], [4, 3, 2], [1]]

    def test_that_is_just_full_is_the_last(self, porch: Coordinator, boss: str) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, numbered(1, 2, 3))
        assert porch.page(caller(boss), View(), limit=3).next is None

    def test_of_nothing_is_empty(self, porch: Coordinator, boss: str) -> None:
        assert porch.page(caller(boss), View()) == Page([], None)

    def test_has_whole_tasks(self, porch: Coordinator, boss: str) -> None:
        name, secret = pipeline(porch)
        submit(porch, secret, [definition()])
        (task,) = porch.claim(caller(secret), 1)
        assert porch.page(caller(boss), View()).tasks == [
            replace(task, updated_at=porch.page(caller(boss), View()).tasks[0].updated_at)
        ]
        assert porch.page(caller(boss), View()).tasks[0].pipeline == name

    @pytest.mark.parametrize("status", list(Status))
    def test_of_one_status_shows_no_other(
        self, porch: Coordinator, boss: str, status: Status
    ) -> None:
        name, secret = pipeline(porch)
        is_now = one_of_each(porch, secret)
        assert shown(porch, boss, status=status) == [is_now[status]]
        assert shown(porch, boss, status=status, pipeline=name) == [is_now[status]]
        assert shown(porch, boss, status=status, text="run") == [is_now[status]]

    def test_of_what_is_not_done_leaves_out_done(self, porch: Coordinator, boss: str) -> None:
        _, secret = pipeline(porch)
        is_now = one_of_each(porch, secret)
        assert shown(porch, boss, kind="not_done") == [6, 5, 4, 3, 2]
        assert shown(porch, boss, kind="not_done", status=S.DONE) == []
        assert shown(porch, boss, kind="not_done", status=S.RUNNING) == [is_now[S.RUNNING]]

    def test_of_a_pipeline_shows_no_other(self, porch: Coordinator, boss: str) -> None:
        name, one = pipeline(porch)
        _, other = pipeline(porch)
        submit(porch, one, numbered(1, 3))
        submit(porch, other, numbered(2))
        finish(porch, one, S.DONE)
        assert shown(porch, boss, pipeline=name) == [3, 1]


class TestTextInTheInput:
    @pytest.mark.parametrize(
        ("words", "found"),
        [
            ("SAMEA1", [3, 1]),
            ("samea1", [3, 1]),
            ('"sample":"same', [3, 2, 1]),
            ('{"run": 2, "sample"', [2]),
            ('": 3,\n  "sample": "samea1",', [3]),
            ("100%", [2]),
            ("100_", []),
            ("!", []),
            ("ärger", [3]),
            ("ÄRGER", [3]),
            ("'; DROP", []),
        ],
    )
    def test_is_found_wherever_it_is(
        self, porch: Coordinator, boss: str, words: str, found: list[int]
    ) -> None:
        _, secret = pipeline(porch)
        given = [
            {"run": 1, "sample": "SAMEA17"},
            {"run": 2, "sample": "SAMEA2", "note": "100%"},
            {"run": 3, "sample": "SAMEA1", "note": "Ärger"},
        ]
        submit(porch, secret, given)
        assert shown(porch, boss, text=words) == found

    def test_goes_with_every_other_filter(self, porch: Coordinator, boss: str) -> None:
        name, secret = pipeline(porch)
        one_of_each(porch, secret)
        asked: list[tuple[dict[str, Any], list[int]]] = [
            ({"pipeline": name}, [2]),
            ({"kind": "not_done"}, [2]),
            ({"kind": "recent_failures"}, [2]),
            ({"kind": "recent_failures", "pipeline": name, "status": S.FAILED}, [2]),
            ({"status": S.DONE}, []),
            ({"kind": "long_running"}, []),
        ]
        for view, found in asked:
            assert shown(porch, boss, text='"run":2', **view) == found

    def test_far_away_is_found_by_following_the_pages(
        self, porch: Coordinator, boss: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # As if this many tasks took all the time that there is.
        monkeypatch.setattr("coordinator.overview.SEARCH_SECONDS", 0.0)
        monkeypatch.setattr("coordinator.overview.FIRST_STEP", 3)
        _, secret = pipeline(porch)
        submit(porch, secret, numbered(*range(1, 11)))
        finish(porch, secret, S.FAILED)  # number 1
        for kind, looked in (("all", 3), ("not_done", 3)):
            first = porch.page(caller(boss), View(kind, text='"run":1}'), limit=1)  # type: ignore[arg-type]
            assert (first.tasks, first.searched_to is None) == ([], False)
            pages = all_pages(porch, boss, View(kind, text='"run":1}'), 1)  # type: ignore[arg-type]
            assert pages == [[]] * looked + [[1]]

    def test_of_a_full_page_goes_on_after_its_last_task(
        self, porch: Coordinator, boss: str
    ) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, numbered(*range(10, 20)))
        assert all_pages(porch, boss, View(text="run"), 4) == [
            [19, 18, 17, 16],
            [15, 14, 13, 12],
            [11, 10],
        ]

    def test_that_no_input_can_have_is_refused(self, porch: Coordinator, boss: str) -> None:
        with pytest.raises(BadRequest):
            shown(porch, boss, text="a\0b")
        with pytest.raises(BadRequest):
            shown(porch, boss, text="\ud800")
        with pytest.raises(TooLarge):
            shown(porch, boss, text="a" * 1_001)


class TestLongRunning:
    def held(self, porch: Coordinator, secret: str, number: int, seconds: float) -> None:
        submit(porch, secret, numbered(number))
        (task,) = porch.claim(caller(secret), 1)
        let_time_pass(porch, 0)
        with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
            for statement in (
                "UPDATE porch.event SET at = at - make_interval(secs => :s) WHERE task_id = :id",
                "UPDATE porch.task SET created_at = created_at - make_interval(secs => :s)"
                " WHERE task_id = :id",
            ):
                connection.execute(text(statement), {"s": seconds, "id": task.task_id})

    def test_is_what_is_held_for_longer_than_two_deviations_over_the_mean(
        self, porch: Coordinator, boss: str
    ) -> None:
        name, secret = pipeline(porch)
        run_for(porch, secret, 100, 200, 300)  # mean 200, deviation 100: the limit is 400
        self.held(porch, secret, 10_001, 390)
        self.held(porch, secret, 10_002, 410)
        assert shown(porch, boss, kind="long_running") == [10_002]
        assert shown(porch, boss, kind="long_running", pipeline=name) == [10_002]
        assert shown(porch, boss, kind="long_running", status=S.RUNNING) == []

    def test_goes_by_the_runs_of_its_own_pipeline(self, porch: Coordinator, boss: str) -> None:
        _, quick = pipeline(porch)
        _, slow = pipeline(porch)
        run_for(porch, quick, 1, 2)
        run_for(porch, slow, 1_000, 2_000)
        self.held(porch, quick, 10_001, 600)
        self.held(porch, slow, 10_002, 600)
        assert shown(porch, boss, kind="long_running") == [10_001]

    def test_takes_two_finished_runs_to_know(self, porch: Coordinator, boss: str) -> None:
        _, secret = pipeline(porch)
        run_for(porch, secret, 1)
        self.held(porch, secret, 10_001, 1_000_000)
        assert shown(porch, boss, kind="long_running") == []


class TestRecentFailures:
    def test_are_in_the_order_of_the_failure(self, porch: Coordinator, boss: str) -> None:
        name, secret = pipeline(porch)
        submit(porch, secret, numbered(1, 2, 3, 4))
        one, two, three, _ = porch.claim(caller(secret), 4)
        for task in (three, one, two):
            say(porch, secret, task, S.FAILED)
        for view in (View("recent_failures"), View("recent_failures", name)):
            assert all_pages(porch, boss, view, 2) == [[2, 1], [3]]

    def test_that_happened_at_one_moment_are_all_shown(self, porch: Coordinator, boss: str) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, numbered(1, 2, 3))
        for _ in range(3):
            finish(porch, secret, S.FAILED)
        with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
            connection.execute(text("UPDATE porch.task SET updated_at = now()"))
        assert all_pages(porch, boss, View("recent_failures"), 1) == [[3], [2], [1]]


class TestACursor:
    @pytest.mark.parametrize(
        "after", ["", "1", "n", "n-1", "n1 ", "n٣", "c1", "n" + "9" * 19, "x'"]
    )
    def test_that_is_nonsense_is_refused(self, porch: Coordinator, boss: str, after: str) -> None:
        with pytest.raises(BadRequest):
            porch.page(caller(boss), View(), after=after)

    def test_of_another_order_is_refused(self, porch: Coordinator, boss: str) -> None:
        with pytest.raises(BadRequest):
            porch.page(caller(boss), View("recent_failures"), after="n1")
        with pytest.raises(BadRequest):
            porch.page(caller(boss), View(), after="c1-1")


class TestCounts:
    def test_have_every_pipeline_and_every_status(self, porch: Coordinator, boss: str) -> None:
        one, secret = pipeline(porch, name="b")
        pipeline(porch, name="a")
        one_of_each(porch, secret)
        finish(porch, secret, S.DONE)
        none = dict.fromkeys(Status, 0)
        assert [(c.pipeline, dict(c.counts)) for c in porch.counts(caller(boss))] == [
            ("a", none),
            (one, {**dict.fromkeys(Status, 1), S.PENDING: 0, S.DONE: 2}),
        ]


class TestThroughput:
    def test_counts_what_happened_when(self, porch: Coordinator, boss: str) -> None:
        name, secret = pipeline(porch)
        _, other = pipeline(porch)
        submit(porch, secret, definitions(3))
        finish(porch, secret, S.DONE)
        finish(porch, secret, S.FAILED)
        let_time_pass(porch, 3 * 3_600)
        submit(porch, other, definitions(2))
        finish(porch, secret, S.DONE)
        for given, last in ((None, (2, 1, 0)), (name, (0, 1, 0))):
            drawn = porch.throughput(caller(boss), pipeline=given)
            happened = [
                (i.submitted, i.done, i.failed) for i in drawn if i.submitted + i.done + i.failed
            ]
            assert (len(drawn), happened) == (48, [(3, 1, 1), last])

    def test_is_told_of_each_of_the_busiest_pipelines(
        self, porch: Coordinator, boss: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("coordinator.overview.BUSIEST", 2)
        secrets = {}
        for name, amount in (("a", 1), ("b", 3), ("c", 2)):
            _, secrets[name] = pipeline(porch, name=name)
            submit(porch, secrets[name], definitions(amount))
        finish(porch, secrets["b"], S.FAILED)
        for name, of in [(busy.pipeline, busy.throughput) for busy in porch.busiest(caller(boss))]:
            assert of == porch.throughput(caller(boss), pipeline=name)
        assert [busy.pipeline for busy in porch.busiest(caller(boss))] == ["b", "c"]
        assert porch.busiest(caller(boss), pipeline="a") == []
        assert porch.busiest(caller(secrets["a"])) == []

    def test_is_read_on_from_where_it_was_read_to(self, porch: Coordinator, boss: str) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(2))
        let_time_pass(porch, 3_600)

        def submitted(hours: int) -> int:
            # The answer is not remembered, but what has been read is.
            porch._happened._kept.clear()
            return sum(i.submitted for i in porch.throughput(caller(boss), hours=hours))

        assert submitted(24) == 2
        submit(porch, secret, definitions(3))
        assert (submitted(24), submitted(168), submitted(24)) == (5, 5, 5)

    @pytest.mark.parametrize("hours", [1, 7, 24, 30, 168, 744])
    def test_has_intervals_of_one_length(self, porch: Coordinator, boss: str, hours: int) -> None:
        drawn = porch.throughput(caller(boss), hours=hours)
        lengths = {b.begin - a.begin for a, b in pairwise(drawn)}
        (length,) = lengths
        assert 6 <= len(drawn) <= 48
        assert abs(len(drawn) * length - timedelta(hours=hours)) < length

    def test_ends_now_whatever_an_event_says_of_the_future(
        self, porch: Coordinator, boss: str
    ) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(3))
        with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
            connection.execute(
                text(
                    "UPDATE porch.event SET at = at + interval '70 years' WHERE event_id ="
                    " (SELECT min(event_id) FROM porch.event)"
                )
            )
        drawn = porch.throughput(caller(boss))
        assert sum(i.submitted for i in drawn) == 2
        assert drawn[-1].begin <= porch.ledger.now() < drawn[-1].begin + timedelta(hours=1)

    def test_leaves_out_late_reports(self, porch: Coordinator, boss: str) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        (task,) = porch.claim(caller(secret), 1)
        porch.release(caller(secret), [Name(task.task_input_id)])
        say(porch, secret, task, S.DONE)
        assert any(event.refused for event in events(porch, secret, task))
        assert sum(i.done for i in porch.throughput(caller(boss))) == 0

    def test_for_no_time_or_for_years_is_refused(self, porch: Coordinator, boss: str) -> None:
        for hours in (0, 745):
            with pytest.raises(BadRequest):
                porch.throughput(caller(boss), hours=hours)


class TestRunTimes:
    def test_are_those_of_the_last_attempts(self, porch: Coordinator, boss: str) -> None:
        name, secret = pipeline(porch, name="b")
        submit(porch, secret, definitions(1))
        (task,) = porch.claim(caller(secret), 1)
        porch.release(caller(secret), [Name(task.task_input_id)])
        let_time_pass(porch, 3_600)
        finish(porch, secret, S.DONE)
        (times,) = porch.run_times(caller(boss))
        assert (times.pipeline, times.runs, times.deviation, times.limit) == (name, 1, None, None)
        assert times.mean == times.median == times.p95 < 3_600

    def test_have_mean_deviation_and_limit(self, porch: Coordinator, boss: str) -> None:
        pipeline(porch, name="none")
        name, secret = pipeline(porch)
        run_for(porch, secret, 100, 200, 300)
        assert porch.run_times(caller(boss)) == [
            RunTimes(name, 3, *map(pytest.approx, (200, 100, 200, 290, 400)))  # type: ignore[arg-type]
        ]

    def test_are_of_what_finished_last_whenever_it_was_registered(
        self, porch: Coordinator, boss: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("coordinator.overview.RUNS", 2)
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(3))
        one, two, three = porch.claim(caller(secret), 3)
        for task, lasted in ((three, 9_000), (two, 100), (one, 200)):
            say(porch, secret, task, S.DONE)
            lasting(porch, task, lasted)
        (times,) = porch.run_times(caller(boss))
        assert (times.runs, times.mean) == (2, pytest.approx(150))

    def test_leave_out_what_was_imported_without_a_claim(
        self, porch: Coordinator, boss: str, database_url: str, tmp_path: Path
    ) -> None:
        old = Old(f"sqlite:///{tmp_path / 'porch.db'}", "2.2")
        target = old.pipeline("old", "1.0")
        token = old.token(new_secret(), "old")
        lives = [["Created", changed("DONE")]] * 3 + [LIVES["DONE"]] * 2
        old.tasks(target, (({"run": n}, "DONE", life) for n, life in enumerate(lives)), token)
        old.close()
        import_npg_porch(
            database_url,
            Limits(),
            source_url=old.url,
            schema="",
            zone=None,
            batch=100,
            dry_run=False,
            skipped=None,
        )
        (times,) = porch.run_times(caller(boss))
        # Each of the changes there is a minute after the one before.
        assert (times.runs, times.mean, times.deviation) == (2, 120.0, 0.0)

    def test_have_no_run_that_ends_in_the_future(self, porch: Coordinator, boss: str) -> None:
        _, secret = pipeline(porch)
        run_for(porch, secret, 100, 200)
        with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
            connection.execute(
                text(
                    "UPDATE porch.task SET updated_at = updated_at + interval '70 years'"
                    " WHERE task_id = (SELECT max(task_id) FROM porch.task)"
                )
            )
        (times,) = porch.run_times(caller(boss))
        assert (times.runs, times.mean) == (1, pytest.approx(100))


def named(pattern: str) -> str:
    """The name of the group of failures with this pattern."""
    return sha256(pattern.encode()).hexdigest()[:16]


class TestFailuresThatAreAlike:
    @pytest.mark.parametrize(
        ("messages", "pattern"),
        [
            (["exit 1 after 3.5 s", "exit 17 after 200 s"], "exit # after # s"),
            (["sample SAMEA12 bad", "sample SAMEA3 bad"], "sample SAMEA# bad"),
            (
                [
                    "request 0F8fad5b-d9cb-469f-a165-70867728950e refused",
                    "request 7c9e6679-7425-40de-944b-e07fc1f90ae7 refused",
                ],
                "request # refused",
            ),
            (
                [
                    "lock de305d54-75b4-431b-adb2-eb6014e546a1 is held",
                    "lock ffacdeab-1c3d-4b5a-9c7d-abcdefabcdef is held",
                ],
                "lock # is held",
            ),
            (["commit de0dab4 defaced it", "commit abcdef1 defaced it"], "commit # defaced it"),
            (
                [
                    "checksum d41d8cd98f00b204e9800998ecf8427e differs",
                    "checksum e4d909c290d0fb1ca068ffaddf22cbd0 differs",
                ],
                "checksum # differs",
            ),
            (["fault at 0xdeadBEEF", "fault at 0x1"], "fault at #"),
            (
                [
                    "cannot read /lustre/runs/alice.bam: gone",
                    "cannot read /lustre/runs/bob.cram: gone",
                ],
                "cannot read /lustre/runs/#: gone",
            ),
            (
                ["cannot read '/seq/7/a.bam'", "cannot read '/seq/8/b.bam'"],
                "cannot read '/seq/#/#'",
            ),
            (["get s3://b/k/a.txt: 404", "get s3://b/k/b.txt: 404"], "get s#://b/k/#: #"),
            (
                [
                    "no https://h.org:8080/in/a?by=alice&of=/x/y now",
                    "no https://h.org:8080/in/b?by=bob&of=/z now",
                ],
                "no https://h.org:#/in/# now",
            ),
            (
                [
                    r"cannot open C:\data\run\x.txt, locked",
                    r"cannot open C:\data\run\y.txt, locked",
                ],
                r"cannot open C:\data\run\#, locked",
            ),
            (
                [
                    "Wed Nov 25 21:07:48 UTC 2026: gone since 2026-11-25T21:07:48.125Z",
                    "Thu Dec  3 01:00:00 UTC 2026: gone since 2026-12-02T01:00:00Z",
                ],
                "# #:#:# UTC #: gone since #-#-#T#:#:#Z",
            ),
            (
                ["[03/Mar/2026:10:00:00] no answer", "[25/Nov/2026:21:07:48] no answer"],
                "[#:#:#:#] no answer",
            ),
            (["May fail 1", "May fail 2"], "May fail #"),
            (["either and/or both 1", "either and/or both 2"], "either and/or both #"),
            (["ok " * 100 + "1", "ok " * 100 + "x"], "ok " * 66 + "ok"),
            ([None, None], ""),
        ],
    )
    def test_are_one_group(
        self, porch: Coordinator, boss: str, messages: list[str | None], pattern: str
    ) -> None:
        name, secret = pipeline(porch)
        submit(porch, secret, definitions(2))
        failed = [fail(porch, secret, message) for message in messages]
        (group,) = porch.failure_groups(caller(boss))
        assert (group.pattern, group.tasks, group.pipeline) == (pattern, 2, name)
        assert group.group == named(pattern)
        assert group.example == (messages[-1] or "")
        assert group.first < group.last
        found, more = porch.failures(caller(boss), name, group.group)
        assert more is None
        assert [task.task_id for task in found] == [task.task_id for task in failed]

    def test_are_one_group_in_each_pipeline(self, porch: Coordinator, boss: str) -> None:
        for name in ("a", "b"):
            _, secret = pipeline(porch, name=name)
            submit(porch, secret, definitions(1))
            fail(porch, secret, "exit 1")
        groups = porch.failure_groups(caller(boss))
        assert {group.pipeline for group in groups} == {"a", "b"}
        assert [g.pipeline for g in porch.failure_groups(caller(boss), pipeline="a")] == ["a"]

    def test_have_the_largest_group_first(self, porch: Coordinator, boss: str) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(6))
        for message in ("rare", "exit 1", "exit 2", "exit 3", "odd a", "odd a"):
            fail(porch, secret, message)
        groups = porch.failure_groups(caller(boss), most=2)
        assert [(g.pattern, g.tasks) for g in groups] == [("exit #", 3), ("odd a", 2)]

    def test_are_told_by_what_happened_last(self, porch: Coordinator, boss: str) -> None:
        name, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        task = fail(porch, secret, "first")
        with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
            connection.execute(text("UPDATE porch.task SET status = 'PENDING'"))
        fail(porch, secret, "second")
        say(porch, secret, task, S.DONE)  # too late: refused
        (group,) = porch.failure_groups(caller(boss))
        assert group.pattern == "second"
        assert porch.failures(caller(boss), name, named("first")) == ([], None)

    def test_are_found_as_they_were_at_a_moment(self, porch: Coordinator, boss: str) -> None:
        name, secret = pipeline(porch)
        submit(porch, secret, definitions(3))
        one, two = (fail(porch, secret, "exit 1") for _ in range(2))
        (group,) = porch.failure_groups(caller(boss))
        fail(porch, secret, "exit 1")
        found, _ = porch.failures(caller(boss), name, group.group, until=group.last)
        assert [task.task_id for task in found] == [one.task_id, two.task_id]
        assert len(porch.failures(caller(boss), name, group.group)[0]) == 3

    def test_that_run_again_are_no_failures(self, porch: Coordinator, boss: str) -> None:
        name, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        fail(porch, secret, "exit 1")
        with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
            connection.execute(text("UPDATE porch.task SET status = 'PENDING'"))
        assert porch.failure_groups(caller(boss)) == []
        assert porch.failures(caller(boss), name, named("exit #")) == ([], None)

    def test_are_all_found_page_by_page(
        self, porch: Coordinator, boss: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("coordinator.overview.COMPARED", 2)
        name, secret = pipeline(porch)
        submit(porch, secret, definitions(9))
        failed = [fail(porch, secret, f"exit {n}" if n % 3 else "odd") for n in range(9)]
        wanted = [task.task_id for n, task in enumerate(failed) if n % 3]
        found: list[list[int]] = []
        more: int | None = 0
        while more is not None:
            page, more = porch.failures(caller(boss), name, named("exit #"), after=more, limit=4)
            found.append([task.task_id for task in page])
        assert found == [wanted[:4], wanted[4:]]

    def test_are_looked_for_in_pages_where_it_takes_long(
        self, porch: Coordinator, boss: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("coordinator.overview.COMPARED", 2)
        monkeypatch.setattr("coordinator.overview.COMPARING_SECONDS", -1.0)
        name, secret = pipeline(porch)
        submit(porch, secret, definitions(5))
        failed = [fail(porch, secret, "odd" if n in (0, 4) else "exit 1") for n in range(5)]
        pages, more = [], 0
        while more is not None:
            page, more = porch.failures(caller(boss), name, named("odd"), after=more)
            pages.append([task.task_id for task in page])
        assert pages == [[failed[0].task_id], [], [failed[4].task_id]]

    def test_are_of_a_pipeline_that_is_named(self, porch: Coordinator, boss: str) -> None:
        with pytest.raises(BadRequest, match="none is named"):
            porch.failures(caller(boss), None, named("exit #"))


class TestWhoMayLook:
    def look(self, porch: Coordinator, secret: str | None) -> list[set[str]]:
        who = caller(secret)
        return [
            {task.pipeline for task in porch.page(who, View()).tasks},
            {counts.pipeline for counts in porch.counts(who)},
            {times.pipeline for times in porch.run_times(who)},
            {group.pipeline for group in porch.failure_groups(who)},
        ]

    def history(self, porch: Coordinator) -> list[str]:
        secrets = []
        for name in ("a", "b"):
            _, secret = pipeline(porch, name=name)
            submit(porch, secret, definitions(2))
            finish(porch, secret, S.DONE)
            finish(porch, secret, S.FAILED)
            secrets.append(secret)
        return secrets

    def test_a_pipeline_token_sees_its_own_only(self, porch: Coordinator, boss: str) -> None:
        own, _ = self.history(porch)
        assert self.look(porch, boss) == [{"a", "b"}] * 4
        assert self.look(porch, own) == [{"a"}] * 4
        assert sum(i.submitted for i in porch.throughput(caller(own))) == 2
        for verb in (
            lambda: porch.page(caller(own), View(pipeline="b")),
            lambda: porch.throughput(caller(own), pipeline="b"),
            lambda: porch.failure_groups(caller(own), pipeline="b"),
            lambda: porch.failures(caller(own), "b", named("")),
            lambda: porch.run_times(caller(own), pipeline="b"),
        ):
            with pytest.raises(Forbidden):
                verb()

    def test_anybody_sees_all_where_reads_are_open(
        self, porch: Coordinator, database_url: str
    ) -> None:
        self.history(porch)
        with pytest.raises(MissingToken):
            self.look(porch, None)
        opened = make_coordinator(database_url, open_reads=True)
        assert self.look(opened, None) == [{"a", "b"}] * 4
        assert len(opened.failures(caller(None), "b", named(""))[0]) == 1
        with pytest.raises(UnknownPipeline):
            opened.page(caller(None), View(pipeline="c"))
        opened.ledger.engine.dispose()  # type: ignore[attr-defined]
