"""`porch submit`: definitions in any format, registered once, counted at the end."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from coordinator.identity import Limits, identify
from porch_client.model import Change
from tests.house import User, by_text, json_lines

BOTH = [{"Run": "ERR1", "Layout": "SINGLE"}, {"Run": "007", "Layout": "PAIRED"}]
JSON_LINES = "".join(json.dumps(definition) + "\n" for definition in BOTH)
CSV = "Run,Layout\nERR1,SINGLE\n007,PAIRED\n"


def key_of(definition: dict[str, Any]) -> str:
    return identify(definition, Limits()).key.hex()


def closing(counts: str, user: User | None = None) -> re.Pattern[str]:
    """The one line that a submission ends with: counts, and the seconds it took; where no pipeline
    was named, that of the user's token in between."""
    where = f"   in {user.pipeline}" if user else ""
    return re.compile(rf"  {re.escape(counts + where)}   [0-9]+\.[0-9] s\n")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("runs.jsonl", JSON_LINES),
        ("runs.json", json.dumps(BOTH, indent=2)),
        ("runs.csv", CSV),
        ("runs.tsv", CSV.replace(",", "\t")),
        ("windows.csv", "\ufeff" + CSV.replace("\n", "\r\n")),
        ("windows.jsonl", "\ufeff" + JSON_LINES.replace("\n", "\r\n")),
    ],
)
def test_a_file_of_any_format_registers_the_same_definitions(
    user: User, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_bytes(text.encode())
    done = user.porch("submit", "--pipeline", user.pipeline, str(tmp_path / name))
    assert done.returncode == 0, done.stderr
    of = {"status": "PENDING", "created": True, "pipeline": user.pipeline}
    assert json_lines(done.stdout) == [
        {"position": n, "task_input_id": key_of(one), **of} for n, one in enumerate(BOTH)
    ]
    assert user.pipeline not in done.stderr


@pytest.mark.parametrize("text", [JSON_LINES, json.dumps(BOTH), CSV])
def test_the_format_of_stdin_is_told_by_its_first_bytes(user: User, text: str) -> None:
    done = user.porch("submit", "--quiet", "-", input=text)
    assert closing("2 definitions  2 new  0 known", user).fullmatch(done.stderr)
    assert user.inputs() == by_text(BOTH)


def test_a_definition_twice_in_one_submission_is_one_task(user: User) -> None:
    done = user.porch("submit", "-", input='{"a": 1, "b": 2}\n{"b": 2.0, "a": 1}\n{"a": 3}\n')
    first, again, other = json_lines(done.stdout)
    assert again["task_input_id"] == first["task_input_id"] != other["task_input_id"]
    assert [line["created"] for line in (first, again, other)] == [True, False, True]
    assert closing("3 definitions  2 new  1 known (1 PENDING)", user).fullmatch(done.stderr)


def test_quiet_prints_the_closing_line_alone(user: User) -> None:
    done = user.porch("submit", "--quiet", "-", input=CSV)
    assert done.stdout == ""
    assert closing("2 definitions  2 new  0 known", user).fullmatch(done.stderr)


def test_columns_are_picked_in_order_and_numbers_read(user: User, tmp_path: Path) -> None:
    sheet = tmp_path / "runs.csv"
    sheet.write_text("Run,bases,Layout,Sample\n007,1.5,SINGLE,S1\n008,12,,S2\n")
    options = ("--key", "bases,Run,Layout", "--number", "bases", "--quiet")
    assert user.porch("submit", str(sheet), *options).returncode == 0
    assert [list(found.items()) for found in user.inputs()] == [
        [("bases", 1.5), ("Run", "007"), ("Layout", "SINGLE")],
        [("bases", 12), ("Run", "008")],
    ]


def test_a_second_submission_knows_all_by_status(user: User) -> None:
    user.register({"n": 1}, {"n": 2}, {"n": 3})
    one, _ = user.client.claim(2)
    user.client.update([Change(one.task_input_id, "DONE", one.attempt)])
    done = user.porch("submit", "--quiet", "-", input='{"n": 1}\n{"n": 2}\n{"n": 3}\n{"n": 4}\n')
    counts = "4 definitions  1 new  3 known (1 PENDING, 1 CLAIMED, 1 DONE)"
    assert closing(counts, user).fullmatch(done.stderr)


def test_an_empty_file_is_no_error(user: User) -> None:
    done = user.porch("submit", "-", input="")
    assert done.returncode == 0
    assert closing("0 definitions  0 new  0 known").fullmatch(done.stderr)


def test_an_empty_file_hides_no_mistake(user: User, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    unknown = user.porch("submit", "--pipeline", "nowhere", "-", input="")
    assert unknown.returncode == 1
    assert "unknown_pipeline" in unknown.stderr
    keyless = user.porch("submit", str(tmp_path / "empty.csv"), "--key", "Run")
    assert keyless.returncode == 1
    assert "not even a header" in keyless.stderr


@pytest.mark.parametrize(
    ("key", "counts"),
    [
        ("Run,LibraryLayout,Platform", "6,889 new  0 known"),
        ("BioSample,LibraryStrategy", "6,777 new  112 known (112 PENDING)"),
    ],
)
def test_the_real_sheet_is_registered_once(user: User, sra: Path, key: str, counts: str) -> None:
    argv = ("submit", "--pipeline", user.pipeline, str(sra), "--key", key)
    first = user.porch(*argv)
    assert closing(f"6,889 definitions  {counts}").fullmatch(first.stderr)
    again = user.porch(*argv, "--quiet")
    everything = "6,889 definitions  0 new  6,889 known (6,889 PENDING)"
    assert closing(everything).fullmatch(again.stderr)

    with sra.open(newline="") as file:
        rows = [[(name, row[name]) for name in key.split(",")] for row in csv.DictReader(file)]
    expected = [key_of({name: cell for name, cell in row if cell}) for row in rows]
    assert [line["task_input_id"] for line in json_lines(first.stdout)] == expected


def test_one_definition_is_submitted_without_the_libraries_of_the_server(user: User) -> None:
    done = user.porch("submit", "-", input='{"a": 1}', env={"PYTHONPROFILEIMPORTTIME": "1"})
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "porch_client.over_redis" in imported
    assert not imported & {"celery", "kombu", "redis", "rich", "asyncio", "ssl"}
