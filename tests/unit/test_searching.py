"""What is copied from where an input is shown is found in it, as it is kept."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.identity import Limits, identify
from coordinator.searching import spellings

WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
INPUTS = st.dictionaries(
    WORDS,
    st.recursive(
        WORDS | st.integers(-(2**50), 2**50) | st.floats(-1e9, 1e9) | st.booleans() | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)


@given(INPUTS, st.sampled_from([None, 2]))
def test_a_whole_input_is_found_however_it_is_shown(
    more: dict[str, object], indent: int | None
) -> None:
    task_input = {"run": 1, **more}
    shown = json.dumps(task_input, ensure_ascii=False, indent=indent)
    kept = identify(task_input, Limits()).text
    assert [one for one in spellings(shown) if one in kept]


@pytest.mark.parametrize(
    ("typed", "also"),
    [
        ('"Lane": "1"', '"Lane":"1"'),
        ('ane": "1, 2", "x', 'ane":"1, 2","x'),
        (
            '": [1.5e-3, true ,null], "note": "not, cut: o',
            '":[1.5e-3,true,null],"note":"not, cut: o',
        ),
        ('{\n  "a": {\n    "b": "say \\": \\", x"\n', '{"a":{"b":"say \\": \\", x"'),
        ("[1, 2", "[1,2"),
    ],
)
def test_a_piece_of_an_input_is_also_looked_for_without_blanks(typed: str, also: str) -> None:
    assert spellings(typed) == (typed, also)


@pytest.mark.parametrize(
    "typed",
    [
        "ERR1",
        "no space: left, on",
        " 1",
        "1, 2",
        "1 2",
        "E 1",
        '"a" "b"',
        ": ",
        '": "',
        "\\",
        '"\\',
        "100%",
    ],
)
def test_what_is_no_json_with_blanks_is_looked_for_as_it_is(typed: str) -> None:
    assert spellings(typed) == (typed,)


@pytest.mark.parametrize("typed", ["1" * 100_000 + "x", " " * 100_000 + "1", '"' + "\\" * 100_001])
def test_a_long_text_takes_no_longer_than_it_is(typed: str) -> None:
    began = time.process_time()
    assert spellings(typed) == (typed,)
    assert time.process_time() - began < 1.0
