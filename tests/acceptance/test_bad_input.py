"""Bad input is refused with a code, its place and a cure, and keeps nothing else out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.factories import unique
from tests.house import House, User, by_text, json_lines

GOOD = {"Run": "first"}, {"Run": "last"}


def nested(levels: int) -> str:
    """A definition with so many arrays in each other."""
    return f'{{"a": {"[" * levels}{"]" * levels}}}'


#: Name of the case: the line, its code, what the message says, what the cure says.
BAD_LINES = {
    "not JSON": ("Run=ERR1", "bad_json", "column 1", "one object a line"),
    "cut short": ('{"a": "ERR', "bad_json", "column 7: Unterminated string", "one object a line"),
    "a key twice": ('{"a": 1, "a": 2}', "bad_json", '"a" is given twice', "keep one"),
    "an array": ("[1, 2]", "not_an_object", "an array", '{"key": value}'),
    "a string": ('"ERR1"', "not_an_object", "a string", '{"key": value}'),
    "a number": ("17", "not_an_object", "a number", '{"key": value}'),
    "null": ("null", "not_an_object", "null", '{"key": value}'),
    "NaN": ('{"a": NaN}', "not_representable", "NaN", "as text"),
    "Infinity": ('{"a": -Infinity}', "not_representable", "-Infinity", "as text"),
    "1e400": ('{"a": 1e400}', "not_representable", "1e400", "as text"),
    "2^53": ('{"a": {"b": [9007199254740992]}}', "not_representable", "$.a.b[0]", "as text"),
    "-2^53": ('{"a": -9007199254740992}', "not_representable", "$.a", "as text"),
    "5000 digits": (f'{{"a": {"9" * 5000}}}', "not_representable", "digits", "as text"),
    "NUL": ('{"a": "x\\u0000"}', "not_representable", "$.a has the character \\u0000", "remove"),
    "NUL in a key": ('{"\\u0000": 1}', "not_representable", "the key", "remove"),
    "lone surrogate": ('{"a": "\\ud800"}', "not_representable", "lone surrogate", "valid UTF-8"),
    "100 levels": (nested(99), "too_deep", "64 levels", "flatten"),
    "1000 levels": (nested(999), "too_deep", "nested", "flat"),
    "1 MiB": (
        '{"a": "%s"}' % ("x" * 2**20),
        "too_large",
        "the limit is 262,144",
        "PORCH_MAX_INPUT_BYTES",
    ),
}


@pytest.fixture(scope="module")
def someone(house: House) -> Iterator[User]:
    with User(house) as user:
        yield user


@pytest.fixture(scope="module")
def batch(someone: User) -> CompletedProcess[str]:
    """One submission of all the bad lines, with a good one before and one after them."""
    bad = [line for line, *_ in BAD_LINES.values()]
    lines = [json.dumps(GOOD[0]), *bad, json.dumps(GOOD[1])]
    done: CompletedProcess[str] = someone.porch("submit", "-", input="\n".join(lines))
    return done


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_is_told_with_code_place_and_cure(
    batch: CompletedProcess[str], case: str
) -> None:
    _, code, message, cure = BAD_LINES[case]
    position = list(BAD_LINES).index(case) + 1
    pattern = f"(?m)^porch: ([a-z_]+): line {position + 1}(?=[:,])(.*); (.*)$"
    (told,) = re.findall(pattern, batch.stderr)
    assert told[0] == code
    assert message in told[1]
    assert cure in told[2]


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_has_its_record_for_programs(batch: CompletedProcess[str], case: str) -> None:
    position = list(BAD_LINES).index(case) + 1
    record = json_lines(batch.stdout)[position]
    assert record["position"] == position
    assert record["error"]["code"] == BAD_LINES[case][1]


def test_the_good_lines_among_bad_ones_are_registered(
    batch: CompletedProcess[str], someone: User
) -> None:
    assert someone.inputs() == by_text(GOOD)
    assert f"{len(BAD_LINES) + 2} definitions  2 new  0 known  {len(BAD_LINES)} refused" in (
        batch.stderr
    )


def test_bad_lines_exit_with_1_and_without_a_traceback(batch: CompletedProcess[str]) -> None:
    assert batch.returncode == 1
    assert "Traceback" not in batch.stderr


def refused(done: Any, *, code: str, says: str, cure: str) -> None:
    """The command was refused by a rule, and its first line says by which, where and what to do."""
    first = done.stderr.splitlines()[0]
    assert first.startswith(f"porch: {code}: "), done.stderr
    assert says in first
    assert cure in first
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_bad_element_of_an_array_is_told_by_line_and_column(user: User) -> None:
    text = '[{"Run": "first"},\n {"Run" 7},\n {"Run": "last"}]'
    done = user.porch("submit", "-", input=text)
    refused(done, code="bad_json", says="line 2, column 9", cure="one array of objects")
    assert user.inputs() == by_text(GOOD)


@pytest.mark.parametrize(
    ("row", "code", "says", "cure"),
    [
        ("ERR1,2,3", "ragged_row", "line 3 has 3 cells, the header has 2", "quote cells"),
        ("ERR1", "ragged_row", "line 3 has 1 cells, the header has 2", "quote cells"),
        ("ERR1,many", "not_a_number", 'line 3: "n" is no number: "many"', "--number"),
        ('"ERR"1,2', "bad_csv", "line 3", "quotes"),
        (",", "empty_row", "line 3", "delete the row"),
    ],
)
def test_a_bad_row_is_told_by_its_line(
    user: User, tmp_path: Path, row: str, code: str, says: str, cure: str
) -> None:
    sheet = tmp_path / "runs.csv"
    sheet.write_text(f"Run,n\nfirst,\n{row}\nlast,\n")
    done = user.porch("submit", "--number", "n", str(sheet))
    refused(done, code=code, says=says, cure=cure)
    assert user.inputs() == by_text(GOOD)


@pytest.mark.parametrize(
    ("sheet", "options", "code", "says", "cure"),
    [
        (b"Run,Run\n1,2\n", (), "bad_csv", 'the header has "Run" twice', "rename"),
        (b"Run,Layout\n1,2\n", ("--key", "run"), "unknown_column", 'did you mean "Run"?', "it has"),
        (b"Run\n1\n", ("--number", "n"), "unknown_column", 'no column "n"', "it has Run"),
        ("Run\n1\n".encode("utf-16"), (), "not_utf8", "is UTF-16", "save it as UTF-8"),
    ],
)
def test_a_table_that_cannot_be_read_registers_nothing(
    user: User,
    tmp_path: Path,
    sheet: bytes,
    options: tuple[str, ...],
    code: str,
    says: str,
    cure: str,
) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(sheet)
    refused(user.porch("submit", str(path), *options), code=code, says=says, cure=cure)
    assert user.inputs() == []


def test_an_unknown_pipeline_is_told_with_the_nearest(house: House) -> None:
    with User(house) as user:
        misspelt = user.pipeline.replace("pipeline", "pipline")
        done = user.porch("submit", "--pipeline", misspelt, "-", input='{"a": 1}')
        refused(
            done,
            code="unknown_pipeline",
            says=f'no pipeline "{misspelt}"; did you mean "{user.pipeline}"?',
            cure="`porch pipeline list` shows them all",
        )


def test_an_unknown_version_is_told_with_the_known_ones(user: User) -> None:
    done = user.porch("submit", "--version", "1.1", "-", input='{"a": 1}')
    refused(done, code="unknown_version", says='no version "1.1", only 1.0', cure="add-version")


def test_a_version_must_be_named_where_there_are_several(house: House) -> None:
    with User(house, "1.0", "2.0") as user:
        done = user.porch("submit", "-", input='{"a": 1}')
        refused(done, code="which_version", says="1.0, 2.0", cure="--version")
        assert user.inputs() == []


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("submit", "no-such-file.csv"), "no-such-file.csv"),
        (("submit",), "FILE"),
        (("claim", "-n", "many"), "many"),
        (("update", "0" * 64, "--status", "FINISHED"), "FINISHED"),
        (("sumbit", "-"), "sumbit"),
        (("--broker", "kafka://nowhere", "list"), "PORCH_BROKER_URL"),
        (("--timeout", "soon", "list"), "soon"),
        (("list", "--since", "yesterday"), "yesterday"),
    ],
)
def test_bad_usage_is_one_line_and_exit_status_2(
    user: User, argv: tuple[str, ...], says: str
) -> None:
    done = user.porch(*argv)
    (line,) = done.stderr.splitlines()
    assert line.startswith("porch: ")
    assert says in line
    assert (done.returncode, done.stdout) == (2, "")


def test_a_misspelt_setting_is_told_with_the_nearest(user: User) -> None:
    done = user.porch("list", env={"PORCH_TOKN": unique("secret")})
    assert done.stderr == (
        "porch: unknown_setting: there is no setting PORCH_TOKN; did you mean PORCH_TOKEN?\n"
    )
    assert done.returncode == 2
