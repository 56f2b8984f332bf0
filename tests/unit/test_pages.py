"""What the pages show, shaped from what porch tells: no requests, no store."""

from __future__ import annotations

import doctest
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from fastapi import Request

from coordinator import errors
from coordinator.errors import BadRequest, Forbidden, PorchError, StatusChanged, TooLarge
from coordinator.gateway.headers import policy
from coordinator.gateway.pages import charts, cures, render, words
from coordinator.gateway.pages.session import (
    Said,
    Session,
    page_path,
    refuse_other_sites,
    require_proof,
)
from coordinator.gateway.pages.shapes import (
    Alike,
    Chosen,
    attempts,
    is_partly_grouped,
    tiles,
    told,
    verbs_for,
)
from coordinator.gateway.pages.wanted import task_href, wanted
from coordinator.gateway.problems import on_defect
from coordinator.model import Event
from coordinator.observer import Observer
from coordinator.overview import Counts, FailureGroup, Interval, RunTimes, View
from coordinator.status import Status
from tests.factories import a_task

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
TOKEN = "0123456789abcdef" * 2


def event(
    minutes: int, before: Status | None, after: Status, attempt: int, **more: object
) -> Event:
    at = NOON + timedelta(minutes=minutes)
    fields: dict[str, object] = {"token": "t", "host": "node-1", "message": None, **more}
    return Event(minutes, at, before, after, attempt, **fields)  # type: ignore[arg-type]


# Addresses ----------------------------------------------------------------------------------


def test_an_address_and_what_it_asks_for_are_the_same() -> None:
    query = {
        "kind": "not_done",
        "pipeline": "a b&c",
        "status": "FAILED",
        "text": "x=1",
        "hours": "168",
    }
    asked = wanted(query)
    assert asked.view == View("not_done", "a b&c", Status.FAILED, "x=1")
    assert asked.href() == "/?kind=not_done&pipeline=a+b%26c&status=FAILED&text=x%3D1&hours=168"


def test_empty_fields_do_not_restrict() -> None:
    asked = wanted({"kind": "", "pipeline": " ", "status": "", "text": "", "after": ""})
    assert asked.view == View()
    assert asked.href() == "/"
    assert not asked.is_narrowed


def test_the_name_of_a_pipeline_is_taken_as_it_is() -> None:
    asked = wanted({"pipeline": " a  b ", "text": " x "})
    assert asked.view == View(pipeline=" a  b ", text="x")
    assert asked.href() == "/?pipeline=+a++b+&text=x"


def test_another_view_begins_at_its_first_page() -> None:
    asked = wanted({"after": "cursor", "text": "x"})
    assert asked.here == "/?text=x&after=cursor"
    assert asked.href(status=Status.DONE) == "/?status=DONE&text=x"
    assert asked.href(text=None, after="later") == "/?after=later"


@pytest.mark.parametrize("query", [{"kind": "odd"}, {"status": "GONE"}, {"hours": "2"}])
def test_an_address_that_means_nothing_is_refused_with_a_cure(query: Mapping[str, str]) -> None:
    with pytest.raises(BadRequest) as refusal:
        wanted(query)
    assert refusal.value.cure


def test_a_task_has_an_address() -> None:
    assert task_href(a_task()) == f"/page/task?pipeline=pipeline-1&version=1.0&id={'01' * 32}"


@pytest.mark.parametrize("path", ["/", "/?status=DONE", "/page/task?id=1"])
def test_forms_lead_back_to_pages(path: str) -> None:
    assert page_path(path) == path


@pytest.mark.parametrize(
    "path",
    ["//e.org", "https://e.org", "/\\e.org", "/?a\r\nb", "", "/tasks", "/session/end", "/?é"],
)
def test_forms_lead_nowhere_else(path: str) -> None:
    assert page_path(path) == "/"


# Words --------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [words, charts])
def test_the_examples_in_the_docstrings_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


def test_times_are_utc() -> None:
    summer = NOON.astimezone(tz=None)
    assert words.utc(summer) == "2026-11-25 12:00:00Z"
    assert words.iso(summer) == "2026-11-25T12:00:00Z"


def test_long_texts_are_cut_and_say_so() -> None:
    assert words.cut("a\n b") == "a b"
    assert words.cut("x" * 160) == "x" * 160
    assert words.cut("x" * 161) == "x" * 160 + "…"
    assert words.cut(" " * 5_000 + "x").endswith("…")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('line\r\n\tend é "א"', 'line\r\n\tend é "א"'),
        ("a\u202eb\u2069", "a\\u202eb\\u2069"),
        ('"\\\\\u202e"', '"\\\\\\u202e"'),
    ],
)
def test_what_is_not_seen_is_written_out(text: str, shown: str) -> None:
    assert words.seen(text) == shown
    assert words.unseen(shown) == text


