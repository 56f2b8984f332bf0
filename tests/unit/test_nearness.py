"""In which values two definitions differ, and what one would be with other types."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.nearness import differences, variants

SCALARS = st.none() | st.booleans() | st.integers(-9999, 9999) | st.text(max_size=5)
INPUTS = st.dictionaries(st.text(max_size=3), SCALARS | st.lists(SCALARS, max_size=3), max_size=5)


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        ({"a": 1}, {"a": 1.0}, {}),
        ({"a": 1}, {"a": "1"}, {"$.a": True}),
        ({"a": "1.50"}, {"a": 1.5}, {"$.a": True}),
        ({"a": "01"}, {"a": 1}, {"$.a": False}),
        ({"a": True}, {"a": 1}, {"$.a": False}),
        ({"a": "true"}, {"a": 1}, {"$.a": False}),
        ({"a": "null"}, {"a": None}, {"$.a": True}),
        ({"a": 1}, {}, {"$.a": False}),
        ({}, {"a": [1]}, {"$.a": False}),
        ({"a": [1, {"b c": 2}]}, {"a": [1, {"b c": "2"}]}, {"$.a[1]['b c']": True}),
        ({"a": [1]}, {"a": [1, 2]}, {"$.a": False}),
        ({"a": 1, "b": 2}, {"a": 2, "b": "2"}, {"$.a": False, "$.b": True}),
    ],
)
def test_differences_are_told_by_path(ours: Any, theirs: Any, found: dict[str, bool]) -> None:
    assert differences(ours, theirs) == found
    assert differences(theirs, ours) == found


@given(INPUTS)
def test_a_variant_differs_in_type_and_in_nothing_else(task_input: dict[str, Any]) -> None:
    before = repr(task_input)
    for variant in variants(task_input):
        found = differences(task_input, variant)
        assert found
        assert all(found.values())
    assert repr(task_input) == before


def test_numbers_are_tried_as_text_each_alone_and_together() -> None:
    tried = list(variants({"id_run": 1, "lane": 2, "name": "x"}))
    assert tried == [
        {"id_run": "1", "lane": 2, "name": "x"},
        {"id_run": 1, "lane": "2", "name": "x"},
        {"id_run": "1", "lane": "2", "name": "x"},
    ]
