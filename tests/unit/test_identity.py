"""The key of a definition: what makes two definitions the same, and what is refused."""

from __future__ import annotations

import json
import math
from hashlib import sha256
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from coordinator.errors import NotAnObject, NotRepresentable, TooDeep, TooLarge
from coordinator.identity import Limits, canonical_json, identify

SAFE = 2**53 - 1

_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
_numbers = st.integers(-SAFE, SAFE) | st.floats(allow_nan=False, allow_infinity=False)
_values = st.recursive(
    st.none() | st.booleans() | _numbers | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)
_inputs = st.dictionaries(_texts, _values, max_size=5)


def key(task_input: object) -> bytes:
    return identify(task_input, Limits()).key


def nested(levels: int, bottom: Any = 1) -> dict[str, Any]:
    """Objects in objects, ``levels`` deep."""
    inner = bottom
    for _ in range(levels):
        inner = {"a": inner}
    return inner  # type: ignore[no-any-return]


def shuffled(value: Any, draw: Any) -> Any:
    """The same value with the keys of each object in another order."""
    if isinstance(value, dict):
        names = draw(st.permutations(sorted(value)))
        return {name: shuffled(value[name], draw) for name in names}
    if isinstance(value, list):
        return [shuffled(inner, draw) for inner in value]
    return value


