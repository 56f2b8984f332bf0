"""The verbs of batch scripts and of people: claim, update, release, rerun, cancel, show, list."""

from __future__ import annotations

import json
import re
import subprocess
import time
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest

from porch_client.model import Change
from tests.factories import unique
from tests.house import BIN, House, User, environment, json_lines


def refused(done: Any, code: str, says: str, cure: str = "") -> None:
    """The command was refused by a rule, and says by which, why and what to do."""
    told = [line for line in done.stderr.splitlines() if line.startswith(f"porch: {code}: ")]
    assert told, done.stderr
    assert says in told[0]
    assert cure in told[0]
    assert done.returncode == 1


def claimed(user: User, **task_input: Any) -> str:
    """A task in the hands of this user."""
    (task,) = user.register(task_input or {"Run": "ERR1"})
    user.client.claim(1)
    return task


def ended(user: User, status: str, message: str | None = None) -> str:
    """A task that is DONE or FAILED."""
    task = claimed(user)
    user.client.update([Change(task, status, 1, message)])
    return task


# Claim --------------------------------------------------------------------------------------


def test_a_claim_prints_each_task_once(user: User) -> None:
    keys = user.register({"n": 1}, {"n": 2}, {"n": 3})
    lines = [
        *json_lines(user.porch("claim", "-n", "2").stdout),
        *json_lines(user.porch("claim").stdout),
    ]
    assert sorted(line["task_input_id"] for line in lines) == sorted(keys)
    assert {line["attempt"] for line in lines} == {1}


def test_an_empty_claim_queue_is_no_error(user: User) -> None:
    done = user.porch("claim")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "  nothing to claim\n")


def test_a_claim_repeated_under_its_name_gets_the_same_and_no_more(user: User) -> None:
    user.register({"n": 1}, {"n": 2}, {"n": 3}, {"n": 4})
    argv = ("claim", "-n", "2", "--request-id", str(uuid4()))
    first, again = user.porch(*argv), user.porch(*argv)
    assert len(json_lines(first.stdout)) == 2
    assert sorted(again.stdout.splitlines()) == sorted(first.stdout.splitlines())
    assert user.client.count() == {"PENDING": 2, "CLAIMED": 2}


def test_higher_priorities_are_claimed_first(user: User) -> None:
    for priority in ("0", "-5", "10"):
        text = json.dumps({"priority": priority})
        user.porch("submit", "--quiet", "--priority", priority, "-", input=text)
    lines = json_lines(user.porch("claim", "-n", "3").stdout)
    assert [line["task_input"]["priority"] for line in lines] == ["10", "0", "-5"]


def test_a_claim_that_cannot_be_written_tells_how_to_give_it_back(user: User) -> None:
    user.register({"Run": "ERR1"})
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [str(BIN / "porch"), "claim"],
            env=environment(user.house.env(user.token)),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 74
    assert "porch: cannot_write: stdout: No space left on device" in done.stderr
    (name,) = re.findall(r"`porch release --claim (\S+)`", done.stderr)
    assert user.porch("release", "--claim", name).returncode == 0
    assert user.client.count() == {"PENDING": 1}


# Reports ------------------------------------------------------------------------------------


def test_a_task_is_reported_by_a_prefix_of_its_id(user: User) -> None:
    task = claimed(user)
    done = user.porch("update", task[:8], "--status", "DONE", "--attempt", "1")
    assert json_lines(done.stdout) == [
        {
            "task_input_id": task,
            "version": "1.0",
            "status": "DONE",
            "attempt": 1,
            "changed": True,
            "lease": None,
        }
    ]


def test_a_report_repeated_succeeds_and_adds_no_event(user: User) -> None:
    task = ended(user, "DONE")
    done = user.porch("update", task, "--status", "DONE", "--attempt", "1")
    assert done.returncode == 0
    assert json_lines(done.stdout)[0]["changed"] is False
    assert [event.to_status for event in user.history(task)] == ["PENDING", "CLAIMED", "DONE"]


