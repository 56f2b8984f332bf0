"""An operator at the page, in a real browser: what is seen, clicked, typed and heard."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Page, expect

from tests.house import User, wait_until

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
Window = Callable[..., Page]
Keep = Callable[[Page, str], None]


def prepared(user: User) -> None:
    """Four tasks that failed alike, one that failed otherwise, some that did not."""
    user.register(*({"sample": f"S{n}", "lane": n} for n in range(12)))
    tasks = user.client.claim(9, job_id="lsf:4711")
    for n, task in enumerate(tasks[:4]):
        task.failed(f"cannot open /data/run{n}.fa: No such file or directory")
    tasks[4].failed("<script>document.title = 'owned'</script>")
    for task in tasks[5:8]:
        task.running()
        task.done()


def sign_in(page: Page, token: str) -> None:
    page.get_by_role("link", name="Enter a token").first.click()
    page.get_by_label("Token", exact=True).fill(token)
    page.get_by_role("button", name="Use this token").click()
    expect(page.get_by_role("status")).to_contain_text("is in use")


def see(page: Page, user: User) -> None:
    """Open the page, once it knows of the pipeline: it may remember its counts for a moment."""
    option = page.locator("#pipeline option", has_text=user.pipeline)
    wait_until(lambda: page.goto("/") and option.count(), what="the pipeline is in the list")


def faults(page: Page) -> list[tuple[str, str, Any]]:
    """What axe finds wrong with a page. It goes in by the driver: the page's own policy holds."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")
    assert len(found["passes"]) > 10
    return [
        (v["impact"], v["id"], [node["target"] for node in v["nodes"]]) for v in found["violations"]
    ]


def test_an_operator_filters_opens_a_task_and_runs_a_group_of_failures_again(
    window: Window, user: User, keep: Keep
) -> None:
    prepared(user)
    page = window()
    see(page, user)
    keep(page, "first-view")

    # Filter.
    page.get_by_label("Pipeline", exact=True).select_option(user.pipeline)
    page.get_by_label("Status", exact=True).select_option("FAILED")
    page.get_by_role("button", name="Filter").click()
    # The fields that were left empty are not in the address.
    assert page.url.endswith(f"/?pipeline={user.pipeline}&status=FAILED")
    rows = page.locator("table.list tbody tr")
    expect(rows).to_have_count(5)
    expect(rows.first).to_contain_text("ago")

    # Open a task.
    page.get_by_role("link", name='{"sample":').first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Task ")
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    expect(page.locator("table.timeline")).to_contain_text("lsf:4711")
    keep(page, "task")

    # Enter a token; back at the same task.
    sign_in(page, user.token)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Task ")

    # Run a group again.
    page.goto(f"/?pipeline={user.pipeline}")
    group = page.locator("details.group", has_text="cannot open")
    expect(group.locator(".many")).to_contain_text("4")
    group.locator("summary").click()
    keep(page, "group")
    group.get_by_label("Reason").fill("disk is back")
    group.get_by_role("button", name="Re-run all 4").click()
    expect(page.get_by_role("status")).to_contain_text("4 tasks re-run")
    expect(page.locator("details.group")).to_have_count(1)
    keep(page, "group-re-run")
    assert user.client.count()["FAILED"] == 1
    # What a message holds is text, also in a browser.
    assert "owned" not in page.title()


def test_a_group_of_tracebacks_is_run_again(window: Window, user: User) -> None:
    user.register({"n": 1}, {"n": 2})
    for n, task in enumerate(user.client.claim(2)):
        task.failed(f"Traceback (most recent call last):\n  line {n}, in <module>\nKeyError: 'x'\n")
    page = window()
    page.goto("/session")
    sign_in(page, user.token)
    page.goto(f"/?pipeline={user.pipeline}")
    group = page.locator("details.group", has_text="Traceback")
    group.locator("summary").click()
    group.get_by_role("button", name="Re-run all 2").click()
    expect(page.get_by_role("status")).to_contain_text("2 tasks re-run")


def test_the_box_in_the_corner_selects_every_task(window: Window, user: User) -> None:
    prepared(user)
    page = window()
    page.goto("/session")
    sign_in(page, user.token)
    page.goto(f"/?pipeline={user.pipeline}&status=PENDING")
    cancel = page.get_by_role("button", name="Cancel")
    expect(cancel).to_be_disabled()
    page.get_by_label("Select every task of this page").check()
    expect(page.locator("#picked")).to_have_text("3 selected")
    cancel.click()
    expect(page.get_by_role("status")).to_contain_text("3 tasks cancelled")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Use this token")).to_be_visible()


def test_all_of_it_works_without_scripts(window: Window, user: User, keep: Keep) -> None:
    prepared(user)
    page = window(java_script_enabled=False)
    page.goto("/session")
    sign_in(page, user.token)
    see(page, user)
    page.get_by_label("Pipeline", exact=True).select_option(user.pipeline)
    page.get_by_label("Text in the input").fill("S0")
    page.get_by_role("button", name="Filter").click()
    page.locator("table.list input[type=checkbox]").check()
    page.get_by_role("button", name="Re-run").last.click()
    expect(page.get_by_role("status")).to_contain_text("1 task re-run")
    keep(page, "without-scripts")


def test_a_keyboard_is_enough(window: Window, user: User) -> None:
    prepared(user)
    page = window()
    page.goto(f"/?pipeline={user.pipeline}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.type("S3")
    page.keyboard.press("Enter")
    expect(page.locator("table.list tbody tr")).to_have_count(1)
    # Whatever has the focus shows it.
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible(window: Window, user: User, keep: Keep, scheme: str) -> None:
    prepared(user)
    page = window(color_scheme=scheme)
    page.goto("/session")
    assert faults(page) == []
    sign_in(page, user.token)
    page.goto(f"/?pipeline={user.pipeline}")
    for closed in page.locator("details > summary").all():
        closed.click()
    assert faults(page) == []
    keep(page, f"tasks-{scheme}")
    page.locator(".status.failed").first.locator("xpath=ancestor::tr").locator("a.input").click()
    assert faults(page) == []
    keep(page, f"task-{scheme}")
    page.get_by_role("button", name="Re-run").click()
    expect(page.get_by_role("status")).to_contain_text("1 task re-run")
    assert faults(page) == []
    # On a phone nothing but the tables scrolls sideways.
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"/?pipeline={user.pipeline}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert faults(page) == []
    keep(page, f"phone-{scheme}")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_documents_are_shown_under_their_policy(window: Window, path: str) -> None:
    page = window()
    page.goto(path)
    expect(page.get_by_role("heading", name=re.compile("porch")).first).to_be_visible()
    expect(page.get_by_text("/health/live").first).to_be_visible()