def plain(value: Any) -> Any:
    """The value as JSON sees it: numbers by their value, whatever their Python type."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return (type(value).__name__, value)
    if isinstance(value, int | float):
        return ("number", float(value))
    if isinstance(value, list):
        return ("array", [plain(inner) for inner in value])
    return ("object", {name: plain(inner) for name, inner in value.items()})


@given(_inputs, st.data())
def test_the_order_of_keys_never_matters(task_input: dict[str, Any], data: st.DataObject) -> None:
    assert key(shuffled(task_input, data.draw)) == key(task_input)


@given(st.integers(-SAFE, SAFE))
def test_a_whole_number_is_the_same_written_as_a_float(number: int) -> None:
    assert key({"n": number}) == key({"n": float(number)})


def test_minus_zero_is_zero() -> None:
    assert key({"n": -0.0}) == key({"n": 0})


def test_true_is_not_one() -> None:
    assert key({"n": True}) != key({"n": 1})


def test_a_number_is_not_its_text() -> None:
    assert key({"n": "1"}) != key({"n": 1})


def test_characters_that_only_look_alike_differ() -> None:
    assert key({"name": "\u00e9"}) != key({"name": "e\u0301"})


@given(_inputs, _inputs)
def test_inputs_have_one_key_only_if_they_are_one_value(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert (key(first) == key(second)) == (plain(first) == plain(second))


@given(_inputs)
def test_the_text_that_is_kept_gives_the_same_key_again(task_input: dict[str, Any]) -> None:
    kept = identify(task_input, Limits())
    assert key(json.loads(kept.text)) == kept.key


def test_the_text_is_kept_as_the_caller_wrote_it() -> None:
    assert identify({"b": 1.0, "a": "é"}, Limits()).text == '{"b":1.0,"a":"é"}'


@pytest.mark.parametrize(
    ("task_input", "canonical"),
    [
        (
            {
                "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 1e-27],
                "string": '\u20ac$\u000f\nA\'B"\\\\"/',
                "literals": [None, True, False],
            },
            '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
            '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
        ),
        (
            {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7},
            '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\U0001f600":5,"\ufb33":3}',
        ),
        ({"n": 5e-324}, '{"n":5e-324}'),
        ({"n": 1.7976931348623157e308}, '{"n":1.7976931348623157e+308}'),
        ({"n": 1e21}, '{"n":1e+21}'),
        ({"n": 999999999999999700000.0}, '{"n":999999999999999700000}'),
        ({"n": 0.000001}, '{"n":0.000001}'),
        ({"n": 1e-7}, '{"n":1e-7}'),
        ({"n": SAFE}, '{"n":9007199254740991}'),
        ({}, "{}"),
    ],
    ids=["3.2.2", "3.2.3", "least", "most", "1e21", "below-1e21", "1e-6", "1e-7", "safe", "empty"],
)
def test_the_key_is_the_sha256_of_the_form_in_rfc_8785(
    task_input: dict[str, Any], canonical: str
) -> None:
    assert key(task_input) == sha256(canonical.encode()).digest()


@pytest.mark.parametrize(
    ("task_input", "path"),
    [
        ({"a": {"b": [1, math.nan]}}, "$.a.b[1] is nan"),
        ({"a": math.inf}, "$.a is inf"),
        ({"a": -math.inf}, "$.a is -inf"),
        ({"a": [[SAFE + 1]]}, "$.a[0][0] is an integer beyond 2^53 - 1"),
        ({"a": -SAFE - 1}, "$.a is an integer beyond 2^53 - 1"),
        ({"a": 10**400}, "$.a is an integer beyond 2^53 - 1"),
        ({"a": {"b c": "x\0y"}}, "$.a['b c'] has the character \\u0000"),
        ({"a": {"x\0y": 1}}, "the key 'x\\x00y' of $.a has the character \\u0000"),
        ({"a": ["\ud800"]}, "$.a[0] has a lone surrogate"),
        ({"a": {"\udfff": 1}}, "the key '\\udfff' of $.a has a lone surrogate"),
    ],
)
def test_what_cannot_be_held_is_refused_with_the_path_to_it(
    task_input: dict[str, Any], path: str
) -> None:
    with pytest.raises(NotRepresentable) as refused:
        identify(task_input, Limits())
    assert path in refused.value.message


@pytest.mark.parametrize(
    "task_input", [{"a": "\ud800"}, {"\udc00": 1}, {"a\0": 1}, {"a": math.nan}, {"k" * 9_000: "\0"}]
)
def test_a_refusal_is_itself_short_text_that_can_be_sent(task_input: dict[str, Any]) -> None:
    with pytest.raises(NotRepresentable) as refused:
        identify(task_input, Limits())
    assert len(json.dumps(refused.value.as_wire(), ensure_ascii=False).encode()) < 1_000


def test_a_backslash_u0000_that_is_only_text_is_accepted() -> None:
    assert json.loads(identify({"a": "\\u0000"}, Limits()).text) == {"a": "\\u0000"}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (True, "a boolean"),
        ("text", "a string"),
        (1, "a number"),
        (1.5, "a number"),
        ([{"a": 1}], "an array"),
    ],
)
def test_only_an_object_is_a_definition(value: object, kind: str) -> None:
    with pytest.raises(NotAnObject, match=kind):
        identify(value, Limits())


def test_64_levels_are_accepted() -> None:
    assert identify(nested(64), Limits()).key


@pytest.mark.parametrize("levels", [65, 100, 900, 5_000, 100_000])
def test_more_levels_are_refused(levels: int) -> None:
    with pytest.raises(TooDeep, match="64 levels"):
        identify(nested(levels), Limits())


def test_the_bottom_of_a_deep_input_may_be_an_array() -> None:
    with pytest.raises(TooDeep):
        identify(nested(63, bottom=[[1]]), Limits())


def test_many_objects_side_by_side_are_not_deep() -> None:
    assert identify({"a": [{"b": n} for n in range(1_000)]}, Limits()).key


def test_a_definition_of_just_the_limit_is_accepted() -> None:
    assert identify({"a": "x" * (1_024 - len('{"a":""}'))}, Limits(max_bytes=1_024)).key


def test_a_definition_beyond_the_limit_is_refused_with_its_size() -> None:
    with pytest.raises(TooLarge, match=r"1,025 bytes, the limit is 1,024"):
        identify({"a": "x" * (1_025 - len('{"a":""}'))}, Limits(max_bytes=1_024))


def test_the_limit_counts_bytes_and_not_characters() -> None:
    with pytest.raises(TooLarge):
        identify({"a": "é" * 600}, Limits(max_bytes=1_024))


def test_a_mebibyte_is_too_large_unless_the_operator_says_otherwise() -> None:
    with pytest.raises(TooLarge, match="PORCH_MAX_INPUT_BYTES"):
        identify({"a": "x" * 2**20}, Limits())


class TestTheQuickWay:
    """For plain definitions, orjson stands in for RFC 8785, and for what keeps them as written."""

    @given(_inputs)
    def test_writes_what_the_rfc_says(self, task_input: dict[str, Any]) -> None:
        assert canonical_json(task_input) == rfc8785.dumps(task_input)

    @given(_inputs)
    def test_keeps_what_the_caller_wrote(self, task_input: dict[str, Any]) -> None:
        kept = json.loads(identify(task_input, Limits(max_depth=1_000)).text)
        assert json.dumps(kept) == json.dumps(task_input)  # the order of keys, and 1 or 1.0

    @pytest.mark.parametrize("depth", [200, 400])
    def test_reaches_as_deep_as_a_limit_may_be(self, depth: int) -> None:
        assert canonical_json(nested(depth)) == rfc8785.dumps(nested(depth))

    @given(st.characters(exclude_categories=["Cs"]), st.characters(exclude_categories=["Cs"]))
    def test_of_every_sign_in_keys_and_texts(self, one: str, other: str) -> None:
        task_input = {one: other, other: one, "~": [one + other]}
        assert canonical_json(task_input) == rfc8785.dumps(task_input)

    @pytest.mark.parametrize(
        "task_input",
        [
            {"\ue000": 1, "\U0001f9ec": 2},  # UTF-16 has these in another order than Unicode
            {"a": 1.0, "b": 1e21, "c": -0.0, "d": 1e-7},
            {"a": SAFE, "b": -SAFE, "c": True, "d": None, "e": [[], {}]},
            {"controls": "".join(map(chr, range(1, 32))) + "\x7f\u2028"},
        ],
    )
    def test_of_what_is_written_in_more_ways_than_one(self, task_input: dict[str, Any]) -> None:
        assert canonical_json(task_input) == rfc8785.dumps(task_input)
