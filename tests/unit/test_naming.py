"""From a name that a person typed to the one thing it means."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from coordinator.access import issuing
from coordinator.errors import AmbiguousTask, UnknownTask, UnknownVersion, WhichVersion
from coordinator.model import Task
from coordinator.naming import key_range, may_be_a_name, pick_task, pick_version, unknown_pipeline
from coordinator.requests import Name
from tests.factories import a_pipeline, a_task

KEY = bytes.fromhex("015abd7f" + "00" * 28)


def test_an_unknown_pipeline_is_answered_with_the_nearest_name() -> None:
    assert 'did you mean "cardinal"?' in unknown_pipeline("cardnial", ["beta", "cardinal"]).message


def test_a_name_like_no_other_is_answered_without_a_guess() -> None:
    assert "did you mean" not in unknown_pipeline("zzzzzz", ["beta", "cardinal"]).message


def test_an_unknown_pipeline_where_there_are_none_is_answered() -> None:
    assert unknown_pipeline("x", []).code == "unknown_pipeline"


def test_the_only_version_need_not_be_named() -> None:
    assert pick_version(a_pipeline("1.0"), None) == "1.0"


def test_of_several_versions_none_is_guessed() -> None:
    with pytest.raises(WhichVersion, match=r"1\.0, 2\.0"):
        pick_version(a_pipeline("1.0", "2.0"), None)


def test_an_unknown_version_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownVersion, match=r'did you mean "2\.0\.1"\?'):
        pick_version(a_pipeline("1.0", "2.0.1"), "2.0.0")


def test_the_cures_commands_are_pasted_into_a_shell_whatever_the_names_are() -> None:
    names = ["o'brien $(x)", "1 `y`; z"]
    with pytest.raises(UnknownVersion) as unknown:
        pick_version(replace(a_pipeline("1.0"), name=names[0]), names[1])
    assert shlex.split(unknown.value.cure)[-2:] == [names[0], names[1] + "`"]
    assert shlex.split(issuing(names[0]).strip("`"))[4] == names[0]


@pytest.mark.parametrize(
    "prefix", ["", "015", "015g", "015abd7f-", "0" * 65, "\uff10\uff11\uff15\uff41", "015a\n"]
)
def test_what_cannot_begin_a_task_input_id_is_refused(prefix: str) -> None:
    with pytest.raises(UnknownTask, match="hexadecimal"):
        key_range(Name(prefix))


@pytest.mark.parametrize("digits", [4, 5, 63, 64])
def test_a_prefix_stands_for_the_keys_that_begin_with_it(digits: int) -> None:
    keys = key_range(Name(KEY.hex()[:digits]))
    assert keys.low <= KEY <= keys.high
    assert keys.low.hex()[:digits] == keys.high.hex()[:digits] == KEY.hex()[:digits]


def test_a_whole_task_input_id_stands_for_one_key() -> None:
    keys = key_range(Name(KEY.hex()))
    assert keys.low == keys.high == KEY


def test_capital_digits_are_as_good() -> None:
    assert key_range(Name("015ABD")) == key_range(Name("015abd"))


def test_the_only_task_that_fits_is_meant() -> None:
    task = a_task(KEY)
    assert pick_task(Name("015a"), [task]) is task


def test_nothing_fits_an_unknown_id() -> None:
    assert isinstance(pick_task(Name("015a"), []), UnknownTask)


def test_a_prefix_of_two_keys_is_answered_with_both() -> None:
    answer = pick_task(Name("015abd7f"), [a_task(KEY), a_task(KEY[:4] + b"\x10" * 28)])
    assert isinstance(answer, AmbiguousTask)
    assert "015abd7f0000, 015abd7f1010" in answer.message


def in_versions(*versions: str) -> list[Task]:
    return [a_task(KEY, version=version) for version in versions]


def test_one_input_in_two_versions_needs_a_version() -> None:
    answer = pick_task(Name("015a"), in_versions("1.0", "2.0"))
    assert isinstance(answer, AmbiguousTask)
    assert "--version" in answer.cure


def test_a_version_narrows_the_search() -> None:
    assert key_range(Name("015a", "2.0")).version == "2.0"


def test_a_version_without_the_task_is_named_in_the_answer() -> None:
    answer = pick_task(Name("015a", "3.0"), [])
    assert isinstance(answer, UnknownTask)
    assert '"3.0"' in answer.message


@pytest.mark.parametrize("odd", ["\0", "a\ud800"])
def test_what_no_ledger_can_hold_is_the_name_of_nothing(odd: str) -> None:
    assert not may_be_a_name(odd)
    # The message itself can be sent.
    unknown_pipeline(odd, ["a"]).message.encode()
    with pytest.raises(UnknownTask) as refusal:
        key_range(Name("abcd", odd))
    refusal.value.message.encode()
