"""How failures and stats are shown, on terminals of any width and as a picture."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest

from porch_client import plot
from porch_client.charts import merged, totals
from porch_client.cli.diagnose import _closing, _group
from porch_client.model import Reported
from porch_client.overview import Busy, FailureGroup, Interval, RunTimes, Stats
from porch_client.picture import svg
from porch_client.printable import width
from tests.fake_session import ID, TASK, FakeSession, lines

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
FAST = RunTimes("fast", 2, 0.3, 0.1, 0.25, 0.4, 0.5)
SLOW = RunTimes("slow", 1, 90_000.0, None, 90_000.0, 90_000.0, None)


def intervals(*done: int, **others: int) -> tuple[Interval, ...]:
    return tuple(
        Interval(
            (NOON + timedelta(minutes=30 * n)).isoformat(),
            others.get("submitted", 0),
            finished,
            others.get("failed", 0),
        )
        for n, finished in enumerate(done)
    )


def group(**fields: Any) -> FailureGroup:
    given = {
        "pipeline": "cardinal",
        "group": "0123456789abcdef",
        "pattern": "exit #",
        "example": "exit 1",
        "tasks": 12,
        "first": "2026-11-24T16:04:11.000001+00:00",
        "last": "2026-11-25T01:02:03.123456+00:00",
    }
    return FailureGroup(**{**given, **fields})


class TestGroups:
    def test_are_told_with_when_what_and_the_command(self) -> None:
        assert _group(group(), 80).splitlines() == [
            "  12 tasks of cardinal, 2026-11-24 16:04:11 to 2026-11-25 01:02:03 UTC",
            "    exit 1",
            "    porch rerun --pipeline cardinal --alike 0123456789abcdef"
            " --until 2026-11-25T01:02:03.123456+00:00",
        ]

    def test_of_a_pipeline_with_any_name_have_a_command_for_a_shell(self) -> None:
        name = """it's "$HOME" & `more`"""
        assert shlex.split(group(pipeline=name).rerun)[2:4] == ["--pipeline", name]

    def test_of_one_task_are_of_one_moment(self) -> None:
        one = group(tasks=1, first=group().last)
        assert _group(one, 80).startswith("  1 task of cardinal, 2026-11-25 01:02:03 UTC\n")

    @pytest.mark.parametrize("width", [1, 20, 80])
    def test_show_the_beginning_of_a_long_message(self, width: int) -> None:
        long = group(example="a\tb " * 99 + "\r\nc\n" * 5)
        _, *told, more, _ = _group(long, width).splitlines()
        assert more == "    ... and 7 more lines"
        assert told[0].endswith("...")
        assert max(map(len, told)) <= max(width, 25)

    @pytest.mark.parametrize("message", ["", " \n\t"])
    def test_without_a_message_say_so(self, message: str) -> None:
        assert "    (no message)\n" in _group(group(example=message), 80)

    @pytest.mark.parametrize(
        ("groups", "of_all", "says"),
        [
            ([], 0, "  no task is FAILED"),
            ([group()], 12, "  1 group with 12 FAILED tasks"),
            ([group(tasks=1)], 1, "  1 group with 1 FAILED task"),
            ([group(tasks=1)], 2, "  1 group with 1 of 2 FAILED tasks"),
            ([group(), group()], 4_020, "  2 groups with 24 of 4,020 FAILED tasks"),
        ],
    )
    def test_end_with_how_many_they_are(
        self, groups: list[FailureGroup], of_all: int, says: str
    ) -> None:
        assert _closing(groups, of_all) == says

    def test_are_json_lines_for_programs(self, capsys: pytest.CaptureFixture[str]) -> None:
        session = FakeSession(failures=[group()])
        assert session.porch("failures", "--limit", "5") == 0
        (line,) = lines(capsys.readouterr().out)
        assert (line["group"], line["rerun"]) == (group().group, group().rerun)
        assert session.calls == [("failures", (), {"pipeline": None, "most": 5})]


class TestRerunOfAGroup:
    def test_takes_what_had_failed_by_then(self, capsys: pytest.CaptureFixture[str]) -> None:
        session = FakeSession(
            failed_alike=[TASK], rerun=[Reported(ID, "1.0", "PENDING", 2, changed=True)]
        )
        assert session.porch(*shlex.split(group().rerun)[1:], "--yes") == 0
        _, called, options = session.calls[0]
        assert called == (group().group,)
        assert options == {"pipeline": "cardinal", "until": group().last}
        assert "1 task FAILED -> PENDING: 1 done" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "argv",
        [
            ("--until", "2h"),
            ("--alike", "ab", "015a"),
            ("--alike", "ab", "--status", "FAILED"),
            ("--alike", "ab", "--attempt", "0"),
            ("--alike", "ab", "--message-like", "x"),
            ("--alike", "ab", "--version", "1.0"),
        ],
    )
    def test_takes_no_other_word_for_which(
        self, argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]
    ) -> None:
        session = FakeSession()
        assert session.porch("rerun", "--yes", *argv) == 2
        assert session.calls == []
        assert "--alike says which" in capsys.readouterr().err