def test_a_report_of_an_earlier_attempt_is_refused_and_changes_nothing(user: User) -> None:
    task = claimed(user)
    user.client.release([(task, 1, None)])
    user.client.claim(1)
    done = user.porch("update", task, "--status", "DONE", "--attempt", "1")
    refused(done, "stale_attempt", "is in attempt 2 (CLAIMED)", "stop")
    assert user.status(task) == "CLAIMED"


def test_an_illegal_change_says_what_is_allowed(user: User) -> None:
    task = ended(user, "DONE")
    done = user.porch("update", task, "--status", "FAILED")
    refused(done, "illegal_change", "is DONE and cannot become FAILED", "PENDING (rerun)")


def test_one_refused_report_does_not_keep_the_others_back(user: User) -> None:
    task = claimed(user)
    done = user.porch("update", "0" * 64, task, "--status", "RUNNING", "--attempt", "1")
    refused(done, "unknown_task", "no task")
    assert user.status(task) == "RUNNING"


def test_an_ambiguous_prefix_is_told_with_what_fits(user: User) -> None:
    # 700 keys share one of 65,536 prefixes of four digits with all but certainty.
    keys = sorted(user.register(*({"n": n} for n in range(700))))
    prefix, first, second = next((a[:4], a, b) for a, b in pairwise(keys) if a[:4] == b[:4])
    done = user.porch("show", prefix)
    refused(done, "ambiguous_task", f"{first[:8]}, {second[:8]}", "give more digits")


def test_a_heartbeat_renews_the_lease_and_tells_how_long_it_is(house: House, user: User) -> None:
    with house.admin() as admin:
        admin.set_policy(user.pipeline, lease=3600)
    task = claimed(user)
    before = user.client.show(task)[0].lease_until
    (line,) = json_lines(user.porch("heartbeat", task, "--attempt", "1").stdout)
    assert line["lease"] == 3600
    after = user.client.show(task)[0].lease_until
    assert before is not None
    assert after is not None
    assert after > before


def test_a_task_is_given_back_by_its_id(user: User) -> None:
    task = claimed(user)
    assert user.porch("release", task, "--attempt", "1", "--message", "no room").returncode == 0
    assert user.status(task) == "PENDING"
    assert user.history(task)[-1].message == "no room"


def test_a_whole_claim_is_given_back_but_for_what_has_started(user: User) -> None:
    user.register({"n": 1}, {"n": 2}, {"n": 3})
    name = str(uuid4())
    started, *_ = user.client.claim(3, request_id=name)
    started.running()
    assert user.porch("release", "--claim", name).returncode == 0
    assert user.client.count() == {"PENDING": 2, "RUNNING": 1}


# Decisions ----------------------------------------------------------------------------------


def test_a_failed_task_is_run_again_as_a_new_attempt(user: User) -> None:
    task = ended(user, "FAILED")
    assert user.porch("rerun", task[:10], "--reason", "disk is larger now").returncode == 0
    assert user.history(task)[-1].message == "disk is larger now"
    assert json_lines(user.porch("claim").stdout)[0]["attempt"] == 2


@pytest.mark.parametrize(
    ("options", "code", "cure"),
    [
        ((), "force_needed", "add --force --reason"),
        (("--force",), "reason_needed", "--reason"),
        (("--reason", "r"), "force_needed", "add --force"),
    ],
)
def test_done_work_is_not_run_again_unless_it_is_said_twice(
    user: User, options: tuple[str, ...], code: str, cure: str
) -> None:
    task = ended(user, "DONE")
    refused(user.porch("rerun", task, *options), code, "is DONE", cure)
    assert user.status(task) == "DONE"


def test_done_work_is_run_again_with_force_and_a_reason(user: User) -> None:
    task = ended(user, "DONE")
    assert user.porch("rerun", task, "--force", "--reason", "new reference").returncode == 0
    assert user.status(task) == "PENDING"


