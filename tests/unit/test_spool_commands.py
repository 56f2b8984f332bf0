"""`porch submit --spool` and `porch flush`, over a coordinator that comes and goes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from porch_client.cli import run
from porch_client.errors import AccessDenied, NotFound, PorchError
from porch_client.spool import Spool
from tests.absent import AWAY, Coordinator, kept

CLOSING = r"   [0-9]+\.[0-9] s"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "my spool"


def porch(coordinator: Coordinator, *arguments: str) -> int:
    return run(arguments, connect=lambda _: coordinator.client())


def submit(coordinator: Coordinator, folder: Path, *definitions: Any, pipeline: str = "p") -> int:
    sheet = folder.with_name("runs.jsonl")
    sheet.write_text("".join(json.dumps(definition) + "\n" for definition in definitions))
    options = ("--pipeline", pipeline, "--spool", str(folder))
    return porch(coordinator, "submit", *options, str(sheet))


class TestSubmit:
    def test_keeps_what_it_cannot_deliver_warns_once_and_exits_with_0(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert submit(Coordinator(AWAY), folder, {"a": 1}, {"a": 2}) == 0
        seen = capsys.readouterr()
        lines = [json.loads(line) for line in seen.out.splitlines()]
        assert lines == [{"position": n, "spooled": True} for n in (0, 1)]
        warning, closing = seen.err.splitlines()
        assert warning == (
            "porch: spooled: 2 definitions not delivered (broker_away: cannot reach the broker), "
            f"kept in {folder}; `porch flush '{folder}'` sends them, and so does the next submit "
            "or update with this spool"
        )
        assert re.fullmatch("  2 definitions  0 new  0 known  2 spooled" + CLOSING, closing)
        assert kept(folder) == [{"a": 1}, {"a": 2}]

    def test_still_refuses_what_is_wrong(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder.with_name("bad.jsonl").write_text('{"a": 1}\nnot json\n')
        options = ("--quiet", "--pipeline", "p", "--spool", str(folder))
        coordinator = Coordinator(AWAY)
        assert porch(coordinator, "submit", *options, str(folder.with_name("bad.jsonl"))) == 1
        seen = capsys.readouterr()
        assert seen.out == ""
        assert "0 known  1 refused  1 spooled" in seen.err
        assert kept(folder) == [{"a": 1}]

    def test_says_that_it_sent_first_what_was_kept(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        coordinator = Coordinator(AWAY)
        submit(coordinator, folder, {"a": 1}, {"a": 2})
        coordinator.away = None
        capsys.readouterr()
        assert submit(coordinator, folder, {"a": 2}, {"a": 3}) == 0
        first, closing = capsys.readouterr().err.splitlines()
        assert first == f"  2 definitions  2 new  0 known   from {folder}, sent first"
        assert closing.startswith("  2 definitions  1 new  1 known (1 PENDING)")

    def test_tells_what_of_it_was_refused_and_ends_as_its_own_do(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        coordinator = Coordinator(AWAY)
        submit(coordinator, folder, {"bad": 1})
        coordinator.away = None
        capsys.readouterr()
        assert submit(coordinator, folder, {"a": 1}) == 0
        told = capsys.readouterr().err.splitlines()
        where = f"{folder / 'refused'}"
        assert told[1] == (
            f"porch: not_representable: 1 definition of the spool in {where}: $.bad; mend it"
        )

    def test_without_a_pipeline_is_bad_usage(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder.with_name("runs.jsonl").write_text('{"a": 1}\n')
        argv = ("submit", "--spool", str(folder), str(folder.with_name("runs.jsonl")))
        assert porch(Coordinator(), *argv) == 2
        assert capsys.readouterr().err.startswith("porch: spool_needs_pipeline: ")

    def test_into_what_is_no_folder_is_bad_usage_and_spools_nothing(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder.touch()
        assert submit(Coordinator(AWAY), folder, {"a": 1}) == 2
        seen = capsys.readouterr()
        assert seen.out == ""
        (line,) = seen.err.splitlines()
        assert line.startswith(f"porch: spool_failed: cannot keep anything in {folder}: ")


class TestFlush:
    def test_sends_all_and_exits_with_0(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        coordinator = Coordinator(AWAY)
        submit(coordinator, folder, {"a": 1}, {"a": 2})
        coordinator.away = None
        capsys.readouterr()
        assert porch(coordinator, "flush", str(folder)) == 0
        seen = capsys.readouterr()
        assert seen.out == ""
        assert re.fullmatch("  2 definitions  2 new  0 known" + CLOSING + "\n", seen.err)
        assert porch(coordinator, "flush", str(folder)) == 0
        assert capsys.readouterr().err.startswith("  0 definitions  0 new  0 known")

    def test_out_of_reach_exits_with_3(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        submit(Coordinator(AWAY), folder, {"a": 1}, {"a": 2})
        capsys.readouterr()
        assert porch(Coordinator(AWAY), "flush", str(folder)) == 3
        error, closing = capsys.readouterr().err.splitlines()
        assert error == "porch: broker_away: cannot reach the broker; is it running?"
        assert closing.startswith("  2 definitions  0 new  0 known  2 left   ")
        assert len(kept(folder)) == 2

    def test_with_something_refused_exits_with_1(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        submit(Coordinator(AWAY), folder, {"a": 1}, pipeline="gone")
        submit(Coordinator(AWAY), folder, {"a": 1}, pipeline="theirs")
        submit(Coordinator(AWAY), folder, {"a": 1})
        coordinator = Coordinator()
        coordinator.says["gone"] = NotFound("unknown_pipeline", 'no "gone"')
        coordinator.says["theirs"] = AccessDenied("forbidden", "not of this token")
        capsys.readouterr()
        assert porch(coordinator, "flush", str(folder)) == 1
        *errors, closing = capsys.readouterr().err.splitlines()
        assert errors == [
            f'porch: unknown_pipeline: 1 definition of the spool in {folder}/refused: no "gone"',
            f"porch: forbidden: 1 definition of the spool in {folder}: not of this token",
        ]
        assert closing.startswith("  3 definitions  1 new  0 known  1 refused  1 kept   ")

    def test_of_a_folder_that_is_not_there_is_bad_usage(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert porch(Coordinator(), "flush", str(folder)) == 2
        assert capsys.readouterr().err.startswith("porch: no_spool: cannot look into ")


class TestUpdate:
    TASK = ("--pipeline", "p", "--attempt", "2")

    def update(
        self, coordinator: Coordinator, folder: Path, status: str, *options: str, task: str = "ab12"
    ) -> int:
        argv = ("--status", status, "--spool", str(folder), *(options or self.TASK))
        return porch(coordinator, "update", task, *argv)

    def test_keeps_what_it_cannot_deliver_and_the_next_sends_it_first_in_order(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        coordinator = Coordinator(AWAY)
        assert self.update(coordinator, folder, "RUNNING") == 0
        seen = capsys.readouterr()
        assert json.loads(seen.out) == {"position": 0, "spooled": True}
        assert "porch: spooled: 1 report not delivered (broker_away: " in seen.err
        assert submit(coordinator, folder, {"a": 1}) == 0
        coordinator.away = None
        capsys.readouterr()
        assert self.update(coordinator, folder, "DONE") == 0
        seen = capsys.readouterr()
        assert f"  2 items  1 new  0 known  1 reported   from {folder}, sent first" in seen.err
        assert json.loads(seen.out)["status"] == "DONE"
        assert [change["status"] for _, _, change in coordinator.reported] == ["RUNNING", "DONE"]
        assert Spool(folder).waiting() == []

    def test_is_on_disk_before_it_is_sent_and_sent_again_under_its_name(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        coordinator = Coordinator()
        waiting: list[int] = []

        def killed() -> None:
            waiting.append(len(Spool(folder).waiting()))
            if len(waiting) == 1:
                # Carried out, and whoever waited for the answer is no more.
                message = coordinator.waited_for[-1]
                coordinator.reported.append(("p", message["request_id"], message["changes"][0]))
                raise SystemExit(137)

        coordinator.before_answering = killed
        with pytest.raises(SystemExit):
            self.update(coordinator, folder, "DONE")
        assert porch(coordinator, "flush", str(folder)) == 0
        assert "  1 item  0 new  0 known  1 reported" in capsys.readouterr().err
        assert waiting == [1, 1]
        (first, second) = coordinator.reported
        assert first == second
        assert Spool(folder).waiting() == []

    def test_a_stale_one_is_refused_and_set_aside_and_not_tried_for_ever(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stale = ("--pipeline", "p", "--attempt", "0")
        self.update(Coordinator(AWAY), folder, "DONE", *stale, task="aa")
        self.update(Coordinator(AWAY), folder, "DONE", task="bb")
        coordinator = Coordinator()
        capsys.readouterr()
        assert porch(coordinator, "flush", str(folder)) == 1
        said = capsys.readouterr().err
        where = folder / "refused"
        assert f"porch: stale_attempt: 1 item of the spool in {where}: it is over; stop" in said
        assert [change["task"] for _, _, change in coordinator.reported] == ["bb"]
        assert porch(coordinator, "flush", str(folder)) == 0
        (kept_aside,) = where.glob("*.reports.json")
        assert json.loads(kept_aside.read_text())["changes"][0]["task"] == "aa"

    def test_one_that_is_refused_at_once_is_told_and_not_kept(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.update(Coordinator(), folder, "DONE", "--pipeline", "p", "--attempt", "0") == 1
        assert "porch: stale_attempt: ab12: it is over" in capsys.readouterr().err
        coordinator = Coordinator()
        coordinator.says["p"] = NotFound("unknown_pipeline", 'no "p"')
        assert self.update(coordinator, folder, "DONE") == 1
        assert Spool(folder).waiting() == []
        coordinator.says["p"] = PorchError("internal_error", "a defect")
        assert self.update(coordinator, folder, "DONE") == 1
        assert len(Spool(folder).waiting()) == 1

    @pytest.mark.parametrize(
        ("options", "code"),
        [
            (("--pipeline", "p"), "spool_needs_attempt"),
            (("--attempt", "1"), "spool_needs_pipeline"),
        ],
    )
    def test_without_saying_whose_it_is_it_is_bad_usage(
        self, folder: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], code: str
    ) -> None:
        assert self.update(Coordinator(), folder, "DONE", *options) == 2
        assert capsys.readouterr().err.startswith(f"porch: {code}: ")
        assert not folder.exists()

    def test_below_a_drain_both_are_known(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours = {"task_input_id": "ab12" + "0" * 60, "attempt": 3, "pipeline": "mine"}
        monkeypatch.setenv("PORCH_TASK", json.dumps(ours))
        coordinator = Coordinator()
        argv = ("update", "ab12", "--status", "DONE", "--spool", str(folder))
        assert porch(coordinator, *argv) == 0
        ((pipeline, _, change),) = coordinator.reported
        assert (pipeline, change["attempt"]) == ("mine", 3)