@pytest.mark.parametrize("text", ["\\n", "\\u0041", "\\\\u202e", "\\u0000", "\\ud800", "\\u2"])
def test_what_no_page_has_written_out_is_left_as_it_is(text: str) -> None:
    assert words.unseen(text) == text


def test_cures_are_those_of_the_page() -> None:
    changed = StatusChanged("is DONE now", "look again with `porch show 01` and decide anew")
    assert cures.in_a_line(changed) == (
        "status_changed: is DONE now; look at the task as it is now, and decide anew"
    )
    ours = Forbidden("this form is not yours", "load the page again")
    assert cures.in_a_line(ours) == "forbidden: this form is not yours; load the page again"
    assert cures.cure(TooLarge("too much", "raise PORCH_MAX_INPUT_BYTES")) == ""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.code for kind in kinds if issubclass(kind, PorchError)}
    assert codes.issuperset(cures.CURES)


# Charts -------------------------------------------------------------------------------------


def test_bars_stand_on_the_ground_and_on_each_other() -> None:
    hour = timedelta(hours=1)
    chart = charts.throughput([Interval(NOON, 10, 30, 10), Interval(NOON + hour, 0, 0, 0)])
    first, second = chart.bars
    ground = charts.HEIGHT - charts.BOTTOM
    assert first.done_y + first.done_height == ground
    assert first.failed_y + first.failed_height == pytest.approx(first.done_y)
    assert first.failed_y == charts.TOP
    assert second.done_height == second.failed_height == 0
    assert second.x > first.x + first.width
    assert [row.word for row in chart.rows] == ["0", "20", "40"]
    assert (chart.submitted, chart.done, chart.failed) == (10, 30, 10)


def test_a_chart_of_nothing_is_known_as_such() -> None:
    assert charts.throughput([]).is_empty
    assert charts.throughput([Interval(NOON, 0, 0, 0)]).is_empty


@pytest.mark.parametrize("n", [1, 2, 24, 48, 168])
def test_words_under_the_bars_stay_within_the_chart(n: int) -> None:
    columns = charts.throughput(
        [Interval(NOON + timedelta(hours=i), 1, 1, 1) for i in range(n)]
    ).columns
    assert len(columns) <= 7
    assert all(charts.LEFT <= column.at < charts.WIDTH for column in columns)


def test_run_times_of_seconds_and_of_days_share_a_scale() -> None:
    quick = RunTimes("quick", 1, 0.0, None, 0.0, 2.0, None)
    slow = RunTimes("slow", 9, 90_000.0, 10.0, 80_000.0, 170_000.0, 100_000.0)
    first, second = charts.run_times([quick, slow])
    marks = [first.median_x, first.p95_x, second.median_x, second.limit_x, second.p95_x]
    assert marks == sorted(m for m in marks if m is not None)
    assert first.limit_x is None
    assert marks[0] > 0
    assert second.p95_x < charts.LINE_WIDTH
    assert charts.run_times([]) == []
    assert charts.run_times([quick])


# Tasks --------------------------------------------------------------------------------------


def test_a_form_names_a_task_as_it_stood() -> None:
    chosen = Chosen.of(a_task())
    assert Chosen.read(chosen.value) == chosen
    assert (chosen.status, chosen.attempt) == (Status.PENDING, 0)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "1",
        "null",
        "[]",
        '["p","1","aa","ODD",1]',
        '["p","1","aa","DONE",-1]',
        '["p",1,"aa","DONE",1]',
    ],
)
def test_a_name_that_no_page_writes_is_refused(given: str) -> None:
    with pytest.raises(BadRequest):
        Chosen.read(given)


def test_a_form_names_a_group_in_ascii_on_one_line() -> None:
    group = FailureGroup("é\n", "0123456789abcdef", "#", "", 2, NOON, NOON)
    alike = Alike.of(group)
    assert Alike.read(alike.value) == alike
    assert alike.value.isascii()
    assert alike.value.isprintable()


def test_the_buttons_are_those_that_the_status_allows() -> None:
    assert verbs_for(Status.PENDING) == ["cancel"]
    assert verbs_for(Status.RUNNING) == ["cancel", "release"]
    assert verbs_for(Status.FAILED) == verbs_for(Status.DONE) == ["rerun"]


def test_tiles_count_one_pipeline_or_all() -> None:
    counts = [Counts("a", {Status.DONE: 2}), Counts("b", {Status.DONE: 3, Status.FAILED: 1})]
    both = {tile.status: tile.tasks for tile in tiles(counts, None)}
    assert (both[Status.DONE], both[Status.FAILED], both[Status.PENDING]) == (5, 1, 0)
    assert {t.status: t.tasks for t in tiles(counts, "a")}[Status.DONE] == 2


def test_more_failures_than_are_compared_are_known_as_such() -> None:
    few, many = ([Counts("a", {Status.FAILED: n, Status.DONE: 10**6})] for n in (4_000, 4_001))
    assert not is_partly_grouped(tiles(few, None))
    assert is_partly_grouped(tiles(many, None))


