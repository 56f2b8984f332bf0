"""`porch failures` and `porch stats`: for people on a terminal, and for programs."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from porch_client.model import Change
from tests.acceptance.test_work import refused
from tests.factories import definitions
from tests.house import BIN, House, User, environment, json_lines, wait_until

SVG = "{http://www.w3.org/2000/svg}"
NARROW = {"COLUMNS": "40", "LC_ALL": "C", "NO_COLOR": "1"}


def failed(user: User, *messages: str | None) -> list[str]:
    """Tasks that FAILED with these messages; their task_input_ids."""
    user.register(*definitions(len(messages)))
    tasks = [task.task_input_id for task in user.client.claim(len(messages))]
    user.client.update(
        Change(task, "FAILED", 1, message) for task, message in zip(tasks, messages, strict=True)
    )
    return tasks


def in_status(user: User, status: str) -> set[str]:
    return {task.task_input_id for task in user.client.list(status=[status])}


def typed(user: User, command: str) -> subprocess.CompletedProcess[str]:
    """What is copied from a terminal into a shell."""
    return subprocess.run(
        ["sh", "-c", command],
        env=environment(user.house.env(user.token)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def on_terminal(user: User, *argv: str, env: Mapping[str, str]) -> str:
    """What the ``porch`` command writes to a terminal."""
    ours, its = pty.openpty()
    with subprocess.Popen(
        [BIN / "porch", *argv],
        env=environment({**user.house.env(user.token), **env}),
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
    ) as process:
        os.close(its)
        said = b"".join(_until_closed(ours))
    os.close(ours)
    assert process.returncode == 0, said
    return said.decode().replace("\r\n", "\n")


def _until_closed(terminal: int) -> Iterable[bytes]:
    try:
        while read := os.read(terminal, 65_536):
            yield read
    except OSError:  # Linux: nobody has the other side open any more
        return


def test_the_command_that_is_told_re_runs_that_group_as_it_was_seen(house: House) -> None:
    odd = 'it\'s 5% of "$HOME" `x` \\ disk_full\n\tnumber {}'
    with User(house) as user, User(house) as other:
        wanted = failed(user, *(odd.format(n) for n in range(3)))
        others = failed(
            user,
            odd.format(1) + " and more",
            "begun: " + odd.format(1),
            odd.format(1).upper(),
            odd.format(1).replace("_", "-"),
            None,
        )
        failed(other, odd.format(1))
        first, *rest = json_lines(user.porch("failures", "--pipeline", user.pipeline).stdout)
        assert (first["tasks"], first["pipeline"]) == (3, user.pipeline)
        assert first["pattern"] == odd.format("#").replace("5", "#")
        assert first["example"] == odd.format(2)
        assert first["first"] <= first["last"]
        assert [group["tasks"] for group in rest] == [1] * 5
        later = failed(user, odd.format(1))

        done = typed(user, f"{first['rerun']} --reason 'a larger disk' --yes")
        assert done.returncode == 0, done.stderr
        assert {line["task_input_id"] for line in json_lines(done.stdout)} == set(wanted)
        assert in_status(user, "PENDING") == set(wanted)
        assert in_status(user, "FAILED") == {*others, *later}
        assert in_status(other, "PENDING") == set()
        assert "nothing matches" in typed(user, f"{first['rerun']} --yes").stderr
        assert "nothing matches" in typed(user, f"porch rerun --alike {'0' * 16}").stderr


def test_a_group_without_a_message_is_re_run_as_well(user: User) -> None:
    tasks = failed(user, None, None)
    (group,) = json_lines(user.porch("failures").stdout)
    assert (group["pattern"], group["example"]) == ("", "")
    assert typed(user, f"{group['rerun']} --yes").returncode == 0
    assert in_status(user, "PENDING") == set(tasks)


def test_a_terminal_of_any_kind_gets_words_and_commands(user: User) -> None:
    failed(user, "\x1b[31mred\x1b[0m \x9b5m \u202e" + "long " * 1_500 + "\n" * 9 + "end")
    failed(user, *(f"exit {n}" for n in range(12)))
    said = on_terminal(user, "failures", env=NARROW)
    assert not {*said} & {"\x1b", "\x9b", "\u202e", "\r"}
    assert (
        said.index("12 tasks of ") < said.index("red") < said.index("2 groups with 13 FAILED tasks")
    )
    commands = [line.strip() for line in said.splitlines() if line.startswith("    porch rerun ")]
    assert all(
        len(line) < 40
        for line in said.splitlines()
        if line.startswith("    ") and "porch" not in line
    )
    assert typed(user, f"{commands[0]} --yes").returncode == 0
    assert len(in_status(user, "PENDING")) == 12
    assert len(json_lines(on_terminal(user, "failures", "--json", env={}))) == 1


def test_nothing_is_told_where_nothing_failed(user: User) -> None:
    done = user.porch("failures")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert on_terminal(user, "failures", env={}) == "  no task is FAILED\n"


def test_stats_are_one_object_a_plot_or_a_picture(user: User, tmp_path: Path) -> None:
    user.register(*definitions(3))
    one, two = (task.task_input_id for task in user.client.claim(2))
    user.client.update([Change(one, "DONE", 1), Change(two, "FAILED", 1)])

    def told() -> Any:
        """Run times may be those of a moment ago, as each worker remembers them."""
        (found,) = json_lines(user.porch("stats", "--hours", "1").stdout)
        return found if found["run_times"] else None

    found = wait_until(told)
    assert [
        sum(interval[name] for interval in found["throughput"])
        for name in ("submitted", "done", "failed")
    ] == [3, 1, 1]
    assert [(of["pipeline"], of["runs"], of["limit"]) for of in found["run_times"]] == [
        (user.pipeline, 1, None)
    ]

    plotted = on_terminal(user, "stats", "--pipeline", user.pipeline, env=NARROW)
    assert plotted.isascii()
    assert f"Throughput of {user.pipeline} in the last 24 hours" in plotted
    assert "#" in plotted
    assert "\x1b" not in plotted
    assert "█" in on_terminal(user, "stats", env={"LC_ALL": "C.UTF-8"})

    picture = tmp_path / "stats.svg"
    done = user.porch("stats", "--pipeline", user.pipeline, "--svg", str(picture))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    root = ElementTree.parse(picture).getroot()
    assert root.tag == f"{SVG}svg"
    words = " ".join(root.itertext())
    assert all(part in words for part in ("3 submitted", "1 done", "1 failed", user.pipeline))
    assert user.porch("stats", "--svg", str(tmp_path / "no" / "where.svg")).returncode == 2


def test_stats_of_a_pipeline_without_tasks_are_empty(user: User) -> None:
    (told,) = json_lines(user.porch("stats").stdout)
    assert len(told["throughput"]) == 48
    assert told["run_times"] == []
    plotted = on_terminal(user, "stats", env={})
    assert "Nothing happened." in plotted
    assert "No run has finished yet." in plotted


@pytest.mark.parametrize("verb", ["failures", "stats"])
def test_a_token_sees_its_own_pipeline_and_an_administrator_all(house: House, verb: str) -> None:
    boss = house.ready["admin_token"]

    def seen(*argv: str, token: str) -> set[str]:
        lines = json_lines(house.porch(verb, *argv, token=token).stdout)
        found = lines if verb == "failures" else lines[0]["run_times"]
        return {line["pipeline"] for line in found}

    with User(house) as user, User(house) as other:
        for one in (user, other):
            failed(one, "exit 1")
            one.register(*definitions(1))
            (task,) = one.client.claim(1)
            task.done()
        both = {user.pipeline, other.pipeline}
        most = ("--limit", "1000") if verb == "failures" else ()
        wait_until(lambda: seen(*most, token=boss) >= both)
        if verb == "stats":
            (told,) = json_lines(house.porch("stats", token=boss).stdout)
            assert 2 <= len(told["pipelines"]) <= 8
            (told,) = json_lines(house.porch("stats", token=user.token).stdout)
            assert told["pipelines"] == []
        wait_until(lambda: seen(token=user.token) == {user.pipeline})
        wait_until(lambda: seen("--pipeline", other.pipeline, token=boss) == {other.pipeline})
        refused(user.porch(verb, "--pipeline", other.pipeline), "forbidden", other.pipeline)
        nowhere = house.porch(verb, "--pipeline", "nowhere", token=boss)
        refused(nowhere, "unknown_pipeline", "nowhere")
        assert house.porch(verb).returncode == 1


def test_a_group_is_re_run_with_the_token_of_its_pipeline_only(house: House) -> None:
    with User(house) as user, User(house) as other:
        failed(user, "exit 1")
        (group,) = json_lines(user.porch("failures").stdout)
        refused(typed(other, f"{group['rerun']} --yes"), "forbidden", user.pipeline)
        assert len(in_status(user, "FAILED")) == 1