def test_a_rerun_of_what_has_changed_since_is_refused(user: User) -> None:
    task = claimed(user)
    done = user.porch("rerun", task, "--status", "FAILED", "--attempt", "1")
    refused(done, "status_changed", "is CLAIMED in attempt 1 now", "porch show")


def test_a_cancelled_task_is_not_claimed(user: User) -> None:
    (task,) = user.register({"Run": "ERR1"})
    assert user.porch("cancel", task, "--reason", "withdrawn").returncode == 0
    assert user.porch("claim").stdout == ""
    assert user.status(task) == "CANCELLED"


# Looking ------------------------------------------------------------------------------------


def test_show_tells_the_history_to_people(house: House, user: User) -> None:
    (task,) = user.register({"Run": "ERR4182369", "LibraryLayout": "SINGLE"})
    user.client.claim(1)[0].running()
    user.client.update([Change(task, "FAILED", 1, "exit 1: bgzip: No space left on device")])
    with house.admin() as admin:
        _, secret = admin.issue_token(pipeline=user.pipeline, description="farm")
    house.porch("rerun", task, token=secret)
    shown = user.porch("show", task[:8]).stdout
    clock = r"\d\d:\d\d:\d\d"
    expected = [
        rf'  {user.pipeline} 1\.0  \{{"Run": "ERR4182369", "LibraryLayout": "SINGLE"\}}'
        r"   PENDING  attempt 1",
        rf"  {task}",
        r"  \d{4}-\d\d-\d\d UTC",
        rf'  {clock}  -> PENDING +token "test token"  host \S+',
        rf"  {clock}  PENDING -> CLAIMED  attempt 1",
        rf"  {clock}  CLAIMED -> RUNNING",
        rf"  {clock}  RUNNING -> FAILED +exit 1: bgzip: No space left on device",
        rf'  {clock}  FAILED -> PENDING +token "farm"',
    ]
    lines = shown.splitlines()
    assert len(lines) == len(expected), shown
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line)


def test_show_json_is_one_line_for_programs(user: User) -> None:
    task = ended(user, "DONE")
    (shown,) = json_lines(user.porch("show", "--json", task[:8]).stdout)
    assert shown["task"]["task_input_id"] == task
    path = [(event["from_status"], event["to_status"]) for event in shown["events"]]
    assert path == [(None, "PENDING"), ("PENDING", "CLAIMED"), ("CLAIMED", "DONE")]


def test_an_unknown_task_is_told(user: User) -> None:
    refused(user.porch("show", "0123456789"), "unknown_task", '"0123456789"', "porch list")


@pytest.fixture
def library(user: User) -> User:
    """A user with a task DONE, one CLAIMED and two PENDING."""
    user.register({"Run": "ERR1", "n": 1}, priority=9)
    user.register({"Run": "ERR2", "n": 2}, priority=8)
    user.register({"Run": "SRR3", "n": 3}, {"Run": "SRR4", "n": 4})
    user.client.claim(2)[0].done()
    return user


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        ((), {"ERR1", "ERR2", "SRR3", "SRR4"}),
        (("--status", "DONE"), {"ERR1"}),
        (("--status", "DONE", "--status", "claimed"), {"ERR1", "ERR2"}),
        (("--text", "SRR"), {"SRR3", "SRR4"}),
        (("--since", "1h", "--status", "PENDING"), {"SRR3", "SRR4"}),
        (("--since", "2999-01-01"), set()),
        (("--version", "1.0", "--text", "ERR2"), {"ERR2"}),
    ],
)
def test_a_list_holds_what_fits(library: User, options: tuple[str, ...], runs: set[str]) -> None:
    listed = json_lines(library.porch("list", *options).stdout)
    assert {task["task_input"]["Run"] for task in listed} == runs