@pytest.mark.parametrize(("partly", "shown"), [(False, "4,000<"), (True, "4,000+<")])
def test_a_group_of_which_there_may_be_more_says_so(partly: bool, shown: str) -> None:
    group = FailureGroup("p", "0123456789abcdef", "", "disk full", 4_000, NOON, NOON)
    made = render.templates.get_template("group.html").render(
        group=group, partly=partly, session=None, asked=wanted({}), alike=Alike.of
    )
    assert shown in made


def test_events_tell_the_attempts() -> None:
    s = Status
    first, second, third = attempts(
        [
            event(0, None, s.PENDING, 0),
            event(1, s.PENDING, s.CLAIMED, 1, job_id="claim-job"),
            event(2, s.CLAIMED, s.RUNNING, 1, job_id="job-1"),
            event(5, s.RUNNING, s.FAILED, 1, message="disk full"),
            event(6, s.FAILED, s.PENDING, 1, message="again"),
            event(7, s.PENDING, s.CLAIMED, 2),
            event(8, s.RUNNING, s.DONE, 1, refused=True),
            event(9, s.CLAIMED, s.PENDING, 2),
            event(10, s.PENDING, s.CLAIMED, 3),
        ]
    )
    assert (first.seconds, first.outcome, first.job_id) == (240.0, s.FAILED, "job-1")
    assert (first.message, first.host) == ("disk full", "node-1")
    assert (second.outcome, second.started) == (s.PENDING, None)
    assert (third.outcome, third.seconds) == (None, None)


def test_what_became_of_a_wish_is_told_in_one_sentence() -> None:
    assert told("rerun", 2, 0, []) == Said("good", "2 tasks re-run")
    assert told("cancel", 1, 1, ["x: no"]) == Said(
        "mixed", "1 task cancelled; 1 task already so; 1 task refused", ("x: no",)
    )
    assert told("release", 0, 0, ["same"] * 9) == Said(
        "bad", "0 tasks released; 9 tasks refused", ("same",)
    )
    many = told("rerun", 0, 0, [str(n) for n in range(9)])
    assert many.lines[-1] == "and 4 more refusals"


# Sessions -----------------------------------------------------------------------------------


def test_a_session_is_in_its_cookie() -> None:
    session = Session.begin(TOKEN)
    assert Session.read(session.cookie) == session
    assert TOKEN not in repr(session)
    for cookie in (None, "", TOKEN, session.cookie + "0", f"{TOKEN}.x"):
        assert Session.read(cookie) is None


def test_a_proof_is_good_in_its_session_only() -> None:
    one, two = Session.begin(TOKEN), Session.begin(TOKEN)
    require_proof(one, one.proof)
    assert TOKEN not in one.proof
    for proof in (two.proof, "", "é", one.proof[:-1]):
        with pytest.raises(Forbidden):
            require_proof(one, proof)


def test_what_is_said_is_sealed_and_fits_a_cookie() -> None:
    session = Session.begin(TOKEN)
    said = Said("mixed", "two; <b>", ("é", "b"))
    sealed = session.seal_said(said)
    assert session.open_said(sealed) == said
    assert Session.begin(TOKEN).open_said(sealed) is None
    assert session.open_said("x" + sealed) is None
    assert session.open_said(None) is None
    long = session.seal_said(Said("bad", "x", tuple("long" * 300 for _ in range(5))))
    assert len(long) < 3_700
    assert session.open_said(long)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "host": "h"},
        {"origin": "null", "host": "h"},
        {"origin": "https://h.evil", "host": "h"},
        {"origin": "https://h:81", "host": "h", "sec-fetch-site": "same-origin"},
    ],
)
def test_other_sites_are_refused(headers: Mapping[str, str]) -> None:
    with pytest.raises(Forbidden):
        refuse_other_sites(headers)


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "https://h:8080", "host": "h:8080", "sec-fetch-site": "same-origin"}]
)
def test_our_own_pages_are_not(headers: Mapping[str, str]) -> None:
    refuse_other_sites(headers)


def test_pages_documents_and_replies_have_policies_of_their_own() -> None:
    for path in ("/", "/session", "/session/end", "/page/task"):
        assert "unsafe" not in policy(path)
        assert "form-action 'self'" in policy(path)
    assert "'unsafe-inline'" in policy("/docs")
    assert policy("/tasks") == policy("/api/v2/tasks") == policy("/health/live")
    assert "script-src" not in policy("/tasks")


@pytest.mark.parametrize("path", ["/tasks", "/api/v2/tasks"])
def test_a_defect_tells_browsers_the_same(path: str) -> None:
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    porch = SimpleNamespace(observer=Observer())
    app = SimpleNamespace(state=SimpleNamespace(porch=porch))
    reply = on_defect(Request({**scope, "server": ("h", 80), "app": app}), RuntimeError("secret"))
    assert reply.status_code == 500
    assert reply.headers["content-security-policy"] == policy(path)
    assert b"secret" not in reply.body
