"""Whoever looks at a pipeline of which much has been pruned: commands, pages, the feed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest

from porch_client.model import Change
from tests.factories import definitions
from tests.house import House, User, json_lines, run

DAYS = """
    WITH mine AS (
        SELECT task_id FROM porch.task JOIN porch.pipeline USING (pipeline_id) WHERE name = %s
    ), aged AS (
        UPDATE porch.event SET at = at - interval '3 days' WHERE task_id IN (SELECT * FROM mine)
    )
    UPDATE porch.task SET updated_at = updated_at - interval '3 days'
    WHERE task_id IN (SELECT * FROM mine)
    """


@dataclass
class Pruned:
    """A pipeline whose four ended tasks are pruned, and what was told of them before."""

    user: User
    events: list[int]
    failed: list[str]
    done: str
    groups: list[dict[str, Any]]


def groups(user: User) -> list[dict[str, Any]]:
    found = user.porch("failures")
    assert found.returncode == 0, found.stderr
    return json_lines(found.stdout)


@pytest.fixture(scope="module")
def pruned(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pruned]:
    with User(house) as user:
        user.register(*definitions(5))
        ended = user.client.claim(4)
        says = [("FAILED", f"no space left on /disk/{n}") for n in range(3)] + [("DONE", None)]
        for claimed, (status, message) in zip(ended, says, strict=True):
            claimed.running()
            user.client.update([Change(claimed.task_input_id, status, 1, message)])
        url = house.ready["database_url"]
        with closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection, connection:
            connection.cursor().execute(DAYS, (user.pipeline,))
        told = [
            event_id
            for (event_id,) in house.ask(
                "SELECT event_id FROM porch.event JOIN porch.task USING (task_id)"
                " JOIN porch.pipeline USING (pipeline_id) WHERE name = %s ORDER BY 1",
                user.pipeline,
            )
        ]
        before = groups(user)
        with house.admin() as admin:
            admin.set_policy(user.pipeline, keep={"DONE": 86_400, "FAILED": 86_400})
        folder = tmp_path_factory.mktemp("archive")
        argv = ("archive", "--to", str(folder), "--json")
        done = run("porch-server", *argv, env={"PORCH_DATABASE_URL": url})
        assert done.returncode == 0, done.stderr
        assert sum(line.get("tasks", 0) for line in json_lines(done.stdout)) == 4
        keys = [claimed.task_input_id for claimed in ended]
        yield Pruned(user, told, keys[:3], keys[3], before)


def test_failures_are_grouped_as_before(pruned: Pruned) -> None:
    (group,) = groups(pruned.user)
    assert [group] == pruned.groups
    assert group["tasks"] == 3


def test_a_group_is_not_run_again_and_it_is_told_why(pruned: Pruned) -> None:
    (group,) = pruned.groups
    argv = ("rerun", "--alike", group["group"], "--reason", "mended", "--yes")
    done = pruned.user.porch(*argv)
    assert done.returncode == 1
    assert "task_pruned" in done.stderr
    assert "porch-server restore" in done.stderr
    assert pruned.user.client.count() == {"FAILED": 3, "DONE": 1, "PENDING": 1}


def test_stats_are_told_in_every_form(pruned: Pruned, tmp_path: Path) -> None:
    picture = tmp_path / "stats.svg"
    assert json.loads(pruned.user.porch("stats", "--hours", "200").stdout)
    done = pruned.user.porch("stats", "--hours", "200", "--svg", str(picture))
    assert done.returncode == 0, done.stderr
    assert picture.stat().st_size > 0


def test_lists_and_counts_have_them_without_an_input(pruned: Pruned) -> None:
    listed = json_lines(pruned.user.porch("list").stdout)
    assert {
        one["task_input_id"]: one["task_input"] is None for one in listed if one["attempt"]
    } == (dict.fromkeys([*pruned.failed, pruned.done], True))
    assert len(listed) == 5
    counted = json.loads(pruned.user.porch("list", "--count").stdout)
    assert counted == {"FAILED": 3, "DONE": 1, "PENDING": 1}
    found = pruned.user.porch("list", "--message-like", "no space left%", "--count")
    assert json.loads(found.stdout) == {"FAILED": 3}


def test_one_that_is_shown_says_so(pruned: Pruned) -> None:
    shown = pruned.user.porch("show", pruned.failed[0])
    assert shown.returncode == 0, shown.stderr
    assert "pruned: its input and earlier history are no longer kept" in shown.stdout
    assert "no space left on /disk/0" in shown.stdout


def test_pages_and_answers_over_http_have_them(pruned: Pruned, house: House) -> None:
    gateway, pipeline = house.ready["gateway_url"], pruned.user.pipeline
    key = pruned.failed[0]
    for path in (
        "/",
        f"/?pipeline={pipeline}",
        f"/?pipeline={pipeline}&kind=recent_failures",
        f"/?pipeline={pipeline}&status=DONE",
        f"/page/task?pipeline={pipeline}&id={key}",
    ):
        page = httpx.get(f"{gateway}{path}", follow_redirects=True)
        assert page.status_code == 200, (path, page.text)
        assert ">None<" not in page.text
        assert ">null<" not in page.text
    assert "pruned" in page.text
    headers = {"Authorization": f"Bearer {pruned.user.token}"}
    api = f"{gateway}/api/v2"
    task = httpx.get(f"{api}/tasks/{key}", headers=headers).json()
    assert task["task_input"] is None
    events = httpx.get(f"{api}/tasks/{key}/events", headers=headers).json()
    assert "no space left on /disk/0" in json.dumps(events)
    listed = httpx.get(f"{api}/tasks", headers=headers, params={"status": "FAILED"})
    assert listed.status_code == 200


def test_the_feed_goes_on_from_nowhere_that_has_a_gap(pruned: Pruned) -> None:
    first, last = pruned.events[1], pruned.events[-1]
    done = pruned.user.porch("watch", "--after", str(first))
    assert done.returncode == 1
    assert f"porch: feed_pruned: changes between the events {first} and " in done.stderr
    assert done.stdout == ""
    # From all that is kept, and from behind the gap, it is followed as ever.
    feed = pruned.user.client.watch(after=0)
    kept = [next(feed).event_id for _ in range(5)]
    assert kept == sorted(kept)
    assert kept[-1] == last
    behind = re.search(r"behind the gap \(--after (\d+)\)", done.stderr)
    assert behind is not None
    feed = pruned.user.client.watch(after=int(behind[1]))
    assert next(feed).event_id > int(behind[1])