def test_since_leaves_out_what_changed_before(user: User) -> None:
    (old,) = user.register({"n": 1})
    changed = user.client.show(old)[0].updated_at
    time.sleep(0.01)
    (new,) = user.register({"n": 2})
    moment = user.client.show(new)[0].updated_at
    assert changed < moment
    listed = json_lines(user.porch("list", "--since", moment).stdout)
    assert [task["task_input_id"] for task in listed] == [new]


def test_a_list_may_be_cut_short(library: User) -> None:
    assert len(json_lines(library.porch("list", "--limit", "3").stdout)) == 3


def test_a_count_is_by_status(library: User) -> None:
    counts = json.loads(library.porch("list", "--count").stdout)
    assert counts == {"PENDING": 2, "CLAIMED": 1, "DONE": 1}


# Pipelines ----------------------------------------------------------------------------------


def test_a_new_version_may_run_the_same_input_again(house: House) -> None:
    with User(house, "1.0", "2.0") as user:
        for version in ("1.0", "2.0"):
            argv = ("submit", "--version", version, "-")
            (line,) = json_lines(user.porch(*argv, input='{"a": 1}').stdout)
            assert line["created"] is True
        refused(
            user.porch("show", line["task_input_id"]), "ambiguous_task", "1.0 and of", "--version"
        )
        (claim,) = json_lines(user.porch("claim", "-n", "9", "--version", "2.0").stdout)
        assert claim["version"] == "2.0"


def test_under_the_identity_of_the_pipeline_an_input_runs_once_whatever_the_version(
    house: House,
) -> None:
    with User(house, "1.0", "2.0") as user:
        argv = ("pipeline", "update", user.pipeline, "--identity", "pipeline")
        policy = house.porch(*argv, token=house.ready["admin_token"])
        assert json.loads(policy.stdout)["identity"] == "pipeline"
        user.register({"a": 1}, version="1.0")
        again = user.porch("submit", "--version", "2.0", "-", input='{"a": 1}')
        assert json_lines(again.stdout)[0]["created"] is False


def test_a_pipeline_is_registered_shown_and_listed(house: House) -> None:
    admin, name = house.ready["admin_token"], unique("cardinal")
    argv = ("pipeline", "register", name, "--uri", "https://example.org/c", "--version", "1.0")
    first, again = house.porch(*argv, token=admin), house.porch(*argv, token=admin)
    assert first.returncode == again.returncode == 0
    shown = json.loads(house.porch("pipeline", "show", name, token=admin).stdout)
    assert (shown["uri"], shown["versions"]) == ("https://example.org/c", ["1.0"])
    listed = json_lines(house.porch("pipeline", "list", token=admin).stdout)
    assert shown in listed
    other = house.porch(*argv[:-3], "https://elsewhere", *argv[-2:], token=admin)
    refused(other, "pipeline_exists", name, "add-version")


def test_a_version_is_added(house: House, user: User) -> None:
    argv = ("pipeline", "add-version", user.pipeline, "1.1")
    done = house.porch(*argv, token=house.ready["admin_token"])
    assert json.loads(done.stdout)["versions"] == ["1.0", "1.1"]


def test_a_policy_is_set_and_taken_back(house: House, user: User) -> None:
    admin, argv = house.ready["admin_token"], ("pipeline", "update", user.pipeline)
    done = house.porch(*argv, "--lease", "2h", "--max-attempts", "3", token=admin)
    set_ = json.loads(done.stdout)
    assert (set_["lease"], set_["max_attempts"]) == (7200, 3)
    done = house.porch(*argv, "--lease", "none", token=admin)
    unset = json.loads(done.stdout)
    assert (unset["lease"], unset["max_attempts"]) == (None, 3)


def test_the_load_of_a_pipeline_is_counted(library: User) -> None:
    shown = json.loads(library.porch("pipeline", "show", library.pipeline).stdout)
    assert shown["counts"] == {"PENDING": 2, "CLAIMED": 1, "DONE": 1}
    assert shown["oldest_pending"] >= 0