class TestPlots:
    @pytest.mark.parametrize("signs", [plot.UNICODE, plot.ASCII])
    @pytest.mark.parametrize("width", [1, 40, 80, 300])
    def test_fit_into_the_width(self, width: int, signs: plot.Signs) -> None:
        found = Stats(intervals(*range(48), submitted=7), (FAST, SLOW))
        drawn = plot.stats(found, "of all", width, signs)
        chart, _, table = drawn.partition("\n\n")
        assert max(map(len, chart.splitlines())) <= max(width, 40)
        assert max(map(len, table.splitlines())) <= max(width, 60)
        assert drawn.isascii() is (signs is plot.ASCII)
        assert [word in drawn for word in ("submitted", "done", "failed       none")] == [True] * 3

    def test_show_what_is_little_beside_what_is_much(self) -> None:
        drawn = plot.stats(Stats(intervals(1, 0, 1_000_000), ()), "", 20, plot.UNICODE)
        lowest = next(line for line in drawn.splitlines() if "max 1,000,000" in line)
        assert lowest.split("max 1,000,000")[1].strip() == "▁▁▁▁    ████"

    def test_lose_nothing_where_columns_are_merged(self) -> None:
        given = intervals(*range(48))
        columns = merged(given, 20)
        assert len(columns) == 16
        assert totals(columns) == totals(given)
        assert columns[0].begin == given[0].begin

    def test_of_nothing_say_so(self) -> None:
        drawn = plot.stats(Stats(intervals(0, 0), ()), "of p", 80, plot.UNICODE)
        assert drawn == "  Throughput of p\n  Nothing happened.\n\n  No run has finished yet."

    def test_let_no_name_drive_the_terminal(self) -> None:
        odd = RunTimes("a\x1b[31m\u202eb", 1, 1.0, None, 1.0, 1.0, None)
        assert "a\ufffd[31m\ufffdb" in plot.stats(Stats((), (odd,)), "", 80, plot.ASCII)

    def test_stay_in_their_columns_whatever_script_names_are_in(self) -> None:
        names = ("cardinal", "\u6f22\u5b57\u306e\u540d", "e\u0301tude")
        given = tuple(RunTimes(name, 7_777, 1.0, None, 1.0, 1.0, None) for name in names)
        drawn = plot.stats(Stats((), given), "", 200, plot.ASCII).splitlines()[-4:]
        before = [line.partition("RUNS" if n == 0 else "7,777")[0] for n, line in enumerate(drawn)]
        assert [width(text) for text in before] == [12, 12, 12, 12]

    def test_show_each_of_the_busiest_pipelines(self) -> None:
        quiet = Busy("quiet", intervals(0, 1, failed=2))
        busy = Busy("busy \x1b[31m", intervals(30, 0, 40, submitted=1_000_000))
        found = Stats(intervals(30, 1, 40), (), (busy, quiet))
        drawn = plot.stats(found, "of all", 80, plot.UNICODE).splitlines()
        place = drawn.index("  busy \ufffd[31m")
        assert drawn[place + 1 : place + 5] == [
            f"  {'3,000,000 submitted':<22}{'█' * 12}",
            f"  {'70 done':<22}▆▆▆▆    ████",
            "  0 failed",
            "",
        ]
        assert drawn[place + 5] == "  quiet"
        words = [*ElementTree.fromstring(svg(found, "of all")).itertext()]
        place = words.index("busy \ufffd[31m")
        assert "3,000,000 submitted, 70 done, 0 failed" in words
        assert words.index("quiet") > place

    def test_put_all_run_times_on_one_scale(self) -> None:
        drawn = plot.stats(Stats((), (FAST, SLOW)), "", 80, plot.ASCII)
        fast, slow = drawn.splitlines()[-2:]
        assert fast.index("o") < fast.index("*") < slow.index("o", 7)

    def test_are_one_object_for_programs(self, capsys: pytest.CaptureFixture[str]) -> None:
        session = FakeSession(stats=Stats(intervals(1), (FAST,)))
        assert session.porch("stats", "--pipeline", "p", "--hours", "168") == 0
        (told,) = lines(capsys.readouterr().out)
        assert told["throughput"][0]["done"] == 1
        assert told["run_times"][0]["limit"] == 0.5
        assert session.calls == [("stats", (), {"pipeline": "p", "hours": 168})]
        assert session.porch("stats", "--hours", "745") == 2
        assert session.porch("stats", "--json", "--svg", "-") == 2


class TestPictures:
    def test_are_drawn_to_standard_output_too(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert FakeSession(stats=Stats((), ())).porch("stats", "--svg", "-") == 0
        assert ElementTree.fromstring(capsys.readouterr().out).tag.endswith("svg")

    def test_hold_any_name_as_text(self) -> None:
        odd = '</text><script>"&\x1b\ud800'
        times = RunTimes(odd, 1, 1.0, None, 1.0, 1.0, None)
        drawn = svg(Stats(intervals(0, 3, submitted=2, failed=1), (times, FAST, SLOW)), odd)
        drawn.encode()
        root = ElementTree.fromstring(drawn)
        assert not [element for element in root.iter() if element.tag.endswith("script")]
        assert '</text><script>"&\ufffd\ufffd: 1 runs' in [*root.itertext()]

    def test_have_a_bar_for_each_interval_in_which_work_ended(self) -> None:
        root = ElementTree.fromstring(svg(Stats(intervals(0, 3, 4, failed=1), ()), "of p"))
        looks = [element.get("class") for element in root.iter() if element.tag.endswith("rect")]
        assert looks.count("done") == 2 + 1  # and one in the key
        assert looks.count("failed") == 3 + 1

    def test_of_nothing_say_so(self) -> None:
        words = "".join(ElementTree.fromstring(svg(Stats((), ()), "of p")).itertext())
        assert "Nothing happened." in words
        assert "No run has finished yet." in words
