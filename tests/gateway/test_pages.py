"""The pages that operators open, as a browser without scripts sees them."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html import escape, unescape
from urllib.parse import urlencode

import httpx
import pytest

from tests.factories import unique
from tests.gateway.conftest import http
from tests.gateway.forms import enter, forms, send
from tests.house import House, User, start, wait_until

HOSTILE = "<script>alert('x')</script>"


@contextmanager
def gateway(database_url: str, **env: str) -> Iterator[httpx.Client]:
    """A gateway of its own over a database, and a client of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start(
        *("porch-server", "gateway", "--port", str(port)),
        env={"PORCH_DATABASE_URL": database_url, **env},
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_until(lambda: _answers(client), what="the gateway answers")
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/live").is_success
    except httpx.TransportError:
        return False


def address(user: User, **wanted: str) -> str:
    """The address of the page with the tasks of a user."""
    return "/?" + urlencode({"pipeline": user.pipeline, **wanted})


def task_page(user: User, task: str) -> str:
    return "/page/task?" + urlencode({"pipeline": user.pipeline, "version": "1.0", "id": task})


def failed(user: User, *messages: str) -> list[str]:
    """Tasks that failed, each with a message of its own."""
    user.register(*({"sample": f"S{n}"} for n in range(len(messages))))
    tasks = user.client.claim(len(messages), job_id="lsf:4711")
    for task, message in zip(tasks, messages, strict=True):
        task.failed(message)
    return [task.task_input_id for task in tasks]


def listed(page: httpx.Response) -> set[str]:
    """The task_input_ids that a page links."""
    assert page.status_code == 200, page.text
    return set(re.findall(r"/page/task\?[^\"]*id=([0-9a-f]{64})", page.text))


def assert_page_words(page: httpx.Response) -> None:
    """What a page says of a refusal is nothing to be typed into a shell."""
    said = unescape(re.search(r'<div class="said.*?</div>', page.text, re.DOTALL)[0])  # type: ignore[index]
    assert not re.search(r"`|--[a-z]|PORCH_", said), said


def rows(page: httpx.Response) -> list[str]:
    """The inputs that a page lists, as they would be copied from it."""
    found = re.findall(r'<a class="input"[^>]*><span[^>]*>([^<]*)</span></a>', page.text)
    return [unescape(text) for text in found]


# Looking ------------------------------------------------------------------------------------


def test_the_page_shows_tasks_and_links_the_documents(anybody: httpx.Client, user: User) -> None:
    (task,) = user.register({"sample": "S1", "lane": 7})
    page = anybody.get(address(user))
    assert listed(page) == {task}
    text = unescape(page.text)
    assert user.pipeline in text
    assert '{"sample":"S1","lane":7}' in text
    assert re.search(r'<time datetime="20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ">', text)
    # Readable without colour: a sign and a word.
    assert re.search(r'<span class="status pending"><span [^>]*>○</span> PENDING</span>', text)
    for path in ("/docs", "/redoc", "/api/v1/openapi.json"):
        assert f'href="{path}"' in text


@pytest.mark.parametrize(
    "note",
    [
        'a "quoted" \\ word',
        'two  blanks,\n: and \' , "x": [1, 2]',
        "100% _ Ärger",
        "x" * 900,
        "a\u202eb \\u202e",
    ],
)
def test_what_is_copied_from_a_row_is_found(anybody: httpx.Client, user: User, note: str) -> None:
    (task,) = user.register({"sample": "S1", "more": [1, 2.5, {"note": note}]})
    user.register({"sample": "S1", "more": [1, 2.5, {"note": "another"}]})
    (row,) = (words for words in rows(anybody.get(address(user))) if "another" not in words)
    assert listed(anybody.get(address(user, text=row))) == {task}
    assert listed(anybody.get(address(user, text=row[38:]))) == {task}


def test_a_page_with_every_task_needs_no_address(anybody: httpx.Client, user: User) -> None:
    (task,) = user.register({"sample": "newest of all"})
    assert task in listed(anybody.get("/"))


def test_filters_are_addresses(anybody: httpx.Client, user: User) -> None:
    (failure,) = failed(user, "disk full")
    (waiting,) = user.register({"sample": "ERR99", "note": "plate 7 of Tuesday"})
    assert listed(anybody.get(address(user))) == {failure, waiting}
    assert listed(anybody.get(address(user, status="FAILED"))) == {failure}
    assert listed(anybody.get(address(user, status="PENDING"))) == {waiting}
    assert listed(anybody.get(address(user, text="Tuesday"))) == {waiting}
    assert listed(anybody.get(address(user, kind="not_done"))) >= {waiting}
    assert listed(anybody.get(address(user, kind="recent_failures"))) == {failure}
    assert listed(anybody.get(address(user, kind="long_running"))) == set()
    # As a form without scripts sends it: with the fields that were left empty.
    assert listed(anybody.get(address(user, status="", text="ERR99"))) == {waiting}


def test_a_pipeline_is_filtered_by_the_name_that_it_has(
    anybody: httpx.Client, house: House
) -> None:
    name = unique("two  blanks")
    with house.admin() as admin:
        admin.register_pipeline(name, uri="https://example.org/p", version="1.0")
    page = anybody.get("/?" + urlencode({"pipeline": name}))
    assert page.status_code == 200
    # Browsers run the blanks of an option together, unless it has a value.
    assert f'<option value="{name}" selected>' in page.text


@pytest.mark.parametrize(
    "query",
    ["status=GONE", "kind=odd", "hours=25", "after=elsewhere", "text=%00"],
)
def test_an_address_that_means_nothing_is_told_on_a_page(anybody: httpx.Client, query: str) -> None:
    page = anybody.get(f"/?{query}")
    assert page.status_code == 422
    assert page.headers["content-type"].startswith("text/html")
    assert "bad_request" in page.text
    assert "What to do" in page.text


@pytest.mark.parametrize(
    "path",
    [
        "/?pipeline=nobody",
        "/?pipeline=%00",
        "/?text=" + "x" * 2_000,
        "/?text=%ff%fe&pipeline=%ed%a0%80",
        "/page/task",
        "/page/task?id=%00",
        "/page/task?id=abcd&pipeline=%00",
        "/page/task?id=abcd&version=%00",
        "/session?back=%00",
        "/page/%00",
    ],
)
def test_no_address_is_a_defect(anybody: httpx.Client, path: str) -> None:
    page = anybody.get(path)
    assert page.status_code in (200, 404, 413, 422)
    assert page.headers["content-type"].startswith("text/html")


def test_more_tasks_than_a_page_holds_are_on_the_next_ones(
    anybody: httpx.Client, user: User
) -> None:
    tasks = set(user.register(*({"n": n} for n in range(120))))
    seen: list[str] = []
    path: str | None = address(user)
    while path:
        page = anybody.get(path)
        found = listed(page)
        assert len(found) <= 50
        seen += found
        more = re.search(r'href="([^"]+)" rel="next"', page.text)
        path = unescape(more[1]) if more else None
    assert sorted(seen) == sorted(tasks)


def test_counts_charts_and_failures_are_on_the_page(anybody: httpx.Client, user: User) -> None:
    failed(user, "cannot open /data/1.fa", "cannot open /data/2.fa")
    user.register({"sample": "good"})
    user.client.claim(1)[0].done()

    def with_all() -> str | None:
        # What pages before this one have shown may be remembered, run times for a minute.
        text = unescape(anybody.get(address(user)).text)
        counted = f'aria-label="2 FAILED of {user.pipeline}"' in text
        return text if counted and f'<th scope="row">{user.pipeline} <span' in text else None

    page = wait_until(with_all, 70.0, "the tasks are counted, and their run times")
    assert f'aria-label="1 DONE of {user.pipeline}"' in page
    # Each chart is an image with words, and has the same as a table.
    assert '<svg class="chart"' in page
    assert 'role="img" aria-labelledby="throughput-title throughput-words"' in page
    assert "Throughput of the last 24 hours" in page
    assert "Median</th>" in page
    assert len(re.findall('<details class="group">', page)) == 1
    assert "Nothing happened" not in page


def test_many_groups_of_failures_are_folded(anybody: httpx.Client, user: User) -> None:
    failed(user, *(f"error {word}" for word in "abcdefghij"))
    page = anybody.get(address(user)).text
    assert page.count('<details class="group">') == 10
    assert "2 more groups" in page


def test_a_task_has_a_page_with_all_that_happened(anybody: httpx.Client, user: User) -> None:
    (task,) = failed(user, "first line\nsecond line of the message")
    page = anybody.get(task_page(user, task))
    assert page.status_code == 200
    for words in ("Timeline", "Attempts", "lsf:4711", "second line of the message", task):
        assert words in page.text
    assert page.text.count('class="status failed"') >= 2


def test_a_task_that_is_none_is_told_on_a_page(anybody: httpx.Client, user: User) -> None:
    page = anybody.get(task_page(user, "f" * 64))
    assert page.status_code == 404
    assert "unknown_task" in page.text
    assert_page_words(page)
    assert_page_words(anybody.get("/?pipeline=nobody"))
    assert anybody.get("/page/nothing").status_code == 404


def test_what_people_write_stays_text(anybody: httpx.Client, user: User) -> None:
    user.register({"sample": HOSTILE})
    user.client.claim(1, job_id=HOSTILE)[0].failed(f"{HOSTILE}\n{HOSTILE}")
    (shown,) = user.client.list()
    for path in (
        address(user),
        address(user, text=HOSTILE),
        task_page(user, shown.task_input_id),
        f"/?{urlencode({'kind': HOSTILE})}",
        f"/page/task?{urlencode({'id': HOSTILE, 'pipeline': HOSTILE})}",
        f"/session?{urlencode({'back': HOSTILE})}",
        f"/page/{HOSTILE}",
    ):
        text = anybody.get(path).text
        assert "<script>alert" not in text, path
    assert (
        escape(HOSTILE, quote=False).replace("'", "&#39;")
        in anybody.get(task_page(user, shown.task_input_id)).text
    )


def test_nothing_unseen_changes_the_order_of_what_is_read(
    anybody: httpx.Client, user: User
) -> None:
    sly = "gpj.\u202egnp \u2066x\u2069 \u200b \x1b[31m"
    user.register({"sample": sly})
    user.client.claim(1, job_id=sly)[0].failed(f"{sly}\n{sly}")
    (shown,) = user.client.list()
    for path in (
        address(user),
        address(user, text=sly[:9]),
        address(user, text="gpj.\\u202egnp"),
        task_page(user, shown.task_input_id),
    ):
        text = anybody.get(path).text
        assert "gpj.\\u202egnp \\u2066x\\u2069 \\u200b \\u001b[31m" in text, path
        assert not set(text) & set("\u202e\u2066\u2069\u200b\x1b"), path


def test_a_long_input_is_whole_on_its_own_page_only(anybody: httpx.Client, user: User) -> None:
    (task,) = user.register({"note": "begin " + "x" * 5_000 + " end"})
    assert "x" * 1_000 not in anybody.get(address(user)).text
    assert "x" * 5_000 + " end" in anybody.get(task_page(user, task)).text


def test_the_pages_are_not_of_the_api(anybody: httpx.Client) -> None:
    paths = anybody.get("/api/v1/openapi.json").json()["paths"]
    assert not [path for path in paths if path.startswith(("/page", "/session")) or path == "/"]


# What browsers are told ---------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/session", "/page/nothing", "/page/task?id=zz"])
def test_pages_let_browsers_run_nothing_but_ours(anybody: httpx.Client, path: str) -> None:
    page = anybody.get(path)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for word in ("frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
        assert word in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "same-origin"
    assert page.headers["cache-control"] == "no-store"
    # Nothing that the policy would block: no style or script within the page.
    assert not re.search(r"<style|<script(?! src=)|\sstyle=|\son\w+=", page.text)


@pytest.mark.parametrize(
    "path", ["/", "/?status=DONE", "/?status=GONE", "/session", "/page/nothing", "/page/task?id=zz"]
)
def test_head_tells_what_get_would_without_the_page(anybody: httpx.Client, path: str) -> None:
    head, got = anybody.head(path), anybody.get(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    for name in ("content-type", "content-security-policy", "cache-control"):
        assert head.headers[name] == got.headers[name]


def test_head_changes_nothing(anybody: httpx.Client) -> None:
    assert anybody.head("/session/end").status_code == anybody.get("/session/end").status_code
    assert anybody.head("/page/act").status_code == 404


def test_replies_of_the_api_let_browsers_run_nothing_at_all(anybody: httpx.Client) -> None:
    reply = anybody.get("/health/live")
    assert reply.headers["content-security-policy"].startswith("default-src 'none'; frame-anc")
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_what_a_page_loads_is_served_by_us(anybody: httpx.Client) -> None:
    loaded = re.findall(r'<(?:link|script)[^>]+(?:src|href)="([^"]+)"', anybody.get("/").text)
    assert len(loaded) == 3
    for path in loaded:
        assert path.startswith("/page/static/")
        assert anybody.get(path).status_code == 200


# Sessions -----------------------------------------------------------------------------------


def test_a_token_is_entered_once_and_kept_from_scripts(anybody: httpx.Client, user: User) -> None:
    reply = anybody.post("/session", data={"token": user.token, "back": "/?status=DONE"})
    assert (reply.status_code, reply.headers["location"]) == (303, "/?status=DONE")
    cookies = reply.headers.get_list("set-cookie")
    assert len(cookies) == 2
    for cookie in cookies:
        for word in ("HttpOnly", "SameSite=strict", "Path=/"):
            assert word in cookie
        assert "Secure" not in cookie
    page = anybody.get("/").text
    assert "test token" in page
    assert user.token not in page
    assert "is in use" in page
    assert "is in use" not in anybody.get("/").text


def test_over_https_the_cookie_goes_nowhere_else(anybody: httpx.Client, user: User) -> None:
    # As a proxy on this machine tells it.
    headers = {"X-Forwarded-Proto": "https"}
    reply = anybody.post("/session", data={"token": user.token}, headers=headers)
    for cookie in reply.headers.get_list("set-cookie"):
        assert cookie.startswith("__Host-porch_")
        assert "Secure" in cookie


@pytest.mark.parametrize("token", ["", "nonsense", "0" * 32])
def test_a_token_that_is_none_is_told_in_plain_words(anybody: httpx.Client, token: str) -> None:
    page = enter(anybody, token)
    assert page.status_code == 403
    assert "This token is not accepted" in page.text
    assert "set-cookie" not in page.headers


def test_a_session_leads_back_to_our_pages_only(anybody: httpx.Client, user: User) -> None:
    for elsewhere in ("https://example.org/", "//example.org/", "/\\example.org", "javascript:1"):
        reply = anybody.post("/session", data={"token": user.token, "back": elsewhere})
        assert reply.headers["location"] == "/"


def test_signing_out_forgets_the_token(anybody: httpx.Client, user: User) -> None:
    page = enter(anybody, user.token)
    (form,) = forms(page, "/session/end")
    assert "Sign out" not in send(anybody, form).text
    assert "porch_session" not in anybody.cookies


def test_a_token_that_was_revoked_ends_its_sessions(
    house: House, anybody: httpx.Client, user: User
) -> None:
    (task,) = user.register({"sample": "S1"})
    enter(anybody, user.token)
    page = anybody.get(task_page(user, task))
    with house.admin() as admin:
        (token,) = admin.tokens(pipeline=user.pipeline)
        admin.revoke_token(token.token_id)
    (form,) = forms(page, "/page/act")
    assert "no longer good" in anybody.get("/").text
    after = send(anybody, form, verb="cancel", task=form.fields["task"])
    assert after.status_code == 403
    assert "revoked_token" in after.text
    assert "porch_session" not in anybody.cookies
    with house.admin() as admin:
        assert admin.show(task, pipeline=user.pipeline)[0].status == "PENDING"


# Doing --------------------------------------------------------------------------------------


def test_selected_tasks_are_run_again(anybody: httpx.Client, user: User) -> None:
    failed(user, "one", "two", "three")
    enter(anybody, user.token)
    page = anybody.get(address(user, status="FAILED"))
    (form,) = forms(page, "/page/act")
    chosen = form.fields["task"][:2]
    after = send(anybody, form, verb="rerun", task=chosen, reason="disk is back")
    assert "2 tasks re-run" in after.text
    # The same view as before.
    assert str(after.url).endswith(address(user, status="FAILED"))
    assert len(listed(after)) == 1
    assert user.client.count()["PENDING"] == 2


def test_who_and_why_are_in_the_history(anybody: httpx.Client, user: User) -> None:
    (task,) = failed(user, "one")
    enter(anybody, user.token)
    (form,) = forms(anybody.get(task_page(user, task)), "/page/act")
    after = send(anybody, form, verb="rerun", task=form.fields["task"], reason="disk is back")
    assert "1 task re-run" in after.text
    event = user.history(task)[-1]
    assert (event.to_status, event.message, event.token) == (
        "PENDING",
        "disk is back",
        "test token",
    )


def test_work_is_cancelled_and_given_back(anybody: httpx.Client, user: User) -> None:
    user.register({"n": 1}, {"n": 2})
    (held,) = user.client.claim(1)
    enter(anybody, user.token)
    (form,) = forms(anybody.get(task_page(user, held.task_input_id)), "/page/act")
    assert "1 task released" in send(anybody, form, verb="release", task=form.fields["task"]).text
    assert user.status(held.task_input_id) == "PENDING"
    (form,) = forms(anybody.get(address(user)), "/page/act")
    assert "2 tasks cancelled" in send(anybody, form, verb="cancel", task=form.fields["task"]).text


def test_what_changed_since_the_page_was_loaded_is_left_alone(
    anybody: httpx.Client, user: User
) -> None:
    (task,) = user.register({"n": 1})
    enter(anybody, user.token)
    (form,) = forms(anybody.get(task_page(user, task)), "/page/act")
    user.client.claim(1)
    after = send(anybody, form, verb="cancel", task=form.fields["task"])
    assert "1 task refused" in after.text
    assert "status_changed" in after.text
    assert_page_words(after)
    assert user.status(task) == "CLAIMED"


def test_what_was_started_since_is_not_released(anybody: httpx.Client, user: User) -> None:
    (task,) = user.register({"n": 1})
    (held,) = user.client.claim(1)
    enter(anybody, user.token)
    (form,) = forms(anybody.get(task_page(user, task)), "/page/act")
    held.running()
    after = send(anybody, form, verb="release", task=form.fields["task"])
    assert "status_changed" in after.text
    assert user.status(task) == "RUNNING"


def test_done_work_is_run_again_with_force_and_a_reason_only(
    anybody: httpx.Client, user: User
) -> None:
    (task,) = user.register({"n": 1})
    user.client.claim(1)[0].done()
    enter(anybody, user.token)
    (form,) = forms(anybody.get(task_page(user, task)), "/page/act")
    chosen = form.fields["task"]
    assert "force_needed" in send(anybody, form, verb="rerun", task=chosen).text
    assert "reason_needed" in send(anybody, form, verb="rerun", task=chosen, force="yes").text
    assert_page_words(send(anybody, form, verb="rerun", task=chosen))
    assert user.status(task) == "DONE"
    send(anybody, form, verb="rerun", task=chosen, force="yes", reason="wrong reference")
    assert user.status(task) == "PENDING"


def test_a_whole_group_of_failures_is_run_again(anybody: httpx.Client, user: User) -> None:
    failed(user, *(f"cannot open /data/run{n}.fa: error {n}" for n in range(7)))
    enter(anybody, user.token)
    (form,) = forms(anybody.get(address(user)), "/page/rerun-failures")
    after = send(anybody, form, reason="disk is back")
    assert "7 tasks re-run" in after.text
    assert user.client.count()["PENDING"] == 7
    assert "No task is left of this group" in send(anybody, form).text


def test_a_group_whose_message_has_several_lines_is_run_again(
    anybody: httpx.Client, user: User
) -> None:
    failed(user, *(f"Traceback:\r\n  line {n}\nKeyError: 'Ärger'\n" for n in range(2)))
    enter(anybody, user.token)
    (form,) = forms(anybody.get(address(user)), "/page/rerun-failures")
    assert "2 tasks re-run" in send(anybody, form).text


@pytest.mark.parametrize(
    "group",
    [
        *("", "[]", "null", "[" * 9_999, '["a", "b", 1]', '["a", "b", "now"]'),
        *('["a", 1, "2026-11-25T12:00:00Z"]', '["a", "b", "2026-11-25T12:00:00"]'),
    ],
)
def test_a_group_that_no_page_names_is_refused(
    anybody: httpx.Client, user: User, group: str
) -> None:
    (form,) = forms(enter(anybody, user.token), "/session/end")
    page = send(anybody, replace(form, action="/page/rerun-failures"), group=group)
    assert page.status_code == 422
    assert "bad_request" in page.text


def test_nothing_selected_is_said(anybody: httpx.Client, user: User) -> None:
    user.register({"n": 1})
    enter(anybody, user.token)
    (form,) = forms(anybody.get(address(user)), "/page/act")
    assert "No task was selected" in send(anybody, form, verb="rerun").text


def test_a_token_of_another_pipeline_is_told_so(anybody: httpx.Client, house: House) -> None:
    with User(house) as mine, User(house) as other:
        failed(other, "one")
        enter(anybody, mine.token)
        page = anybody.get(address(other))
        (form,) = forms(page, "/page/act")
        (group,) = forms(page, "/page/rerun-failures")
        chosen = form.fields["task"]
        for after in (send(anybody, form, verb="rerun", task=chosen), send(anybody, group)):
            assert "forbidden" in after.text
            assert "use a token of that pipeline" in after.text
        assert other.client.count() == {"FAILED": 1}


def test_an_administrator_looks_but_does_not_run_again(
    anybody: httpx.Client, house: House, user: User
) -> None:
    failed(user, "one")
    enter(anybody, house.ready["admin_token"])
    page = anybody.get(address(user))
    (form,) = forms(page, "/page/act")
    after = send(anybody, form, verb="rerun", task=form.fields["task"])
    assert "forbidden" in after.text
    assert "enter a token of the pipeline" in after.text
    assert_page_words(after)


@pytest.mark.parametrize("task", ["", "[]", "null", '["a", "b", "c", "FAILED", true]', "[" * 9_999])
def test_a_form_that_no_page_made_is_refused(anybody: httpx.Client, user: User, task: str) -> None:
    page = enter(anybody, user.token)
    (form,) = forms(page, "/session/end")
    fields = {**form.hidden, "verb": "rerun", "task": task}
    reply = anybody.post("/page/act", data=fields)
    assert reply.status_code == 422
    assert "bad_request" in reply.text


@pytest.mark.parametrize("odd", ["\\u0000", "\\ud800", HOSTILE])
def test_a_task_that_cannot_be_is_refused(anybody: httpx.Client, user: User, odd: str) -> None:
    (form,) = forms(enter(anybody, user.token), "/session/end")
    for task in (
        f'["{odd}", "1.0", "abcd", "FAILED", 1]',
        f'["{user.pipeline}", "{odd}", "abcd", "FAILED", 1]',
        f'["{user.pipeline}", "1.0", "{odd}", "FAILED", 1]',
    ):
        for verb in ("rerun", "release"):
            page = send(anybody, replace(form, action="/page/act"), verb=verb, task=task)
            assert page.status_code in (200, 422)
            assert 'class="said bad"' in page.text
    group = replace(form, action="/page/rerun-failures")
    page = send(anybody, group, group=json.dumps([user.pipeline, "\0", "2026-11-25T12:00:00Z"]))
    assert "Nothing was re-run" in page.text


# Wishes that are not the operator's ---------------------------------------------------------

POSTS = ("/page/act", "/page/rerun-failures", "/session/end")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("proof", [None, "", "0" * 64, "é"])
def test_a_change_without_the_proof_of_the_session_is_refused(
    anybody: httpx.Client, user: User, path: str, proof: str | None
) -> None:
    enter(anybody, user.token)
    reply = anybody.post(path, data={} if proof is None else {"proof": proof})
    assert reply.status_code == 403
    assert "does not belong to your session" in reply.text
    assert "porch_session" in anybody.cookies


def test_the_proof_of_another_session_is_worth_nothing(house: House, user: User) -> None:
    with http(house) as one, http(house) as two:
        (form,) = forms(enter(one, user.token), "/session/end")
        enter(two, user.token)
        assert two.post("/session/end", data=form.hidden).status_code == 403


@pytest.mark.parametrize("path", [*POSTS, "/session"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://example.org"},
        {"Origin": "null"},
    ],
)
def test_a_change_that_another_site_asks_for_is_refused(
    anybody: httpx.Client, user: User, path: str, headers: dict[str, str]
) -> None:
    (form,) = forms(enter(anybody, user.token), "/session/end")
    fields = {**form.hidden, "token": user.token, "verb": "rerun"}
    reply = anybody.post(path, data=fields, headers=headers)
    assert reply.status_code == 403
    assert "another site" in reply.text


def test_a_change_without_a_session_is_asked_for_a_token(anybody: httpx.Client) -> None:
    reply = anybody.post("/page/act", data={"verb": "rerun"})
    assert (reply.status_code, reply.headers["location"]) == (303, "/session?back=%2F")


def test_a_message_that_porch_did_not_seal_is_not_said(anybody: httpx.Client, user: User) -> None:
    enter(anybody, user.token)
    anybody.cookies.set("porch_said", "eyJraW5kIjoiZ29vZCJ9.0000")
    assert 'class="said' not in anybody.get("/").text


# Other houses -------------------------------------------------------------------------------


def test_where_looking_needs_a_token_the_page_asks_for_it(house: House, user: User) -> None:
    (mine,) = user.register({"n": 1})
    with (
        User(house) as other,
        gateway(house.ready["database_url"], PORCH_READS_NEED_TOKEN="true") as client,
    ):
        other.register({"n": 2})
        for path in ("/", task_page(user, mine)):
            reply = client.get(path)
            assert reply.status_code == 303
            assert reply.headers["location"] == "/session?" + urlencode({"back": path})
        # A pipeline's token shows that pipeline and no other.
        assert listed(enter(client, user.token)) == {mine}
        assert client.get(task_page(user, mine)).status_code == 200
        assert client.get(task_page(other, mine)).status_code == 403


def test_a_database_that_is_away_is_told_on_a_page() -> None:
    with gateway("postgresql+psycopg2://porch@127.0.0.1:9/porch") as client:
        page = client.get("/")
        assert page.status_code == 503
        assert page.headers["retry-after"] == "5"
        assert "database_away" in page.text
        assert "Traceback" not in page.text
        assert client.post("/session", data={"token": "0" * 32}).status_code == 503
